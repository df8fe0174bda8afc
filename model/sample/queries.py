"""Queries from broad to narrow, and how relevant each product is to them by construction.

A query asks for a kind of product, and perhaps for a brand and some attributes. A product of that kind with
all that was asked is worth 3, with one thing missing 2.33, with more missing 2; a sibling subtype is worth
1.67, anything else 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.catalog import Judgment
from model.sample import wording
from model.sample.draws import Draws, cumulative, stream
from model.sample.products import product_id
from model.sample.taxonomy import taxonomy
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from model.sample.products import Stock
    from model.sample.taxonomy import Attribute, Subtype, Value

Level = Literal["broad", "middle", "narrow"]

PERFECT, ONE_MISSING, MORE_MISSING, SIBLING, OTHER = 3.0, 2.33, 2.0, 1.67, 1.0

_LEVELS: tuple[Level, ...] = ("broad", "middle", "narrow")
_LEVEL_TOTALS = cumulative((0.2, 0.5, 0.3))
_TRIES = 12
_MISSPELT = 0.07
_PLURAL = 0.25
# how many products of each worth are judged for one query, at most
_JUDGED = {PERFECT: 40, ONE_MISSING: 10, MORE_MISSING: 6, SIBLING: 6}
_JUDGED_OTHERS = 4


@dataclass(frozen=True, slots=True)
class Query:
    """A query's text and what it means: ``subtypes`` it is about, and what it asks of them."""

    text: str
    level: Level
    subtypes: tuple[int, ...]
    brand: str | None = None
    asked: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Pool:
    """A query's judged products: ``rows`` (J,) of the stock and their ``relevance`` (J,)."""

    rows: NDArray[np.int64]
    relevance: NDArray[np.float64]


def queries(items: Stock, count: int) -> tuple[Query, ...]:
    """Up to ``count`` different queries, each with a perfect product at least; fewer if the words run out."""
    draws = Draws(items.seed, "queries")
    popular = cumulative(items.popularity.tolist())
    found: dict[str, Query] = {}
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        query = _query(items, draws.weighted(popular), draws)
        found.setdefault(query.text, query)
    return tuple(found.values())


