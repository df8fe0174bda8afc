"""A searcher without an index, and a client that speaks to the application without a network."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from anyio.from_thread import BlockingPortal, start_blocking_portal

from index.asked import Asked, ByPicture, Search
from index.documents import UnknownProductError
from index.facets import Facet
from index.live_rows import LiveRows
from index.refinement import NOTHING, Refinement
from index.results import Hit, SearchResult, Timings, Total
from model.catalog import Product
from service.app import create_app
from service.errors import PROBLEM_JSON
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fastapi import FastAPI
    from numpy.typing import NDArray
    from prometheus_client import CollectorRegistry

    from index.expression import Expression
    from index.filters import ColumnType
    from index.results import Mode
    from index.snapshot import JournalMark

PRODUCTS = tuple(
    Product(
        product_id=f"p{i}",
        title=f"Cordless drill {i} <b>bold</b>",
        brand="Acme",
        category_path="Tools > Drills",
        price=None if i == 0 else 10.0 + i,
        attributes={"volts": 18.0, "kit": True, "colour": "red"},
    )
    for i in range(30)
)
TYPES: dict[str, ColumnType] = {
    "product_id": "text",
    "title": "text",
    "brand": "text",
    "category_path": "text",
    "price": "number",
    "volts": "number",
    "kit": "boolean",
    "colour": "text",
}
FAKE_TIMINGS = Timings(encode=0.0007, candidates=0.002, rerank=0.0004, fuse=0.0002, fetch=0.0001)


class FakeSearcher:
    """Answers every query with the same products; its directory's name is its snapshot id."""

    model_version = "anthem-fake"
    size = len(PRODUCTS)
    bytes = 12_345
    created = 1_700_000_000.0

    def __init__(self, directory: Path) -> None:
        if (directory / "broken").exists():
            raise RuntimeError(f"{directory} is broken")
        self.snapshot_id = directory.name
        self.mark: JournalMark | None = None
        self.types = dict(TYPES)
        self.stored: dict[str, Product] = {product.product_id: product for product in PRODUCTS}
        self.closed = False
        self.show()
        self.asked: list[tuple[str | Expression, Mode]] = []
        self.refinements: list[Refinement] = []
        self.batches: list[int] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def search(
        self,
        query: str | Expression,
        *,
        mode: Mode = "hybrid",
        limit: int = 10,
        offset: int = 0,
        refinement: Refinement = NOTHING,
    ) -> SearchResult:
        """The first products; ``explode`` fails, and while ``gate`` is clear a search waits inside."""
        assert not self.closed, "searched after it was closed"
        self.entered.set()
        assert self.gate.wait(timeout=10)
        assert not self.closed, "closed while it searched"
        refinement.check(TYPES)
        self.asked.append((query, mode))
        self.refinements.append(refinement)
        if query == "explode":
            raise RuntimeError("secret details")
        return replace(self._page(mode, limit, offset, refinement), generality=-12.5)

    def answer(self, asked: Asked) -> SearchResult:
        """What was asked."""
        options = {"limit": asked.limit, "offset": asked.offset, "refinement": asked.refinement}
        if isinstance(asked, Search):
            return self.search(asked.query, mode=asked.mode, **options)
        if isinstance(asked, ByPicture):
            return self._page("image", asked.limit, asked.offset, asked.refinement)
        return self.similar(asked.product_id, **options)

    def search_many(self, asked: Sequence[Asked]) -> list[SearchResult | Exception]:
        """One after the other; ``explode`` takes all the others with it."""
        self.batches.append(len(asked))
        found: list[SearchResult | Exception] = []
        for one in asked:
            try:
                found.append(self.answer(one))
            except (ValueError, UnknownProductError) as error:
                found.append(error)
        return found

    def similar(
        self, product_id: str, *, limit: int = 10, offset: int = 0, refinement: Refinement = NOTHING
    ) -> SearchResult:
        """The first products, if there is one of that id."""
        refinement.check(TYPES)
        self.refinements.append(refinement)
        self.find(product_id)
        return self._page("hyperboloid", limit, offset, refinement)

    def _page(self, mode: Mode, limit: int, offset: int, refinement: Refinement) -> SearchResult:
        hits = tuple(
            Hit(product=product, score=-0.1 * i, distance=0.1 * i, contained=i < 3)
            for i, product in enumerate(PRODUCTS)
        )
        return SearchResult(
            hits=hits[offset : offset + limit],
            total=Total(value=3, relation="gte"),
            facets=tuple(Facet(name, (("Acme", 3),), values=5, missing=1) for name in refinement.facets),
            mode=mode,
            generality=None,
            snapshot=self.snapshot_id,
            model=self.model_version,
            timings=FAKE_TIMINGS,
            measured=len(hits),
        )

    def find(self, product_id: str) -> tuple[Product, NDArray[np.float32]]:
        """A product of those stored, and no point."""
        if product_id not in self.stored:
            raise UnknownProductError(f"there is no product {product_id!r}")
        return self.stored[product_id], np.zeros(2, dtype=np.float32)

    def encode(self, products: Sequence[Product]) -> NDArray[np.float32]:
        """Points that say nothing."""
        return np.zeros((len(products), 2), dtype=np.float32)

    def show(self, rows: LiveRows | None = None, *, after: int = 0) -> None:
        """Go on with what ``rows`` tell."""
        self.rows = rows or LiveRows(TYPES, dim=2, c=1.0, after=after)
        self._next = self.rows.place(after)

    @property
    def shown(self) -> int:
        """The number of the last change that was followed."""
        return self.rows.fates[self._next - 1].sequence if self._next else self.rows.after

    def follow(self, most: int | None = None) -> int:
        """Store and delete."""
        assert not self.closed, "changed after it was closed"
        fates = self.rows.fates[self._next :][:most]
        for fate in fates:
            if fate.row is None:
                self.stored.pop(fate.product_id, None)
            else:
                self.stored[fate.product_id] = self.rows.products[fate.row]
        self._next += len(fates)
        return len(fates)

    def exactly(self, pause: Callable[[float], None]) -> FakeSearcher:
        """Itself, after a pause."""
        pause(0.0)
        return self

    def close(self) -> None:
        """Note that it was closed, which must happen only once."""
        assert not self.closed, "closed twice"
        self.closed = True


