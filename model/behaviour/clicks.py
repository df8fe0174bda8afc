"""Clicks as arrays: interactions read row by row, and what cannot be learnt from set aside by name.

A click is an interaction of any event with a known product; a judged pair counts if the judge found it relevant. Its
*session* is its ``session_id`` or, where the shop has none, what one user did without a long pause.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isnan, nan
from time import time as now
from typing import TYPE_CHECKING

import numpy as np

from model.catalog import CatalogError
from model.metrics import RELEVANT_GRADE, grade
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from model.catalog import Interaction

MAX_UNKNOWN = 0.5
"""Above this share of interactions with unknown products the file is taken for another shop's."""
_EARLIEST = 631_152_000.0
"""1990: what is before comes of a clock that was never set."""
_DAY = 86_400.0
_MORE_THAN_SECONDS = 1e11
"""The year 5138 in seconds, 1973 in milliseconds."""
_DIGITS_OF_A_DATE = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken for a shopper and for a session."""

    most_events: int = 1000
    """A user, or a session without one, with more interactions than this is a machine: all of them are left out."""
    pause_minutes: float | None = 30.0
    """Where there is no ``session_id``, a pause that ends a user's session; with None it never ends."""


@dataclass(slots=True)
class Census:
    """What was read and what became of it, in numbers of interactions where nothing else is said."""

    read: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    """Interactions by product id that the catalogue lacks."""
    irrelevant: int = 0
    """Judged, and found below relevance."""
    machines: dict[str, int] = field(default_factory=dict)
    """Interactions of each user or session that was left out as a machine."""
    untimed: int = 0
    """Without a readable time between 1990 and tomorrow; where sessions are cut by pauses, they belong to none."""
    backwards: int = 0
    """Earlier than the row before of the same shopper; they are put in order."""
    kept: int = 0

    def remarks(self) -> list[str]:
        """What a person should know, a line each."""
        found = []
        if self.unknown:
            most = ", ".join(f"{name} ({count:,})" for name, count in self.unknown.most_common(3))
            found.append(
                f"{self.unknown.total():,} of {self.read:,} interactions name {len(self.unknown):,} products that the "
                f"catalogue lacks: {most}{', …' if len(self.unknown) > 3 else ''}"
            )
        if self.irrelevant:
            found.append(f"{self.irrelevant:,} judged pairs are not relevant and left out")
        if self.machines:
            name, count = max(self.machines.items(), key=lambda item: item[1])
            found.append(
                f"{len(self.machines):,} shoppers with {sum(self.machines.values()):,} interactions are taken for "
                f"machines and left out; the busiest, {name}, has {count:,}"
            )
        if self.untimed:
            found.append(f"{self.untimed:,} interactions have no readable time between 1990 and tomorrow")
        if self.backwards:
            found.append(f"{self.backwards:,} interactions stand before earlier ones of the same shopper; put in order")
        return found


@dataclass(frozen=True, slots=True)
class Clicks:
    """E clicks in order of time, as far as times are known.

    ``query`` and ``product`` (E,) int32 are places in ``queries``, texts without case and punctuation, and in the
    catalogue; ``session`` (E,) int32 is −1 where there is none; ``time`` (E,) float64 in seconds, or NaN.
    """

    queries: tuple[str, ...]
    query: NDArray[np.int32]
    product: NDArray[np.int32]
    session: NDArray[np.int32]
    time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.query)

    def where(self, kept: NDArray[np.bool_] | slice) -> Clicks:
        """Some of the clicks; queries and sessions keep their numbers."""
        return replace(
            self, query=self.query[kept], product=self.product[kept], session=self.session[kept], time=self.time[kept]
        )


def query_key(text: str) -> str:
    """What makes two queries one: their words, without case, accents and punctuation."""
    return " ".join(words(text))


def gather(
    interactions: Iterable[Interaction], product_ids: Sequence[str], limits: Limits | None = None
) -> tuple[Clicks, Census]:
    """Clicks on products of a catalogue, a few bytes each.

    Raises:
        CatalogError: more than ``MAX_UNKNOWN`` of the products are unknown, or nothing is left.
    """
    limits = limits or Limits()
    census = Census()
    columns = _Columns()
    rows = {product_id: row for row, product_id in enumerate(product_ids)}
    for interaction in interactions:
        census.read += 1
        if (row := rows.get(interaction.product_id)) is None:
            census.unknown[interaction.product_id] += 1
        elif interaction.relevance is not None and grade(interaction.relevance) < RELEVANT_GRADE:
            census.irrelevant += 1
        else:
            columns.add(interaction, row)
    if census.unknown.total() > MAX_UNKNOWN * census.read:
        raise CatalogError(
            f"{census.unknown.total():,} of {census.read:,} interactions name products that the catalogue lacks, such "
            f"as {next(iter(census.unknown))}: is this the catalogue that they are about?"
        )
    clicks = columns.clicks(limits, census)
    census.kept = len(clicks)
    if not census.kept:
        raise CatalogError(f"none of {census.read:,} interactions can be learnt from: {'; '.join(census.remarks())}")
    return clicks, census


