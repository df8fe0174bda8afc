from __future__ import annotations

import builtins
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from index.behaviour import BehaviourScores
from index.fusion import FEWEST_QUERIES, Expectations, Expected, Fusion, Judged, _likelihood, learn, union

DISTANCES = st.lists(st.floats(0, 5, width=32), min_size=1, max_size=12)


def arrays(*columns):
    return [np.array(column, dtype=np.float32) for column in columns]


def order(scores):
    return np.argsort(-scores, kind="stable").tolist()


def judged(chance, *, distance_tells, lexical_tells, rows=30):
    """A query with two relevant candidates, which each channel tells from the rest as well as it is said to."""
    relevant = np.arange(rows) < 2
    distances = 1.5 + 0.1 * (chance.normal(size=rows) - distance_tells * relevant)
    lexical = np.maximum(0.0, 8.0 + 3.0 * (chance.normal(size=rows) + lexical_tells * relevant))
    grades = {100 + row: 6 if row == 0 else 4 for row in range(2)} | {100 + rows - 1: 1, 7: 5}
    return Judged(np.arange(100, 100 + rows), *arrays(distances, lexical), grades)


def told(scores, *, known):
    """What the behaviour channel says of products that were all clicked."""
    return BehaviourScores(scores, known, np.ones(len(scores), dtype=bool))


def told_all(query):
    """The same query, as if every candidate had been clicked."""
    return replace(query, behaviour=told(query.behaviour.scores, known=query.behaviour.known))


def queries(count=60, **tells):
    chance = np.random.default_rng(3)
    return [judged(chance, **tells) for _ in range(count)]


def test_weighted_fusion_is_a_weighted_sum():
    distances, lexical = arrays([0.5, 1.0, 2.0], [0.0, 4.0, 9.0])
    fused = Fusion(method="weighted", distance_weight=10.0, lexical_weight=0.5).fuse(distances, lexical)
    assert fused.dtype == np.float32
    assert fused.tolist() == [-5.0, -8.0, -15.5]


@given(DISTANCES, st.data())
def test_a_weight_of_zero_leaves_the_other_channels_order(found, data):
    lexical = data.draw(st.lists(st.floats(0, 30, width=32), min_size=len(found), max_size=len(found)))
    distances, scores = arrays(found, lexical)
    by_distance = Fusion(method="weighted", distance_weight=1.0).fuse(distances, scores)
    by_words = Fusion(method="weighted", lexical_weight=1.0).fuse(distances, scores)
    np.testing.assert_array_equal(by_distance, -distances)
    np.testing.assert_array_equal(by_words, scores)


def test_reciprocal_ranks_are_added_as_their_paper_has_it():
    distances, lexical = arrays([0.9, 0.3, 0.6, 2.0], [2.0, 7.0, 0.0, 9.0])
    fused = Fusion().fuse(distances, lexical)
    expected = [1 / 63 + 1 / 63, 1 / 61 + 1 / 62, 1 / 62, 1 / 64 + 1 / 61]
    np.testing.assert_allclose(fused, expected, rtol=1e-6)
    assert fused.dtype == np.float32


def test_equal_scores_share_a_rank_and_what_scores_nothing_has_none():
    fused = Fusion().fuse(*arrays([1.0, 1.0, 2.0], [5.0, 5.0, -3.0]))
    np.testing.assert_allclose(fused, [2 / 61, 2 / 61, 1 / 63], rtol=1e-6)


@given(DISTANCES, st.data())
@pytest.mark.parametrize(
    "fusion", [Fusion(), Fusion(method="weighted", distance_weight=2.0, lexical_weight=0.25)], ids=lambda f: f.method
)
def test_the_order_of_candidates_is_no_matter(fusion, found, data):
    lexical = data.draw(st.lists(st.floats(0, 30, width=32), min_size=len(found), max_size=len(found)))
    permuted = data.draw(st.permutations(range(len(found))))
    distances, scores = arrays(found, lexical)
    np.testing.assert_array_equal(
        fusion.fuse(distances, scores)[permuted], fusion.fuse(distances[permuted], scores[permuted])
    )