def point_at(root: Path, snapshot_id: str, *, broken: bool = False) -> Path:
    """Make a snapshot directory for a :class:`FakeSearcher` and let ``CURRENT`` name it."""
    directory = root / "snapshots" / snapshot_id
    directory.mkdir(parents=True, exist_ok=True)
    if broken:
        (directory / "broken").touch()
    beside = root / "CURRENT.new"
    beside.write_text(snapshot_id + "\n", encoding="utf-8")
    beside.replace(root / "CURRENT")
    return directory


class Client:
    """Requests to an application that runs in the event loop behind ``portal``."""

    def __init__(self, portal: BlockingPortal, client: httpx.AsyncClient, app: FastAPI) -> None:
        self.app = app
        self.portal = portal
        self._client = client

    def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        """Send one request and wait for its response."""
        return self.portal.call(lambda: self._client.request(method, url, **options))

    def get(self, url: str, **options: Any) -> httpx.Response:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> httpx.Response:
        return self.request("POST", url, **options)

    def put(self, url: str, **options: Any) -> httpx.Response:
        return self.request("PUT", url, **options)


@contextmanager
def serving(
    root: Path,
    *,
    registry: CollectorRegistry | None = None,
    open_searcher: Callable[[Path], Any] = FakeSearcher,
    **told: Any,
) -> Iterator[Client]:
    """The application over ``root``, its lifespan running, behind a client; an unanswered error is raised.

    What else is ``told`` are settings.
    """
    settings = Settings(**{"index": root, "reload_seconds": 0.02, "threads": 2, **told})
    app = create_app(settings, registry=registry, open_searcher=open_searcher)
    options: dict[str, Any] = {"transport": httpx.ASGITransport(app=app), "base_url": "http://localhost"}
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(app.router.lifespan_context(app)),
        portal.wrap_async_context_manager(httpx.AsyncClient(**options)) as client,
    ):
        yield Client(portal, client, app)


def error_of(response: httpx.Response, *, status: int = 422, code: str = "invalid_input") -> dict[str, Any]:
    """The one field error of a problem document of this status and code."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == PROBLEM_JSON
    problem = response.json()
    assert problem["code"] == code
    assert problem["request_id"] == response.headers["x-request-id"]
    (error,) = problem["errors"]
    found: dict[str, Any] = error
    return found
