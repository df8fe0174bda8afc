"""Search over one snapshot: a query's region, its candidates, their order, the page's products.

Evaluation, benchmarks and the service run this one pipeline.
"""

from __future__ import annotations

import time
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Self

import numpy as np

from index.algebra import LexicalScores, Region
from index.candidates import CandidateIndex
from index.census import CENSUS_UP_TO, Census
from index.channels import Channels
from index.device import CPU, hold
from index.documents import UnknownProductError
from index.exact import ExactCandidates
from index.expression import Conjunction, Expression, ExpressionError, normal_form
from index.facets import facet
from index.filters import FilterError
from index.fusion import union
from index.lexical import LEXICAL, LexicalIndex, best
from index.live import LiveProducts
from index.live_rows import LiveRows
from index.parts import Part, in_column_order
from index.refinement import DISTANCE, NOTHING, Refinement, RefinementError
from index.results import Hit, Mode, SearchResult, Timings, Total
from index.selection import Selections
from index.snapshot import CANDIDATES, ENCODER, Snapshot, SnapshotError
from index.view import View
from model.catalog import searchable_text
from model.runtime import EmptyTextError, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.device import Device
    from index.filters import ColumnType
    from index.refinement import Sort
    from index.snapshot import JournalMark
    from model.catalog import Product

