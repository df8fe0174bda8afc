"""The network of the behaviour channel: text vectors of queries and products, and what the graphs add to them.

    x    = projection of the text vector, one for queries and one for products
    z₁   = x + Σ over hops of  (D⁻½ A D⁻½)ʰ x Θₕ           the click graph, A weighted by log(1 + clicks)
    z₂   = x + D⁻¹ H W B⁻¹ Hᵀ x Θ                          the session hypergraph
    z    = β₁ z₁ + β₂ z₂,   β = softmax of w·tanh(V zₖ)    attention over the channels, for each node

A query is a member of a session through what it led to. A node without a session has β₂ = 0; a node without any edge is
its projection, so that new queries and products have vectors as well. All of it but the attention is linear: on few
clicks an activation only took away. Scores are inner products, so that any index of them serves.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from model import lorentz
from model.behaviour.graphs import by_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.behaviour.graphs import Graphs


class Config(BaseModel):
    """What a network is built from; the same for queries and products where nothing else is said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int
    """Axes of the text vectors."""
    width: int = 64
    hops: int = 1
    sessions: bool = True
    """With the second channel; without it the network is a graph convolution on clicks alone."""
    curvature: float = 0.0
    """c of the curvature −c of the space that z is mapped to; 0 scores by plain inner products."""


class Embeddings(NamedTuple):
    """Vectors of Q queries and N products, and the weight of the session channel for each node (Q,), (N,)."""

    queries: Tensor
    products: Tensor
    query_weight: Tensor
    product_weight: Tensor


