from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import oracles_image as oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.image.proxies import (
    HierarchicalProxies,
    Hierarchy,
    assign,
    cluster,
    level_sizes,
    proxy_anchor,
    proxy_nca,
)
from model.image.surface import Surface
from model.image.tree import read_paths

laws = settings(max_examples=50, deadline=None)
SPHERE = Surface(dim=5)
SHEET = Surface(kind="sheet", dim=5, curvature=0.7, radius=2.0)
SURFACES = pytest.mark.parametrize("surface", [SPHERE, SHEET], ids=lambda surface: surface.kind)
BASES = pytest.mark.parametrize("base", ["proxy-nca", "proxy-anchor"])
squares = arrays(np.float64, (6, 4), elements=st.floats(0, 4))
labels = arrays(np.int64, (6,), elements=st.integers(0, 3))
PATHS = ["a > x > 1", "a > x > 2", "a > y > 3", "b > z > 4", "b > z > 5", "b > w > 6"]
needs_metric_learning = pytest.mark.skipif(
    find_spec("pytorch_metric_learning") is None, reason="pytorch-metric-learning is not installed (extra compare)"
)


def placed(surface, count, *, seed=0):
    return surface.place(torch.randn(count, surface.dim, generator=torch.Generator().manual_seed(seed)).double())


def hierarchical(surface, *, tree, base="proxy-anchor", **options):
    classes, _ = read_paths(PATHS)
    module = HierarchicalProxies(
        Hierarchy(base=base, tree=tree, warm_up=2, interval=3, **options), surface, classes, seed=1
    )
    return module.double()


@given(squares=squares, labels=labels, scale=st.floats(0.5, 6))
@laws
def test_proxy_nca_agrees_with_the_published_formula(squares, labels, scale):
    found = float(proxy_nca(torch.from_numpy(squares), torch.from_numpy(labels), scale=scale))
    assert found == pytest.approx(oracles.proxy_nca(squares, labels, scale=scale), rel=1e-7, abs=1e-9)


@given(squares=squares, labels=labels, alpha=st.floats(0.5, 32), delta=st.floats(-0.2, 0.3))
@laws
def test_proxy_anchor_agrees_with_the_published_formula(squares, labels, alpha, delta):
    found = float(proxy_anchor(torch.from_numpy(squares), torch.from_numpy(labels), alpha=alpha, delta=delta))
    expected = oracles.proxy_anchor(1 - squares / 2, labels, alpha=alpha, delta=delta)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("loss", [
    lambda s, y: proxy_nca(s, y, scale=4.0),
    lambda s, y: proxy_anchor(s, y, alpha=32.0, delta=0.1),
], ids=["proxy-nca", "proxy-anchor"])  # fmt: skip
@given(squares=squares, labels=labels)
@laws
def test_a_picture_is_drawn_to_its_own_proxy_and_driven_from_all_others(loss, squares, labels):
    distances = torch.from_numpy(squares).requires_grad_()
    loss(distances, torch.from_numpy(labels)).backward()
    assert distances.grad is not None
    assert distances.grad.isfinite().all()
    own = torch.nn.functional.one_hot(torch.from_numpy(labels), 4).bool()
    assert (distances.grad[own] >= 0).all()
    assert (distances.grad[~own] <= 0).all()


@needs_metric_learning
def test_one_level_on_the_sphere_is_what_pytorch_metric_learning_computes():
    from pytorch_metric_learning import losses

    surface = Surface(dim=5)
    points, answers = placed(surface, 9, seed=3), torch.tensor([0, 1, 2, 3, 4, 5, 0, 1, 1])
    mine = {base: hierarchical(surface, tree="flat", base=base, scale=3.0) for base in ("proxy-nca", "proxy-anchor")}
    theirs = {
        "proxy-nca": losses.ProxyNCALoss(6, 5, softmax_scale=3.0),
        "proxy-anchor": losses.ProxyAnchorLoss(6, 5, margin=0.1, alpha=32),
    }
    for base, other in theirs.items():
        other.proxies.data = mine[base].fine.detach().clone()
        assert mine[base](points, answers).item() == pytest.approx(other(points, answers).item(), rel=1e-6)


@SURFACES
@BASES
def test_the_loss_of_a_given_tree_is_the_weighted_sum_over_its_levels(surface, base):
    module = hierarchical(surface, tree="given", base=base, coarse_weight=0.4, scale=2.0)
    module.advance(2)
    points, answers = placed(surface, 7), torch.tensor([0, 1, 2, 3, 4, 5, 0])
    tree, _ = read_paths(PATHS)
    expected = 0.0
    levels = [(module.proxies(), list(range(6)))]
    levels += [(module.coarse(level), tree.nodes[level].tolist()) for level in range(2)]
    for level, (proxies, nodes) in enumerate(levels):
        between = np.array([[oracles.squared(x, p, surface) for p in proxies.detach().numpy()] for x in points.numpy()])
        own = [nodes[answer] for answer in answers]
        if base == "proxy-nca":
            loss = oracles.proxy_nca(between, own, scale=2.0)
        else:
            loss = oracles.proxy_anchor(1 - between / 2, own, alpha=32.0, delta=0.1)
        expected += 0.4**level * loss
    assert module(points, answers).item() == pytest.approx(expected, rel=1e-6)