def test_more_candidates_leave_a_weighted_order_as_it_was():
    chance = np.random.default_rng(0)
    distances, lexical = arrays(chance.random(50), 20 * chance.random(50))
    fusion = Fusion(method="weighted", distance_weight=11.0, lexical_weight=0.6)
    np.testing.assert_array_equal(fusion.fuse(distances, lexical)[:20], fusion.fuse(distances[:20], lexical[:20]))


def test_what_clicks_tell_is_weighed_by_whether_shoppers_asked_it():
    distances, lexical, clicks = arrays([0.5, 1.0], [0.0, 4.0], [2.0, -1.0])
    fusion = Fusion(method="weighted", distance_weight=10.0, behaviour_weight=3.0, unasked_weight=0.5)
    assert fusion.fuse(distances, lexical, told(clicks, known=True)).tolist() == [1.0, -13.0]
    assert fusion.fuse(distances, lexical, told(clicks, known=False)).tolist() == [-4.0, -10.5]
    assert fusion.fuse(distances, lexical).tolist() == [-5.0, -10.0]


def test_what_each_channel_brings_is_the_score_in_parts():
    distances, lexical, clicks = arrays([0.5, 1.0], [0.0, 4.0], [2.0, -1.0])
    fusion = Fusion(method="weighted", distance_weight=10.0, lexical_weight=0.25, behaviour_weight=3.0)
    parts = fusion.parts(distances, lexical, told(clicks, known=True))
    assert [part.tolist() for part in parts] == [[-5.0, -10.0], [0.0, 1.0], [6.0, -3.0]]
    assert fusion.parts(distances, lexical).behaviour.tolist() == [0.0, 0.0]


def test_a_product_that_nobody_clicked_gets_what_others_like_it_have():
    distances, lexical, clicks = arrays([0.5, 1.0], [0.0, 4.0], [2.0, -1.0])
    expected = Expectations(
        asked=Expected(constant=1.0, distance=-2.0, lexical=0.5), unasked=Expected(constant=6.0, distance=2.0)
    )
    fusion = Fusion(method="weighted", behaviour_weight=1.0, unasked_weight=0.5, expected=expected)
    only_first = np.array([True, False])
    assert fusion.fuse(distances, lexical, BehaviourScores(clicks, True, only_first)).tolist() == [2.0, 1.0]
    assert fusion.fuse(distances, lexical, BehaviourScores(clicks, False, only_first)).tolist() == [1.0, 4.0]
    ranks = Fusion().fuse(distances, lexical, BehaviourScores(clicks, True, ~only_first))
    np.testing.assert_allclose(ranks, [1.5 / 61, 1 / 62 + 1 / 61 + 1 / 62], rtol=1e-6)


def test_what_is_expected_of_a_product_is_learnt_from_those_that_were_clicked():
    examples = []
    for query in queries(distance_tells=1.0, lexical_tells=1.0):
        clicks = 3.0 - 2.0 * query.distances + 0.25 * query.lexical
        clicked = np.arange(len(query.rows)) % 3 > 0
        examples.append(replace(query, behaviour=BehaviourScores(np.where(clicked, clicks, -50.0), True, clicked)))
    found = learn(examples).expected
    assert (found.asked.constant, found.asked.distance, found.asked.lexical) == pytest.approx((3, -2, 0.25), rel=1e-3)
    assert found.unasked == Expected()


