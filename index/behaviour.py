"""The behaviour channel: what shoppers clicked, over the rows of a snapshot and the live ones after them.

A product that no click knows has the vector of its text, and its score is no judgment on it. A live one has that of the
product that it replaces, else of its text too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.algebra import Box
from index.behaviour_files import PLACES, VECTORS
from index.candidates import CandidateIndex
from index.proposals import proposals
from index.snapshot import BUNDLE, CANDIDATES
from model.behaviour.features import directions
from model.behaviour.vectors import BehaviourVectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.expression import Conjunction
    from index.view import View
    from model.behaviour import bundle

    Vectors = NDArray[np.float32]

BEHAVIOUR_CANDIDATES = 100
"""Products that shoppers most likely are after, to join the candidates of a hybrid search, at least."""


class Intent(NamedTuple):
    """What shoppers who ask something are after: a vector for each conjunction of the query (P, d).

    ``known`` says whether shoppers were seen to ask all of its texts, so that clicks and not a text tell.
    """

    vectors: Vectors
    known: bool


class BehaviourScores(NamedTuple):
    """How likely shoppers click each of some rows (K), and whether clicks on this very query tell.

    ``told`` (K) says which rows the channel has anything to say of: products that were never clicked score by their
    text, and lower than those that were, which is no judgment on them.
    """

    scores: NDArray[np.float32]
    known: bool
    told: NDArray[np.bool_]

    def less(self, excluded: NDArray[np.bool_]) -> BehaviourScores:
        """The same, where what the query excludes (K) loses all it scored and owes as much."""
        scores = np.where(excluded, -np.abs(self.scores), self.scores)
        return self._replace(scores=scores, told=self.told | excluded)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What shoppers' clicks say of one product under one query.

    ``asked`` says whether shoppers asked the query before, ``score`` how likely the product is what they are after, and
    ``told`` whether it was ever clicked, see :class:`BehaviourScores`;
    ``sessions`` is the share of its vector that comes from sessions and not from clicks on it, 0 to 1. The ``queries``
    led to it most often, and the ``companions``, product ids, share most sessions with it.
    """

    asked: bool
    score: float
    told: bool
    sessions: float
    queries: tuple[str, ...]
    companions: tuple[str, ...]


class BehaviourChannel:
    """What shoppers are likely to click; safe to use from several threads at once.

    Raises:
        ValueError: ``directory`` does not hold what :func:`index.behaviour_files.write` writes.
    """

    def __init__(self, directory: Path, *, c: float, manifest: bundle.Manifest | None = None) -> None:
        self._learnt = BehaviourVectors(directory / BUNDLE, manifest=manifest)
        try:
            self._vectors: Vectors = np.asarray(np.load(directory / VECTORS, mmap_mode="r", allow_pickle=False))
            self._places = np.asarray(np.load(directory / PLACES, mmap_mode="r", allow_pickle=False))
        except OSError as error:
            raise ValueError(f"{directory} holds no behaviour channel: {error}") from error
        self._candidates = CandidateIndex.load(directory / CANDIDATES, form="inner", c=0.0)
        # one more, for the place −1 of a product that the bundle lacks
        self._clicked = np.append(self._learnt.clicked(), False)
        self._c = c
        if not len(self._vectors) == len(self._places) == len(self._candidates):
            raise ValueError(
                f"{directory} has {len(self._vectors)} vectors, {len(self._places)} places and "
                f"{len(self._candidates)} candidates; there should be one of each for every product"
            )

    def __len__(self) -> int:
        return len(self._vectors)

    def intent(self, conjunctions: Sequence[Conjunction], centres: Mapping[str, Vectors]) -> Intent:
        """What a normal form is after, given the centre (F) of each of its texts; what it excludes says nothing.

        The vector of a conjunction is the mean of its texts', so that an AND weighs as much as one text.
        """
        texts = list(dict.fromkeys(text for part in conjunctions for text in part.positive))
        features = directions(np.stack([centres[text] for text in texts]), c=self._c)
        found = dict(zip(texts, self._learnt.encode_queries(texts, features), strict=True))
        vectors = np.stack([np.mean([found[text] for text in part.positive], axis=0) for part in conjunctions])
        return Intent(vectors, all(map(self._learnt.knows, texts)))

    def near(self, intent: Intent, view: View, *, depth: int) -> NDArray[np.int64]:
        """At least ``depth`` rows that may be hits, if as many may, of those that shoppers are likeliest after.

        A live product is among them in the place of the one that it replaces; new ones are found by their text, and
        here where all rows are looked at.
        """
        boxes = [Box.around(vector, np.zeros_like(vector)) for vector in intent.vectors]

        def every() -> NDArray[np.int64]:
            rows = np.arange(view.live.base, dtype=np.int64) if view.filtered is None else view.filtered.rows
            return np.concatenate((view.among(rows), view.live_rows))

        return proposals(
            view,
            max(BEHAVIOUR_CANDIDATES, 2 * depth),
            total=len(self),
            look=lambda count: self._candidates.search(boxes, count),
            every=every,
            score=lambda rows: self._inner(intent, self._of(rows, view)),
        )

    def scores(self, intent: Intent, rows: NDArray[np.int64], view: View) -> BehaviourScores:
        """How likely each of ``rows`` (K) is what shoppers are after: the greatest over the conjunctions."""
        told = self._clicked[self._in_bundle(rows, view)]
        return BehaviourScores(self._inner(intent, self._of(rows, view)), intent.known, told)

    def evidence(self, intent: Intent, row: int, view: View) -> Evidence:
        """What clicks say of the product in a row of either kind; of one that they do not know, a score by its text."""
        rows = np.array([row])
        found = self.scores(intent, rows, view)
        score, told = float(found.scores[0]), bool(found.told[0])
        place = int(self._in_bundle(rows, view)[0])
        if place < 0:
            return Evidence(intent.known, score, told, 0.0, (), ())
        learnt = self._learnt
        return Evidence(
            asked=intent.known,
            score=score,
            told=told,
            sessions=float(learnt.leanings[place]),
            queries=tuple(learnt.askings(place)),
            companions=tuple(learnt.product_ids[other] for other in learnt.companions(place)),
        )

    def _in_bundle(self, rows: NDArray[np.int64], view: View) -> NDArray[np.int64]:
        """Where the bundle has the products in rows of either kind (K), −1 where it has not."""
        live = rows >= view.live.base
        places = np.full(len(rows), -1, dtype=np.int64)
        places[~live] = self._places[rows[~live]]
        if live.any():
            replaced = view.live.replaced(rows[live])
            places[live] = np.where(replaced >= 0, self._places[replaced], -1)
        return places

    def _of(self, rows: NDArray[np.int64], view: View) -> Vectors:
        """Vectors (K, d) of rows of either kind."""
        base = view.live.base
        live = rows >= base
        if not live.any():
            return self._vectors[rows]
        vectors = np.empty((len(rows), self._vectors.shape[1]), dtype=np.float32)
        vectors[~live] = self._vectors[rows[~live]]
        replaced = view.live.replaced(rows[live])
        places = np.flatnonzero(live)
        vectors[places[replaced >= 0]] = self._vectors[replaced[replaced >= 0]]
        new = places[replaced < 0]
        vectors[new] = self._learnt.encode_products(directions(view.points(rows[new]), c=self._c))
        return vectors

    def _inner(self, intent: Intent, vectors: Vectors) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = (vectors @ intent.vectors.T).max(axis=1)
        return scores
