"""The two channels of a snapshot: what words become in each of them, and the rows that either proposes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.algebra import LexicalScores, Region, lexical_matches, lexical_scores
from index.exact import scan
from index.fusion import union
from index.lexical import LEXICAL_CANDIDATES, LexicalIndex, best

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from index.candidates import CandidateIndex
    from index.expression import Conjunction
    from index.selection import Selection
    from index.snapshot import CandidateSettings
    from model.runtime import TextEncoder


@dataclass(frozen=True, slots=True)
class Channels:
    """Hyperboloids and words over the same rows; safe to use from several threads at once."""

    encoder: TextEncoder
    candidates: CandidateIndex
    settings: CandidateSettings
    points: NDArray[np.float32]
    lexical: LexicalIndex

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

    def words(self, conjunctions: Sequence[Conjunction], selection: Selection | None = None) -> LexicalScores:
        """BM25 of a normal form over all rows, as if what is not selected shared no word."""
        scores = lexical_scores(conjunctions, self.lexical.scores)
        return scores if selection is None else scores.among(selection.mask)

    def holding(self, conjunctions: Sequence[Conjunction]) -> NDArray[np.int64]:
        """The rows that hold every word of a normal form."""
        return np.flatnonzero(lexical_matches(conjunctions, self.lexical.scores, self.lexical.corrected))

    def near(self, region: Region, *, depth: int, selection: Selection | None = None) -> NDArray[np.int64]:
        """At least ``depth`` rows, those nearest to the centre of each of the region's boxes.

        Every further box adds candidates, and every candidate is measured against every box: so that k boxes cost k
        times as much and not k², each is given a share of 1/√k of the candidates that one alone would have.
        """
        if selection is not None:
            return self._near_selected(region, selection, depth=depth)
        share = math.ceil(self.settings.count / math.sqrt(len(region.boxes)))
        count = max(share, 2 * depth)
        if count < len(self.points):
            found = [
                self.candidates.search(box.centre, count, ef_search=self.settings.ef_search) for box in region.boxes
            ]
            rows = found[0] if len(found) == 1 else np.unique(np.concatenate(found))
            # A graph may reach fewer rows than asked for; a page is full all the same.
            if len(rows) >= depth:
                return rows
        return np.arange(len(self.points), dtype=np.int64)

    def _near_selected(self, region: Region, selection: Selection, *, depth: int) -> NDArray[np.int64]:
        """The selected rows nearest to ``region``, found by looking at all of them."""
        count = max(self.settings.count, 2 * depth)
        if len(selection) <= count:
            return selection.rows
        geometry = self.encoder.manifest.geometry
        return scan(
            self.points, region, c=geometry.curvature, gamma=geometry.gamma, count=count, among=selection.rows
        ).rows

    def either(
        self, region: Region, words: LexicalScores, *, depth: int, selection: Selection | None = None
    ) -> NDArray[np.int64]:
        """The rows near ``region`` and those of the highest BM25, each once."""
        near = self.near(region, depth=depth, selection=selection)
        return union(near, best(words.scores, max(LEXICAL_CANDIDATES, depth)))

    def distances(self, region: Region, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Containment distances (K) of ``rows`` (K)."""
        geometry = self.encoder.manifest.geometry
        return region.distances(self.points[rows], c=geometry.curvature, gamma=geometry.gamma)
