"""Changes on their way: from callers to the journal, and from the journal to the searcher that shows them.

What is shown is what the journal holds, in its order, whoever wrote it: a process shows its own changes as it shows
those of others.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from index.column_files import MAX_COLUMNS, values_of
from index.device import CPU
from index.filters import HELD, type_of
from index.journal import JOURNAL, Change, Journal
from index.root import current
from index.search import Searcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from index.device import Device
    from index.filters import ColumnType
    from index.journal import Entry
    from index.live_rows import LiveRows
    from model.catalog import Product

_BATCH = 128
"""Changes that come to light at once: so few that searches hardly feel it."""
MOST_COLUMNS = MAX_COLUMNS - 100
"""Columns to which changes may add: a little fewer than can be indexed, as several processes may add at once."""


@contextmanager
def opened(root: Path, *, threads: int = 1, device: Device = CPU) -> Iterator[Searcher]:
    """The current snapshot of an index root with the changes that its journal holds, for as long as the context lasts.

    Raises:
        SnapshotError: there is none, or it is damaged.
        JournalError: the journal is no journal.
    """
    searcher = Searcher.open(current(root), threads=threads, device=device)
    try:
        if (root / JOURNAL).is_file():
            with Journal(root / JOURNAL) as journal:
                Changes(searcher, journal).catch_up()
        yield searcher
    finally:
        searcher.close()


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a snapshot, and what searches see, are behind the journal."""

    unfolded: int
    """Changes since those that the snapshot holds."""
    unseen: int
    """Changes that searches do not see yet."""
    seconds: float
    """How long the first of these has been there."""


class UnsuitableProductError(ValueError):
    """A product that cannot be stored: a value is of another kind than its column, or there are too many columns."""


class Changes:
    """Brings the changes in ``journal`` to ``searcher``; safe to use from several threads at once.

    The searcher's snapshot holds the journal's changes up to the one that its manifest names. If the searcher that is
    served ``beside`` it has most of what comes after in memory, as rows that suit this one too, they are shared.
    """

    def __init__(self, searcher: Searcher, journal: Journal, *, beside: Changes | None = None) -> None:
        self._searcher = searcher
        self._journal = journal
        self._showing = threading.Lock()
        self._encoding = threading.Lock()
        self._new_columns: set[str] = set()
        """Those of products that were checked and are not shown yet."""
        mark = searcher.mark
        # numbers of another journal mean nothing here
        after = self._after = mark.sequence if mark is not None and mark.id == journal.id else 0
        if journal.last() < after:
            # it was put back as it was before the snapshot: what comes next must not pass for what is folded in
            journal.go_on_after(after)
        shared = beside is not None and beside._journal is journal
        searcher.show(beside._rows_for(searcher, after=after) if beside is not None and shared else None, after=after)

    @property
    def shown(self) -> int:
        """The number of the last change that searches see."""
        return self._searcher.shown

    def lag(self) -> Lag:
        """How far behind the journal the snapshot and the searcher are now."""
        shown = self.shown
        last = self._journal.last()
        since = self._journal.first_after(shown) if last > shown else None
        # another process' clock may be ahead
        seconds = 0.0 if since is None else max(0.0, time.time() - since)
        return Lag(unfolded=last - self._after, unseen=max(0, last - shown), seconds=seconds)

    def check(self, product: Product) -> None:
        """Refuse a product whose values do not suit the columns there are.

        Raises:
            UnsuitableProductError: one of them is of another kind, or would need one column too many.
        """
        types = self._searcher.types
        for name, value in values_of(product).items():
            held, found = types.get(name, type_of(value)), type_of(value)
            if held not in ("text", found):
                raise UnsuitableProductError(
                    f"product {product.product_id!r} has {_SHOWN[found]} in the column {name}, which holds {HELD[held]}"
                )
            if name not in types and name not in self._new_columns:
                columns = len(types) + len(self._new_columns)
                if columns >= MOST_COLUMNS:
                    raise UnsuitableProductError(
                        f"product {product.product_id!r} has a new column {name}, but there are {columns:,} already, "
                        f"of at most {MOST_COLUMNS:,}"
                    )
                self._new_columns.add(name)

    def store(self, products: Sequence[Product], *, checked: bool = False) -> int:
        """Put products into the journal, replacing those of the same ids; return the number of the last change.

        They are on disk when it returns, and shown by the next :meth:`catch_up`. If they are ``checked``, each has just
        passed :meth:`check`.

        Raises:
            UnsuitableProductError: one of them does not suit the columns; none was stored.
            EmptyTextError: one of them has a title without a letter or digit; none was stored.
        """
        for product in () if checked else products:
            self.check(product)
        with self._encoding:  # one at a time: a core is left to searches
            points = self._searcher.encode(products)
        changes = [Change(product.product_id, product, point) for product, point in zip(products, points, strict=True)]
        return self._journal.append(changes, model=self._searcher.model_version)

    def delete(self, product_ids: Sequence[str]) -> int:
        """Put deletions into the journal; return the number of the last change."""
        changes = [Change(product_id, None) for product_id in product_ids]
        return self._journal.append(changes, model=self._searcher.model_version)

    def catch_up(self, *, rest: float = 0.0) -> int:
        """Show all that the journal holds by now; return how many changes came to light.

        After each batch it rests ``rest`` times as long as the batch took. Changes whose points another model made are
        encoded again, and the journal keeps the new points.
        """
        with self._showing:
            last, count = self._journal.last(), 0
            while True:
                started = time.perf_counter()
                shown = self._searcher.follow(_BATCH) or (self._read(last) and self._searcher.follow(_BATCH))
                if not shown:
                    self._new_columns.clear()  # those that were stored are the searcher's by now
                    return count
                count += shown
                if rest:
                    time.sleep(rest * (time.perf_counter() - started))

    def _rows_for(self, searcher: Searcher, *, after: int) -> LiveRows | None:
        """The rows that are shown here, if they suit ``searcher`` and most of them come after that change."""
        rows = self._searcher.rows
        with rows.adding:
            known = searcher.model_version == self._searcher.model_version and rows.after <= after
            most = 2 * rows.place(after) <= len(rows.fates)
            return rows if known and most and rows.columns.expect(searcher.types) else None

    def _read(self, last: int) -> bool:
        """Add to the rows what comes next in the journal, up to the change ``last``; whether anything does."""
        rows = self._searcher.rows
        with rows.adding:
            batch = self._journal.since(rows.last, upto=last, most=_BATCH)
            rows.extend(self._encoded(batch))
            return bool(batch)

    def _encoded(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """``entries``, each product with its point of this searcher's model."""
        model = self._searcher.model_version
        foreign = {
            entry.sequence: entry.change.product
            for entry in entries
            if entry.change.product is not None and entry.model != model
        }
        if not foreign:
            return entries
        points = dict(zip(foreign, self._searcher.encode(list(foreign.values())), strict=True))
        self._journal.replace_points(list(points.items()), model=model)
        return [
            replace(entry, change=replace(entry.change, point=points[entry.sequence]), model=model)
            if entry.sequence in points
            else entry
            for entry in entries
        ]


_SHOWN: dict[ColumnType, str] = {"text": "a text", "number": "a number", "boolean": "true or false"}
