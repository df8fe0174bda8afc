"""Live products: what changed since a snapshot was built, as rows that come after the snapshot's own.

A product that is stored again gets a new row, and the row before is marked as gone; so is that of one that is deleted.
Nothing is ever overwritten: rows say at which moment they ceased to be, and a search looks at all of them as of the
moment at which it began. So searches need no lock, and see every change whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from index.census import GrowingCensus
from index.growing import Growing
from index.live_columns import LiveColumns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from index.census import Census, Scale
    from index.columns import Columns
    from index.documents import Documents
    from index.filters import ColumnType
    from index.live_rows import LiveRows
    from model.catalog import Product

_STAYS = np.iinfo(np.int32).max
"""The moment at which a row that is still there ceases to be."""


@dataclass(frozen=True)
class LiveView:
    """The products of a snapshot of ``base`` rows and the ``count`` live rows after them, as of the moment ``now``.

    Rows below ``base`` are the snapshot's, the others are live.
    """

    base: int
    count: int
    now: int
    points: NDArray[np.float32]
    """Of the live rows, (count, d)."""
    heights: NDArray[np.float32]
    """Theirs (count), see :func:`index.exact.heights`."""
    census: Census | None
    """Theirs, if the snapshot has one."""
    types: Mapping[str, ColumnType]
    """What each column holds, of the snapshot's and of those that live products brought."""
    _products: Sequence[Product]
    _rows: Mapping[str, Sequence[int]]
    _instead: Mapping[int, Sequence[int]]
    _replaced: NDArray[np.int32]
    _columns: LiveColumns
    _until: NDArray[np.int32]
    _base_until: NDArray[np.int32] | None
    _base_gone: int

    @property
    def size(self) -> int:
        """How many products there are."""
        return self.base - self._base_gone + len(self.alive)

    @property
    def untouched(self) -> bool:
        """Whether there are the snapshot's products and no others."""
        return not self.count and not self._base_gone

    @cached_property
    def alive(self) -> NDArray[np.int64]:
        """The live rows, counted from 0, whose products are still there."""
        return np.flatnonzero(self._until[: self.count] > self.now)

    @cached_property
    def columns(self) -> Columns:
        """The columns of the live rows."""
        return self._columns.first(self.count)

    def there(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` (K), of either kind, hold products that are still there (K)."""
        there = np.ones(len(rows), dtype=np.bool_)
        live = rows >= self.base
        if self._base_until is not None:
            there[~live] = self._base_until[rows[~live]] > self.now
        if self.count:
            there[live] = self._until[rows[live] - self.base] > self.now
        return there

    def replaced(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """The snapshot's row of the product in each of the live ``rows`` (K), −1 for those that it lacks (K)."""
        return self._replaced[rows - self.base]

    def instead(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The live rows of those products whose rows in the snapshot are among ``rows`` (K), counted from ``base``."""
        if not self.count:
            return np.empty(0, dtype=np.int64)
        # of several that followed each other at most one is still there
        live = [row for gone in rows[~self.there(rows)].tolist() for row in self._instead.get(gone, ())]
        return np.array([row for row in live if row < self.count], dtype=np.int64) + self.base

    def product(self, row: int) -> Product:
        """The product in the live row ``row``, counted from ``base``."""
        return self._products[row - self.base]

    def row(self, product_id: str, in_snapshot: int | None) -> int | None:
        """The row of a product that has the row ``in_snapshot`` there, None if it is not there."""
        rows = [row for row in self._rows.get(product_id, ()) if row < self.count]
        row = self.base + rows[-1] if rows else in_snapshot
        return row if row is not None and self.there(np.array([row]))[0] else None


def _read_only(points: NDArray[np.float32]) -> NDArray[np.float32]:
    points.flags.writeable = False  # as those of a snapshot are, and compiled code is of one kind
    return points


def nothing(base: int, *, dim: int) -> LiveView:
    """The view of a snapshot of ``base`` rows after which nothing changed."""
    none, points = np.empty(0, dtype=np.int32), np.empty((0, dim), dtype=np.float32)
    return LiveView(base, 0, 0, points, points[:, 0], None, {}, (), {}, {}, none, LiveColumns({}), none, None, 0)


class LiveProducts:
    """What became of the products of a snapshot's ``documents`` after the change ``after``, as ``rows`` tell.

    The snapshot's columns are of ``types``. There is a census of the live points if the snapshot's has a ``scale``. One
    thread at a time follows the rows; any number look at views.
    """

    def __init__(
        self,
        documents: Documents,
        types: Mapping[str, ColumnType],
        scale: Scale | None,
        rows: LiveRows,
        *,
        after: int = 0,
    ) -> None:
        self._documents = documents
        self._base = len(documents)
        self._types = types
        self._live = rows
        self.shown = after
        """The number of the last change that views show."""
        self._next = rows.place(after)
        self._census = None if scale is None else GrowingCensus(scale)
        self._rows: dict[str, list[int]] = {}
        self._instead: dict[int, list[int]] = {}
        """The live rows of products by their rows in the snapshot."""
        self._replaced: Growing[np.int32] = Growing(np.int32)
        self._until: Growing[np.int32] = Growing(np.int32)
        self._base_until: NDArray[np.int32] | None = None
        self._base_gone = 0
        self._now = 0
        if self._next:
            # what the snapshot holds itself is not there a second time
            self._add(rows.fates[self._next - 1].rows, until=0)
        self.view = self._look()

    def follow(self, most: int | None = None) -> int:
        """Bring to light what the rows tell by now, all at once; how many changes, not more than ``most``."""
        fates = self._live.fates[self._next : None if most is None else self._next + most]
        if not fates:
            return 0
        moment = self._now + 1
        self._add(fates[-1].rows, until=_STAYS)
        in_snapshot = self._documents.rows([fate.product_id for fate in fates])
        for fate, row in zip(fates, in_snapshot, strict=True):
            self._remove(fate.product_id, row, moment)
            if fate.row is not None:
                rows = self._rows.setdefault(fate.product_id, [])
                rows.append(fate.row)
                if row is not None:
                    self._instead[row] = rows
                    self._replaced.view[fate.row] = row
        self._now = moment
        self._next += len(fates)
        self.view = self._look()
        # after the view: who reads this number first and then the view sees no less than it says
        self.shown = fates[-1].sequence
        return len(fates)

    def _add(self, rows: int, *, until: int) -> None:
        """Take up the live rows as far as the first ``rows``, which are there until that moment."""
        start = len(self._until)
        if self._census is not None and rows > start:
            self._census.extend(self._live.points.view[start:rows])
        self._until.extend(np.full(rows - start, until))
        self._replaced.extend(np.full(rows - start, -1))

    def _remove(self, product_id: str, in_snapshot: int | None, moment: int) -> None:
        """Mark the row of a product, if there is one, as gone from ``moment`` on."""
        rows = self._rows.get(product_id)
        if rows:
            until = self._until.view
            until[rows[-1]] = min(moment, until[rows[-1]])
        elif in_snapshot is not None:
            if self._base_until is None:
                self._base_until = np.full(self._base, _STAYS, dtype=np.int32)
            if self._base_until[in_snapshot] == _STAYS:
                self._base_until[in_snapshot] = moment
                self._base_gone += 1

    def _look(self) -> LiveView:
        live, count = self._live, len(self._until)
        points = _read_only(live.points.view[:count])
        return LiveView(
            base=self._base,
            count=count,
            now=self._now,
            points=points,
            heights=live.heights.view[:count],
            census=None if self._census is None else self._census.of(points),
            types={**self._types, **live.columns.types},
            _products=live.products,
            _rows=self._rows,
            _instead=self._instead,
            _replaced=self._replaced.view,
            _columns=live.columns,
            _until=self._until.view,
            _base_until=self._base_until,
            _base_gone=self._base_gone,
        )
