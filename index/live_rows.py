"""Live rows: the products that a journal stored, in its order, whatever snapshot they come after.

Decoded, split into words and put into columns once: the searchers of one snapshot and of the next share them, and
each only keeps which of them still hold.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.column_files import values_of
from index.exact import heights
from index.growing import Growing
from index.lexical import terms_of
from index.live_columns import LiveColumns
from index.live_words import LiveWords
from model.catalog import searchable_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from index.filters import ColumnType
    from index.journal import Entry
    from model.catalog import Product


class Fate(NamedTuple):
    """What a change made of a product: it has the live ``row``, or none since it was deleted."""

    sequence: int
    product_id: str
    row: int | None
    rows: int
    """How many live rows there were then, this one included."""


class LiveRows:
    """What was stored after the change ``after`` of a journal, the products' points by one model.

    Whoever adds holds ``adding``; any number read what was there before. Columns that snapshots have are of ``types``.
    """

    def __init__(self, types: Mapping[str, ColumnType], *, dim: int, c: float, after: int = 0) -> None:
        self.after = after
        self.adding = threading.Lock()
        self.products: list[Product] = []
        self.points: Growing[np.float32] = Growing(np.float32, dim)
        self.heights: Growing[np.float32] = Growing(np.float32)
        self.columns = LiveColumns(types)
        self.words = LiveWords()
        self.fates: list[Fate] = []
        """Of all changes, in their order."""
        self._c = c

    @property
    def last(self) -> int:
        """The number of the last change that is here."""
        return self.fates[-1].sequence if self.fates else self.after

    def place(self, sequence: int) -> int:
        """Where in ``fates`` those begin that come after the change ``sequence``."""
        return bisect_right(self.fates, sequence, key=attrgetter("sequence"))

    def extend(self, entries: Sequence[Entry]) -> None:
        """Add changes that come after all that are here; each product that is stored has its point."""
        changes = [entry.change for entry in entries]
        self._store([change.product for change in changes if change.product is not None])
        points = [change.point for change in changes if change.point is not None]
        if points:
            self.points.extend(stacked := np.stack(points))
            self.heights.extend(heights(stacked, c=self._c))
        assert len(self.points) == len(self.products), f"{len(self.points)} of {len(self.products)} have points"
        rows = self.fates[-1].rows if self.fates else 0
        fates = []
        for entry in entries:
            stored = entry.change.product is not None
            fates.append(Fate(entry.sequence, entry.change.product_id, rows if stored else None, rows + stored))
            rows += stored
        self.fates += fates  # last: whoever sees a fate sees its row

    def _store(self, products: Sequence[Product]) -> None:
        """Give products their rows, all at once: by far cheaper than one by one."""
        if not products:
            return
        start = len(self.products)
        self.products += products
        self.columns.extend(start, list(map(values_of, products)))
        self.words.extend([terms_of(searchable_text(product)) for product in products])
