"""The generated shop as a whole."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from model.sample import behaviour, products, queries

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.catalog import Interaction, Judgment, Product
    from model.sample.products import Stock
    from model.sample.queries import Pool, Query

# a shop's vocabulary grows with the square root of its range, its visits with the range
_QUERIES_PER_ROOT = 14
_SESSIONS_PER_PRODUCT = 2


class Shop:
    """A made-up shop of ``size`` products, up to ``queries`` queries and two shopping sessions a product.

    What products and queries *are* is held in a few bytes each; what they look like is made while it is read.
    ``sessions`` asks for another number of sessions; ``habits`` are what shoppers are like.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        size: int = 2000,
        *,
        queries: int | None = None,
        seed: int = 0,
        sessions: int | None = None,
        habits: behaviour.Habits | None = None,
    ) -> None:
        wanted = round(_QUERIES_PER_ROOT * math.sqrt(max(size, 0))) if queries is None else queries
        self.sessions = _SESSIONS_PER_PRODUCT * size if sessions is None else sessions
        counts = (("size", size, 1), ("queries", wanted, 1), ("seed", seed, 0), ("sessions", self.sessions, 1))
        for name, value, least in counts:
            if value < least:
                raise ValueError(f"a shop's {name} must be at least {least}, not {value}")
        self.size = size
        self._wanted_queries = wanted
        self._habits = habits or behaviour.Habits()
        self.stock: Stock = products.stock(size, seed=seed)

    @cached_property
    def queries(self) -> tuple[Query, ...]:
        """What shoppers ask for."""
        return queries.queries(self.stock, self._wanted_queries)

    def products(self) -> Iterator[Product]:
        """The catalogue, in order of ``product_id``."""
        return products.products(self.stock)

    def judgments(self) -> Iterator[Judgment]:
        """How relevant a sample of products is to each query, on the scale from 1 to 3."""
        return queries.judgments(self.queries, self._pools)

    def interactions(self) -> Iterator[Interaction]:
        """What shoppers clicked, put into their carts and bought, in order of their sessions."""
        return behaviour.interactions(self.stock, self.queries, self._pools, self.sessions, self._habits)

    @cached_property
    def _pools(self) -> tuple[Pool, ...]:
        return tuple(queries.pools(self.stock, self.queries))
