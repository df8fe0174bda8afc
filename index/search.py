"""Search over one snapshot: a query's region, its candidates, their order, the page's products.

Evaluation, benchmarks and the service run this one pipeline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from index.algebra import Box, LexicalScores, Region
from index.candidates import CandidateIndex
from index.census import CENSUS_UP_TO, Census
from index.channels import Channels
from index.documents import UnknownProductError
from index.expression import Conjunction, Expression, ExpressionError, normal_form
from index.lexical import LEXICAL, LexicalIndex, best
from index.results import Hit, Mode, SearchResult, Timings, Total
from index.snapshot import CANDIDATES, ENCODER, Snapshot, SnapshotError
from model.runtime import EmptyTextError, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "MAX_DEPTH",
    "EmptyTextError",
    "ExpressionError",
    "Hit",
    "Mode",
    "SearchResult",
    "Searcher",
    "Timings",
    "Total",
    "UnknownProductError",
]

MAX_DEPTH = 10_000
"""The deepest a page may reach: ``offset + limit``."""


@dataclass(frozen=True, slots=True)
class _Sought:
    """What a search is after; ``without`` is a row to leave out."""

    region: Region
    mode: Mode
    conjunctions: tuple[Conjunction, ...] = ()
    without: int | None = None


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Rows by falling score, equal scores by row number; (K) each."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    distances: NDArray[np.float32]


class Searcher:
    """Answers queries from one snapshot; safe to call from several threads at once.

    ``snapshot`` and ``channels`` are for those who ask other things about its products than a search.
    """

    def __init__(self, snapshot: Snapshot, channels: Channels) -> None:
        self.snapshot = snapshot
        self.channels = channels
        self._census = Census(snapshot.points) if len(snapshot.points) <= CENSUS_UP_TO else None

    @classmethod
    def open(cls, directory: Path, *, threads: int = 1) -> Self:
        """Check one snapshot directory and open it; ``threads`` are the encoder's.

        Raises:
            SnapshotError: it is not a sound snapshot.
        """
        snapshot = Snapshot.open(directory)
        manifest = snapshot.manifest
        try:
            encoder = TextEncoder(directory / ENCODER, threads=threads)
            candidates = CandidateIndex.load(directory / CANDIDATES, c=manifest.geometry.curvature)
            lexical = LexicalIndex.load(directory / LEXICAL)
        except ValueError as error:
            raise SnapshotError(f"snapshot {manifest.id} in {directory} cannot be opened: {error}") from error
        for name, index in (("candidate", candidates), ("lexical", lexical)):
            if len(index) != manifest.products:
                raise SnapshotError(
                    f"snapshot {manifest.id} in {directory} says {manifest.products} products, but its {name} "
                    f"index holds {len(index)}"
                )
        return cls(snapshot, Channels(encoder, candidates, manifest.candidates, snapshot.points, lexical))

    @property
    def snapshot_id(self) -> str:
        """Which snapshot this is."""
        return self.snapshot.manifest.id

    @property
    def model_version(self) -> str:
        """Version of the encoder bundle inside."""
        return self.snapshot.manifest.model

    @property
    def size(self) -> int:
        """Number of products."""
        return self.snapshot.manifest.products

    def search(
        self, query: str | Expression, *, mode: Mode = "hybrid", limit: int = 10, offset: int = 0
    ) -> SearchResult:
        """The ``limit`` products after the first ``offset``, best first; a text is taken literally.

        Fewer only where the catalogue ends, or in the lexical mode the products that share a word with the query. A
        page deeper than the snapshot was calibrated for widens the candidates, to twice as many as the page needs,
        so that the exact order has some to choose from.

        Raises:
            EmptyTextError: the query is a text without a letter or digit.
            ExpressionError: the query is an expression that no search can be made of.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        page = _page(limit, offset)
        started = time.perf_counter()
        conjunctions = _conjunctions(query)
        return self._answer(_Sought(self.channels.region(conjunctions), mode, conjunctions), page, started=started)

    def similar(self, product_id: str, *, limit: int = 10, offset: int = 0) -> SearchResult:
        """The products nearest to one of the catalogue, which is left out itself.

        Its region is its point, so the distance is the plain one, and only products at the same point are contained.

        Raises:
            UnknownProductError: the snapshot has no such product.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        page = _page(limit, offset)
        started = time.perf_counter()
        row = self.snapshot.documents.row(product_id)
        if row is None:
            raise UnknownProductError(f"snapshot {self.snapshot_id} has no product {product_id!r}")
        point = self.snapshot.points[row]
        region = Region((Box.around(point, np.zeros_like(point)),))
        return self._answer(_Sought(region, "hyperboloid", without=row), page, started=started)

    def scores(self, query: str | Expression, product_ids: Iterable[str], *, mode: Mode = "hybrid") -> dict[str, float]:
        """Score of each of these products, higher is better; ids the snapshot does not have are left out.

        Raises:
            EmptyTextError: the query is a text without a letter or digit.
            ExpressionError: the query is an expression that no search can be made of.
        """
        conjunctions = _conjunctions(query)
        sought = _Sought(self.channels.region(conjunctions), mode, conjunctions)
        rows = {self.snapshot.documents.row(product_id): product_id for product_id in product_ids}
        rows.pop(None, None)
        ranked = self._rank(np.array(list(rows), dtype=np.int64), sought, self._lexical_scores(sought))
        return {rows[int(row)]: float(score) for row, score in zip(ranked.rows, ranked.scores, strict=True)}

    def close(self) -> None:
        """Close the snapshot's files; nothing may be searched after."""
        self.snapshot.documents.close()

    def _answer(self, sought: _Sought, page: slice, *, started: float) -> SearchResult:
        encoded = time.perf_counter()
        lexical = self._lexical_scores(sought)
        rows = self._candidate_rows(sought, lexical, depth=page.stop)
        found = time.perf_counter()
        ranked = self._rank(rows, sought, lexical)
        total = self._total(ranked, sought)
        ordered = time.perf_counter()
        hits = self._fetch(ranked, sought.region, page)
        fetched = time.perf_counter()
        return SearchResult(
            hits=hits,
            total=total,
            mode=sought.mode,
            generality=sought.region.generality,
            snapshot=self.snapshot_id,
            model=self.model_version,
            timings=Timings(
                encode=encoded - started,
                candidates=found - encoded,
                rerank=ordered - found,
                fetch=fetched - ordered,
            ),
        )

    def _lexical_scores(self, sought: _Sought) -> LexicalScores | None:
        return None if sought.mode == "hyperboloid" else self.channels.words(sought.conjunctions)

    def _candidate_rows(self, sought: _Sought, lexical: LexicalScores | None, *, depth: int) -> NDArray[np.int64]:
        if lexical is not None and sought.mode == "lexical":
            return best(lexical.order(), depth)
        if lexical is not None:
            return self.channels.either(sought.region, lexical, depth=depth)
        if sought.without is None:
            return self.channels.near(sought.region, depth=depth)
        rows = self.channels.near(sought.region, depth=depth + 1)
        return np.asarray(rows[rows != sought.without])

    def _rank(self, rows: NDArray[np.int64], sought: _Sought, lexical: LexicalScores | None) -> _Ranked:
        distances = self.channels.distances(sought.region, rows)
        if lexical is None:
            scores = -distances
        elif sought.mode == "lexical":
            scores = lexical.scores[rows]
        else:
            words = lexical.scores[rows]
            # Words are certain where boxes are learnt: what holds the excluded ones is excluded from both channels.
            reach = np.float32(sought.region.exclusion(c=self.snapshot.manifest.geometry.curvature))
            away = np.where(words < 0, reach, np.float32(0.0))
            scores = self.snapshot.manifest.fusion.fuse(distances + away, words)
        order = np.lexsort((rows, -scores))
        return _Ranked(rows[order], scores[order], distances[order])

    def _total(self, ranked: _Ranked, sought: _Sought) -> Total:
        if self._census is not None:
            # a product's own point contains it
            return Total(self._census.count(sought.region) - (sought.without is not None), "eq")
        everything = len(ranked.rows) + (sought.without is not None) == self.size
        contained = sought.region.contains(self.snapshot.points[ranked.rows])
        return Total(int(np.count_nonzero(contained)), "eq" if everything else "gte")

    def _fetch(self, ranked: _Ranked, region: Region, page: slice) -> tuple[Hit, ...]:
        rows = ranked.rows[page]
        columns = (rows, ranked.scores[page], ranked.distances[page], region.contains(self.snapshot.points[rows]))
        return tuple(
            Hit(self.snapshot.documents.product(row), score=score, distance=distance, contained=inside)
            for row, score, distance, inside in zip(*(column.tolist() for column in columns), strict=True)
        )


def _page(limit: int, offset: int) -> slice:
    if limit < 1 or offset < 0 or limit + offset > MAX_DEPTH:
        raise ValueError(
            f"limit is {limit} and offset {offset}: limit must be at least 1, offset at least 0, and "
            f"their sum at most {MAX_DEPTH:,}"
        )
    return slice(offset, offset + limit)


def _conjunctions(query: str | Expression) -> tuple[Conjunction, ...]:
    return (Conjunction((query,)),) if isinstance(query, str) else normal_form(query)
