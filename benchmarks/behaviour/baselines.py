"""What the channel has to beat: popularity, item-kNN on sessions, LightGCN, and the text alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from model import lorentz
from model.behaviour.convolutions import Channels, Pattern
from model.hyperboloid import containment

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.behaviour.score import Ranker
    from benchmarks.behaviour.task import Task
    from model.behaviour.graphs import Graphs
    from model.bundle import Geometry
    from model.hyperboloid import Hyperboloids

_TIE = 1e-6
_REGIONS = 1000


class Popularity:
    """The most clicked products first, whatever is asked."""

    def __init__(self, task: Task) -> None:
        clicks = np.bincount(task.train.product, minlength=len(task.product_ids))
        self.scores_of_products = clicks.astype(np.float32)

    def scores(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Numbers of clicks."""
        return np.tile(self.scores_of_products, (len(queries), 1))


class ItemKnn:
    """Products that share sessions with those that the query led to: cosine of their sessions, by number of clicks.

    Ties, and queries that led to nothing yet, go by popularity.
    """

    def __init__(self, task: Task, graphs: Graphs) -> None:
        products = len(task.product_ids)
        clicked = Pattern.of(graphs.query, graphs.product, (graphs.queries, products))
        self._clicks = clicked.matrix(torch.from_numpy(graphs.count).float())
        places = np.unique(np.stack([graphs.product[graphs.member_pair], graphs.member_session]), axis=1)
        incidence = Pattern.of(*places, (products, graphs.sessions))
        sizes = incidence.row_sums(torch.ones(places.shape[1]))
        self._sessions = incidence.matrix(sizes.clamp(min=1).rsqrt()[incidence.rows])
        self._ties = _TIE * torch.from_numpy(Popularity(task).scores_of_products)

    def scores(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Similarities, added up over what each query led to."""
        asked = torch.zeros(self._clicks.straight.shape[0], len(queries))
        asked[torch.from_numpy(queries), torch.arange(len(queries))] = 1.0
        found = self._sessions @ (self._sessions.T @ (self._clicks.T @ asked))
        return (found.T + self._ties).numpy()


class InnerProducts:
    """A ranker of vectors; ``ties`` (N,) decides between equal scores."""

    def __init__(self, queries: Tensor, products: Tensor, ties: Tensor | None = None) -> None:
        self._queries, self._products, self._ties = queries, products, ties

    def scores(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Inner products."""
        found = self._queries[torch.from_numpy(queries)] @ self._products.T
        return (found if self._ties is None else found + self._ties).numpy()


class LightGcn(nn.Module):
    """He et al. 2020: an embedding for each node, the mean over hops of D⁻½ A D⁻½, and nothing else.

    The loss is the one that the behaviour network has, cross-entropy over sampled products, which does better than the
    paper's pairwise loss. A query without clicks has no vector: popularity answers it.
    """

    def __init__(self, graphs: Graphs, *, width: int, hops: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.channels = Channels(graphs, sessions=False)
        self._graph = self.channels.convolutions().clicks
        self._hops = hops
        self.queries = nn.Parameter(0.1 * torch.randn(graphs.queries, width))
        self.products = nn.Parameter(0.1 * torch.randn(graphs.products, width))
        self._known = torch.bincount(self.channels.query, minlength=graphs.queries) > 0

    def forward(self) -> tuple[Tensor, Tensor]:
        """Vectors (Q, d), (N, d)."""
        query, product = self.queries, self.products
        all_queries, all_products = [query], [product]
        for _ in range(self._hops):
            query, product = self._graph @ product, self._graph.T @ query
            all_queries.append(query)
            all_products.append(product)
        return torch.stack(all_queries).mean(0) * self._known[:, None], torch.stack(all_products).mean(0)


def train_light_gcn(
    task: Task,
    graphs: Graphs,
    *,
    seed: int,
    judge: Callable[[InnerProducts], float],
    steps: int = 400,
    rate: float = 0.02,
    decay: float = 1e-4,
    hops: int = 2,
    candidates: int = 512,
    batch: int = 4096,
) -> InnerProducts:
    """The best state on dev, looked at every 20 steps."""
    model = LightGcn(graphs, width=64, hops=hops, seed=seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    ties = _TIE * torch.from_numpy(Popularity(task).scores_of_products)
    generator = torch.Generator().manual_seed(seed)
    channels = model.channels
    best, kept = -1.0, InnerProducts(*(part.detach() for part in model()), ties)
    for step in range(1, steps + 1):
        queries, products = model()
        pairs = torch.randint(channels.pairs, (min(batch, channels.pairs),), generator=generator)
        offered = torch.randint(channels.products, (min(candidates, channels.products),), generator=generator)
        own = 8.0 * (queries[channels.query[pairs]] * products[channels.product[pairs]]).sum(1)
        others = 8.0 * queries[channels.query[pairs]] @ products[offered].T
        others = others.masked_fill(offered[None] == channels.product[pairs][:, None], -torch.inf)
        weights = channels.count[pairs].float().sqrt()
        loss = (weights * (torch.logaddexp(own, others.logsumexp(1)) - own)).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 20 == 0:
            ranker = InnerProducts(*(part.detach() for part in model()), ties)
            if (found := judge(ranker)) > best:
                best, kept = found, ranker
    return kept


class TextAlone:
    """Containment distance of the text encoder: exact for the products nearest to the centre, and the rest behind."""

    def __init__(self, regions: Hyperboloids, points: NDArray[np.float32], geometry: Geometry) -> None:
        self._regions, self._points, self._geometry = regions, points, geometry
        self._kept: dict[int, NDArray[np.float32]] = {}

    def scores(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Distances, negated; remembered by query."""
        return np.stack([self._of(query) for query in queries.tolist()])

    def _of(self, query: int) -> NDArray[np.float32]:
        if query not in self._kept:
            centre, limit = self._regions.centres[query], self._regions.limits[query]
            c, gamma = self._geometry.curvature, self._geometry.gamma
            distances = lorentz.pairwise_dist(centre[None], self._points, c=c)[0]
            near = np.argpartition(distances, min(_REGIONS, len(distances) - 1))[:_REGIONS]
            exact = containment(self._points[near], centre[None], limit[None], c=c, gamma=gamma)
            scores = -(distances + exact.max())
            scores[near] = -exact
            self._kept[query] = scores.astype(np.float32)
        return self._kept[query].copy()


class Together:
    """Two rankers as one: the sum of their scores, each less its mean and over its deviation for the query."""

    def __init__(self, first: TextAlone, second: Ranker, weight: float) -> None:
        self._first, self._second, self._weight = first, second, weight

    def scores(self, queries: NDArray[np.int64]) -> NDArray[np.float32]:
        """Sums."""
        return _standard(self._first.scores(queries)) + self._weight * _standard(self._second.scores(queries))


def _standard(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = scores.std(axis=1, keepdims=True)
    standard: NDArray[np.float32] = (scores - scores.mean(axis=1, keepdims=True)) / np.maximum(spread, 1e-9)
    return standard