__all__ = [
    "MAX_DEPTH",
    "EmptyTextError",
    "ExpressionError",
    "FilterError",
    "Hit",
    "Mode",
    "Refinement",
    "RefinementError",
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
    """What a search is after, and among which rows; the row ``without`` is none of them."""

    region: Region
    mode: Mode
    view: View
    conjunctions: tuple[Conjunction, ...] = ()
    without: int | None = None


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows, their scores, their distances and whether the region contains them, (K) each."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    distances: NDArray[np.float32]
    inside: NDArray[np.bool_]

    def best_first(self) -> _Scored:
        """By falling score, equal scores by row number."""
        return self.taken(np.lexsort((self.rows, -self.scores)))

    def taken(self, places: slice | NDArray[np.int64]) -> _Scored:
        """What stands in these places."""
        return _Scored(self.rows[places], self.scores[places], self.distances[places], self.inside[places])


@dataclass(frozen=True, slots=True)
class _Inside:
    """The rows that the region contains; all of them, or those among the rows that were looked at."""

    rows: NDArray[np.int64]
    complete: bool


class Searcher:
    """Answers queries from one snapshot and what changed since; safe to call from several threads at once.

    A search sees the changes that were applied before it began, and none that are applied while it runs. ``snapshot``
    and ``channels`` are for those who ask other things about its products than a search.
    """

    def __init__(self, snapshot: Snapshot, channels: Channels) -> None:
        self.snapshot = snapshot
        self.channels = channels
        self._census = Census.of(snapshot.points) if len(snapshot.points) <= CENSUS_UP_TO else None
        self.show()
        self._selections = Selections(snapshot.columns)

    @classmethod
    def open(cls, directory: Path, *, threads: int = 1, device: Device = CPU) -> Self:
        """Check one snapshot directory and open it; ``threads`` are the encoder's, ``device`` is where it computes.

        Raises:
            SnapshotError: it is not a sound snapshot.
        """
        snapshot = Snapshot.open(directory)
        manifest = snapshot.manifest
        try:
            encoder = TextEncoder(directory / ENCODER, threads=threads, gpu=device.number, manifest=snapshot.encoder)
            candidates = CandidateIndex.load(
                directory / CANDIDATES, form=manifest.candidates.form, c=manifest.geometry.curvature
            )
            lexical = LexicalIndex.load(directory / LEXICAL)
        except ValueError as error:
            raise SnapshotError(f"snapshot {manifest.id} in {directory} cannot be opened: {error}") from error
        for name, index in (("candidate", candidates), ("lexical", lexical)):
            if len(index) != manifest.products:
                raise SnapshotError(
                    f"snapshot {manifest.id} in {directory} says {manifest.products} products, but its {name} "
                    f"index holds {len(index)}"
                )
        geometry = manifest.geometry
        resident = hold(snapshot.points, device, c=geometry.curvature, gamma=geometry.gamma)
        return cls(snapshot, Channels(encoder, candidates, manifest.candidates, lexical, resident))

    @property
    def snapshot_id(self) -> str:
        """Which snapshot this is."""
        return self.snapshot.manifest.id

    @property
    def model_version(self) -> str:
        """Version of the encoder bundle inside."""
        return self.snapshot.manifest.model

    @property
    def created(self) -> float:
        """When the snapshot was published, in Unix seconds."""
        return datetime.fromisoformat(self.snapshot.manifest.created).timestamp()

    @property
    def bytes(self) -> int:
        """Size of the snapshot's files."""
        return self.snapshot.manifest.bytes

    @property
    def size(self) -> int:
        """Number of products."""
        return self._live.view.size

    @property
    def types(self) -> Mapping[str, ColumnType]:
        """What each column holds."""
        return self._live.view.types

    @property
    def shown(self) -> int:
        """The number of the last change that searches see."""
        return self._live.shown

    @property
    def mark(self) -> JournalMark | None:
        """How far into which journal the snapshot reaches."""
        return self.snapshot.manifest.journal

    def encode(self, products: Sequence[Product]) -> NDArray[np.float32]:
        """The points (K, d) of ``products`` (K).

        Raises:
            EmptyTextError: a product has no letter or digit to be found by.
        """
        return self.channels.encoder.encode_products([searchable_text(product) for product in products])

    def show(self, rows: LiveRows | None = None, *, after: int = 0) -> None:
        """Show the snapshot as it is, and then what :meth:`follow` brings of ``rows``, from the change ``after`` on.

        Their points are by this model, and their columns keep to the types of this snapshot's. Without any there are
        new ones, which are empty.
        """
        documents, types, geometry = (
            self.snapshot.documents,
            self.snapshot.columns.types,
            self.snapshot.manifest.geometry,
        )
        self.rows = rows or LiveRows(types, dim=geometry.dim, c=geometry.curvature, after=after)
        scale = None if self._census is None else self._census.scale
        self._live = LiveProducts(documents, types, scale, self.rows, after=after)
        self.channels.lexical.live = self.rows.words

    def follow(self, most: int | None = None) -> int:
        """Bring to light what the rows tell by now, all at once; how many changes, not more than ``most``.

        One thread at a time may.
        """
        return self._live.follow(most)

    def find(self, product_id: str) -> tuple[Product, NDArray[np.float32]]:
        """A product and its point (d).

        Raises:
            UnknownProductError: there is no such product.
        """
        view = self._view(NOTHING)
        row = self._row(product_id, view)
        return self._product(row, view), view.points(np.array([row]))[0]

    def search(
        self,
        query: str | Expression,
        *,
        mode: Mode = "hybrid",
        limit: int = 10,
        offset: int = 0,
        refinement: Refinement = NOTHING,
    ) -> SearchResult:
        """The ``limit`` products after the first ``offset``, best first; a text is taken literally.

        Fewer only where the catalogue, or what of it passes the filter, ends; or in the lexical mode the products that
        share a word with the query. A page deeper than the snapshot was calibrated for widens the candidates, to twice
        as many as the page needs, so that the exact order has some to choose from.

        Facets count the products that *match*: those the region contains, and those that hold every word of the query,
        each only in the modes that look at it. Sorted by a column, products that match come first; the others follow in
        the order of their scores.

        Raises:
            EmptyTextError: the query is a text without a letter or digit.
            ExpressionError: the query is an expression that no search can be made of.
            FilterError, RefinementError: the refinement does not suit the catalogue's columns.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        page = _page(limit, offset)
        started = time.perf_counter()
        view = self._view(refinement)
        conjunctions = _conjunctions(query)
        sought = _Sought(self.channels.region(conjunctions), mode, view, conjunctions)
        return self._answer(sought, page, refinement, started=started)

    def similar(
        self, product_id: str, *, limit: int = 10, offset: int = 0, refinement: Refinement = NOTHING
    ) -> SearchResult:
        """The products nearest to one of the catalogue, which is left out itself.

        Its region is its point, so the distance is the plain one, and only products at the same point are contained.

        Raises:
            UnknownProductError: there is no such product.
            FilterError, RefinementError: the refinement does not suit the catalogue's columns.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        page = _page(limit, offset)
        started = time.perf_counter()
        view = self._view(refinement)
        row = self._row(product_id, view)
        point = view.points(np.array([row]))[0]
        region = Region.around(point, np.zeros_like(point))
        return self._answer(_Sought(region, "hyperboloid", view, without=row), page, refinement, started=started)

    def scores(self, query: str | Expression, product_ids: Iterable[str], *, mode: Mode = "hybrid") -> dict[str, float]:
        """Score of each of these products, higher is better; ids the snapshot does not have are left out.

        Raises:
            EmptyTextError: the query is a text without a letter or digit.
            ExpressionError: the query is an expression that no search can be made of.
        """
        conjunctions = _conjunctions(query)
        view = self._view(NOTHING)
        sought = _Sought(self.channels.region(conjunctions), mode, view, conjunctions)
        found = {
            product_id: view.live.row(product_id, self.snapshot.documents.row(product_id)) for product_id in product_ids
        }
        rows = {row: product_id for product_id, row in found.items() if row is not None}
        scored = self._score(np.array(list(rows), dtype=np.int64), sought, self._lexical_scores(sought))
        return {rows[int(row)]: float(score) for row, score in zip(scored.rows, scored.scores, strict=True)}

    def exactly(self, pause: Callable[[float], None] = lambda _: None) -> Searcher:
        """A searcher of the same products that looks at all of them where this one takes candidates.

        It sees changes as this one does, and must not be used when this one is closed. ``pause`` is called again and
        again, with the seconds that went by, to let others past.
        """
        geometry = self.snapshot.manifest.geometry
        scanned = ExactCandidates(self.snapshot.points, c=geometry.curvature, gamma=geometry.gamma, pause=pause)
        exact = copy(self)
        exact.channels = replace(self.channels, candidates=scanned, resident=None)
        return exact

    def close(self) -> None:
        """Close the snapshot's files; nothing may be searched after."""
        self.snapshot.documents.close()

    def _view(self, refinement: Refinement) -> View:
        live = self._live.view
        refinement.check(live.types)
        wanted = refinement.filter
        return View(self.snapshot.points, live, wanted, None if wanted is None else self._selections.select(wanted))

    def _row(self, product_id: str, view: View) -> int:
        row = view.live.row(product_id, self.snapshot.documents.row(product_id))
        if row is None:
            raise UnknownProductError(f"there is no product {product_id!r}")
        return row

    def _product(self, row: int, view: View) -> Product:
        return self.snapshot.documents.product(row) if row < view.live.base else view.live.product(row)

    def _answer(self, sought: _Sought, page: slice, refinement: Refinement, *, started: float) -> SearchResult:
        encoded = time.perf_counter()
        lexical = self._lexical_scores(sought)
        rows = self._candidate_rows(sought, lexical, depth=page.stop)
        found = time.perf_counter()
        ranked = self._score(rows, sought, lexical).best_first()
        inside = self._inside(ranked, sought)
        if refinement.facets or refinement.sort:
            matched = self._matched(inside, sought)
            ranked = self._sorted(ranked, matched, sought, lexical, refinement.sort)
        ordered = time.perf_counter()
        hits = self._fetch(ranked.taken(page), sought.view)
        parts = self._parts(matched, sought.view) if refinement.facets else ()
        facets = tuple(facet(name, parts, size=refinement.facet_size) for name in refinement.facets)
        fetched = time.perf_counter()
        return SearchResult(
            hits=hits,
            total=Total(len(inside.rows), "eq" if inside.complete else "gte"),
            facets=facets,
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
            measured=len(rows),
        )

    def _lexical_scores(self, sought: _Sought) -> LexicalScores | None:
        if sought.mode == "hyperboloid":
            return None
        return self.channels.words(sought.conjunctions, sought.view)

    def _candidate_rows(self, sought: _Sought, lexical: LexicalScores | None, *, depth: int) -> NDArray[np.int64]:
        if lexical is not None and sought.mode == "lexical":
            return best(lexical.order(), depth)
        if lexical is not None:
            return self.channels.either(sought.region, lexical, sought.view, depth=depth)
        if sought.without is None:
            return self.channels.near(sought.region, sought.view, depth=depth)
        rows = self.channels.near(sought.region, sought.view, depth=depth + 1)
        return np.asarray(rows[rows != sought.without])

    def _score(self, rows: NDArray[np.int64], sought: _Sought, lexical: LexicalScores | None) -> _Scored:
        distances, inside = self.channels.measure(sought.region, rows, sought.view)
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
        return _Scored(rows, scores, distances, inside)

    def _inside(self, ranked: _Scored, sought: _Sought) -> _Inside:
        region, view = sought.region, sought.view
        if self._census is not None:
            rows = self._census.rows(region)
            if view.live.census is not None:
                rows = np.concatenate((rows, view.live.census.rows(region) + view.live.base))
            rows = view.among(rows)
            return _Inside(rows[rows != sought.without] if sought.without is not None else rows, complete=True)
        return _Inside(ranked.rows[ranked.inside], len(ranked.rows) + (sought.without is not None) >= view.size)

    def _matched(self, inside: _Inside, sought: _Sought) -> NDArray[np.int64]:
        """Rows that match, in the order of their numbers."""
        if sought.mode == "hyperboloid":
            return np.sort(inside.rows)
        holding = self.channels.holding(sought.conjunctions, sought.view)
        return holding if sought.mode == "lexical" else union(holding, inside.rows)

    def _sorted(
        self,
        ranked: _Scored,
        matched: NDArray[np.int64],
        sought: _Sought,
        lexical: LexicalScores | None,
        sort: Sort | None,
    ) -> _Scored:
        if sort is None:
            return ranked
        if sort.column == DISTANCE:
            sign = -1 if sort.descending else 1
            return ranked.taken(np.lexsort((ranked.rows, sign * ranked.distances)))
        rest = ranked.rows[~np.isin(ranked.rows, matched)]
        every = self._score(union(ranked.rows, matched), sought, lexical)
        in_order = np.concatenate((in_column_order(sort, self._parts(matched, sought.view)), rest))
        return every.taken(np.searchsorted(every.rows, in_order))

    def _parts(self, rows: NDArray[np.int64], view: View) -> tuple[Part, Part]:
        """``rows`` (K), rising, by the tables that hold their columns."""
        base = view.live.base
        first_live = np.searchsorted(rows, base)
        snapshot = Part(self.snapshot.columns, rows[:first_live], 0)
        return snapshot, Part(view.live.columns, rows[first_live:] - base, base)

    def _fetch(self, shown: _Scored, view: View) -> tuple[Hit, ...]:
        columns = (shown.rows, shown.scores, shown.distances, shown.inside)
        return tuple(
            Hit(self._product(row, view), score=score, distance=distance, contained=inside)
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
