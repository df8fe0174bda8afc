"""Several searches over one snapshot, answered together.

Texts are encoded in one run, and candidates near to regions are looked for in as few calls as there are numbers of them
asked for: that is where searches gain from company. The rest is done for one after the other. A single search takes the
same way.
"""

from __future__ import annotations

import time
from collections import Counter
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from index.census import CENSUS_UP_TO, Census, Known
from index.channels import Wanted
from index.facets import facet
from index.fusion import reciprocal_ranks, union
from index.lexical import best
from index.parts import Part, in_column_order
from index.refinement import DISTANCE
from index.results import Hit, SearchResult, Timings, Total
from index.sought import Inside, Scored, Sought

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.algebra import LexicalScores
    from index.channels import Channels
    from index.facets import Facet
    from index.refinement import Sort
    from index.snapshot import Snapshot
    from index.view import View
    from model.catalog import Product
    from model.runtime import EmptyTextError


class Stopwatch:
    """Seconds by stage, each lap added to one."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """What passed since the last lap was this stage's."""
        now = time.perf_counter()
        self._seconds[stage] += now - self._since  # type: ignore[assignment]  # a counter of seconds
        self._since = now

    def timings(self) -> Timings:
        """The sums."""
        return Timings(**{stage: self._seconds[stage] for stage in Timings.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class _Found:
    """What one search found."""

    hits: tuple[Hit, ...]
    total: Total
    facets: tuple[Facet, ...]
    measured: int


class Answering:
    """Answers searches over one snapshot through its channels; safe to use from several threads at once."""

    def __init__(self, snapshot: Snapshot, channels: Channels) -> None:
        self._snapshot = snapshot
        self._channels = channels
        self.census = Census.of(snapshot.points) if len(snapshot.points) <= CENSUS_UP_TO else None

    def through(self, channels: Channels) -> Answering:
        """The same over the same snapshot, through other channels."""
        other = copy(self)
        other._channels = channels
        return other

    def located(self, sought: Sequence[Sought]) -> list[Sought | EmptyTextError]:
        """The same searches, their texts encoded; or the error of one whose text is empty."""
        places = iter(self._channels.places([one.conjunctions for one in sought if one.conjunctions]))
        found: list[Sought | EmptyTextError] = []
        for one in sought:
            place = next(places) if one.conjunctions else one.place
            found.append(place if isinstance(place, Exception) else replace(one, place=place))
        return found

    def answers(self, sought: Sequence[Sought], watch: Stopwatch) -> list[SearchResult]:
        """The answers to searches whose texts are encoded; the laps of ``watch`` go on."""
        near = iter(self._channels.near([_wanted(one) for one in sought if one.by_region]))
        watch.lap("candidates")
        found = [self._found(one, next(near) if one.by_region else None, watch) for one in sought]
        timings, manifest = watch.timings(), self._snapshot.manifest
        return [
            SearchResult(
                hits=its.hits,
                total=its.total,
                facets=its.facets,
                mode=one.mode,
                generality=one.region.generality,
                snapshot=manifest.id,
                model=manifest.model,
                timings=timings,
                measured=its.measured,
            )
            for one, its in zip(sought, found, strict=True)
        ]

    def scored(self, rows: NDArray[np.int64], sought: Sought) -> Scored:
        """Scores, distances and containment of ``rows`` (K)."""
        distances, inside = self._measured(rows, sought)
        return Scored(rows, self._scores(rows, distances, sought, self._lexical(sought)), distances, inside)

    def _found(self, sought: Sought, near: NDArray[np.int64] | None, watch: Stopwatch) -> _Found:
        """What a search finds; ``near`` are the rows near its region, if it looks there."""
        lexical = self._lexical(sought)
        rows = self._candidates(sought, near, lexical)
        watch.lap("candidates")
        distances, inside = self._measured(rows, sought)
        watch.lap("rerank")
        scored = Scored(rows, self._scores(rows, distances, sought, lexical), distances, inside)
        watch.lap("fuse")
        contained = self._inside(scored, sought)
        shown, matched = self._shown(scored, contained, sought, lexical)
        watch.lap("rerank")
        total = Total(len(contained.rows), "eq" if contained.complete else "gte")
        found = _Found(self._hits(shown, sought.view), total, self._facets(matched, sought), len(rows))
        watch.lap("fetch")
        return found

    def _lexical(self, sought: Sought) -> LexicalScores | None:
        if sought.mode == "hyperboloid" or not sought.conjunctions:
            return None
        return self._channels.words(sought.conjunctions, sought.view)

    def _measured(self, rows: NDArray[np.int64], sought: Sought) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Distances (K) of ``rows`` (K), without a region those between pictures, and what the region contains (K)."""
        if sought.region.boxes:
            return self._channels.measure(sought.region, rows, sought.view)
        return self._unlikeness(rows, sought), np.zeros(len(rows), dtype=np.bool_)

    def _unlikeness(self, rows: NDArray[np.int64], sought: Sought) -> NDArray[np.float32]:
        """Distances (K) between the pictures of ``rows`` (K) and the one asked with, infinite where there is none."""
        assert self._channels.pictures is not None
        assert sought.picture is not None
        return self._channels.pictures.distances(sought.picture, rows, sought.view)

    def _candidates(
        self, sought: Sought, near: NDArray[np.int64] | None, lexical: LexicalScores | None
    ) -> NDArray[np.int64]:
        depth, behaviour = sought.page.stop, self._channels.behaviour
        if sought.mode == "behaviour":
            assert behaviour is not None
            assert sought.place.intent is not None
            return behaviour.near(sought.place.intent, sought.view, depth=depth)
        if sought.mode == "lexical":
            assert lexical is not None
            return best(lexical.order(), depth)
        rows = np.empty(0, dtype=np.int64) if near is None else near
        if lexical is not None:
            rows = self._channels.proposed(rows, lexical, sought.place.intent, sought.view, depth=depth)
        if sought.picture is not None:
            assert self._channels.pictures is not None
            rows = union(rows, self._channels.pictures.near(sought.picture, sought.view, depth=depth))
        return rows if sought.without is None else rows[rows != sought.without]

    def _scores(
        self, rows: NDArray[np.int64], distances: NDArray[np.float32], sought: Sought, lexical: LexicalScores | None
    ) -> NDArray[np.float32]:
        """Scores (K) of ``rows`` (K), higher is better; with a picture and something else, both ranks fused."""
        scores = self._text_scores(rows, distances, sought, lexical)
        if sought.picture is None or not sought.region.boxes:
            return scores
        unlikeness = self._unlikeness(rows, sought)
        likeness = np.where(np.isfinite(unlikeness), reciprocal_ranks(-unlikeness), 0.0)
        return (reciprocal_ranks(scores) + likeness).astype(np.float32)

    def _text_scores(
        self, rows: NDArray[np.int64], distances: NDArray[np.float32], sought: Sought, lexical: LexicalScores | None
    ) -> NDArray[np.float32]:
        if lexical is None:
            return -distances
        words = lexical.scores[rows]
        if sought.mode == "lexical":
            return words
        clicks = self._channels.clicks(sought.place.intent, rows, sought.view, excluded=words < 0)
        if sought.mode == "behaviour":
            assert clicks is not None
            return clicks.scores
        # Words are certain where boxes are learnt: what holds the excluded ones is excluded from both channels.
        manifest = self._snapshot.manifest
        reach = np.float32(sought.region.exclusion(c=manifest.geometry.curvature))
        return manifest.fusion.fuse(distances + np.where(words < 0, reach, np.float32(0.0)), words, clicks)

    def _inside(self, scored: Scored, sought: Sought) -> Inside:
        region, view = sought.region, sought.view
        if not region.boxes:  # nothing lies in a picture
            return Inside(np.empty(0, dtype=np.int64), complete=True)
        if self.census is None:
            every = len(scored.rows) + (sought.without is not None) >= view.size
            return Inside(scored.rows[scored.inside], complete=every)
        base = view.live.base
        live = scored.rows >= base
        rows = self.census.rows(region, Known(scored.rows[~live], scored.inside[~live]))
        if view.live.count and view.live.census is not None:
            known = Known(scored.rows[live] - base, scored.inside[live])
            rows = np.concatenate((rows, view.live.census.rows(region, known) + base))
        rows = view.among(rows)
        return Inside(rows if sought.without is None else rows[rows != sought.without], complete=True)

    def _shown(
        self, scored: Scored, inside: Inside, sought: Sought, lexical: LexicalScores | None
    ) -> tuple[Scored, NDArray[np.int64] | None]:
        """The page, and the rows that match, rising, where something asks for them."""
        page, sort = sought.page, sought.refinement.sort
        if sort is None and not sought.refinement.facets:
            return scored.best(page.stop).taken(page), None
        matched = self._matched(inside, sought)
        ranked = scored.best(len(scored.rows) if sort else page.stop)
        return self._sorted(ranked, matched, sought, lexical, sort).taken(page), matched

    def _matched(self, inside: Inside, sought: Sought) -> NDArray[np.int64]:
        """Rows that match, in the order of their numbers."""
        if sought.mode == "hyperboloid" or not sought.conjunctions:
            return np.sort(inside.rows)
        holding = self._channels.holding(sought.conjunctions, sought.view)
        return holding if sought.mode == "lexical" else union(holding, inside.rows)

    def _sorted(
        self,
        ranked: Scored,
        matched: NDArray[np.int64],
        sought: Sought,
        lexical: LexicalScores | None,
        sort: Sort | None,
    ) -> Scored:
        if sort is None:
            return ranked
        if sort.column == DISTANCE:
            sign = -1 if sort.descending else 1
            return ranked.taken(np.lexsort((ranked.rows, sign * ranked.distances)))
        rest = ranked.rows[~np.isin(ranked.rows, matched)]
        rows = union(ranked.rows, matched)
        distances, inside = self._measured(rows, sought)
        every = Scored(rows, self._scores(rows, distances, sought, lexical), distances, inside)
        in_order = np.concatenate((in_column_order(sort, self._parts(matched, sought.view)), rest))
        return every.taken(np.searchsorted(every.rows, in_order))

    def _facets(self, matched: NDArray[np.int64] | None, sought: Sought) -> tuple[Facet, ...]:
        if matched is None:
            return ()
        parts, asked = self._parts(matched, sought.view), sought.refinement
        return tuple(facet(name, parts, size=asked.facet_size) for name in asked.facets)

    def _parts(self, rows: NDArray[np.int64], view: View) -> tuple[Part, Part]:
        """``rows`` (K), rising, by the tables that hold their columns."""
        base = view.live.base
        first_live = np.searchsorted(rows, base)
        snapshot = Part(self._snapshot.columns, rows[:first_live], 0)
        return snapshot, Part(view.live.columns, rows[first_live:] - base, base)

    def _hits(self, shown: Scored, view: View) -> tuple[Hit, ...]:
        pictures = self._channels.pictures
        pictured = np.zeros(len(shown.rows), dtype=np.bool_) if pictures is None else pictures.has(shown.rows, view)
        columns = (shown.rows, shown.scores, shown.distances, shown.inside, pictured)
        return tuple(
            Hit(self.product(row, view), score=score, distance=distance, contained=inside, pictured=has)
            for row, score, distance, inside, has in zip(*(column.tolist() for column in columns), strict=True)
        )

    def product(self, row: int, view: View) -> Product:
        """The product in a row of either kind."""
        return self._snapshot.documents.product(row) if row < view.live.base else view.live.product(row)


def _wanted(sought: Sought) -> Wanted:
    """What a search looks for near its region: one more, where one of those found is not to be shown."""
    return Wanted(sought.region, sought.view, sought.page.stop + (sought.without is not None))
