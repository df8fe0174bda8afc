from __future__ import annotations

from itertools import chain

import numpy as np
import oracles
import pytest
from fakes import hierarchical_points
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from index.algebra import COLLAPSED, Box, Region, lexical_matches, lexical_scores
from index.expression import And, Conjunction, Not, Or, Text, normal_form
from model import hyperboloid

DIM = 3
GAMMA = 0.85
NAMES = "abcd"
# Few different numbers, so that faces meet, boxes touch and points lie on faces.
COORDINATES = st.sampled_from([float(v) for v in np.arange(-2, 2.25, 0.25, dtype=np.float32)])
LIMITS = st.sampled_from([0.25, 0.5, 0.75, 1.0, 2.0])
HYPERBOLOIDS = st.tuples(arrays(np.float32, DIM, elements=COORDINATES), arrays(np.float32, DIM, elements=LIMITS))
QUERIES = st.fixed_dictionaries(dict.fromkeys(NAMES, HYPERBOLOIDS))
POINTS = arrays(np.float32, (12, DIM), elements=COORDINATES)
CURVATURES = st.sampled_from([0.0, 1.0, 0.5])
LITERALS = st.sampled_from([*(Text(name) for name in NAMES), *(Not(Text(name)) for name in NAMES)])


def region(expression, queries):
    return Region.of(normal_form(expression), queries)


def measured(expression, queries, points, *, c=1.0):
    found = region(expression, queries)
    return found.measure(points, np.arange(len(points)), c=c, gamma=GAMMA)


def inside(expression, queries, points):
    return measured(expression, queries, points)[1]


def same(left, right):
    for mine, theirs in zip(left, right, strict=True):
        np.testing.assert_array_equal(mine, theirs)


A, B, C, D = (Text(name) for name in NAMES)


@settings(deadline=None)
@given(QUERIES, POINTS, CURVATURES)
def test_a_single_text_has_its_plain_containment(queries, points, c):
    distances, contained = measured(A, queries, points, c=c)
    centre, limit = queries["a"]
    expected = hyperboloid.containment(points, centre, limit, c=c, gamma=GAMMA)
    np.testing.assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(contained, hyperboloid.contains(points, centre, limit))


@settings(max_examples=60, deadline=None)
@given(QUERIES, POINTS, CURVATURES, st.lists(LITERALS, min_size=1, max_size=3))
def test_a_conjunction_measures_as_the_slow_formula(queries, points, c, literals):
    expression = And((A, *literals))
    (part,) = normal_form(expression)
    distances, contained = measured(expression, queries, points, c=c)
    for i, point in enumerate(points):
        expected, holds = oracles.conjunction(
            point,
            [queries[text] for text in part.positive],
            [queries[text] for text in part.negative],
            collapsed=COLLAPSED,
            c=c,
            gamma=GAMMA,
        )
        assert distances[i] == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert contained[i] == holds


@settings(deadline=None)
@given(QUERIES, POINTS)
def test_what_an_and_contains_its_members_contain_and_nothing_is_lost(queries, points):
    both = inside(And((A, B)), queries, points)
    np.testing.assert_array_equal(both, inside(A, queries, points) & inside(B, queries, points))


@settings(deadline=None)
@given(QUERIES, POINTS)
def test_an_or_contains_what_any_member_contains_at_the_least_distance(queries, points):
    distances, contained = measured(Or((A, B, C)), queries, points)
    members = [measured(member, queries, points) for member in (A, B, C)]
    np.testing.assert_array_equal(distances, np.min([member[0] for member in members], axis=0))
    np.testing.assert_array_equal(contained, np.any([member[1] for member in members], axis=0))


@settings(deadline=None)
@given(QUERIES, POINTS)
def test_a_not_contains_nothing_of_what_it_excludes_and_is_free_outside(queries, points):
    plain, without = measured(A, queries, points), measured(And((A, Not(B))), queries, points)
    excluded = inside(B, queries, points)
    np.testing.assert_array_equal(without[1], plain[1] & ~excluded)
    np.testing.assert_array_equal(without[0][~excluded], plain[0][~excluded])
    assert (without[0][excluded] > plain[0][excluded]).all()


@settings(deadline=None)
@given(QUERIES, POINTS)
def test_of_several_exclusions_each_excludes_and_the_greatest_penalty_counts(queries, points):
    without_b, without_c = (measured(And((A, Not(member))), queries, points) for member in (B, C))
    distances, contained = measured(And((A, Not(B), Not(C))), queries, points)
    np.testing.assert_array_equal(contained, without_b[1] & without_c[1])
    np.testing.assert_allclose(distances, np.maximum(without_b[0], without_c[0]), rtol=1e-6)