class _Columns:
    """Clicks while they are read: numbers for texts, one after the other."""

    def __init__(self) -> None:
        self._queries: dict[str, int] = {}
        self._shoppers: dict[tuple[str, str], int] = {}
        self._sessions: dict[str, int] = {}
        self.query, self.product, self.shopper, self.session = (array("i") for _ in range(4))
        self.time = array("d")

    def add(self, interaction: Interaction, row: int) -> None:
        key = query_key(interaction.query)
        self.query.append(self._queries.setdefault(key, len(self._queries)))
        self.product.append(row)
        self.time.append(seconds(interaction.time))
        session, user = interaction.session_id, interaction.user_id
        self.session.append(self._sessions.setdefault(session, len(self._sessions)) if session else -1)
        who = ("user", user) if user else ("session", session)
        self.shopper.append(self._shoppers.setdefault(who, len(self._shoppers)) if user or session else -1)

    def clicks(self, limits: Limits, census: Census) -> Clicks:
        """All that was added, without machines, in order of time."""
        query, product, shopper, session = (
            np.frombuffer(column, dtype=np.int32) if column else np.empty(0, dtype=np.int32)
            for column in (self.query, self.product, self.shopper, self.session)
        )
        time = np.frombuffer(self.time) if self.time else np.empty(0)
        events = np.bincount(shopper[shopper >= 0], minlength=len(self._shoppers))
        names = list(self._shoppers)
        for busy in np.flatnonzero(events > limits.most_events).tolist():
            census.machines[" ".join(names[busy])] = int(events[busy])
        kept = np.flatnonzero((shopper < 0) | (events[shopper] <= limits.most_events)) if len(events) else slice(None)
        query, product, shopper, session = (column[kept] for column in (query, product, shopper, session))
        time = time[kept]
        census.untimed = int(np.isnan(time).sum())
        census.backwards = _backwards(shopper, time)
        session = _sessions(session, shopper, time, limits.pause_minutes, first=len(self._sessions))
        order = np.argsort(time, kind="stable")  # NaN last
        return Clicks(tuple(self._queries), query[order], product[order], session[order], time[order])


def seconds(text: str) -> float:
    """Seconds since 1970 of a time, NaN where it is none or not between 1990 and tomorrow.

    It is in ISO 8601, in UTC where it names no zone, or a number: of seconds, milliseconds, microseconds, nanoseconds.
    """
    date = len(text) == _DIGITS_OF_A_DATE and text.isdigit()  # and not a number of seconds
    found = nan if date else _counted(text)
    if isnan(found):
        found = _told(text)
    return found if _EARLIEST <= found <= now() + _DAY else nan


def moment(time: float) -> str:
    """A time in Unix seconds as ISO 8601 in UTC; such texts are in the order of their times."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


def _counted(text: str) -> float:
    """Seconds of a number of them, or of what it is by its size; NaN for others."""
    try:
        number = float(text)
    except ValueError:
        return nan
    for _ in ("milliseconds", "microseconds", "nanoseconds"):
        if number >= _MORE_THAN_SECONDS:
            number /= 1000.0
    return number


def _told(text: str) -> float:
    """Seconds of a time in ISO 8601, NaN for others."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return nan


def _backwards(shopper: NDArray[np.int32], time: NDArray[np.float64]) -> int:
    """How many rows are earlier than the one before of the same shopper, in the file's order."""
    order = np.argsort(shopper, kind="stable")
    same = (shopper[order][1:] == shopper[order][:-1]) & (shopper[order][1:] >= 0)
    return int((same & (np.diff(time[order]) < 0)).sum())


def _sessions(
    session: NDArray[np.int32],
    shopper: NDArray[np.int32],
    time: NDArray[np.float64],
    pause_minutes: float | None,
    *,
    first: int,
) -> NDArray[np.int32]:
    """Sessions, with those that no ``session_id`` names numbered from ``first``."""
    found = session.copy()
    loose = np.flatnonzero((session < 0) & (shopper >= 0))
    if pause_minutes is None:
        found[loose] = first + shopper[loose]
        return found
    loose = loose[np.isfinite(time[loose])]
    loose = loose[np.lexsort((time[loose], shopper[loose]))]
    starts = np.ones(len(loose), dtype=np.bool_)
    starts[1:] = (np.diff(shopper[loose]) != 0) | (np.diff(time[loose]) > 60.0 * pause_minutes)
    found[loose] = first + np.cumsum(starts) - 1
    return found
