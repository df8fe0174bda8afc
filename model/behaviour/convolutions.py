"""The graphs as sparse matrices, ready to be multiplied: all of them, or the part that some nodes' embeddings need.

What an embedding depends on is its node's neighbourhood alone, so a loss over a few nodes costs what lies around those.
Degrees are always those of the whole graphs: a part gives its nodes the very embeddings that the whole would.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import Tensor

from model.behaviour.graphs import by_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.behaviour.graphs import Graphs


class Order(NamedTuple):
    """Entries of a sparse matrix by rows.

    ``starts`` (R + 1) says where each row begins; ``columns`` and ``entry`` (nnz,) are, in that order, the columns and
    which of the entries that it was made of they are.
    """

    starts: Tensor
    columns: Tensor
    entry: Tensor


@dataclass(frozen=True, slots=True)
class Pattern:
    """Where a sparse matrix (R, C) has entries, kept by rows and by columns; the values come later."""

    shape: tuple[int, int]
    rows: Tensor
    columns: Tensor
    straight: Order
    turned: Order

    @classmethod
    def of(cls, rows: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int]) -> Self:
        """Entries at ``rows`` and ``columns`` (nnz,)."""
        row, column = (torch.from_numpy(part.astype("int64")) for part in (rows, columns))
        return cls(shape, row, column, _ordered(rows, columns, shape[0]), _ordered(columns, rows, shape[1]))

    def matrix(self, values: Tensor) -> Matrix:
        """The matrix with ``values`` (nnz,) at its places, in the order that they were given in."""
        return Matrix(_csr(self.straight, values, self.shape), _csr(self.turned, values, self.shape[::-1]))

    def part(self, kept: Tensor, rows: Tensor, columns: Tensor) -> Pattern:
        """The entries that are ``kept`` (nnz,) bool, in a matrix of some ``rows`` and ``columns`` alone, both in order.

        What is kept lies in those.
        """
        row, column = _numbers(rows, self.shape[0])[self.rows], _numbers(columns, self.shape[1])[self.columns]
        entry = _numbers(torch.nonzero(kept)[:, 0], len(kept))
        straight, turned = (
            _of_order(order, kept, entry, *places)
            for order, places in ((self.straight, (row, column, len(rows))), (self.turned, (column, row, len(columns))))
        )
        return Pattern((len(rows), len(columns)), row[kept], column[kept], straight, turned)

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


class Part(NamedTuple):
    """Graphs of some ``queries`` (Q′,) and ``products`` (N′,), both in order, that are right for fewer of them."""

    graphs: Convolutions
    queries: Tensor
    products: Tensor

    def places(self, queries: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
        """Where these nodes are among its own."""
        return torch.searchsorted(self.queries, queries), torch.searchsorted(self.products, products)


class _Values(NamedTuple):
    """Entries of the matrices: of ``clicks``, of ``sessions`` to gather and to spread, if there are any.

    ``masked`` is as in :class:`Convolutions`.
    """

    clicks: Tensor
    sessions: tuple[Tensor, Tensor] | None
    masked: Tensor


class Channels:
    """Graphs made ready: patterns once, values for whatever part of the pairs is kept."""

    def __init__(self, graphs: Graphs, *, sessions: bool = True, joined: bool = True) -> None:
        self.queries, self.products, self.pairs = graphs.queries, graphs.products, len(graphs.query)
        self.query = torch.from_numpy(graphs.query.astype("int64"))
        self.product = torch.from_numpy(graphs.product.astype("int64"))
        self.count = torch.from_numpy(graphs.count)
        self.edges = torch.from_numpy(graphs.edge.nonzero()[0])
        self._clicks = Pattern.of(
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
            self._sessions = Pattern.of(nodes.numpy(), session.numpy(), (self.queries + self.products, graphs.sessions))
            self._session_weight = torch.from_numpy(graphs.session_weight)

    def convolutions(self, kept: Tensor | None = None) -> Convolutions:
        """Normalised matrices of the pairs that are ``kept`` (P,) bool, in both channels alike; of all by default."""
        values = self._values(kept)
        clicks = self._clicks.matrix(values.clicks)
        if self._sessions is None or values.sessions is None:
            return Convolutions(clicks, None, None, values.masked)
        gather, spread = (self._sessions.matrix(each) for each in values.sessions)
        return Convolutions(clicks, gather.T, spread, values.masked)

    def around(self, queries: Tensor, products: Tensor, kept: Tensor | None = None, *, hops: int) -> Part:
        """The part of :meth:`convolutions` that embeddings of some ``queries`` and ``products`` need, by number.

        Args:
            queries: (K,), in any order.
            products: (L,), in any order.
            kept: as there.
            hops: how often the network convolves the clicks.
        """
        values = self._values(kept)
        near = torch.zeros(self.queries + self.products, dtype=torch.bool)
        near[queries] = near[self.queries + products] = True
        asked = near.clone()
        rows, columns = self._clicks.rows, self.queries + self._clicks.columns
        edges = torch.zeros(len(rows), dtype=torch.bool)
        for _ in range(hops):
            edges = (near[rows] | near[columns]) & (values.clicks > 0)
            near[rows[edges]] = near[columns[edges]] = True
        gather = spread = None
        if self._sessions is not None and values.sessions is not None:
            gather, spread = self._sessions_of(self._sessions, values.sessions, asked, near)
        nodes = torch.nonzero(near)[:, 0]
        ours, theirs = torch.nonzero(near[: self.queries])[:, 0], torch.nonzero(near[self.queries :])[:, 0]
        clicks = self._clicks.part(edges, ours, theirs).matrix(values.clicks[edges])
        return Part(Convolutions(clicks, gather, spread, values.masked[nodes]), ours, theirs)

    def _sessions_of(
        self, pattern: Pattern, values: tuple[Tensor, Tensor], asked: Tensor, near: Tensor
    ) -> tuple[Matrix | None, Matrix | None]:
        """The sessions of the nodes ``asked`` (Q + N,) with all their members, which join the nodes that are ``near``.

        None where there are none.
        """
        here = values[0] > 0
        reached = asked[pattern.rows] & here
        if not reached.any():
            return None, None
        whole = torch.zeros(pattern.shape[1], dtype=torch.bool)
        whole[pattern.columns[reached]] = True
        members = whole[pattern.columns] & here
        near[pattern.rows[members]] = True
        places = torch.nonzero(near)[:, 0], torch.nonzero(whole)[:, 0]
        gather = pattern.part(members, *places).matrix(values[0][members])
        return gather.T, pattern.part(reached, *places).matrix(values[1][reached])

    def _values(self, kept: Tensor | None) -> _Values:
        weights = self._weights if kept is None else self._weights * kept[self.edges]
        by_query, by_product = self._clicks.row_sums(weights), self._clicks.column_sums(weights)
        scale = _inverse(by_query).sqrt()[self._clicks.rows] * _inverse(by_product).sqrt()[self._clicks.columns]
        if self._sessions is None:
            alone = torch.ones(self.queries + self.products, dtype=torch.bool)
            return _Values(weights * scale, None, alone)
        pattern = self._sessions
        here = torch.ones(len(self._member_pair)) if kept is None else kept[self._member_pair].float()
        weighted = here * self._session_weight[pattern.columns]
        degree = pattern.row_sums(weighted)
        gather = here * _inverse(pattern.column_sums(here))[pattern.columns]
        spread = weighted * _inverse(degree)[pattern.rows]
        return _Values(weights * scale, (gather, spread), masked=degree == 0)


def _ordered(rows: NDArray[Any], columns: NDArray[Any], count: int) -> Order:
    """The entries by rows; one type of numbers, as torch wants it."""
    return Order(*(torch.from_numpy(part.astype("int64")) for part in by_rows(rows, columns, count)))


def _of_order(order: Order, kept: Tensor, entry: Tensor, row: Tensor, column: Tensor, count: int) -> Order:
    """The entries of an order that are ``kept``, by their new numbers, in ``count`` rows; all but that is (nnz,)."""
    chosen = order.entry[kept[order.entry]]
    starts = torch.zeros(count + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(row[chosen], minlength=count), 0, out=starts[1:])
    return Order(starts, column[chosen], entry[chosen])


def _numbers(chosen: Tensor, count: int) -> Tensor:
    """For each of ``count`` things its place among the ``chosen``; 0 for the others."""
    numbers = torch.zeros(count, dtype=torch.int64)
    numbers[chosen] = torch.arange(len(chosen))
    return numbers


def _csr(order: Order, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that sparse CSR support is young
        matrix: Tensor = torch.sparse_csr_tensor(order.starts, order.columns, values[order.entry], size=shape)
    return matrix


def _inverse(values: Tensor) -> Tensor:
    """1/values, and zero where a value is zero."""
    return torch.where(values > 0, 1.0 / values.clamp(min=1e-12), 0.0)