def test_what_clicks_bring_is_not_held_against_products_that_nobody_clicked():
    chance = np.random.default_rng(5)
    examples = []
    for query in queries(200, distance_tells=1.0, lexical_tells=1.0):
        clicks = (chance.normal(size=len(query.rows)) + 3.0 * (np.arange(len(query.rows)) < 2)).astype(np.float32)
        unclicked = chance.random(len(query.rows)) < 0.2
        clicks[unclicked] -= 4.0  # as text alone scores lower than clicks do
        examples.append(replace(query, behaviour=BehaviourScores(clicks, True, ~unclicked)))
    rank = {}
    for name, heard in (("as it is", examples), ("held against", [told_all(query) for query in examples])):
        fusion = learn(heard)
        cold = [query for query, was in zip(heard, examples, strict=True) if not was.behaviour.told[0]]
        scores = [fusion.fuse(query.distances, query.lexical, query.behaviour) for query in cold]
        rank[name] = np.mean([(score > score[0]).sum() for score in scores])
    assert rank["as it is"] < 0.7 * rank["held against"]


def test_the_ranks_of_clicks_count_only_where_shoppers_asked_it():
    distances, lexical, clicks = arrays([0.9, 0.3], [2.0, 7.0], [5.0, 4.0])
    expected = [1 / 62 + 1 / 62, 1 / 61 + 1 / 61]
    fused = Fusion().fuse(distances, lexical, told(clicks, known=False))
    np.testing.assert_allclose(fused, expected, rtol=1e-6)
    fused = Fusion().fuse(distances, lexical, told(clicks, known=True))
    np.testing.assert_allclose(fused, [expected[0] + 1 / 61, expected[1] + 1 / 62], rtol=1e-6)


def clicked(examples, *, tells, known):
    """The same queries, and what clicks say of their candidates."""
    chance = np.random.default_rng(8)
    return [
        replace(
            query,
            behaviour=told(
                (chance.normal(size=len(query.rows)) + tells * (np.arange(len(query.rows)) < 2)).astype(np.float32),
                known=known,
            ),
        )
        for query in examples
    ]


def test_clicks_weigh_where_they_tell():
    examples = queries(distance_tells=1.0, lexical_tells=1.0)
    both = [*clicked(examples[:30], tells=2.0, known=True), *clicked(examples[30:], tells=-1.0, known=False)]
    fusion = learn(both)
    assert fusion.behaviour_weight > 0 == fusion.unasked_weight
    assert set(fusion.metrics) == {"hybrid", "hyperboloid", "lexical", "text", "behaviour"}
    name = "RR(rel=4)@100"
    assert fusion.metrics["hybrid"][name] > fusion.metrics["text"][name] > fusion.metrics["lexical"][name]
    silent = learn(clicked(examples, tells=-1.0, known=True))
    text = learn(examples)
    assert silent.weights == pytest.approx((*text.weights[:2], 0, 0), rel=1e-6)
    assert silent.metrics["text"] == text.metrics["hybrid"]


def test_a_union_holds_every_row_once():
    rows = union(np.array([7, 3, 9]), np.array([9, 1, 3]))
    assert rows.tolist() == [1, 3, 7, 9]
    assert union(np.array([4, 2]), np.array([], dtype=np.int64)).dtype == np.int64


def test_both_channels_weigh_when_both_tell():
    fusion = learn(queries(distance_tells=2.0, lexical_tells=2.0))
    assert (fusion.method, fusion.queries) == ("weighted", 60)
    # of two independent normal tells each weighs its shift by its deviation: 2/0.1 and 2/3
    assert fusion.distance_weight / fusion.lexical_weight == pytest.approx(30.0, rel=0.3)
    assert set(fusion.metrics) == {"hybrid", "hyperboloid", "lexical"}
    for channel in ("hyperboloid", "lexical"):
        assert fusion.metrics["hybrid"]["RR(rel=4)@100"] > fusion.metrics[channel]["RR(rel=4)@100"]
    # one of the three relevant products is no candidate, and counts as not found
    assert fusion.metrics["hybrid"]["R(rel=4)@100"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("tells", "silent"), [((3.0, -1.0), "lexical_weight"), ((-1.0, 3.0), "distance_weight")])
def test_a_channel_that_misleads_weighs_nothing(tells, silent):
    fusion = learn(queries(distance_tells=tells[0], lexical_tells=tells[1]))
    assert fusion.method == "weighted"
    weights = {"distance_weight": fusion.distance_weight, "lexical_weight": fusion.lexical_weight}
    assert weights.pop(silent) == 0.0
    assert next(iter(weights.values())) > 0.0