@settings(deadline=None)
@given(QUERIES, POINTS, st.permutations([A, B, C]))
def test_and_and_or_commute_and_associate_to_the_last_bit(queries, points, shuffled):
    first, second, third = shuffled
    for kind in (And, Or):
        whole = measured(kind((A, B, C)), queries, points)
        same(measured(kind((kind((first, second)), third)), queries, points), whole)
        same(measured(kind((first, kind((second, third)))), queries, points), whole)


@settings(deadline=None)
@given(QUERIES, POINTS)
def test_de_morgan_holds_in_what_is_contained(queries, points):
    for left, right in (
        (Not(Or((B, C))), And((Not(B), Not(C)))),
        (Not(And((B, C))), Or((Not(B), Not(C)))),
        (Not(And((B, Or((C, Not(D)))))), Or((Not(B), And((Not(C), D))))),
    ):
        same(measured(And((A, left)), queries, points), measured(And((A, right)), queries, points))


@settings(deadline=None)
@given(QUERIES, POINTS)
def test_a_contradiction_contains_nothing_has_no_generality_and_ranks(queries, points):
    found = region(And((A, Not(A))), queries)
    distances, contained = measured(And((A, Not(A))), queries, points)
    assert not contained.any()
    assert found.generality is None
    assert np.isfinite(distances).all()
    assert all(box.empty for box in found.boxes)


