"""What each route is asked with, and what it answers: one function a route, without a connection."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Unpack
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from saddle_client import models

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Answer = TypeVar("Answer", bound=BaseModel)
_JSON = "application/json"
_NDJSON = "application/x-ndjson"
# ids that an HTTP library would take for a step in the path
_STEPS = {".": "%2E", "..": "%2E%2E"}


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request, and the type of its answer."""

    method: str
    path: str
    answer: type[Answer]
    content: bytes | None = None
    media_type: str | None = None
    repeatable: bool = True
    """Whether doing it twice is doing it once, so that it may be sent again where its fate is not known."""
    patient: bool = True
    """Whether it is repeated at all: who asks for health wants to know how it is now."""


def search(query: models.Query, **options: Unpack[models.SearchOptions]) -> Call[models.SearchResponse]:
    """Find products."""
    return _post("/v1/search", {"query": query, **options}, models.SearchResponse)


def search_batch(searches: Iterable[models.SearchRequest]) -> Call[models.BatchResponse]:
    """Find products for several searches at once."""
    body = models.BatchRequest(searches=list(searches))
    return _post("/v1/search/batch", body, models.BatchResponse)


def similar(product_id: str, **options: Unpack[models.SimilarOptions]) -> Call[models.SearchResponse]:
    """Find the products nearest to one."""
    return _post("/v1/similar", {"product_id": product_id, **options}, models.SearchResponse)


def search_by_picture(picture: bytes, **options: Unpack[models.PictureOptions]) -> Call[models.SearchResponse]:
    """Find the products whose pictures are like one."""
    given = {name: value for name, value in options.items() if value is not None}
    path = f"/v1/search/image?{urlencode(given, doseq=True)}" if given else "/v1/search/image"
    return _post(path, {"image": b64encode(picture).decode()}, models.SearchResponse)


def explain(query: str, product_id: str) -> Call[models.ExplainResponse]:
    """Say why a product is where it is."""
    return _post("/v1/explain", {"query": query, "product_id": product_id}, models.ExplainResponse)


def get_product(product_id: str) -> Call[models.ProductResponse]:
    """Read a product."""
    return Call("GET", _product(product_id), models.ProductResponse)


def put_product(product_id: str, product: models.Product | Mapping[str, Any]) -> Call[models.ChangeResponse]:
    """Store a product whole."""
    content = _json(row_of(product))
    return Call("PUT", _product(product_id), models.ChangeResponse, content=content, media_type=_JSON)


def delete_product(product_id: str) -> Call[models.ChangeResponse]:
    """Delete a product; not sent again once it may have been done, as the second answer would be 404."""
    return Call("DELETE", _product(product_id), models.ChangeResponse, repeatable=False)


def bulk(lines: bytes) -> Call[models.BulkResponse]:
    """Store and delete what the lines say."""
    return Call("POST", "/v1/products", models.BulkResponse, content=lines, media_type=_NDJSON)


def list_snapshots() -> Call[models.SnapshotsResponse]:
    """List the snapshots."""
    return Call("GET", "/v1/snapshots", models.SnapshotsResponse)


def activate_snapshot(snapshot_id: str) -> Call[models.ActivatedResponse]:
    """Answer from a snapshot."""
    return Call("POST", f"/v1/snapshots/{_segment(snapshot_id)}/activate", models.ActivatedResponse)


def roll_back_snapshot() -> Call[models.ActivatedResponse]:
    """Answer from the snapshot before; done twice, it goes back twice."""
    return Call("POST", "/v1/snapshots/rollback", models.ActivatedResponse, repeatable=False)


def live() -> Call[models.LiveResponse]:
    """Ask whether the process is up."""
    return Call("GET", "/livez", models.LiveResponse, patient=False)


def ready() -> Call[models.ReadyResponse]:
    """Ask whether it can answer."""
    return Call("GET", "/readyz", models.ReadyResponse, patient=False)


def row_of(change: models.Change) -> Mapping[str, Any]:
    """A change as the row that is sent for it."""
    if isinstance(change, models.Deletion):
        return {"product_id": change.product_id, "deleted": True}
    return change.row() if isinstance(change, models.Product) else change


def line_of(change: models.Change) -> bytes:
    """A change as a line of a bulk request, its end included."""
    return _json(row_of(change)) + b"\n"


def _post(path: str, body: Mapping[str, Any], answer: type[Answer]) -> Call[Answer]:
    return Call("POST", path, answer, content=_json(body), media_type=_JSON)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _product(product_id: str) -> str:
    return f"/v1/products/{_segment(product_id)}"


def _segment(name: str) -> str:
    """A name as one segment of a path, whatever characters it has."""
    if not name:
        raise ValueError("the id is empty")
    return _STEPS.get(name) or quote(name, safe="")
