"""The two channels of a snapshot: what words become in each of them, and the rows that either proposes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from index.algebra import LexicalScores, Region, lexical_matches, lexical_scores
from index.exact import scan
from index.fusion import union
from index.lexical import LEXICAL_CANDIDATES, LexicalIndex, best

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.candidates import CandidateIndex
    from index.exact import ExactCandidates
    from index.expression import Conjunction
    from index.resident import ResidentPoints
    from index.snapshot import CandidateSettings
    from index.view import View
    from model.runtime import TextEncoder

_SCANNED_A_FETCHED = 4
"""How many rows can be scanned exactly in the time that one more candidate takes."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Hyperboloids and words over the same rows; safe to use from several threads at once.

    What a search looks at is a ``view``: the snapshot's rows, and the live ones after them. Where points are
    ``resident`` on a device, candidates are found and distances measured there.
    """

    encoder: TextEncoder
    candidates: CandidateIndex | ExactCandidates
    settings: CandidateSettings
    lexical: LexicalIndex
    resident: ResidentPoints | None = None

    def read(self, text: str) -> str:
        """``text`` as the encoder gets to see it: with the words corrected that neither it nor the catalogue knows."""
        return self.lexical.corrected(text, knows=self.encoder.tokenizer.knows)

    def region(self, conjunctions: Sequence[Conjunction]) -> Region:
        """Where the answers to a normal form lie.

        Raises:
            EmptyTextError: one of its texts has no letter or digit.
        """
        texts = list(dict.fromkeys(text for part in conjunctions for text in (*part.positive, *part.negative)))
        found = self.encoder.encode_queries([self.read(text) for text in texts])
        return Region.of(conjunctions, dict(zip(texts, zip(found.centres, found.limits, strict=True), strict=True)))

    def words(self, conjunctions: Sequence[Conjunction], view: View) -> LexicalScores:
        """BM25 of a normal form over all rows; what may not be a hit shares no word."""
        scores = lexical_scores(conjunctions, partial(self.lexical.scores, live=view.live.count))
        if view.whole:
            return scores
        sharing = np.flatnonzero(scores.matched | (scores.scores < 0))
        return scores.without(sharing[~view.may_be_hits(sharing)])

    def holding(self, conjunctions: Sequence[Conjunction], view: View) -> NDArray[np.int64]:
        """The rows that may be hits and hold every word of a normal form."""
        scores = partial(self.lexical.scores, live=view.live.count)
        return view.among(np.flatnonzero(lexical_matches(conjunctions, scores, self.lexical.corrected)))

    def near(self, region: Region, view: View, *, depth: int) -> NDArray[np.int64]:
        """At least ``depth`` rows that may be hits, if there are as many, nearest to ``region``.

        Every further box adds candidates, and every candidate is measured against every box: so that k boxes cost k
        times as much and not k², each is given a share of 1/√k of the candidates that one alone would have.
        """
        count = max(math.ceil(self.settings.count / math.sqrt(len(region.boxes))), 2 * depth)
        found = self._near_in_snapshot(region, view, count=count, depth=depth)
        live = view.live_rows
        if not len(live):
            return found
        exact = max(self.settings.depth, 2 * depth)  # fewer than by codes or a graph: these are the nearest
        if len(live) > exact and self.resident is not None:
            distances, _ = self.measure(region, live, view)
            live = live[np.argpartition(distances, exact)[:exact]]
        elif len(live) > exact:
            mask = np.zeros(view.live.count, dtype=np.bool_)
            mask[live - view.live.base] = True
            near = self._scan(view.live.points, region, count=exact, mask=mask, known=view.live.heights)
            live = near + view.live.base
        return np.concatenate((found, live))

    def _near_in_snapshot(self, region: Region, view: View, *, count: int, depth: int) -> NDArray[np.int64]:
        """Rows of the snapshot near ``region``: candidates that pass the filter, or a scan's nearest where few pass."""
        base = view.live.base
        able = base if view.filtered is None else len(view.filtered)
        wanted = min(count, able)
        while count < able:
            # of so many as many as are wanted pass, if the filter has nothing to do with the query
            fetched = count if self.resident is not None else math.ceil(count * base / able)
            if view.filtered is not None and self.resident is None and _SCANNED_A_FETCHED * fetched >= able:
                rows = view.among(view.filtered.rows)
                return self._scan(view.snapshot_points, region, count=wanted, among=rows)
            near = view.among(self._proposed(region, view, count=fetched))
            # what is gone leaves room, and a graph may reach fewer rows than asked for; a page is full all the same
            if len(near) >= depth and 2 * len(near) >= wanted:
                return near
            count *= 2
        return view.among(np.arange(base, dtype=np.int64) if view.filtered is None else view.filtered.rows)

    def _proposed(self, region: Region, view: View, *, count: int) -> NDArray[np.int64]:
        """About ``count`` rows of the snapshot near to ``region``, which may have gone, or not pass the filter."""
        if self.resident is not None:
            return self.resident.nearest(region, count, view.filtered)
        return self.candidates.search(region.boxes, count, effort=self.settings.effort)

    def _scan(
        self, points: NDArray[np.float32], region: Region, *, count: int, **which: NDArray[Any]
    ) -> NDArray[np.int64]:
        geometry = self.encoder.manifest.geometry
        return scan(points, region, c=geometry.curvature, gamma=geometry.gamma, count=count, **which).rows

    def either(self, region: Region, words: LexicalScores, view: View, *, depth: int) -> NDArray[np.int64]:
        """The rows near ``region`` and those of the highest BM25, each once."""
        near = self.near(region, view, depth=depth)
        return union(near, best(words.scores, max(LEXICAL_CANDIDATES, depth)))

    def measure(
        self, region: Region, rows: NDArray[np.int64], view: View
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Containment distances (K) of ``rows`` (K), and which of them lie inside (K)."""
        if self.resident is not None:
            return self.resident.measure(region, rows, view.live.points)
        geometry = self.encoder.manifest.geometry
        return view.measure(region, rows, c=geometry.curvature, gamma=geometry.gamma)