@SURFACES
def test_a_coarse_proxy_is_the_mean_of_its_fine_ones_on_the_surface_and_has_no_gradient(surface):
    module = hierarchical(surface, tree="given")
    module.advance(2)
    fine = module.proxies().detach()
    for node in range(2):
        held = fine[module.nodes[1] == node]
        mean = module.coarse(1)[node]
        if surface.kind == "sphere":
            expected = held.mean(dim=0) / held.mean(dim=0).norm()
        else:
            ambient = torch.cat([held, (1 / surface.curvature + (held**2).sum(dim=1, keepdim=True)).sqrt()], dim=1).sum(
                dim=0
            )
            norm = (ambient[-1] ** 2 - (ambient[:-1] ** 2).sum()).sqrt()
            expected = ambient[:-1] / norm / surface.curvature**0.5
        torch.testing.assert_close(mean, expected)
        assert not mean.requires_grad


@SURFACES
def test_no_level_but_the_finest_counts_before_the_warm_up_ends(surface):
    points, answers = placed(surface, 4), torch.tensor([0, 1, 2, 5])
    flat, given_tree = hierarchical(surface, tree="flat"), hierarchical(surface, tree="given")
    for step in (0, 1):
        given_tree.advance(step)
        flat.advance(step)
        assert given_tree(points, answers).item() == flat(points, answers).item()
    given_tree.advance(2)
    assert given_tree(points, answers).item() > flat(points, answers).item()


def test_coarse_proxies_stay_for_an_interval_and_then_follow_the_fine_ones():
    module = hierarchical(SPHERE, tree="given")
    module.advance(2)
    before = module.coarse(0).clone()
    with torch.no_grad():
        module.fine += 0.5
    for step in (3, 4):
        module.advance(step)
        assert torch.equal(module.coarse(0), before)
    module.advance(5)
    assert not torch.equal(module.coarse(0), before)


@SURFACES
def test_a_learnt_tree_finds_the_groups_that_are_there_and_nests(surface):
    centres = torch.eye(5)[[0, 0, 1, 1, 2, 2]] * 3
    module = hierarchical(surface, tree="learnt", sizes=(3, 2))
    with torch.no_grad():
        module.fine.copy_(centres + 0.05 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0)))
    module.advance(2)
    first, second = module.nodes.tolist()
    assert first[0] == first[1]
    assert first[2] == first[3]
    assert first[4] == first[5]
    assert len(set(first)) == 3
    assert len(set(zip(first, second, strict=True))) == 3
    assert len(set(second)) == 2


def test_a_node_of_a_learnt_tree_keeps_its_number_while_a_class_that_moves_is_assigned_anew():
    module = hierarchical(SPHERE, tree="learnt", sizes=(2,))
    with torch.no_grad():
        module.fine.copy_(torch.eye(5)[[0, 0, 0, 1, 1, 1]].double() + 0.01 * torch.arange(30).reshape(6, 5) / 30)
    module.advance(2)
    before = module.nodes[0].clone()
    with torch.no_grad():
        module.fine[2] = torch.eye(5)[1]
    module.advance(5)
    after = module.nodes[0]
    assert after[2] == before[3] != before[2]
    assert torch.equal(after[[0, 1, 3, 4, 5]], before[[0, 1, 3, 4, 5]])


@given(count=st.integers(2, 12), size=st.integers(2, 6), seed=st.integers(0, 99), same=st.booleans())
@laws
def test_no_cluster_is_ever_empty_even_if_all_points_are_one(count, size, seed, same):
    size = min(size, count)
    points = placed(SPHERE, count, seed=seed)
    if same:
        points = points[:1].repeat(count, 1)
    held = cluster(SPHERE, points, size, torch.Generator().manual_seed(seed))
    assert sorted(set(held.tolist())) == list(range(size))
    assert sorted(set(assign(SPHERE, points, points[:1].repeat(size, 1)).tolist())) == list(range(size))


def test_the_levels_of_a_learnt_tree_shrink_by_like_factors_unless_they_are_given():
    tree, _ = read_paths([f"{i}" for i in range(64)])
    assert level_sizes(Hierarchy(tree="learnt"), tree) == (16, 4)
    assert level_sizes(Hierarchy(tree="learnt", sizes=(9,)), tree) == (9,)
    assert level_sizes(Hierarchy(tree="flat"), tree) == ()
    with pytest.raises(ValueError, match="64 nodes above one of 64 is no coarser"):
        level_sizes(Hierarchy(tree="learnt", sizes=(64,)), tree)


@BASES
def test_training_brings_every_picture_to_its_own_proxy(base):
    module = hierarchical(SPHERE, tree="given", base=base).float()
    vectors = torch.randn(12, 5, generator=torch.Generator().manual_seed(2), requires_grad=True)
    answers = torch.arange(12) % 6
    optimizer = torch.optim.Adam([vectors, *module.parameters()], lr=0.05)
    for step in range(120):
        module.advance(step)
        optimizer.zero_grad()
        module(SPHERE.place(vectors), answers).backward()
        optimizer.step()
    nearest = SPHERE.squares(SPHERE.place(vectors.detach()), module.proxies().detach()).argmin(dim=1)
    assert torch.equal(nearest, answers)