def test_where_one_channel_misleads_the_others_weight_is_sought_alone():
    examples = queries(distance_tells=1.0, lexical_tells=-1.0)
    silent = [Judged(q.rows, q.distances, np.zeros_like(q.lexical), q.grades) for q in examples]
    assert learn(examples).distance_weight == pytest.approx(learn(silent).distance_weight, rel=1e-6)


def test_two_channels_that_mislead_leave_it_to_the_ranks():
    assert learn(queries(distance_tells=-2.0, lexical_tells=-2.0)) == Fusion(queries=60)


def test_too_few_queries_leave_it_to_the_ranks():
    enough = queries(FEWEST_QUERIES, distance_tells=2.0, lexical_tells=2.0)
    assert learn(enough).method == "weighted"
    assert learn(enough[1:]) == Fusion(queries=FEWEST_QUERIES - 1)
    nothing_relevant = Judged(np.arange(3), *arrays([1, 2, 3], [0, 0, 1]), {0: 3, 1: 0})
    assert learn([*enough[1:], *[nothing_relevant] * 50]).method == "reciprocal_rank"
    assert learn([]) == Fusion()


def test_weights_are_those_that_no_other_weights_beat():
    examples = queries(distance_tells=1.0, lexical_tells=1.5)
    fusion = learn(examples)
    features = [np.stack((-query.distances, query.lexical), axis=1).astype(float) for query in examples]
    targets = [query.gains / query.gains.sum() for query in examples]
    learnt = np.array([fusion.distance_weight, fusion.lexical_weight])

    def value(weights):
        # the penalty is so slight that, of weights this far apart, the likelihood alone decides
        logs = [feature @ weights - np.log(np.exp(feature @ weights).sum()) for feature in features]
        return np.mean([target @ log for target, log in zip(targets, logs, strict=True)])

    for factors in ((1.3, 1.0), (0.7, 1.0), (1.0, 1.3), (1.0, 0.7), (1.2, 1.2), (0.8, 0.8)):
        assert value(learnt) > value(learnt * factors)


def test_the_likelihoods_derivatives_are_its_differences():
    features = [
        np.stack((-q.distances, q.lexical), axis=1).astype(float) for q in queries(5, distance_tells=1, lexical_tells=1)
    ]
    targets = [np.full(30, 1 / 30), *[np.eye(30)[i] for i in range(4)]]
    weights, small = np.array([1.3, 0.2]), 1e-5
    _, gradient, curvature = _likelihood(weights, features, targets)
    for axis in range(2):
        step = small * np.eye(2)[axis]
        above, below = (_likelihood(weights + sign * step, features, targets) for sign in (1, -1))
        assert gradient[axis] == pytest.approx((above[0] - below[0]) / (2 * small), rel=1e-4)
        np.testing.assert_allclose(-curvature[axis], (above[1] - below[1]) / (2 * small), rtol=1e-4)


def test_without_ir_measures_weights_are_learnt_all_the_same(monkeypatch):
    examples = queries(distance_tells=2.0, lexical_tells=2.0)
    measured = learn(examples)
    real = builtins.__import__

    def fail(name, *rest, **named):
        if name == "ir_measures":
            raise ModuleNotFoundError("No module named 'ir_measures'", name=name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", fail)
    assert learn(examples) == measured.model_copy(update={"metrics": {}})


def test_a_fusion_that_weighs_nothing_is_refused():
    with pytest.raises(ValidationError, match=r"all weights .* are 0"):
        Fusion(method="weighted")
    with pytest.raises(ValidationError, match="distance_weight"):
        Fusion(method="weighted", distance_weight=-1.0, lexical_weight=1.0)


def test_what_is_stored_is_what_is_read():
    fusion = learn(queries(distance_tells=2.0, lexical_tells=2.0))
    assert Fusion.model_validate_json(fusion.model_dump_json()) == fusion
