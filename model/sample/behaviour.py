"""What shoppers do: sessions drawn from latent projects, each needing several kinds of product.

A session takes up one project, or now and then a single need. For each need it types a query, looks down ten
results and clicks; a result is clicked for its relevance *to the need*, which a broad query does not tell,
for its popularity, and for standing high on the page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from model.catalog import Interaction
from model.sample.draws import Draws, cumulative
from model.sample.products import product_id
from model.sample.queries import MORE_MISSING, ONE_MISSING, OTHER, PERFECT, SIBLING
from model.sample.taxonomy import taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from model.sample.products import Stock
    from model.sample.queries import Level, Pool, Query

_START = datetime(2025, 1, 6, 6, 0, tzinfo=UTC)
_PERIOD = timedelta(days=90)
_PAGE = 10
_ON_PROJECT = 0.7
_SESSIONS_PER_USER = 3
# how often a query of each kind is typed, and how its frequency falls with its rank
_TYPED: dict[Level, float] = {"broad": 6.0, "middle": 2.0, "narrow": 1.2}
_POPULARITY_WEIGHT = 0.25
_RANKING_NOISE = 1.2
_CLICKED = {OTHER: 0.02, SIBLING: 0.06, MORE_MISSING: 0.2, ONE_MISSING: 0.35, PERFECT: 0.6}
_CARTED = 0.3
_BOUGHT = 0.5


@dataclass(frozen=True, slots=True)
class Habits:
    """What shoppers are like.

    Raises:
        ValueError: a number is out of range.
    """

    tail: float = 1.0
    """How much they prefer popular products, as a power: not at all at 0; at 4 a tenth of those clicked have two thirds
    of the clicks."""
    noise: float = 0.0
    """The share of needs, 0 to 1, that have nothing to do with the session that they come up in."""

    def __post_init__(self) -> None:
        if not 0 <= self.tail <= 5:
            raise ValueError(f"habits' tail must be from 0 to 5, not {self.tail}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"habits' noise must be from 0 to 1, not {self.noise}")


@dataclass(frozen=True, slots=True)
class _Result:
    """A product among the results of a query; ``popularity`` goes from 0 for the least to 1 for the most."""

    row: int
    subtype: int
    relevance: float
    popularity: float


@dataclass(frozen=True, slots=True)
class _Queries:
    """The queries that lead to one subtype, and how often each is typed."""

    indices: tuple[int, ...]
    totals: tuple[float, ...]


def interactions(
    items: Stock, asked: Sequence[Query], judged: Sequence[Pool], sessions: int, habits: Habits
) -> Iterator[Interaction]:
    """The clicks, carts and purchases of ``sessions`` sessions, in order of their start."""
    draws = Draws(items.seed, "behaviour")
    pages = [_results(items, pool) for pool in judged]
    by_subtype = _queries_by_subtype(asked)
    single = cumulative(float(len(rows)) + 1e-9 for rows in items.rows)
    users = max(1, sessions // _SESSIONS_PER_USER)
    between = _PERIOD.total_seconds() / sessions
    start = _START
    for session in range(sessions):
        start += timedelta(seconds=2 * between * draws.uniform())
        # the square makes some shoppers come often and most of them seldom
        user = int(users * draws.uniform() ** 2)
        now = start
        for need in _needs(single, draws, habits.noise):
            leading = by_subtype.get(need)
            if leading is None:
                continue
            query = leading.indices[draws.weighted(leading.totals)]
            for result, event in _events(pages[query], need, draws, habits.tail):
                now += timedelta(seconds=5 + draws.below(90))
                yield Interaction(
                    query=asked[query].text,
                    product_id=product_id(result.row),
                    event=event,
                    session_id=f"s{session + 1:07d}",
                    user_id=f"u{user + 1:06d}",
                    time=now.strftime("%Y-%m-%dT%H:%M:%SZ"),
                )


def _results(items: Stock, pool: Pool) -> list[_Result]:
    top = math.log(float(items.popularity.max()))
    span = top - math.log(float(items.popularity.min())) or 1.0
    return [
        _Result(row, int(items.subtype[row]), value, 1.0 - (top - math.log(float(items.popularity[row]))) / span)
        for row, value in zip(pool.rows.tolist(), pool.relevance.tolist(), strict=True)
    ]


def _queries_by_subtype(asked: Sequence[Query]) -> dict[int, _Queries]:
    leading: dict[int, list[int]] = {}
    for index, query in enumerate(asked):
        for subtype in query.subtypes:
            leading.setdefault(subtype, []).append(index)
    return {
        subtype: _Queries(
            indices=tuple(indices),
            totals=cumulative(_TYPED[asked[i].level] / (rank + 2) for rank, i in enumerate(indices)),
        )
        for subtype, indices in leading.items()
    }


def _needs(single: Sequence[float], draws: Draws, noise: float) -> list[int]:
    """The subtypes that one session is after."""
    found = _purpose(single, draws)
    # without noise nothing is drawn, so that the shop is the same as it would be without the question
    return [draws.weighted(single) if noise and draws.chance(noise) else need for need in found]


def _purpose(single: Sequence[float], draws: Draws) -> list[int]:
    """The subtypes that one session is about."""
    projects = taxonomy().projects
    if not draws.chance(_ON_PROJECT):
        return [draws.weighted(single)]
    project = projects[int(len(projects) * draws.uniform() ** 1.5)]
    wanted = 2 + draws.below(4)
    # the most needed come first and are skipped least often
    keen = [need for rank, need in enumerate(project) if draws.chance(0.95 - 0.06 * rank)]
    return list(islice(keen, wanted))


def _events(page: list[_Result], need: int, draws: Draws, tail: float) -> Iterator[tuple[_Result, str]]:
    """What one page of results leads to, by a shopper who is after the subtype ``need``."""
    ranked = sorted(
        page,
        key=lambda r: -(r.relevance + _POPULARITY_WEIGHT * r.popularity + _RANKING_NOISE * draws.uniform()),
    )
    for place, result in enumerate(ranked[:_PAGE]):
        worth = result.relevance if result.subtype == need else min(result.relevance, SIBLING)
        looked_at = 1.0 / (1.0 + 0.3 * place)
        liked = _CLICKED[worth] * (0.4 + 1.2 * result.popularity) ** tail
        if not draws.chance(looked_at * liked):
            continue
        yield result, "click"
        if worth > SIBLING and draws.chance(_CARTED):
            yield result, "cart"
            if draws.chance(_BOUGHT):
                yield result, "purchase"
