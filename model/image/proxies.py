"""Proxy losses and their hierarchy: each picture is drawn to the proxy of its class on every level of a tree (HPL).

Shapes: N pictures, C classes with a proxy each, K nodes of a coarser level with a coarse proxy each. A loss sees
squared distances alone, so it is the same on the sphere, where 1 − d²/2 is the cosine, and on the sheet.

Formulas: Movshovitz-Attias et al. 2017 (Proxy-NCA), with the positive in the denominator as Teh et al. 2020 have it;
Kim et al. 2020 (Proxy-Anchor); Yang et al. 2022 (HPL).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, softplus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.image.surface import Surface
    from model.image.tree import Tree

_LLOYD_ROUNDS = 25
_STARTS = 8


class Hierarchy(BaseModel):
    """The base loss and what is done with it on which levels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: Literal["proxy-nca", "proxy-anchor"] = "proxy-nca"
    tree: Literal["flat", "given", "learnt"] = "given"
    sizes: tuple[Annotated[int, Field(ge=2)], ...] = ()
    """How many nodes a learnt tree's levels have, finest first; empty takes two levels, each a like factor smaller."""
    coarse_weight: Annotated[float, Field(ge=0)] = 0.3
    """Weight of each level over that of the one below; the finest has 1."""
    warm_up: Annotated[int, Field(ge=0)] = 100
    """Steps with fine proxies alone."""
    interval: Annotated[int, Field(ge=1)] = 25
    """Steps between two updates of the coarse proxies."""
    scale: Annotated[float, Field(gt=0)] = 4.0
    """What Proxy-NCA multiplies squared distances by."""
    alpha: Annotated[float, Field(gt=0)] = 32.0
    delta: float = 0.1
    """Sharpness and margin of Proxy-Anchor."""


def proxy_nca(squares: Tensor, labels: Tensor, *, scale: float) -> Tensor:
    """Proxy-NCA: the mean over pictures of −log softmax over proxies of −scale·d², at the right one.

    Args:
        squares: (N, C) squared distances of pictures from proxies.
        labels: (N) the proxy of each picture.
        scale: what distances are multiplied by; 1 in the paper.
    """
    return cross_entropy(-scale * squares, labels)


def proxy_anchor(squares: Tensor, labels: Tensor, *, alpha: float, delta: float) -> Tensor:
    """Proxy-Anchor: every proxy pulls the hardest of its pictures and pushes the hardest of the others.

    With s = 1 − d²/2, the mean over proxies with a picture of log(1 + Σ e^(−α(s−δ))) over their own pictures, and over
    all proxies of log(1 + Σ e^(α(s+δ))) over the others'. Arguments as of :func:`proxy_nca`.
    """
    similar = 1.0 - squares / 2.0
    own = one_hot(labels, squares.shape[1]).bool()
    nothing = torch.full_like(similar, -torch.inf)
    # log(1 + Σ e^z) = softplus(logsumexp z); a proxy without pictures has −∞ there, and no gradient
    pulled = _log_one_and_sum(torch.where(own, -alpha * (similar - delta), nothing))
    pushed = _log_one_and_sum(torch.where(own, nothing, alpha * (similar + delta)))
    return pulled.sum() / own.any(dim=0).sum().clamp(min=1) + pushed.mean()


class HierarchicalProxies(nn.Module):
    """Σ over levels of weight × base loss, with fine proxies that are learnt and coarse proxies that are their means.

    Coarse proxies are constants for ``interval`` steps, as in the paper: no gradient goes through a mean. Of a learnt
    tree the nodes come from k-means on the fine proxies after the warm-up; from then on each update is one more round
    of it, so a node keeps its number, and one that lost its last class takes over the class that is furthest from its
    own.
    """

    fine: nn.Parameter
    nodes: Tensor
    """(levels − 1, C) int64: the node of each class on each coarser level."""
    ready: Tensor
    """1 from the warm-up's end, when there are coarse proxies."""

    def __init__(self, hierarchy: Hierarchy, surface: Surface, tree: Tree, *, seed: int) -> None:
        super().__init__()
        self.hierarchy = hierarchy
        self.surface = surface
        self._seed = seed
        drawn = torch.randn(tree.classes, surface.dim, generator=torch.Generator().manual_seed(seed))
        self.fine = nn.Parameter(drawn * surface.radius / surface.dim**0.5)
        self._sizes = level_sizes(hierarchy, tree)
        given = torch.from_numpy(tree.nodes) if hierarchy.tree == "given" else None
        empty = torch.zeros(len(self._sizes), tree.classes, dtype=torch.int64)
        self.register_buffer("nodes", empty if given is None else given)
        for level, size in enumerate(self._sizes):
            self.register_buffer(f"coarse{level}", torch.zeros(size, surface.dim))
        self.register_buffer("ready", torch.tensor(0))

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """The loss of ``points`` (N, d) on the surface, of the classes ``labels`` (N)."""
        loss = self._base(self.surface.squares(points, self.proxies()), labels)
        if self.ready:
            for level in range(len(self._sizes)):
                squares = self.surface.squares(points, self.coarse(level))
                weight = self.hierarchy.coarse_weight ** (level + 1)
                loss = loss + weight * self._base(squares, self.nodes[level][labels])
        return loss

    def proxies(self) -> Tensor:
        """The fine proxies (C, d), on the surface."""
        placed: Tensor = self.surface.place(self.fine)
        return placed

    def coarse(self, level: int) -> Tensor:
        """The coarse proxies (K, d) of the ``level`` above the fine ones, from 0."""
        return self.get_buffer(f"coarse{level}")

    @torch.no_grad()
    def advance(self, step: int) -> None:
        """What is due before ``step``: nothing, the first coarse proxies, or new ones."""
        since = step - self.hierarchy.warm_up
        if not self._sizes or since < 0 or (self.ready and since % self.hierarchy.interval):
            return
        points = self.proxies()
        if self.hierarchy.tree == "learnt":
            self._cluster(points)
        for level, size in enumerate(self._sizes):
            self.coarse(level).copy_(_means(self.surface, points, self.nodes[level], size))
        self.ready.fill_(1)

    def _cluster(self, points: Tensor) -> None:
        """Assign classes to nodes, and nodes to those of the next level: a tree."""
        below, generator = points, torch.Generator().manual_seed(self._seed)
        above = torch.arange(len(points))
        for level, size in enumerate(self._sizes):
            if self.ready:
                held = assign(self.surface, below, self.coarse(level))
            else:
                held = cluster(self.surface, below, size, generator)
            above = held[above]
            self.nodes[level] = above
            below = _means(self.surface, below, held, size)

    def _base(self, squares: Tensor, labels: Tensor) -> Tensor:
        if self.hierarchy.base == "proxy-nca":
            return proxy_nca(squares, labels, scale=self.hierarchy.scale)
        return proxy_anchor(squares, labels, alpha=self.hierarchy.alpha, delta=self.hierarchy.delta)


