from __future__ import annotations

import random
from dataclasses import astuple

import numpy as np
import pytest
import torch
from fakes import shop_titles

from model import lorentz
from model.encoders import Anthem, EncoderConfig
from model.metrics import RELEVANT_GRADE
from model.text import TermBatch, Tokenizer, Vocabulary
from model.training import objective as objective_module
from model.training.batches import GAINS, Batch, BatchShape, BatchSource
from model.training.examples import Examples
from model.training.objective import Objective

TITLES = shop_titles(80)
SHAPE = BatchShape(judged=10, pseudo=30)


def judged_queries() -> dict[str, dict[int, int]]:
    """Fifteen queries of two words with eight products each, of all grades."""
    chance = random.Random(3)
    kinds = ["drill", "door", "lamp", "saw", "tile"]
    return {
        f"{trait} {kind}": {row: chance.randint(0, 6) for row in chance.sample(range(len(TITLES)), 8)}
        for kind in kinds
        for trait in ("oak", "steel", "white")
    }


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.learn(TITLES))


def objective_of(tokenizer, *, presence=4, judged=True, seed=0, **changes) -> tuple[Anthem, Objective]:
    """A new model of twelve axes and its objective on the shop's batches."""
    torch.manual_seed(seed)
    model = Anthem(EncoderConfig(features=tokenizer.vocabulary.size, dim=12, presence=presence, **changes))
    with torch.no_grad():
        model.query.raw_limit.sub_(1.0)  # what rare words do: some products lie beyond the limits
    examples = Examples([f"p{i}" for i in range(len(TITLES))], TITLES, train=judged_queries() if judged else {})
    return model, Objective(model, BatchSource(examples, tokenizer, SHAPE, seed=seed), rate=0.01, seed=seed)


def gradients(model: Anthem, loss: torch.Tensor) -> dict[str, torch.Tensor | None]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def graded_batch(grades, gains) -> Batch:
    """A batch of which only what is known of products counts."""
    empty = TermBatch(np.zeros((1, 1), dtype=np.int64), np.zeros((1, 1), dtype=np.int64))
    gains = np.asarray(gains, dtype=np.float32)
    grades = np.asarray(grades, dtype=np.int8).reshape(-1, gains.shape[1])
    return Batch(empty, empty, gains, grades)


def close(found, expected):
    scale = max(1.0, float(expected.detach().abs().max()))  # far out, coordinates are in the hundreds
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-5)


SPACES = [{}, {"curvature": 0.0}, {"spherical": True}, {"presence": 0}, {"presence": 0, "curvature": 0.0}]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_training_on_one_batch_lowers_its_loss(tokenizer, space):
    model, objective = objective_of(tokenizer, **space)
    optimizer = torch.optim.Adam(objective.parameter_groups())
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = objective.loss(0)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_what_is_trained_is_what_is_served(tokenizer, space):
    model, objective = objective_of(tokenizer, **space)
    batch = objective._source.batch(2)
    queries = objective._queries(batch.queries)
    centres, limits = model.encode_queries(*(torch.from_numpy(part) for part in astuple(batch.queries)))
    points = model.encode_products(*(torch.from_numpy(part) for part in astuple(batch.products)))
    close(queries.centres, centres)
    close(model.query.limits(queries.centres, queries.known, queries.faces, queries.terms), limits)
    close(objective._points(batch.products), points)


def test_every_weight_learns_from_a_batch_at_one_of_two_rates(tokenizer):
    model, objective = objective_of(tokenizer)
    for name, gradient in gradients(model, objective.loss(0)).items():
        assert gradient is not None, name
        assert gradient.isfinite().all(), name
    table, shared = objective.parameter_groups()
    assert [id(parameter) for parameter in table["params"]] == [id(model.embedding.table.weight)]
    assert {id(parameter) for group in (table, shared) for parameter in group["params"]} == {
        id(parameter) for parameter in model.parameters()
    }
    assert table["lr"] > shared["lr"] > 0


