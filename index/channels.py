"""The channels of a snapshot: what words become in each of them, and the rows that each proposes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from index.algebra import LexicalScores, Region, lexical_matches, lexical_scores
from index.exact import scan
from index.fusion import union
from index.lexical import LEXICAL_CANDIDATES, LexicalIndex, best
from model.runtime import EmptyTextError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from index.behaviour import BehaviourChannel, BehaviourScores, Intent
    from index.candidates import CandidateIndex
    from index.exact import ExactCandidates
    from index.expression import Conjunction
    from index.pictures import PictureChannel
    from index.resident import ResidentPoints
    from index.snapshot import CandidateSettings
    from index.view import View
    from model.runtime import TextEncoder


class Place(NamedTuple):
    """Where the answers to a query lie: its region and, where there is a behaviour channel, what shoppers are after."""

    region: Region
    intent: Intent | None = None


class Wanted(NamedTuple):
    """Rows that are wanted: at least ``depth`` of those that may be hits, near ``region``."""

    region: Region
    view: View
    depth: int


@dataclass(frozen=True, slots=True)
class Channels:
    """Hyperboloids, words, maybe clicks and pictures over the same rows; safe to use from several threads at once.

    What a search looks at is a ``view``: the snapshot's rows, and the live ones after them. Where points are
    ``resident`` on a device, candidates are found and distances measured there.
    """

    encoder: TextEncoder
    candidates: CandidateIndex | ExactCandidates
    settings: CandidateSettings
    lexical: LexicalIndex
    resident: ResidentPoints | None = None
    behaviour: BehaviourChannel | None = None
    pictures: PictureChannel | None = None

    def read(self, text: str) -> str:
        """``text`` as the encoder gets to see it: with the words corrected that neither it nor the catalogue knows."""
        return self.lexical.corrected(text, knows=self.encoder.tokenizer.knows)

    def place(self, conjunctions: Sequence[Conjunction]) -> Place:
        """Where the answers to a normal form lie.

        Raises:
            EmptyTextError: one of its texts has no letter or digit.
        """
        (place,) = self.places([conjunctions])
        if isinstance(place, EmptyTextError):
            raise place
        return place

    def places(self, forms: Sequence[Sequence[Conjunction]]) -> list[Place | EmptyTextError]:
        """Where the answers to each of some normal forms lie, or the error of one with a text that has no word.

        All their texts are encoded in one run.
        """
        parts = [part for form in forms for part in form]
        texts = list(dict.fromkeys(text for part in parts for text in (*part.positive, *part.negative)))
        if not texts:
            return []
        try:
            found = self.encoder.encode_queries([self.read(text) for text in texts])
        except EmptyTextError as error:
            return [error] if len(forms) == 1 else [place for form in forms for place in self.places([form])]
        centres = dict(zip(texts, found.centres, strict=True))
        hyperboloids = {text: (centres[text], limit) for text, limit in zip(texts, found.limits, strict=True)}
        return [
            Place(
                Region.of(form, hyperboloids),
                None if self.behaviour is None else self.behaviour.intent(form, centres),
            )
            for form in forms
        ]

    def words(self, conjunctions: Sequence[Conjunction], view: View) -> LexicalScores:
        """BM25 of a normal form over all rows; what may not be a hit shares no word."""
        lexical, live = self.lexical, view.live.count
        found = lexical_scores(conjunctions, partial(lexical.scores, live=live), partial(lexical.holding, live=live))
        if view.whole:
            return found
        sharing = np.flatnonzero(found.matched | (found.scores != 0))
        return found.without(sharing[~view.may_be_hits(sharing)])

    def holding(self, conjunctions: Sequence[Conjunction], view: View) -> NDArray[np.int64]:
        """The rows that may be hits and hold every word of a normal form."""
        return view.among(lexical_matches(conjunctions, partial(self.lexical.holding, live=view.live.count)))

    def near(self, wanted: Sequence[Wanted]) -> list[NDArray[np.int64]]:
        """For each of ``wanted``, at least ``depth`` rows that may be hits, if there are as many, near its region.

        Every further box adds candidates, and every candidate is measured against every box: so that k boxes cost k
        times as much and not k², each is given a share of 1/√k of the candidates that one alone would have.
        """
        found = self._near_in_snapshot(wanted)
        return [self._with_live(rows, one) for rows, one in zip(found, wanted, strict=True)]

    def _with_live(self, found: NDArray[np.int64], wanted: Wanted) -> NDArray[np.int64]:
        """The rows ``found`` in the snapshot, and the nearest of the live ones after them."""
        region, view, depth = wanted
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

    def _near_in_snapshot(self, wanted: Sequence[Wanted]) -> list[NDArray[np.int64]]:
        """Rows of the snapshot near each region: candidates that pass a filter, or a scan's nearest where few pass."""
        found: dict[int, NDArray[np.int64]] = {}
        counts = {place: self._count(one) for place, one in enumerate(wanted)}
        while counts:
            proposed = self._proposed({place: (wanted[place], count) for place, count in counts.items()})
            for place, count in list(counts.items()):
                rows = self._passed(wanted[place], count, proposed.get(place))
                if rows is None:
                    counts[place] = 2 * count
                else:
                    found[place] = rows
                    del counts[place]
        return [found[place] for place in range(len(wanted))]

    def _count(self, wanted: Wanted) -> int:
        """How many rows to look for at first."""
        return max(math.ceil(self.settings.count / math.sqrt(len(wanted.region.boxes))), 2 * wanted.depth)

    def _proposed(self, wanted: Mapping[int, tuple[Wanted, int]]) -> dict[int, NDArray[np.int64]]:
        """About as many rows of the snapshot near each region, which may have gone, or not pass the filter.

        None for those that are found otherwise.
        """
        found: dict[int, NDArray[np.int64]] = {}
        together: dict[int, list[int]] = {}
        for place, (one, count) in wanted.items():
            fetched = self._fetched(one.view, count)
            if fetched is None:
                continue
            if self.resident is not None:
                found[place] = self.resident.nearest(one.region, fetched, one.view.filtered)
            else:
                together.setdefault(fetched, []).append(place)
        for fetched, places in together.items():
            boxes = [wanted[place][0].region.boxes for place in places]
            rows = self.candidates.search_many(boxes, fetched, effort=self.settings.effort)
            found.update(zip(places, rows, strict=True))
        return found

    def _fetched(self, view: View, count: int) -> int | None:
        """How many rows to fetch so that ``count`` may be hits; None if it is cheaper to look at all that may be."""
        if count >= view.able:
            return None
        if self.resident is not None:
            return count
        return view.fetched(count)

    def _passed(self, wanted: Wanted, count: int, proposed: NDArray[np.int64] | None) -> NDArray[np.int64] | None:
        """Those of the rows ``proposed`` that may be hits; None if they are too few, as there are others."""
        region, view, depth = wanted
        able = view.able
        if proposed is not None:
            near = view.among(proposed)
            # what is gone leaves room, and a graph may reach fewer rows than asked for; a page is full all the same
            enough = len(near) >= depth and 2 * len(near) >= min(self._count(wanted), able)
            return near if enough else None
        rows = view.among(np.arange(view.live.base, dtype=np.int64) if view.filtered is None else view.filtered.rows)
        if count >= able:
            return rows
        return self._scan(view.snapshot_points, region, count=self._count(wanted), among=rows)

    def _scan(
        self, points: NDArray[np.float32], region: Region, *, count: int, **which: NDArray[Any]
    ) -> NDArray[np.int64]:
        geometry = self.encoder.manifest.geometry
        return scan(points, region, c=geometry.curvature, gamma=geometry.gamma, count=count, **which).rows

    def proposed(
        self, near: NDArray[np.int64], words: LexicalScores, intent: Intent | None, view: View, *, depth: int
    ) -> NDArray[np.int64]:
        """The rows ``near`` a region, those of the highest BM25, and those that shoppers are likeliest after."""
        rows = union(near, best(words.scores, max(LEXICAL_CANDIDATES, depth)))
        if self.behaviour is None or intent is None:
            return rows
        return union(rows, self.behaviour.near(intent, view, depth=depth))

    def clicks(
        self, intent: Intent | None, rows: NDArray[np.int64], view: View, excluded: NDArray[np.bool_]
    ) -> BehaviourScores | None:
        """What the behaviour channel, if there is one, says of ``rows`` (K), of which some are ``excluded`` (K)."""
        if self.behaviour is None or intent is None:
            return None
        scores = self.behaviour.scores(intent, rows, view)
        return scores.less(excluded) if excluded.any() else scores

    def measure(
        self, region: Region, rows: NDArray[np.int64], view: View
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Containment distances (K) of ``rows`` (K), and which of them lie inside (K)."""
        if self.resident is not None:
            return self.resident.measure(region, rows, view.live.points)
        geometry = self.encoder.manifest.geometry
        return view.measure(region, rows, c=geometry.curvature, gamma=geometry.gamma)