def test_boxes_apart_collapse_to_the_middle_of_the_gap_and_contain_nothing_there():
    queries = {
        "a": (np.array([0.0, 0.0, 0.0], dtype=np.float32), np.array([1.0, 1.0, 1.0], dtype=np.float32)),
        "b": (np.array([4.0, 0.5, 0.0], dtype=np.float32), np.array([1.0, 1.0, 1.0], dtype=np.float32)),
    }
    (box,) = region(And((A, B)), queries).boxes
    np.testing.assert_allclose(box.centre, [2.0, 0.25, 0.0])
    np.testing.assert_allclose(box.hi - box.lo, [2 * COLLAPSED, 1.5, 2.0], rtol=1e-3)
    assert not box.contains(box.centre[None, :]).any()
    points = np.array([[2.0, 0.25, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [9.0, 3.0, 0.0]], dtype=np.float32)
    distances, _ = box.measure(points, np.arange(len(points)), c=1.0, gamma=GAMMA)
    assert (np.diff(distances) > 0).all()


@settings(deadline=None)
@given(QUERIES, POINTS, LIMITS)
def test_growing_a_limit_never_un_contains(queries, points, growth):
    grown = {**queries, "a": (queries["a"][0], queries["a"][1] + np.float32(growth))}
    for expression in (And((A, B)), Or((A, B)), And((A, Not(B)))):
        assert (inside(expression, grown, points) | ~inside(expression, queries, points)).all()


@settings(deadline=None)
@given(QUERIES)
def test_the_penalty_grows_from_the_reach_on_a_face_to_twice_it_in_the_centre(queries):
    centre, limit = queries["a"]
    box = Box.around(centre, limit)
    way = np.linspace(0, 1, 5, dtype=np.float32)[:, None] * np.array([limit[0], 0, 0], dtype=np.float32)
    penalties = box.penalty(centre + way, c=1.0)
    reach = box.reach(c=1.0)
    np.testing.assert_allclose(penalties, reach * np.array([2.0, 1.75, 1.5, 1.25, 1.0]), rtol=1e-5)
    assert box.penalty((centre + limit * np.float32(1.5))[None, :], c=1.0) == 0


def test_generality_is_the_log_volume_of_one_box_and_of_boxes_apart_their_sum():
    far = np.full(DIM, 9.0, dtype=np.float32)
    queries = {
        "a": (np.zeros(DIM, dtype=np.float32), np.array([0.5, 1.0, 2.0], dtype=np.float32)),
        "b": (far, np.array([1.0, 1.0, 1.0], dtype=np.float32)),
        "c": (np.zeros(DIM, dtype=np.float32), np.array([2.0, 2.0, 0.5], dtype=np.float32)),
        "d": (np.array([1.0, 0.0, 0.0], dtype=np.float32), np.array([0.5, 1.0, 1.0], dtype=np.float32)),
    }

    def generality(expression):
        return region(expression, queries).generality

    assert generality(A) == pytest.approx(float(hyperboloid.log_volume(queries["a"][1])), abs=1e-6)
    assert generality(And((A, C))) == pytest.approx(np.log(0.5 * 1.0 * 0.5))
    assert generality(Or((A, B))) == pytest.approx(np.log(1.0 + 1.0))
    assert generality(Or((A, And((A, B))))) == generality(A)
    assert generality(And((A, B))) is None
    assert generality(And((A, Not(C)))) == generality(A)
    assert generality(And((A, D))) is None, "the boxes touch: a face has no volume"


@settings(deadline=None)
@given(QUERIES)
def test_an_and_is_never_broader_than_its_members_nor_an_or_narrower(queries):
    both, either = region(And((A, B)), queries).generality, region(Or((A, B)), queries).generality
    members = [region(member, queries).generality for member in (A, B)]
    assert both is None or both <= min(members) + 1e-6
    assert either >= max(members)


def test_measuring_together_is_measuring_one_by_one():
    points = hierarchical_points(200, 8)
    chance = np.random.default_rng(0)
    queries = {name: (points[i], chance.uniform(0.3, 1.5, 8).astype(np.float32)) for i, name in enumerate(NAMES)}
    expression = Or((And((A, B)), And((C, Not(D)))))
    together = measured(expression, queries, points)
    alone = [measured(expression, queries, points[i : i + 1]) for i in range(len(points))]
    np.testing.assert_allclose(together[0], list(chain.from_iterable(d for d, _ in alone)), rtol=1e-5)
    np.testing.assert_array_equal(together[1], list(chain.from_iterable(c for _, c in alone)))


def test_the_region_measures_no_points_as_nothing():
    queries = {name: (np.zeros(DIM, dtype=np.float32), np.ones(DIM, dtype=np.float32)) for name in NAMES}
    distances, contained = measured(And((A, Not(B))), queries, np.empty((0, DIM), dtype=np.float32))
    assert len(distances) == len(contained) == 0


# The lexical channel

ROWS = ["cordless drill kit", "drill", "cordless saw", "drill bit for cordless drill", "lamp", "kit"]


def counted(text):
    """A stand-in for BM25: how often the words of ``text`` stand in each row."""
    words = text.lower().split()
    return np.array([sum(row.split().count(word) for word in words) for row in ROWS], dtype=np.float32)


def held(text):
    """The rows that hold every word of ``text``."""
    return np.flatnonzero([set(text.lower().split()) <= set(row.split()) for row in ROWS])


def lexical(expression):
    return lexical_scores(normal_form(expression), counted, held)


DRILL, KIT, CORDLESS = Text("drill"), Text("kit"), Text("cordless")


def test_one_text_scores_as_the_index_says():
    found = lexical(DRILL)
    assert found.scores.tolist() == [1, 1, 0, 2, 0, 0]
    assert found.matched.tolist() == [True, True, False, True, False, False]
    assert found.order().tolist() == found.scores.tolist()


def test_an_and_sums_and_an_or_takes_the_greatest():
    assert lexical(And((DRILL, KIT))).scores.tolist() == [2, 1, 0, 2, 0, 1]
    assert lexical(Or((DRILL, KIT))).scores.tolist() == [1, 1, 0, 2, 0, 1]


def test_a_not_puts_what_holds_all_its_words_behind_all_else():
    found = lexical(And((DRILL, Not(CORDLESS))))
    assert found.scores.tolist() == [-1, 1, -1, -1, 0, 0]
    order = found.order()
    assert np.argmax(order) == 1
    assert (order > 0).tolist() == found.matched.tolist() == [True, True, False, True, False, False]


def test_a_not_excludes_only_what_holds_every_one_of_its_words():
    found = lexical(And((DRILL, Not(Text("cordless kit")))))
    assert found.scores.tolist() == [-2, 1, 0, 2, 0, 0]


def test_what_one_alternative_excludes_another_may_still_find():
    found = lexical(Or((And((DRILL, Not(CORDLESS))), Text("saw"))))
    assert found.scores.tolist() == [0, 1, 1, 0, 0, 0]
    assert lexical(And((DRILL, Not(DRILL)))).scores.tolist() == [-1, -1, 0, -2, 0, 0]


def test_a_conjunction_of_the_normal_form_is_what_is_scored():
    assert lexical_scores((Conjunction(("drill",)),), counted, held).scores.tolist() == counted("drill").tolist()


def test_what_shares_words_with_only_some_texts_of_an_and_is_not_found():
    found = lexical(And((DRILL, KIT)))
    assert found.matched.tolist() == (found.order() > 0).tolist() == [True, False, False, False, False, False]
    either = lexical(Or((And((DRILL, KIT)), Text("saw"))))
    assert either.matched.tolist() == (either.order() > 0).tolist() == [True, False, True, False, False, False]


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        (Text("drill cordless"), [0, 3]),
        (And((DRILL, CORDLESS)), [0, 3]),
        (Or((KIT, Text("saw"))), [0, 2, 5]),
        (And((DRILL, Not(CORDLESS))), [1]),
        (And((DRILL, Not(Text("cordless kit")))), [1, 3]),
        (And((DRILL, Not(DRILL))), []),
        (Or((And((DRILL, Not(CORDLESS))), KIT)), [0, 1, 5]),
    ],
)
def test_what_matches_holds_every_word_asked_for_and_not_all_of_what_is_excluded(expression, rows):
    assert lexical_matches(normal_form(expression), held).tolist() == rows
