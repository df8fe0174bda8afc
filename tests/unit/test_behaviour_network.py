from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.behaviour.clicks import Clicks
from model.behaviour.convolutions import Channels, Convolutions
from model.behaviour.graphs import build
from model.behaviour.network import Config, Dcah

QUERIES, PRODUCTS, FEATURES, WIDTH = 5, 8, 6, 4


@pytest.fixture(scope="module")
def graphs():
    """Query 4 and product 7 have no click; product 6 has one, in no session."""
    rng = np.random.default_rng(3)
    query, product, session = rng.integers(0, 4, 40), rng.integers(0, 6, 40), rng.integers(0, 9, 40)
    query, product, session = (np.append(a, b) for a, b in ((query, 3), (product, 6), (session, -1)))
    columns = (column.astype(np.int32) for column in (query, product, session))
    return build(Clicks(tuple("abcde"), *columns, time=np.arange(41.0)), PRODUCTS)


@pytest.fixture(scope="module")
def features():
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(count, FEATURES, generator=generator) for count in (QUERIES, PRODUCTS))


def network_of(**changes) -> Dcah:
    torch.manual_seed(2)
    network = Dcah(Config(features=FEATURES, width=WIDTH, **changes))
    for parameter in network.parameters():  # nothing may hide behind an identity or a zero
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def embed(network, graphs, features, *, kept=None, sessions=True, joined=True):
    channels = Channels(graphs, sessions=sessions, joined=joined)
    with torch.no_grad():
        return network(*network.project(*features), channels.convolutions(kept))


