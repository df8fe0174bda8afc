"""Bulk changes: lines of JSON, each a product to store or an id to delete, each with a fate of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from index.changes import UnsuitableProductError
from model.catalog import CatalogError, product_id_of, product_of

if TYPE_CHECKING:
    from index.changes import Changes
    from model.catalog import Product

MAX_LINE_BYTES = 1 << 20
_BATCH = 256
_DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that was not stored, and why."""

    line: int
    product_id: str | None
    reason: str


@dataclass(slots=True)
class Outcome:
    """What became of the lines."""

    stored: int = 0
    deleted: int = 0
    sequence: int | None = None
    rejected: list[Rejected] = field(default_factory=list)


def apply_lines(changes: Changes, body: bytes) -> Outcome:
    """Store and delete what the lines of ``body`` say, in their order.

    A line is a product as in a catalogue of JSON Lines, or ``{"product_id": …, "deleted": true}``. A line that cannot
    be used is told of, and does not keep the others from being stored.
    """
    outcome = Outcome()
    waiting: list[Product] = []
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        values: dict[str, object] = {}
        try:
            values = _values(line)
            if values.get(_DELETED) is True:
                _store(changes, waiting, outcome)  # first: what comes before it in the body comes before it
                outcome.sequence = changes.delete([product_id_of(values)])
                outcome.deleted += 1
            else:
                product = product_of(values)
                changes.check(product)
                waiting.append(product)
        except (CatalogError, UnsuitableProductError) as error:
            named = values.get("product_id")
            outcome.rejected.append(Rejected(number, named if isinstance(named, str) else None, str(error)))
        if len(waiting) == _BATCH:
            _store(changes, waiting, outcome)
    _store(changes, waiting, outcome)
    return outcome


def _values(line: bytes) -> dict[str, object]:
    if len(line) > MAX_LINE_BYTES:
        raise CatalogError(f"the line has {len(line):,} bytes; at most {MAX_LINE_BYTES:,} are allowed")
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise CatalogError(f"broken JSON: {error}") from error
    if not isinstance(values, dict):
        raise CatalogError("not a JSON object")
    return values


def _store(changes: Changes, waiting: list[Product], outcome: Outcome) -> None:
    if waiting:
        outcome.sequence = changes.store(waiting, checked=True)
        outcome.stored += len(waiting)
        waiting.clear()
