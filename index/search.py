"""Search over one snapshot: a query's region, its candidates, their order, the page's products.

Evaluation, benchmarks and the service run this one pipeline.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Self

import numpy as np

from index.algebra import Region
from index.answering import Answering, Stopwatch
from index.asked import MAX_DEPTH, Asked, ByPicture, ModeError, Search, Similar, page_of
from index.behaviour import BehaviourChannel
from index.candidates import CandidateIndex
from index.channels import Channels, Place
from index.device import CPU, hold
from index.documents import UnknownProductError
from index.exact import ExactCandidates
from index.expression import Conjunction, Expression, ExpressionError, normal_form
from index.filters import FilterError
from index.lexical import LEXICAL, LexicalIndex
from index.live import LiveProducts, LiveView
from index.live_rows import LiveRows
from index.pictures import PictureChannel
from index.refinement import NOTHING, Refinement, RefinementError
from index.results import Hit, Mode, SearchResult, TextMode, Timings, Total
from index.selection import Selections
from index.snapshot import BEHAVIOUR, CANDIDATES, ENCODER, PICTURES, Snapshot, SnapshotError
from index.sought import NOWHERE, Sought
from index.view import View
from model.catalog import searchable_text
from model.runtime import EmptyTextError, TextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.behaviour import Evidence
    from index.device import Device
    from index.filters import ColumnType
    from index.lexical import Wording
    from index.snapshot import JournalMark
    from model.catalog import Product

__all__ = [
    "MAX_DEPTH",
    "Asked",
    "ByPicture",
    "EmptyTextError",
    "ExpressionError",
    "FilterError",
    "Hit",
    "ModeError",
    "Refinement",
    "RefinementError",
    "Search",
    "SearchResult",
    "Searcher",
    "Similar",
    "TextMode",
    "Timings",
    "Total",
    "UnknownProductError",
]

_Bytes = bytes
"""A searcher has a size in bytes of that name."""
_REFUSALS = (ValueError, UnknownProductError)
"""What is wrong with a search, not with the searcher."""


class Searcher:
    """Answers queries from one snapshot and what changed since; safe to call from several threads at once.

    A search sees the changes that were applied before it began, and none that are applied while it runs. ``snapshot``
    and ``channels`` are for those who ask other things about its products than a search.
    """

    def __init__(self, snapshot: Snapshot, channels: Channels) -> None:
        self.snapshot = snapshot
        self.channels = channels
        self._answering = Answering(snapshot, channels)
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
            behaviour = (
                None
                if snapshot.behaviour is None
                else BehaviourChannel(directory / BEHAVIOUR, c=manifest.geometry.curvature, manifest=snapshot.behaviour)
            )
            pictures = (
                None
                if snapshot.pictures is None
                else PictureChannel(
                    directory / PICTURES, products=manifest.products, threads=threads, manifest=snapshot.pictures
                )
            )
        except ValueError as error:
            raise SnapshotError(f"snapshot {manifest.id} in {directory} cannot be opened: {error}") from error
        for name, index in (("candidate", candidates), ("lexical", lexical), ("behaviour", behaviour)):
            if index is not None and len(index) != manifest.products:
                raise SnapshotError(
                    f"snapshot {manifest.id} in {directory} says {manifest.products} products, but its {name} "
                    f"index holds {len(index)}"
                )
        geometry = manifest.geometry
        resident = hold(snapshot.points, device, c=geometry.curvature, gamma=geometry.gamma)
        channels = Channels(encoder, candidates, manifest.candidates, lexical, resident, behaviour, pictures)
        return cls(snapshot, channels)

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
        census = self._answering.census
        scale = None if census is None else census.scale
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
        view = self._view(NOTHING, self._live.view)
        row = self._row(product_id, view)
        return self._answering.product(row, view), view.points(np.array([row]))[0]

    def evidence(self, query: str, product_id: str) -> Evidence | None:
        """What shoppers' clicks say of a product under a query, None if the snapshot has no behaviour channel.

        Raises:
            UnknownProductError: there is no such product.
            EmptyTextError: the query has no letter or digit.
        """
        behaviour, view = self.channels.behaviour, self._view(NOTHING, self._live.view)
        row, intent = self._row(product_id, view), self.channels.place(_conjunctions(query)).intent
        if behaviour is None or intent is None:
            return None
        return behaviour.evidence(intent, row, view)

    def wording(self, query: str, product_id: str) -> Wording:
        """What BM25 says of a product under a query.

        Raises:
            UnknownProductError: there is no such product.
        """
        view = self._view(NOTHING, self._live.view)
        return self.channels.lexical.wording(query, self._row(product_id, view), live=view.live.count)

    def search(
        self,
        query: str | Expression,
        *,
        mode: TextMode = "hybrid",
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
            ModeError: the mode is ``behaviour``, and the snapshot has no such channel.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        return self.answer(Search(query, mode, limit, offset, refinement))

    def similar(
        self, product_id: str, *, limit: int = 10, offset: int = 0, refinement: Refinement = NOTHING
    ) -> SearchResult:
        """The products nearest to one of the catalogue, which is left out itself.

        Its region is its point, so the distance is the plain one, and only products at the same point are contained. If
        it has a picture, the ranks by distance and by the likeness of pictures are fused.

        Raises:
            UnknownProductError: there is no such product.
            FilterError, RefinementError: the refinement does not suit the catalogue's columns.
            ValueError: ``limit < 1``, ``offset < 0`` or ``limit + offset > MAX_DEPTH``.
        """
        return self.answer(Similar(product_id, limit, offset, refinement))

    def by_picture(
        self,
        picture: _Bytes,
        query: str | Expression | None = None,
        *,
        limit: int = 10,
        offset: int = 0,
        refinement: Refinement = NOTHING,
    ) -> SearchResult:
        """The products whose pictures are most like ``picture``, a file's bytes, and that answer ``query``, if any.

        With a query the ranks that a hybrid search gives and those by the likeness of pictures are fused, and distances
        and what is contained are the query's. Without, distances are those between the pictures, and nothing is
        contained.

        Raises:
            ModeError: the snapshot has no pictures.
            PictureError: it is no picture, or none that is read.
            EmptyTextError, ExpressionError, FilterError, RefinementError, ValueError: as :meth:`search`.
        """
        return self.answer(ByPicture(picture, query, limit, offset, refinement))

    def thumbnail(self, product_id: str) -> _Bytes | None:
        """A small JPEG of a product's picture, None if it has none.

        Raises:
            UnknownProductError: there is no such product.
        """
        view = self._view(NOTHING, self._live.view)
        row, pictures = self._row(product_id, view), self.channels.pictures
        return None if pictures is None else pictures.thumbnail(row, view)

    def answer(self, asked: Asked) -> SearchResult:
        """The answer to what :meth:`search` or :meth:`similar` would be asked, or their error."""
        (answer,) = self.search_many((asked,))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def search_many(self, asked: Sequence[Asked]) -> list[SearchResult | Exception]:
        """The answers to several searches, all of the same products, in the order in which they were asked.

        Each is what :meth:`search` or :meth:`similar` would answer alone, up to the last digits of distances; together
        they cost less. Where those would raise an error for what was asked, that error takes the answer's place, and
        the others are answered.
        """
        watch = Stopwatch()
        live = self._live.view
        answers: dict[int, SearchResult | Exception] = {}
        sought: dict[int, Sought] = {}
        for place, one in enumerate(asked):
            try:
                sought[place] = self._sought(one, live)
            except _REFUSALS as error:
                answers[place] = error
        located: dict[int, Sought] = {}
        for place, found in zip(sought, self._answering.located(list(sought.values())), strict=True):
            if isinstance(found, Exception):
                answers[place] = found
            else:
                located[place] = found
        watch.lap("encode")
        results = self._answering.answers(list(located.values()), watch)
        answers.update(zip(located, results, strict=True))
        return [answers[place] for place in range(len(asked))]

    def scores(
        self, query: str | Expression, product_ids: Iterable[str], *, mode: TextMode = "hybrid"
    ) -> dict[str, float]:
        """Score of each of these products, higher is better; ids the snapshot does not have are left out.

        Raises:
            EmptyTextError: the query is a text without a letter or digit.
            ExpressionError: the query is an expression that no search can be made of.
            ModeError: the mode is ``behaviour``, and the snapshot has no such channel.
        """
        self._check(mode)
        conjunctions = _conjunctions(query)
        view = self._view(NOTHING, self._live.view)
        sought = Sought(self.channels.place(conjunctions), mode, view, slice(0), conjunctions=conjunctions)
        found = {
            product_id: view.live.row(product_id, self.snapshot.documents.row(product_id)) for product_id in product_ids
        }
        rows = {row: product_id for product_id, row in found.items() if row is not None}
        scored = self._answering.scored(np.array(list(rows), dtype=np.int64), sought)
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
        exact._answering = self._answering.through(exact.channels)
        return exact

    def close(self) -> None:
        """Close the snapshot's files; nothing may be searched after."""
        self.snapshot.documents.close()

    def _sought(self, asked: Asked, live: LiveView) -> Sought:
        """What is asked for, its texts not encoded yet."""
        page, view = page_of(asked), self._view(asked.refinement, live)
        if isinstance(asked, Search):
            self._check(asked.mode)
            return Sought(NOWHERE, asked.mode, view, page, asked.refinement, _conjunctions(asked.query))
        pictures = self.channels.pictures
        if isinstance(asked, ByPicture):
            if pictures is None:
                raise ModeError("this snapshot has no picture channel: it was built without --images", part="image")
            conjunctions = () if asked.query is None else _conjunctions(asked.query)
            sent = pictures.encode(asked.picture)
            return Sought(NOWHERE, "image", view, page, asked.refinement, conjunctions, picture=sent)
        row = self._row(asked.product_id, view)
        point = view.points(np.array([row]))[0]
        region = Region.around(point, np.zeros_like(point))
        picture = None if pictures is None else pictures.point(row, view)
        mode: Mode = "hyperboloid" if picture is None else "image"
        return Sought(Place(region), mode, view, page, asked.refinement, without=row, picture=picture)

    def _check(self, mode: TextMode) -> None:
        if mode == "behaviour" and self.channels.behaviour is None:
            raise ModeError("this snapshot has no behaviour channel: it was built without --behaviour", part="mode")

    def _view(self, refinement: Refinement, live: LiveView) -> View:
        refinement.check(live.types)
        wanted = refinement.filter
        return View(self.snapshot.points, live, wanted, None if wanted is None else self._selections.select(wanted))

    def _row(self, product_id: str, view: View) -> int:
        row = view.live.row(product_id, self.snapshot.documents.row(product_id))
        if row is None:
            raise UnknownProductError(f"there is no product {product_id!r}")
        return row


def _conjunctions(query: str | Expression) -> tuple[Conjunction, ...]:
    return (Conjunction((query,)),) if isinstance(query, str) else normal_form(query)