def oracle(network, graphs, features, *, kept=None, sessions=True, joined=True):
    """The formulas with dense matrices in float64: embeddings (Q + N, d) and session weights (Q + N,)."""
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    kept = np.ones(len(graphs.query), dtype=bool) if kept is None else kept.numpy()
    nodes = QUERIES + PRODUCTS
    clicks = np.zeros((nodes, nodes))
    for query, product, count, edge, here in zip(
        graphs.query, graphs.product, graphs.count, graphs.edge, kept, strict=True
    ):
        if edge and here:
            clicks[query, QUERIES + product] = clicks[QUERIES + product, query] = np.log1p(float(count))
    degree = clicks.sum(1)
    root = np.diag([0.0 if d == 0 else d**-0.5 for d in degree])
    x = np.concatenate(
        [
            part.double().numpy() @ weights[f"{kind}.weight"].T + weights[f"{kind}.bias"]
            for part, kind in zip(features, ("query", "product"), strict=True)
        ]
    )
    first, power = x.copy(), x
    for hop in range(network.config.hops):
        power = root @ clicks @ root @ power
        first = first + power @ weights[f"near.{hop}"]
    if not (sessions and graphs.sessions):
        return first, np.zeros(nodes)
    incidence = np.zeros((nodes, graphs.sessions))
    for pair, session in zip(graphs.member_pair, graphs.member_session, strict=True):
        if kept[pair]:
            incidence[QUERIES + graphs.product[pair], session] += 1
            incidence[graphs.query[pair], session] += joined
    w = np.diag(graphs.session_weight.astype(np.float64))
    d_inverse = np.diag([0.0 if d == 0 else 1 / d for d in (incidence @ w).sum(1)])
    b_inverse = np.diag([0.0 if b == 0 else 1 / b for b in incidence.sum(0)])
    second = x + d_inverse @ incidence @ w @ b_inverse @ incidence.T @ x @ weights["together"]
    logits = np.stack(
        [
            np.tanh(z @ weights["attend.weight"].T + weights["attend.bias"]) @ weights["weigh.weight"][0]
            for z in (first, second)
        ]
    )
    logits[1][incidence.sum(1) == 0] = -np.inf
    beta = np.exp(logits - logits.max(0))
    beta /= beta.sum(0)
    return beta[0][:, None] * first + beta[1][:, None] * second, beta[1]


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("sessions", [True, False])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("drop", [0.0, 0.4, 1.0])
def test_embeddings_are_what_the_formulas_say(graphs, features, hops, sessions, joined, drop):
    network = network_of(hops=hops, sessions=sessions)
    kept = torch.rand(len(graphs.query), generator=torch.Generator().manual_seed(5)) >= drop
    found = embed(network, graphs, features, kept=kept, sessions=sessions, joined=joined)
    z, weight = oracle(network, graphs, features, kept=kept, sessions=sessions, joined=joined)
    np.testing.assert_allclose(torch.cat([found.queries, found.products]), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(torch.cat([found.query_weight, found.product_weight]), weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("sessions", [True, False])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("drop", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("asked", [([4], [7]), ([2], [6, 0]), ([1, 0, 1], [5]), ([3], []), (range(5), range(8))])
def test_a_part_gives_its_nodes_what_the_whole_would(graphs, features, hops, sessions, joined, drop, asked):
    network = network_of(hops=hops, sessions=sessions)
    channels = Channels(graphs, sessions=sessions, joined=joined)
    kept = torch.rand(len(graphs.query), generator=torch.Generator().manual_seed(5)) >= drop
    queries, products = (torch.tensor(list(part), dtype=torch.int64) for part in asked)
    part = channels.around(queries, products, kept, hops=hops)
    gradients = []
    for places, some, convolutions in (
        (part.places(queries, products), (part.queries, part.products), part.graphs),
        ((queries, products), (slice(None), slice(None)), channels.convolutions(kept)),
    ):
        network.zero_grad()
        z = network(*network.project(*(each[which] for each, which in zip(features, some, strict=True))), convolutions)
        found = z.queries[places[0]], z.products[places[1]]
        (found[0].square().sum() + found[1].pow(3).sum()).backward()
        # what a part does without has no gradient, and in the whole one of zero
        found += tuple(torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in network.parameters())
        gradients.append(found)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_part_holds_what_lies_around_its_nodes_and_nothing_else(graphs):
    channels = Channels(graphs)
    part = channels.around(torch.tensor([4]), torch.tensor([6]), hops=1)
    assert part.queries.tolist() == [3, 4]  # query 3 led to product 6; nobody clicked for query 4
    assert part.products.tolist() == [6]
    assert part.graphs.gather is None  # neither is in a session


def test_gradients_are_those_of_dense_matrices(graphs, features):
    network = network_of()
    sparse = Channels(graphs).convolutions()
    matrices = (sparse.clicks, sparse.gather, sparse.spread)
    dense = Convolutions(*(matrix.straight.to_dense() for matrix in matrices), masked=sparse.masked)
    gradients = []
    for convolutions in (sparse, dense):
        network.zero_grad()
        z = network(*network.project(*features), convolutions)
        (z.queries.square().sum() + z.products.pow(3).sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_node_without_sessions_masks_that_channel(graphs, features):
    found = embed(network_of(), graphs, features)
    assert found.query_weight[4] == found.product_weight[6] == found.product_weight[7] == 0.0
    assert (found.product_weight[:6] > 0).all()


def test_a_node_without_clicks_is_its_projection(graphs, features):
    network = network_of(hops=2)
    found = embed(network, graphs, features)
    queries, products = network.project(*features)
    torch.testing.assert_close(found.queries[4], queries[4])
    torch.testing.assert_close(found.products[7], products[7])


def test_a_pair_that_is_left_out_is_gone_from_both_channels(graphs, features):
    network = network_of()
    for pair in range(len(graphs.query)):
        kept = torch.arange(len(graphs.query)) != pair
        without = np.flatnonzero(kept.numpy())
        members = kept.numpy()[graphs.member_pair]
        number = np.cumsum(kept.numpy()) - 1
        rebuilt = replace(
            graphs,
            **{name: getattr(graphs, name)[without] for name in ("query", "product", "count", "edge")},
            member_pair=number[graphs.member_pair[members]].astype(np.int32),
            member_session=graphs.member_session[members],
        )
        for ours, theirs in zip(
            embed(network, graphs, features, kept=kept), embed(network, rebuilt, features), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("curvature", [0.0, 1.0, 0.5])
def test_scores_are_the_order_of_inner_products(graphs, features, curvature):
    network = network_of(curvature=curvature)
    found = embed(network, graphs, features)
    with torch.no_grad():
        scores = network.scores(found.queries, found.products)
        queries, products = network.indexed(found.queries, found.products)
        paired = network.pair_scores(found.queries, found.products[:QUERIES])
    assert (scores.argsort(1) == (queries @ products.T).argsort(1)).all()
    torch.testing.assert_close(paired, scores.diagonal(), rtol=1e-3, atol=1e-4)