def relevance(items: Stock, query: Query) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows (R,) of all products worth more than 1, by subtype, and what they are worth (R,)."""
    rows: list[NDArray[np.int64]] = []
    worth: list[NDArray[np.float64]] = []
    siblings = taxonomy().types[taxonomy().subtypes[query.subtypes[0]].type_index].subtypes
    for index in siblings:
        mine = items.rows[index]
        rows.append(mine)
        if index in query.subtypes:
            missing = _missing(items, taxonomy().subtypes[index], mine, query).clip(max=2)
            worth.append(np.array([PERFECT, ONE_MISSING, MORE_MISSING])[missing])
        else:
            worth.append(np.full(len(mine), SIBLING))
    return np.concatenate(rows), np.concatenate(worth)


def pools(items: Stock, asked: tuple[Query, ...]) -> Iterator[Pool]:
    """The judged products of each query in turn: a sample of every worth, with lookalikes among the worst."""
    generator = stream(items.seed, "judgments")
    for query in asked:
        rows, worth = relevance(items, query)
        order = np.argsort(generator.random(len(rows)), kind="stable")
        rows, worth = rows[order], worth[order]
        kept = [np.flatnonzero(worth == value)[:most] for value, most in _JUDGED.items()]
        chosen = np.concatenate(kept)
        others = _others(items, query, generator)
        yield Pool(
            rows=np.concatenate([rows[chosen], others]),
            relevance=np.concatenate([worth[chosen], np.full(len(others), OTHER)]),
        )


def judgments(asked: tuple[Query, ...], judged: tuple[Pool, ...]) -> Iterator[Judgment]:
    """The judged products of every query, the best first."""
    for query, pool in zip(asked, judged, strict=True):
        for row, value in zip(pool.rows.tolist(), pool.relevance.tolist(), strict=True):
            yield Judgment(query.text, product_id(row), value)


def _query(items: Stock, row: int, draws: Draws) -> Query:
    """A query that the product in ``row`` answers perfectly."""
    kind = items.kind(row)
    level = _LEVELS[draws.weighted(_LEVEL_TOTALS)]
    if level == "broad":
        group = taxonomy().types[kind.type_index]
        text = draws.usual(group.nouns, 0.6).lower()
        return Query(_typed(text, draws), level, group.subtypes)
    specs = [(a, v) for a, v in items.specs(row) if wording.forms(taxonomy(), a, v)]
    if level == "middle":
        asked = draws.shuffled(specs)[: draws.pick((0, 0, 1, 1, 1, 2))]
        brand = items.maker(row).name if draws.chance(0.1) else None
    else:
        asked = draws.shuffled(specs)[: draws.pick((1, 2, 2, 3))]
        brand = items.maker(row).name if len(asked) < 2 or draws.chance(0.65) else None
    text = _phrase(kind, brand, asked, draws)
    return Query(
        text=_typed(text, draws),
        level=level,
        subtypes=(kind.index,),
        brand=brand,
        asked=tuple((attribute.key, value) for attribute, value in asked),
    )


def _phrase(kind: Subtype, brand: str | None, asked: list[tuple[Attribute, Value]], draws: Draws) -> str:
    """The words of a query, in one of the orders that people type them in."""
    noun = draws.usual(kind.names, 0.55)
    if draws.chance(_PLURAL):
        noun = wording.plural(noun, kind.name)
    wishes = [draws.usual(wording.forms(taxonomy(), a, v), 0.6) for a, v in asked]
    maker = [brand] if brand else []
    drawn = draws.uniform()
    if drawn < 0.6:
        found = [*maker, *wishes, noun]
    elif drawn < 0.85:
        found = [*maker, noun, *wishes]
    else:
        found = [noun, *wishes, *maker]
    return " ".join(found).lower()


def _typed(text: str, draws: Draws) -> str:
    """``text`` as a shopper types it: full stops of units dropped, now and then a slip."""
    text = text.replace(". ", " ").removesuffix(".")
    return wording.misspelt(text, taxonomy(), draws) if draws.chance(_MISSPELT) else text


def _missing(items: Stock, kind: Subtype, rows: NDArray[np.int64], query: Query) -> NDArray[np.int64]:
    """How many of the things asked for each product of one subtype lacks, (R,)."""
    missing = np.zeros(len(rows), dtype=np.int64)
    if query.brand is not None:
        wanted = [brand.name for brand in kind.brands].index(query.brand)
        missing += items.brand[rows] != wanted
    for key, value in query.asked:
        slot = kind.slot(key)
        if slot is None:
            missing += 1
        else:
            missing += items.values[rows, slot] != kind.attributes[slot].values.index(value)
    return missing


def _others(items: Stock, query: Query, generator: np.random.Generator) -> NDArray[np.int64]:
    """Irrelevant products: half from kinds whose names share a word with the query, half from anywhere."""
    own = taxonomy().subtypes[query.subtypes[0]].type_index
    alike = {index for word in words(query.text) for index in _subtypes_by_word().get(word, ())}
    lookalikes = np.concatenate([np.empty(0, dtype=np.int64), *(items.rows[index] for index in sorted(alike))])
    half = _JUDGED_OTHERS // 2
    drawn = generator.random(_JUDGED_OTHERS)
    near = lookalikes[(drawn[:half] * len(lookalikes)).astype(np.int64)] if len(lookalikes) else lookalikes
    anywhere = (drawn[half:] * len(items)).astype(np.int64)
    found = np.unique(np.concatenate([near, anywhere]))
    other_type = _type_of_subtype()[items.subtype[found]] != own
    return found[np.flatnonzero(other_type)]


@cache
def _subtypes_by_word() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for kind in taxonomy().subtypes:
        for word in dict.fromkeys(words(" ".join(kind.names))):
            found.setdefault(word, []).append(kind.index)
    return found


@cache
def _type_of_subtype() -> NDArray[np.int64]:
    return np.array([kind.type_index for kind in taxonomy().subtypes])
