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
from index.column_files import values_of
from index.exact import heights
from index.growing import Growing
from index.live_columns import LiveColumns
from model.catalog import searchable_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from index.census import Census, Scale
    from index.columns import Columns
    from index.documents import Documents
    from index.filters import ColumnType
    from index.journal import Change
    from index.lexical import LexicalIndex
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
    _products: Sequence[Product]
    _rows: Mapping[str, Sequence[int]]
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

    @property
    def types(self) -> dict[str, ColumnType]:
        """What each column holds, of the snapshot's and of those that live products brought."""
        return self._columns.types

    def there(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` (K), of either kind, hold products that are still there (K)."""
        there = np.ones(len(rows), dtype=np.bool_)
        live = rows >= self.base
        if self._base_until is not None:
            there[~live] = self._base_until[rows[~live]] > self.now
        if self.count:
            there[live] = self._until[rows[live] - self.base] > self.now
        return there

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
    return LiveView(base, 0, 0, points, points[:, 0], None, (), {}, LiveColumns({}), none, None, 0)


class LiveProducts:
    """Takes changes after a snapshot of ``documents``, whose columns are of ``types``, and of the words in ``lexical``.

    There is a census of the live points if the snapshot's has a ``scale``. One thread at a time applies changes; any
    number look at views.
    """

    def __init__(
        self,
        documents: Documents,
        types: Mapping[str, ColumnType],
        lexical: LexicalIndex,
        scale: Scale | None,
        *,
        dim: int,
        c: float,
    ) -> None:
        self._documents = documents
        self._base = len(documents)
        self._lexical = lexical
        self._c = c
        self._points: Growing[np.float32] = Growing(np.float32, dim)
        self._heights: Growing[np.float32] = Growing(np.float32)
        self._census = None if scale is None else GrowingCensus(scale)
        self._products: list[Product] = []
        self._rows: dict[str, list[int]] = {}
        self._columns = LiveColumns(types)
        self._until: Growing[np.int32] = Growing(np.int32)
        self._base_until: NDArray[np.int32] | None = None
        self._base_gone = 0
        self._now = 0
        self.view = self._look()

    def apply(self, changes: Sequence[Change]) -> None:
        """Bring ``changes`` to light, all at once; each product that is stored has its point."""
        if not changes:
            return
        moment, row = self._now + 1, len(self._products)
        self._add([change for change in changes if change.product is not None])
        in_snapshot = dict(
            zip(ids := [change.product_id for change in changes], self._documents.rows(ids), strict=True)
        )
        for change in changes:
            self._remove(change.product_id, in_snapshot[change.product_id], moment)
            if change.product is not None:
                self._rows.setdefault(change.product_id, []).append(row)
                row += 1
        self._now = moment
        self.view = self._look()

    def _add(self, stored: Sequence[Change]) -> None:
        """Give what is stored its rows, all at once: by far cheaper than one by one."""
        if not stored:
            return
        start = len(self._products)
        products = [change.product for change in stored if change.product is not None]
        points = [change.point for change in stored if change.point is not None]
        assert len(points) == len(stored), f"{len(points)} of {len(stored)} products have points"
        self._products += products
        self._points.extend(stacked := np.stack(points))
        self._heights.extend(heights(stacked, c=self._c))
        if self._census is not None:
            self._census.extend(stacked)
        self._until.extend(np.full(len(stored), _STAYS))
        self._columns.extend(start, list(map(values_of, products)))
        self._lexical.extend(start, map(searchable_text, products))

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
        points = _read_only(self._points.view)
        return LiveView(
            base=self._base,
            count=len(self._products),
            now=self._now,
            points=points,
            heights=self._heights.view,
            census=None if self._census is None else self._census.of(points),
            _products=self._products,
            _rows=self._rows,
            _columns=self._columns,
            _until=self._until.view,
            _base_until=self._base_until,
            _base_gone=self._base_gone,
        )
