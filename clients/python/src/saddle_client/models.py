"""The words of the service's HTTP interface: what is asked, as dictionaries, and what comes back, as objects.

What comes back may say more in a newer release; what this one does not know is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Required

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict  # the standard library's is not for pydantic before Python 3.12

Mode = Literal["hybrid", "hyperboloid", "lexical", "behaviour"]
AnswerMode = Literal["hybrid", "hyperboloid", "lexical", "behaviour", "image"]
Syntax = Literal["plain", "operators"]
Query = str | dict[str, Any]
"""A text, or an expression such as ``{"and": ["fire tv stick", {"not": "refurbished"}]}``."""
Filter = str | dict[str, Any]
"""``price < 50 AND brand = "Acme"``, or ``{"price": {"lt": 50}, "brand": "Acme"}``."""


class SearchOptions(TypedDict, total=False):
    """What of a search may be left out; the service has a default for each."""

    syntax: Syntax
    mode: Mode
    limit: int
    offset: int
    filter: Filter
    sort: str | None
    facets: list[str]
    facet_size: int
    fields: list[str] | None


class SearchRequest(SearchOptions, total=False):
    """A search, as one of a batch."""

    query: Required[Query]


class BatchRequest(TypedDict):
    """Several searches at once."""

    searches: list[SearchRequest]


class SimilarOptions(TypedDict, total=False):
    """What of a search from a product may be left out."""

    limit: int
    offset: int
    filter: Filter
    fields: list[str] | None


class SimilarRequest(SimilarOptions, total=False):
    """A search from a product."""

    product_id: Required[str]


class PictureOptions(TypedDict, total=False):
    """What else a search by a picture looks for."""

    q: str | None
    syntax: Syntax
    limit: int
    offset: int
    filter: str
    fields: list[str]


class ExplainRequest(TypedDict):
    """What to explain."""

    query: str
    product_id: str


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Product(_Answer):
    """A product as the service knows it, or the fields of it that were asked for."""

    product_id: str
    title: str = ""
    description: str = ""
    brand: str = ""
    category_path: str = ""
    price: float | None = None
    image: str = ""
    attributes: dict[str, str | float | bool] = {}

    def row(self) -> dict[str, Any]:
        """The product as a row of a catalogue, as it is stored: what it has, its attributes beside the rest."""
        own = self.model_dump(exclude={"attributes"})
        return {name: value for name, value in own.items() if value not in ("", None)} | self.attributes


class Hit(_Answer):
    """One product found, and how it lies to the query's hyperboloid."""

    product_id: str
    score: float
    """What ordered the hit, higher is better."""
    distance: float
    """Containment distance from the query's hyperboloid; in a search by a picture alone, between the pictures."""
    contained: bool
    thumbnail: str | None
    """Where on the service a small picture of it is, if there is one."""
    product: Product


class Total(_Answer):
    """How many products the query's hyperboloid contains, of those that pass the filter."""

    value: int
    relation: Literal["eq", "gte"]
    """``eq``: this many. ``gte``: this many among the candidates."""


class FacetCount(_Answer):
    """How many of the matching products have a value."""

    value: str | float | bool
    count: int


class Facet(_Answer):
    """The values of one column among the matching products, the most frequent first."""

    counts: list[FacetCount]
    values: int
    missing: int
    least: float | None
    greatest: float | None


class SearchResponse(_Answer):
    """The answer to a search, best hits first."""

    hits: list[Hit]
    total: Total
    facets: dict[str, Facet]
    mode: AnswerMode
    generality: float | None
    """Log-volume of the query's hyperboloid: the larger, the broader the query."""
    took_ms: float
    snapshot: str
    model: str
    request_id: str


class FieldError(_Answer):
    """One part of the request that cannot be used."""

    field: str
    message: str
    position: int | None = None
    pointer: str | None = None


