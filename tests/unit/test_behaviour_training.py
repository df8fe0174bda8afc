from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from model.behaviour.clicks import Clicks
from model.behaviour.convolutions import Channels
from model.behaviour.graphs import build
from model.behaviour.network import Config, Dcah
from model.training.behaviour import trainer
from model.training.behaviour.objective import contrast, nt_xent, ranking
from model.training.behaviour.trainer import Recipe, Trainer
from model.training.behaviour.views import Drops, draw
from model.training.checkpoint import ResumeError

QUERIES, PRODUCTS, KINDS, FEATURES = 40, 60, 4, 8


@pytest.fixture(scope="module")
def clicks():
    """Queries and products of four kinds; a session keeps to one kind."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, KINDS, 600)
    query = kind + KINDS * rng.integers(0, QUERIES // KINDS, 600)
    product = kind + KINDS * rng.integers(0, PRODUCTS // KINDS, 600)
    session = kind + KINDS * rng.integers(0, 40, 600)
    columns = (column.astype(np.int32) for column in (query, product, session))
    return Clicks(tuple(str(i) for i in range(QUERIES)), *columns, time=np.arange(600.0))


@pytest.fixture(scope="module")
def graphs(clicks):
    return build(clicks, PRODUCTS)


@pytest.fixture(scope="module")
def features():
    generator = torch.Generator().manual_seed(4)
    return tuple(torch.randn(count, FEATURES, generator=generator) for count in (QUERIES, PRODUCTS))


def own_kind(network, embedded) -> float:
    """How often the best product of a query is of its kind."""
    best = network.scores(embedded.queries, embedded.products).argmax(1)
    return float((best % KINDS == torch.arange(QUERIES) % KINDS).float().mean())


def train(graphs, features, *, directory=None, report=lambda _: None, data=None, judge=own_kind, **changes):
    recipe = Recipe(**{"width": 8, "steps": 40, "evaluate_every": 10, "rate": 0.02, **changes})
    return Trainer(graphs, features, recipe, judge=judge, report=report, directory=directory, data=data)


def dense(matrix):
    return matrix.straight.to_dense()


def test_a_view_leaves_the_same_pairs_out_of_both_channels(graphs):
    view = draw(Channels(graphs), Drops(0.5, 0.0), torch.Generator().manual_seed(0))
    convolutions = view.channels.convolutions(view.pairs)
    edges, gathered = dense(convolutions.clicks) > 0, dense(convolutions.gather) > 0
    gone = lost = 0
    for pair, (query, product) in enumerate(zip(graphs.query.tolist(), graphs.product.tolist(), strict=True)):
        sessions = graphs.member_session[graphs.member_pair == pair].tolist()
        if edges[query, product]:
            assert gathered[sessions][:, [query, QUERIES + product]].all()
            continue
        gone += 1
        for session in sessions:
            others = graphs.member_pair[graphs.member_session == session]
            still = any(graphs.product[o] == product and edges[graphs.query[o], product] for o in others.tolist())
            assert gathered[session, QUERIES + product] == still
            lost += not still
    assert 0.4 < gone / len(graphs.query) < 0.6
    assert lost > 50


def test_a_dropped_node_says_nothing_of_itself_in_either_channel(graphs, features):
    torch.manual_seed(0)
    channels, network = Channels(graphs), Dcah(Config(features=FEATURES, width=8))
    view = draw(channels, Drops(0.0, 0.3), torch.Generator().manual_seed(1))
    dropped = torch.nonzero(~view.products)[:, 0]
    assert len(dropped) > 5
    x = [part.clone().requires_grad_() for part in features]
    queries, products = view.around(torch.arange(QUERIES), torch.arange(PRODUCTS), hops=1).embed(network, *x)
    (queries.sum() + products.sum()).backward()
    assert (x[1].grad[dropped] == 0).all()
    assert (x[1].grad[view.products].abs().sum(1) > 0).all()
    assert (products[dropped].abs().sum(1) > 0).all()  # its neighbours tell of it


def test_contrast_is_the_formula():
    first, second, strangers = (torch.randn(n, 5, generator=torch.Generator().manual_seed(n)) for n in (3, 3, 4))
    second = second + 1
    found = float(nt_xent(first, second, strangers, temperature=0.1))
    unit = [(part / part.norm(dim=1, keepdim=True)).double().numpy() for part in (first, second, strangers)]
    total = 0.0
    for one, other in ((unit[0], unit[1]), (unit[1], unit[0])):
        for i in range(3):
            against = [math.exp(one[i] @ row / 0.1) for row in [*other, *unit[2]]]
            total -= math.log(against[i] / sum(against))
    assert found == pytest.approx(total / 6, rel=1e-5)


@pytest.mark.parametrize("curvature", [0.0, 1.0])
@pytest.mark.parametrize("offered", [[3, 8, 9], list(range(PRODUCTS))])
def test_ranking_is_cross_entropy_over_the_candidates_and_the_own_product(graphs, features, offered, curvature):
    torch.manual_seed(0)
    network = Dcah(Config(features=FEATURES, width=8, curvature=curvature))
    z = network(*network.project(*features), Channels(graphs).convolutions())
    pairs, weights = (torch.tensor([0, 1, 2]), torch.tensor([5, 9, 50])), torch.tensor([1.0, 2.0, 0.5])
    candidates, scale = torch.tensor(offered), torch.tensor(0.3)
    embedded = z.queries[pairs[0]], z.products[torch.cat([pairs[1], candidates])]
    found = ranking(network, embedded, pairs[1], weights, candidates, scale).detach()
    scores = (scale.exp() * network.scores(z.queries, z.products)).detach().double().numpy()
    total = 0.0
    for query, product, weight in zip(*(part.tolist() for part in (*pairs, weights)), strict=True):
        against = np.exp(scores[query, sorted({product, *offered})]).sum()
        total -= weight * math.log(math.exp(scores[query, product]) / against)
    assert float(found) == pytest.approx(total / 3.5, rel=1e-5)


def test_contrast_learns_without_a_click_to_rank(graphs, features):
    torch.manual_seed(0)
    channels, network = Channels(graphs), Dcah(Config(features=FEATURES, width=8))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for step in range(60):
        generator = torch.Generator().manual_seed(step)
        views = tuple(draw(channels, Drops(0.4, 0.4), generator) for _ in range(2))
        loss = contrast(network, features, views, batch=30, temperature=0.1, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@pytest.mark.parametrize("sessions", [True, False])
@pytest.mark.parametrize("pretraining_steps", [0, 10])
@pytest.mark.parametrize("drop_pairs", [0.0, 0.4])
def test_every_part_can_be_switched_on_alone(graphs, features, sessions, pretraining_steps, drop_pairs):
    trained = train(
        graphs, features, sessions=sessions, pretraining_steps=pretraining_steps, drop_pairs=drop_pairs
    ).fit()
    assert trained.dev > 0.6  # chance is 0.25
    assert (float(trained.embeddings.product_weight.max()) > 0) == sessions
    assert own_kind(trained.network, trained.embeddings) == pytest.approx(trained.dev)


def test_without_a_session_of_two_products_the_channel_is_masked_everywhere(clicks, features):
    alone = build(clicks.where(np.arange(600) < 600), PRODUCTS, most_products=1)
    assert alone.sessions == 0
    trained = train(alone, features).fit()
    assert trained.embeddings.product_weight.abs().max() == 0


def test_edges_seen_too_seldom_are_neither_convolved_nor_trained_on(clicks, features):
    graphs = build(clicks, PRODUCTS, min_count=2)
    assert 0 < graphs.edge.sum() < len(graphs.edge)
    run = train(graphs, features, batch=10)
    batch = run._batch(torch.Generator().manual_seed(0))
    assert graphs.edge[batch.numpy()].all()
    assert (dense(Channels(graphs).convolutions().clicks) > 0).sum() == graphs.edge.sum()


class StoppedError(Exception):
    """A run that was ended from outside."""


@pytest.mark.parametrize("at", [("pretraining", 4), ("training", 7), ("training", 25)])
def test_a_stopped_run_goes_on_to_where_it_would_have_come(graphs, features, tmp_path, monkeypatch, at):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", -1.0)
    changes = {"pretraining_steps": 8, "drop_pairs": 0.3, "candidates": 20, "batch": 50}

    def stop(progress):
        if (progress.stage, progress.step) == at:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(graphs, features, directory=tmp_path, report=stop, **changes).fit()
    resumed = train(graphs, features, directory=tmp_path, **changes)
    assert resumed.resumed_at == at
    whole, parts = train(graphs, features, **changes).fit(), resumed.fit()
    assert (parts.step, parts.steps, parts.dev) == (whole.step, whole.steps, whole.dev)
    torch.testing.assert_close(parts.embeddings, whole.embeddings)


def test_a_checkpoint_of_another_run_is_not_taken_up(graphs, features, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", -1.0)
    train(graphs, features, directory=tmp_path, data={"interactions": "sha256:1"}).fit()
    with pytest.raises(ResumeError, match=r"drop_pairs 0\.5, not 0\.3"):
        train(graphs, features, directory=tmp_path, data={"interactions": "sha256:1"}, drop_pairs=0.3)
    with pytest.raises(ResumeError, match="interactions 'sha256:1', not 'sha256:2'"):
        train(graphs, features, directory=tmp_path, data={"interactions": "sha256:2"})


def test_training_ends_when_dev_stands_still_and_keeps_the_best(graphs, features):
    falling = iter(np.linspace(1.0, 0.0, 100).tolist())
    seen = []

    def judge(network, embedded):
        seen.append(embedded)
        return next(falling)

    trained = train(graphs, features, steps=1000, patience=3, judge=judge).fit()
    assert (trained.step, trained.steps, trained.dev) == (10, 40, 1.0)
    torch.testing.assert_close(trained.embeddings, seen[0])