def test_the_loss_is_a_function_of_seed_and_number(tokenizer):
    _, objective = objective_of(tokenizer)
    losses = [objective.loss(number).item() for number in (0, 1)]
    assert [objective.loss(number).item() for number in (1, 0)] == losses[::-1]
    assert losses[0] != losses[1]


def test_batches_drawn_ahead_are_those_that_would_have_been_drawn(tokenizer):
    _, objective = objective_of(tokenizer)
    in_order = [objective.loss(number).item() for number in range(3)]
    _, anew = objective_of(tokenizer)
    assert [anew.loss(number).item() for number in (2, 1, 0)] == in_order[::-1]


def test_without_presence_axes_nothing_is_learnt_about_regions(tokenizer):
    model, objective = objective_of(tokenizer, presence=0)
    found = gradients(model, objective.loss(0))
    for name in ("query.raw_limit", "gamma_logit"):
        gradient = found[name]
        assert gradient is None or not gradient.any(), name
    table = found["embedding.table.weight"]
    assert table is not None
    assert table.any()


def test_batches_without_judged_queries_are_learnt_from_too(tokenizer):
    model, objective = objective_of(tokenizer, judged=False)
    assert len(objective._source.batch(0).grades) == 0
    found = gradients(model, objective.loss(0))
    assert all(gradient is not None and gradient.isfinite().all() for gradient in found.values())


def test_membership_moves_limits_and_marks_but_no_place(tokenizer, monkeypatch):
    monkeypatch.setattr(objective_module, "CONTAINMENT_WEIGHT", 0.0)
    monkeypatch.setattr(objective_module, "_ranking", lambda scores, batch: torch.zeros(()))
    model, objective = objective_of(tokenizer)
    found = gradients(model, objective.loss(0))
    for name, gradient in found.items():
        if name.startswith(("product.", "query.head.", "query.own.", "query.pair.", "query.share.")):
            assert gradient is None or not gradient.any(), name
    table = found["embedding.table.weight"]
    assert table is not None
    for gradient in (found["query.raw_limit"], table[:, model.config.place :]):
        assert gradient is not None
        assert gradient.any()


def test_regions_grow_towards_answers_and_shrink_from_what_is_irrelevant(tokenizer, monkeypatch):
    monkeypatch.setattr(objective_module, "CONTAINMENT_WEIGHT", 0.0)
    model, objective = objective_of(tokenizer)
    batch = objective._source.batch(0)
    queries, points = objective._queries(batch.queries), objective._points(batch.products)
    drawn = torch.arange(len(batch.gains))
    columns = torch.arange(len(points)).expand(len(drawn), -1)
    pushes = {}
    for what, gain, grade in (("answers", 1.0, 6), ("neither", 0.1, 3), ("irrelevant", 0.0, 0)):
        every = graded_batch(np.full(batch.gains.shape, grade), np.full(batch.gains.shape, gain))
        loss = objective._region_loss(every, queries, drawn, points[columns], columns)
        (pushes[what],) = torch.autograd.grad(loss, model.query.raw_limit, retain_graph=True)
    assert (pushes["answers"] < 0).all()  # descending widens the limits
    assert (pushes["irrelevant"] > 0).all()
    assert not pushes["neither"].any()


def test_near_products_that_nobody_judged_are_not_kept_out_of_a_judged_querys_region(tokenizer, monkeypatch):
    _, objective = objective_of(tokenizer)
    batch = objective._source.batch(0)
    told = []
    monkeypatch.setattr(
        objective_module,
        "membership",
        lambda excess, inside, outside, **_: told.append(outside) or torch.zeros(()),
    )
    queries, points = objective._queries(batch.queries), objective._points(batch.products)
    drawn = torch.arange(len(batch.gains))
    unjudged = graded_batch(np.full(batch.grades.shape, -1), np.zeros(batch.gains.shape))
    columns = torch.zeros(len(drawn), 3 + objective_module._RANDOM, dtype=torch.int64)
    objective._region_loss(unjudged, queries, drawn, points[columns], columns)
    judged = len(batch.grades)
    outside = told[-1]
    assert 0 < judged < len(drawn)
    assert not outside[:judged, :3].any()
    assert outside[:judged, 3:].all()
    assert outside[judged:].all()


