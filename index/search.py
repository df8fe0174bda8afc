"""Search over one snapshot: a query's hyperboloid, its candidates, their exact order, the page's products.

Evaluation, benchmarks and the service run this one pipeline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from index.candidates import CandidateIndex
from index.rerank import Ranking, rerank
from index.snapshot import CANDIDATES, ENCODER, Snapshot, SnapshotError
from model.runtime import EmptyTextError, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from model.catalog import Product

__all__ = ["MAX_DEPTH", "EmptyTextError", "Hit", "SearchResult", "Searcher", "Timings", "Total"]

MAX_DEPTH = 10_000
"""The deepest a page may reach: ``offset + limit``."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One product of an answer; ``score`` is the containment distance with its sign turned."""

    product: Product
    score: float
    distance: float
    contained: bool


@dataclass(frozen=True, slots=True)
class Total:
    """How many products the hyperboloid contains: exactly, if every product was looked at, else at least."""

    value: int
    relation: Literal["eq", "gte"]


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that each stage of one search took."""

    encode: float
    candidates: float
    rerank: float
    fetch: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer: one page of hits, nearest first, and what it was found with."""

    hits: tuple[Hit, ...]
    total: Total
    snapshot: str
    model: str
    timings: Timings


class Searcher:
    """Answers queries from one snapshot; safe to call from several threads at once."""

    def __init__(self, snapshot: Snapshot, encoder: TextEncoder, candidates: CandidateIndex) -> None:
        self._snapshot = snapshot
        self._encoder = encoder
        self._candidates = candidates
        self._geometry = snapshot.manifest.geometry
        self._settings = snapshot.manifest.candidates

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
        except ValueError as error:
            raise SnapshotError(f"snapshot {manifest.id} in {directory} cannot be opened: {error}") from error
        if len(candidates) != manifest.products:
            raise SnapshotError(
                f"snapshot {manifest.id} in {directory} says {manifest.products} products, but its candidate "
                f"index holds {len(candidates)}"
            )
        return cls(snapshot, encoder, candidates)

    @property
    def snapshot_id(self) -> str:
        """Which snapshot this is."""
        return self._snapshot.manifest.id

    @property
    def model_version(self) -> str:
        """Version of the encoder bundle inside."""
        return self._snapshot.manifest.model

    @property
    def size(self) -> int:
        """Number of products."""
        return self._snapshot.manifest.products

    def search(self, query: str, *, limit: int = 10, offset: int = 0) -> SearchResult:
        """The ``limit`` products after the first ``offset``, by rising containment distance.

        Fewer only where the catalogue ends: a page deeper than the snapshot was calibrated for widens the
        candidates, to twice as many as the page needs, so that the exact order has some to choose from.

        Raises:
            EmptyTextError: the query has no letter or digit.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        if limit < 1 or offset < 0 or limit + offset > MAX_DEPTH:
            raise ValueError(
                f"limit is {limit} and offset {offset}: limit must be at least 1, offset at least 0, and "
                f"their sum at most {MAX_DEPTH:,}"
            )
        started = time.perf_counter()
        centre, region_limit = self._encode(query)
        encoded = time.perf_counter()
        rows = self._candidate_rows(centre, depth=limit + offset)
        found = time.perf_counter()
        ranking = self._rerank(rows, centre, region_limit)
        ranked = time.perf_counter()
        hits = self._fetch(ranking, slice(offset, offset + limit))
        fetched = time.perf_counter()
        return SearchResult(
            hits=hits,
            total=Total(
                value=int(np.count_nonzero(ranking.contained)),
                relation="eq" if len(ranking) == self.size else "gte",
            ),
            snapshot=self.snapshot_id,
            model=self.model_version,
            timings=Timings(
                encode=encoded - started,
                candidates=found - encoded,
                rerank=ranked - found,
                fetch=fetched - ranked,
            ),
        )

    def distances(self, query: str, product_ids: Iterable[str]) -> dict[str, float]:
        """Containment distance of each of these products; ids the snapshot does not have are left out.

        Raises:
            EmptyTextError: the query has no letter or digit.
        """
        centre, limit = self._encode(query)
        rows = {self._snapshot.documents.row(product_id): product_id for product_id in product_ids}
        rows.pop(None, None)
        ranking = self._rerank(np.array(list(rows), dtype=np.int64), centre, limit)
        return {rows[int(row)]: float(distance) for row, distance in zip(ranking.rows, ranking.distances, strict=True)}

    def close(self) -> None:
        """Close the snapshot's files; nothing may be searched after."""
        self._snapshot.documents.close()

    def _encode(self, query: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        regions = self._encoder.encode_queries([query])
        return regions.centres[0], regions.limits[0]

    def _candidate_rows(self, centre: NDArray[np.float32], *, depth: int) -> NDArray[np.int64]:
        count = max(self._settings.count, 2 * depth)
        if count < self.size:
            rows = self._candidates.search(centre, count, ef_search=self._settings.ef_search)
            # A graph may reach fewer rows than asked for; a page is full all the same.
            if len(rows) >= depth:
                return rows
        return np.arange(self.size, dtype=np.int64)

    def _rerank(self, rows: NDArray[np.int64], centre: NDArray[np.float32], limit: NDArray[np.float32]) -> Ranking:
        geometry = self._geometry
        return rerank(self._snapshot.points, rows, centre, limit, c=geometry.curvature, gamma=geometry.gamma)

    def _fetch(self, ranking: Ranking, page: slice) -> tuple[Hit, ...]:
        rows, distances, contained = (
            column[page].tolist() for column in (ranking.rows, ranking.distances, ranking.contained)
        )
        return tuple(
            Hit(self._snapshot.documents.product(row), score=-distance, distance=distance, contained=inside)
            for row, distance, inside in zip(rows, distances, contained, strict=True)
        )