class Problem(_Answer):
    """An RFC 9457 problem document."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldError] | None = None


class BatchResponse(_Answer):
    """The answers to the searches of a batch, in their order; a search that failed has its problem."""

    results: list[SearchResponse | Problem]
    took_ms: float
    request_id: str


class QueryTerm(_Answer):
    """A term of an explained query."""

    term: str
    weight: float
    alone: float


class TitleTerm(_Answer):
    """A term of an explained title."""

    term: str
    weight: float
    answers: float


class Intersection(_Answer):
    """The intersection of two query terms, by their places."""

    first: int
    second: int
    weight: float


class Axis(_Answer):
    """An axis on which the product lies outside the hyperboloid."""

    axis: int
    offset: float
    limit: float
    excess: float
    share: float


class Words(_Answer):
    """What BM25 says of the product, and which words of the query it has."""

    score: float
    shared: list[str]
    missing: list[str]


class Fused(_Answer):
    """The score of a hybrid search, and what each channel brings to that sum."""

    score: float
    hyperboloid: float
    lexical: float
    behaviour: float


class Companion(_Answer):
    """A product that shares sessions with the one explained."""

    product_id: str
    title: str


class Clicks(_Answer):
    """What shoppers' clicks say of the product under the query."""

    asked: bool
    score: float
    sessions: float
    queries: list[str]
    companions: list[Companion]


class ExplainResponse(_Answer):
    """Why a product lies where it does to a query."""

    read: str
    product_id: str
    product: Product
    distance: float
    d_out: float
    d_in: float
    contained: bool
    words: Words
    fused: Fused | None
    query_terms: list[QueryTerm]
    intersections: list[Intersection]
    title_terms: list[TitleTerm]
    grid: list[list[float]]
    axes: list[Axis]
    clicks: Clicks | None
    took_ms: float
    snapshot: str
    model: str
    request_id: str


class ProductResponse(_Answer):
    """A product as it is by now."""

    product: Product
    request_id: str


class ChangeResponse(_Answer):
    """A change that is on disk and seen by searches."""

    product_id: str
    sequence: int
    took_ms: float
    request_id: str


class RejectedLine(_Answer):
    """A line of a bulk change that was not stored; ``line`` counts from 1."""

    line: int
    product_id: str | None
    reason: str


class BulkResponse(_Answer):
    """What became of the lines of one bulk request."""

    stored: int
    deleted: int
    rejected: list[RejectedLine]
    sequence: int | None
    took_ms: float
    request_id: str


class Snapshot(_Answer):
    """One snapshot of the index."""

    id: str
    created: str
    model: str
    products: int
    bytes: int
    current: bool


class SnapshotsResponse(_Answer):
    """The snapshots that there are, the newest first."""

    snapshots: list[Snapshot]
    serving: str | None
    request_id: str


class ActivatedResponse(_Answer):
    """The snapshot that is answered from since."""

    snapshot: str
    request_id: str


class LiveResponse(_Answer):
    """The process is up."""

    status: Literal["live"] = "live"


class ReadyResponse(_Answer):
    """The service answers searches, from this snapshot."""

    status: Literal["ready"] = "ready"
    snapshot: str
    model: str
    products: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """In a bulk change: this product goes."""

    product_id: str


Change = Product | Deletion | Mapping[str, Any]
"""In a bulk change: a product to store, as an object or as a row with its ``product_id``, or one that goes."""


@dataclass(slots=True)
class BulkReport:
    """What became of a whole bulk change, over all its requests."""

    stored: int = 0
    deleted: int = 0
    rejected: list[RejectedLine] = field(default_factory=list)
    """``line`` counts the changes that were given, from 1."""
    sequence: int | None = None
    requests: int = 0
    sent: int = 0
    """How many changes the answered requests held."""

    def add(self, answer: BulkResponse, changes: int) -> None:
        """Count one answered request of so many ``changes``."""
        self.stored += answer.stored
        self.deleted += answer.deleted
        self.rejected += [one.model_copy(update={"line": one.line + self.sent}) for one in answer.rejected]
        self.sequence = self.sequence if answer.sequence is None else answer.sequence
        self.requests += 1
        self.sent += changes
