"""Two graphs from clicks: query–product edges, and hyperedges of the products of one session.

Both are held by *pair*, one query with one product: a pair is an edge of the first graph, and it is what put a product
into a session. What leaves out a pair leaves it out of both graphs. Memory is linear in pairs and members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.behaviour.clicks import Clicks


class Csr(NamedTuple):
    """A sparse matrix (R, C) by rows: row r has ``columns[starts[r]:starts[r + 1]]``, with entries of that place.

    ``entry`` (nnz,) tells which of the entries it was made of stands where.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    entry: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Graphs:
    """Q queries, N products, P pairs, S sessions and M memberships.

    ``query``, ``product`` (P,) int32 and ``count`` (P,) int64 are the pairs; ``edge`` (P,) tells which are seen often
    enough to be edges. ``member_pair``, ``member_session`` (M,) int32: which pair brought a product into which session.
    ``session_weight`` (S,) float32 is larger for sessions of products that few other sessions have.
    """

    queries: int
    products: int
    query: NDArray[np.int32]
    product: NDArray[np.int32]
    count: NDArray[np.int64]
    edge: NDArray[np.bool_]
    member_pair: NDArray[np.int32]
    member_session: NDArray[np.int32]
    session_weight: NDArray[np.float32]
    alone: int
    """Sessions of fewer than two products: they tell nothing."""
    crowded: int
    """Sessions of more products than are taken for one purpose."""

    @property
    def sessions(self) -> int:
        """S, the number of hyperedges."""
        return len(self.session_weight)

    @property
    def telling(self) -> NDArray[np.bool_]:
        """Which pairs (P,) tell anything: the edges, and those that brought a product into a session."""
        telling = self.edge.copy()
        telling[self.member_pair] = True
        return telling

    def known_queries(self) -> NDArray[np.int32]:
        """The queries that any telling pair has, the most clicked first; equal counts go by number."""
        telling, counts = self.telling, np.zeros(self.queries, dtype=np.int64)
        np.add.at(counts, self.query[telling], self.count[telling])
        order = np.argsort(-counts, kind="stable")
        return order[: np.count_nonzero(counts)].astype(np.int32)

    def remarks(self) -> list[str]:
        """What a person should know, a line each."""
        found = []
        if not self.sessions:
            found.append("no session has two products or more: the channel learns from clicks alone")
        if self.crowded:
            found.append(f"{self.crowded:,} sessions have too many products to mean one thing and join none of them")
        return found


def build(clicks: Clicks, products: int, *, min_count: int = 1, most_products: int = 50) -> Graphs:
    """The graphs of ``clicks`` on a catalogue of ``products``.

    Args:
        clicks: what is known; what is to be predicted must not be among it.
        products: N.
        min_count: clicks that a pair needs to be an edge.
        most_products: products that a session may have to be a hyperedge; the least is two.
    """
    keys = clicks.query.astype(np.int64) * products + clicks.product
    distinct, pair, count = np.unique(keys, return_inverse=True, return_counts=True)
    query, product = (distinct // products).astype(np.int32), (distinct % products).astype(np.int32)
    inside = clicks.session >= 0
    members = np.unique(np.stack([clicks.session[inside].astype(np.int64), pair[inside]]), axis=1)
    session, member_pair = members[0], members[1]
    sizes = _distinct_products(session, product[member_pair], products)
    numbers = np.flatnonzero((sizes >= 2) & (sizes <= most_products))
    kept = (sizes[session] >= 2) & (sizes[session] <= most_products) if len(session) else np.zeros(0, dtype=np.bool_)
    member_session = np.searchsorted(numbers, session[kept]).astype(np.int32)
    member_pair = member_pair[kept].astype(np.int32)
    return Graphs(
        queries=len(clicks.queries),
        products=products,
        query=query,
        product=product,
        count=count,
        edge=count >= min_count,
        member_pair=member_pair,
        member_session=member_session,
        session_weight=_weights(member_session, product[member_pair], len(numbers), products),
        alone=int((sizes == 1).sum()),
        crowded=int((sizes > most_products).sum()),
    )


def by_rows(rows: NDArray[np.int32], columns: NDArray[np.int32], count: int) -> Csr:
    """Entries at ``rows`` and ``columns`` (nnz,) as a matrix of ``count`` rows; entries of one place stay apart."""
    entry = np.lexsort((columns, rows))
    starts = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=count), out=starts[1:])
    return Csr(starts, columns[entry].astype(np.int32), entry)


def _distinct_products(session: NDArray[np.int64], product: NDArray[np.int32], products: int) -> NDArray[np.int64]:
    """How many different products each session has, by its number."""
    distinct = np.unique(session * products + product) // products
    return np.bincount(distinct)


def _weights(
    session: NDArray[np.int32], product: NDArray[np.int32], sessions: int, products: int
) -> NDArray[np.float32]:
    """The mean over a session's members of 1/√(memberships of the product)."""
    rarity = 1.0 / np.sqrt(np.maximum(np.bincount(product, minlength=products), 1))
    total = np.bincount(session, weights=rarity[product], minlength=sessions)
    return (total / np.maximum(np.bincount(session, minlength=sessions), 1)).astype(np.float32)