class Pattern:
    """Where a sparse matrix (R, C) has entries, kept by rows and by columns; the values come later."""

    def __init__(self, rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> None:
        self.shape = shape
        self.rows, self.columns = torch.from_numpy(rows.astype("int64")), torch.from_numpy(columns.astype("int64"))
        self._forward, self._back = _ordered(rows, columns, shape[0]), _ordered(columns, rows, shape[1])

    def matrix(self, values: Tensor) -> Matrix:
        """The matrix with ``values`` (nnz,) at its places, in the order that they were given in."""
        return Matrix(_csr(self._forward, values, self.shape), _csr(self._back, values, self.shape[::-1]))

    def row_sums(self, values: Tensor) -> Tensor:
        """Sums of ``values`` (nnz,) by row, (R,)."""
        return torch.zeros(self.shape[0]).index_add_(0, self.rows, values)

    def column_sums(self, values: Tensor) -> Tensor:
        """The same by column, (C,)."""
        return torch.zeros(self.shape[1]).index_add_(0, self.columns, values)


class Matrix(NamedTuple):
    """A sparse matrix and its transpose, both by rows: products with dense ones are fast in both directions."""

    straight: Tensor
    turned: Tensor

    @property
    def T(self) -> Matrix:  # noqa: N802 - as in NumPy and torch
        """The transpose."""
        return Matrix(self.turned, self.straight)

    def __matmul__(self, dense: Tensor) -> Tensor:
        product: Tensor = _Product.apply(self.straight, self.turned, dense)  # type: ignore[no-untyped-call]
        return product


class _Product(torch.autograd.Function):
    """Sparse times dense, whose gradient is a product with the transpose that is already there."""

    @staticmethod
    def forward(ctx: Any, straight: Tensor, turned: Tensor, dense: Tensor) -> Tensor:
        ctx.turned = turned
        return straight @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.turned @ gradients[0].contiguous()


@dataclass(frozen=True, slots=True)
class Convolutions:
    """Both channels' matrices: ``clicks`` (Q, N) is D⁻½ A D⁻½, and the second channel's nodes are queries and products.

    ``gather`` (S, Q + N) is B⁻¹ Hᵀ and ``spread`` (Q + N, S) is D⁻¹ H W; both are None where no session is used.
    ``masked`` (Q + N,) tells which nodes no session has.
    """

    clicks: Matrix
    gather: Matrix | None
    spread: Matrix | None
    masked: Tensor


class Channels:
    """Graphs made ready: patterns once, values for whatever part of the pairs is kept."""

    def __init__(self, graphs: Graphs, *, sessions: bool = True, joined: bool = True) -> None:
        self.queries, self.products, self.pairs = graphs.queries, graphs.products, len(graphs.query)
        self.query = torch.from_numpy(graphs.query.astype("int64"))
        self.product = torch.from_numpy(graphs.product.astype("int64"))
        self.count = torch.from_numpy(graphs.count)
        self.edges = torch.from_numpy(graphs.edge.nonzero()[0])
        self._clicks = Pattern(
            graphs.query[graphs.edge], graphs.product[graphs.edge], (graphs.queries, graphs.products)
        )
        self._weights = torch.log1p(self.count[self.edges].float())
        self._sessions: Pattern | None = None
        if sessions and graphs.sessions:
            member = torch.from_numpy(graphs.member_pair.astype("int64"))
            nodes, session = (
                self.queries + self.product[member],
                torch.from_numpy(graphs.member_session.astype("int64")),
            )
            if joined:
                nodes, session, member = torch.cat([self.query[member], nodes]), session.repeat(2), member.repeat(2)
            self._member_pair = member
            self._sessions = Pattern(nodes.numpy(), session.numpy(), (self.queries + self.products, graphs.sessions))
            self._session_weight = torch.from_numpy(graphs.session_weight)

    def convolutions(self, kept: Tensor | None = None) -> Convolutions:
        """Normalised matrices of the pairs that are ``kept`` (P,) bool, in both channels alike; of all by default."""
        weights = self._weights if kept is None else self._weights * kept[self.edges]
        by_query, by_product = self._clicks.row_sums(weights), self._clicks.column_sums(weights)
        scale = _inverse(by_query).sqrt()[self._clicks.rows] * _inverse(by_product).sqrt()[self._clicks.columns]
        clicks = self._clicks.matrix(weights * scale)
        if self._sessions is None:
            return Convolutions(clicks, None, None, torch.ones(self.queries + self.products, dtype=torch.bool))
        pattern = self._sessions
        here = torch.ones(len(self._member_pair)) if kept is None else kept[self._member_pair].float()
        weighted = here * self._session_weight[pattern.columns]
        degree = pattern.row_sums(weighted)
        return Convolutions(
            clicks,
            gather=pattern.matrix(here * _inverse(pattern.column_sums(here))[pattern.columns]).T,
            spread=pattern.matrix(weighted * _inverse(degree)[pattern.rows]),
            masked=degree == 0,
        )


class Dcah(nn.Module):
    """The dual-channel network; text vectors in, embeddings out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.query = nn.Linear(config.features, width)
        self.product = nn.Linear(config.features, width)
        with torch.no_grad():  # they start as one projection, under which like texts are alike
            nn.init.orthogonal_(self.product.weight)
            nn.init.zeros_(self.product.bias)
            self.query.load_state_dict(self.product.state_dict())
        self.near = nn.ParameterList([nn.Parameter(torch.eye(width) / config.hops) for _ in range(config.hops)])
        if config.sessions:
            self.together = nn.Parameter(torch.eye(width))
            self.attend = nn.Linear(width, width // 2)
            self.weigh = nn.Linear(width // 2, 1, bias=False)

    def project(self, queries: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Text vectors (Q, F), (N, F) → what nodes are without their neighbours (Q, d), (N, d)."""
        return self.query(queries), self.product(products)

    def forward(self, x_queries: Tensor, x_products: Tensor, graphs: Convolutions) -> Embeddings:
        """Projected vectors (Q, d), (N, d) → embeddings (Q, d), (N, d)."""
        z_queries, z_products = x_queries, x_products
        here_queries, here_products = x_queries, x_products
        for theta in self.near:
            here_queries, here_products = graphs.clicks @ here_products, graphs.clicks.T @ here_queries
            z_queries, z_products = z_queries + here_queries @ theta, z_products + here_products @ theta
        first = torch.cat([z_queries, z_products])
        if graphs.gather is None or graphs.spread is None or not self.config.sessions:
            return self._split(first, torch.zeros(len(first)), len(x_queries))
        x = torch.cat([x_queries, x_products])
        second = x + (graphs.spread @ (graphs.gather @ x)) @ self.together
        weight = self._attention(first, second, graphs.masked)
        return self._split(first + weight[:, None] * (second - first), weight, len(x_queries))

    def scores(self, queries: Tensor, products: Tensor, *, scale: Tensor | float = 1.0) -> Tensor:
        """Scores of all pairs of embeddings (B, d), (K, d) → (B, K), times ``scale``; larger is better."""
        c = self.config.curvature
        if c == 0:
            return (scale * queries) @ products.T  # the few are scaled, not the many
        distances: Tensor = lorentz.pairwise_dist(_placed(queries, c), _placed(products, c), c=c)
        return -scale * distances.square()

    def pair_scores(self, queries: Tensor, products: Tensor) -> Tensor:
        """Scores of embeddings (B, d) with one product each (B, d) → (B,)."""
        c = self.config.curvature
        if c == 0:
            return (queries * products).sum(dim=1)
        distance: Tensor = lorentz.dist(_placed(queries, c), _placed(products, c), c=c)
        return -distance.square()

    def indexed(self, queries: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors whose inner products order products as :meth:`scores` does, (Q, d′), (N, d′).

        On the sheet that is the Lorentz product: one axis more.
        """
        c = self.config.curvature
        if c == 0:
            return queries, products
        m, x = _placed(queries, c), _placed(products, c)
        return torch.cat([m, -lorentz.time(m, c=c)[:, None]], 1), torch.cat([x, lorentz.time(x, c=c)[:, None]], 1)

    def _attention(self, first: Tensor, second: Tensor, masked: Tensor) -> Tensor:
        """Weight of the second channel (Q + N,)."""
        ahead = self.weigh(torch.tanh(self.attend(second))) - self.weigh(torch.tanh(self.attend(first)))
        return torch.sigmoid(ahead[:, 0]).masked_fill(masked, 0.0)

    def _split(self, z: Tensor, weight: Tensor, queries: int) -> Embeddings:
        return Embeddings(z[:queries], z[queries:], weight[:queries], weight[queries:])


_RADIUS = 4.0


def _placed(z: Tensor, c: float) -> Tensor:
    """Tangent vectors as points, softly bounded."""
    points: Tensor = lorentz.exp_map0(lorentz.bound(z, limit=_RADIUS), c=c)
    return points


def _ordered(rows: NDArray[Any], columns: NDArray[Any], count: int) -> list[Tensor]:
    """Starts, columns and entries of the matrix by rows; one type of numbers, as torch wants it."""
    return [torch.from_numpy(part.astype("int64")) for part in by_rows(rows, columns, count)]


def _csr(parts: list[Tensor], values: Tensor, shape: tuple[int, int]) -> Tensor:
    starts, columns, entry = parts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that sparse CSR support is young
        matrix: Tensor = torch.sparse_csr_tensor(starts, columns, values[entry], size=shape)
    return matrix


def _inverse(values: Tensor) -> Tensor:
    """1/values, and zero where a value is zero."""
    return torch.where(values > 0, 1.0 / values.clamp(min=1e-12), 0.0)