def test_answers_and_judged_products_come_first_and_then_the_nearest():
    chance = torch.Generator().manual_seed(5)
    products, queries, judged = 60, 8, 4
    grades = np.full((judged, products), -1)
    gains = np.zeros((queries, products))
    numbers = np.random.default_rng(5)
    for i in range(queries):
        rows = numbers.choice(products, 7, replace=False)
        if i < judged:
            grades[i, rows] = numbers.integers(0, 7, 7)
            gains[i, rows] = GAINS[grades[i, rows]]
        else:
            gains[i, rows] = 1.0
    batch = graded_batch(grades, gains)
    distances = 10.0 * torch.rand(queries, products, generator=chance)
    drawn = torch.tensor([5, 0, 7, 3, 2])
    columns = objective_module._columns(batch, drawn, distances[drawn], chance).tolist()
    for query, found in zip(drawn.tolist(), columns, strict=True):
        known = set(np.flatnonzero(gains[query] >= GAINS[RELEVANT_GRADE]).tolist())
        known |= set(np.flatnonzero(grades[query] >= 0).tolist()) if query < judged else set()
        assert len(known) == 7
        assert set(found[:7]) == known
        others = [int(column) for column in distances[query].argsort() if int(column) not in known]
        nearest = objective_module._NEAREST - 7
        assert found[7 : 7 + nearest] == others[:nearest]
        assert len(found) == objective_module._NEAREST + objective_module._RANDOM
        assert set(found) <= set(range(products))


def test_fewer_products_than_are_asked_for_are_all_taken():
    gains = np.zeros((2, 3))
    gains[:, 1] = 1.0
    distances = torch.tensor([[1.0, 5.0, 0.5]] * 2)
    batch = graded_batch(np.zeros((0, 3)), gains)
    columns = objective_module._columns(batch, torch.tensor([0, 1]), distances, torch.Generator())
    assert columns[:, :3].tolist() == [[1, 2, 0]] * 2


def test_the_grades_of_drawn_queries_are_theirs_or_none():
    batch = graded_batch([[0, -1], [6, 3]], np.zeros((4, 2)))
    assert objective_module._grades(batch, torch.tensor([3, 1, 0, 2])).tolist() == [[-1, -1], [6, 3], [0, -1], [-1, -1]]


def test_ranking_counts_a_judged_querys_own_products_twice_over():
    batch = graded_batch([[6, 0, -1]], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    scores = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.0, 1.0]])
    every = -(scores[0].log_softmax(0)[0] + scores[1].log_softmax(0)[2]) / 2
    own = -scores[0, :2].log_softmax(0)[0]
    expected = every + objective_module.OWN_WEIGHT * own
    torch.testing.assert_close(objective_module._ranking(scores, batch), expected)


def test_the_nearest_products_of_a_trained_batch_are_mostly_its_answers(tokenizer):
    _, objective = objective_of(tokenizer, judged=False)
    optimizer = torch.optim.Adam(objective.parameter_groups())
    for _ in range(30):
        optimizer.zero_grad()
        objective.loss(0).backward()
        optimizer.step()
    batch = objective._source.batch(0)
    with torch.no_grad():
        centres, points = objective._queries(batch.queries).centres, objective._points(batch.products)
    nearest = lorentz.pairwise_dist(centres, points, c=1.0).argmin(dim=1, keepdim=True)
    assert torch.from_numpy(batch.gains).gather(1, nearest).mean() > 0.8