def level_sizes(hierarchy: Hierarchy, tree: Tree) -> tuple[int, ...]:
    """How many nodes each coarser level has.

    Raises:
        ValueError: a level of a learnt tree does not have fewer nodes than the one below.
    """
    if hierarchy.tree == "flat":
        return ()
    if hierarchy.tree == "given":
        return tuple(len(names) for names in tree.names[1:])
    sizes = hierarchy.sizes or tuple(
        size for size in (round(tree.classes ** (2 / 3)), round(tree.classes ** (1 / 3))) if 2 <= size < tree.classes
    )
    for below, size in zip((tree.classes, *sizes), sizes, strict=False):
        if size >= below:
            raise ValueError(f"a level of {size} nodes above one of {below} is no coarser: levels are {sizes}")
    return sizes


def cluster(surface: Surface, points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """k-means of ``points`` (N, d) on the surface → the cluster of each (N), none of the ``size`` clusters empty.

    The best of a few starts, each at random and far apart (k-means++).
    """
    best, least = torch.zeros(len(points), dtype=torch.int64), torch.inf
    for _ in range(_STARTS):
        centres = _scattered(surface, points, size, generator)
        for _ in range(_LLOYD_ROUNDS):
            held = assign(surface, points, centres)
            centres = _means(surface, points, held, size)
        spread = float(surface.squares(points, centres).gather(1, held[:, None]).sum())
        if spread < least:
            best, least = held, spread
    return best


def assign(surface: Surface, points: Tensor, centres: Tensor) -> Tensor:
    """The nearest of ``centres`` (K, d) for each of ``points`` (N ≥ K, d) → (N), every centre having at least one.

    A centre that is nearest to none takes the point that is furthest from its own, of those that are not alone.
    """
    squares: Tensor = surface.squares(points, centres)
    distances, held = squares.min(dim=1)
    for empty in (torch.bincount(held, minlength=len(centres)) == 0).nonzero()[:, 0].tolist():
        counts = torch.bincount(held, minlength=len(centres))
        furthest = int(torch.where(counts[held] > 1, distances, -1.0).argmax())
        held[furthest], distances[furthest] = empty, 0.0
    return held


def _means(surface: Surface, points: Tensor, held: Tensor, size: int) -> Tensor:
    """The mean (K, d) of the ``points`` (N, d) that each of ``size`` nodes holds."""
    found: Tensor = surface.means(points, one_hot(held, size).T.to(points.dtype))
    return found


def _scattered(surface: Surface, points: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """``size`` of the points, each drawn by its squared distance from those before."""
    chosen = [int(torch.randint(len(points), (), generator=generator))]
    for _ in range(size - 1):
        squares = surface.squares(points, points[chosen]).min(dim=1).values
        squares[chosen] = 0.0
        # points that coincide have nothing to be told apart by: any that is left will do
        weights = squares if float(squares.sum()) > 0 else _others(len(points), chosen)
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
    return points[chosen]


def _others(count: int, chosen: Sequence[int]) -> Tensor:
    weights = torch.ones(count)
    weights[list(chosen)] = 0.0
    return weights


def _log_one_and_sum(exponents: Tensor) -> Tensor:
    """log(1 + Σ e^z) over each column: (N, C) → (C)."""
    return softplus(exponents.logsumexp(dim=0))
