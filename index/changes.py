"""Changes on their way: from callers to the journal, and from the journal to the searcher that shows them.

What is shown is what the journal holds, in its order, whoever wrote it: a process shows its own changes as it shows
those of others.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from index.column_files import values_of
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
    from model.catalog import Product

_REPLAY_BATCH = 128
"""Changes that come to light at once: so few that searches hardly feel it."""


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


class UnsuitableProductError(ValueError):
    """A product that cannot be stored, as one of its values is of another kind than its column."""


class Changes:
    """Brings the changes in ``journal`` to ``searcher``; safe to use from several threads at once.

    The searcher's snapshot holds the journal's changes up to the one that its manifest names.
    """

    def __init__(self, searcher: Searcher, journal: Journal) -> None:
        self._searcher = searcher
        self._journal = journal
        mark = searcher.mark
        # numbers of another journal mean nothing here
        self._shown = mark.sequence if mark is not None and mark.id == journal.id else 0
        self._showing = threading.Lock()
        self._encoding = threading.Lock()

    @property
    def shown(self) -> int:
        """The number of the last change that searches see."""
        return self._shown

    def check(self, product: Product) -> None:
        """Refuse a product whose values do not suit the columns there are.

        Raises:
            UnsuitableProductError: one of them is of another kind.
        """
        types = self._searcher.types
        for name, value in values_of(product).items():
            held, found = types.get(name, type_of(value)), type_of(value)
            if held not in ("text", found):
                raise UnsuitableProductError(
                    f"product {product.product_id!r} has {_SHOWN[found]} in the column {name}, which holds {HELD[held]}"
                )

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
                batch = self._journal.since(self._shown, upto=last, most=_REPLAY_BATCH)
                if not batch:
                    return count
                self._searcher.apply(self._encoded(batch))
                self._shown = batch[-1].sequence
                count += len(batch)
                if rest:
                    time.sleep(rest * (time.perf_counter() - started))

    def _encoded(self, entries: Sequence[Entry]) -> list[Change]:
        """The changes of ``entries``, each product with its point of this searcher's model."""
        model = self._searcher.model_version
        foreign = {
            entry.sequence: entry.change.product
            for entry in entries
            if entry.change.product is not None and entry.model != model
        }
        if not foreign:
            return [entry.change for entry in entries]
        points = dict(zip(foreign, self._searcher.encode(list(foreign.values())), strict=True))
        self._journal.replace_points(list(points.items()), model=model)
        return [
            Change(entry.change.product_id, entry.change.product, points.get(entry.sequence, entry.change.point))
            for entry in entries
        ]


_SHOWN: dict[ColumnType, str] = {"text": "a text", "number": "a number", "boolean": "true or false"}
