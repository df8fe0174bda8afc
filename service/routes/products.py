"""``/v1/products``: products stored, deleted and read while the service runs."""

from __future__ import annotations

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Request

from index.changes import Changes, UnsuitableProductError
from model.catalog import CatalogError, product_of
from service.bulk import apply_lines
from service.errors import InvalidInputError, responses
from service.live import LiveSearcher
from service.routes.search import json_only
from service.schemas import MAX_PRODUCT_ID
from service.schemas_answer import ProductBody
from service.schemas_products import BulkResponse, ChangeResponse, ProductResponse, RejectedLine

_READ = responses(404, 422, 500, 503)
_WRITE = responses(413, 415, 422, 500, 503)
_LINES = {"application/x-ndjson", "application/jsonl", "application/x-jsonlines"}
_PRODUCT = {
    "title": "Product",
    "type": "object",
    "description": "The columns of the catalogue: `title`, and those of `description`, `brand`, `category_path`, "
    "`price`, `image` and your own that it has. A `product_id` may be left out, or must be that of the path.",
    "required": ["title"],
    "examples": [{"title": "Acme cordless drill 18 V", "brand": "Acme", "price": 89.5, "volts": 18}],
}

ProductPath = Annotated[str, Path(min_length=1, max_length=MAX_PRODUCT_ID, description="The product's id.")]


async def _lines_only(request: Request) -> None:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type not in _LINES:
        raise HTTPException(
            415, f"the body is {media_type or 'of no stated type'}; send lines of JSON as application/x-ndjson"
        )


def routes(live: LiveSearcher) -> APIRouter:
    """The routes that change products, through ``live``."""
    router = APIRouter(tags=["products"])

    @router.get("/v1/products/{product_id:path}", summary="Read a product", responses=_READ)
    async def read(product_id: ProductPath, request: Request) -> ProductResponse:
        """The product as searches see it."""
        product, _ = await live.ask(lambda searcher: searcher.find(product_id))
        return ProductResponse(product=ProductBody.model_validate(product), request_id=request.state.request_id)

    @router.put(
        "/v1/products/{product_id:path}",
        summary="Store a product",
        responses=_WRITE,
        dependencies=[Depends(json_only)],
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _PRODUCT}}}},
    )
    async def store(product_id: ProductPath, request: Request) -> ChangeResponse:
        """Add a product or replace it whole. When this answers, the change is on disk, and searches see it."""
        started = time.perf_counter()
        values = await _object(request)
        if values.setdefault("product_id", product_id) != product_id:
            raise InvalidInputError(
                "product_id", f"is {values['product_id']!r}, but the path says {product_id!r}; leave it out"
            )
        try:
            product = product_of(values)
            sequence = await live.change(lambda changes: changes.store([product]))
        except (CatalogError, UnsuitableProductError) as error:
            raise InvalidInputError("body", str(error)) from error
        return _changed(product_id, sequence, started, request)

    @router.delete("/v1/products/{product_id:path}", summary="Delete a product", responses=_READ)
    async def delete(product_id: ProductPath, request: Request) -> ChangeResponse:
        """Delete a product. When this answers, the change is on disk, and searches see it no more."""
        started = time.perf_counter()
        await live.ask(lambda searcher: searcher.find(product_id))
        sequence = await live.change(lambda changes: changes.delete([product_id]))
        return _changed(product_id, sequence, started, request)

    @router.post(
        "/v1/products",
        summary="Store and delete many products",
        responses=_WRITE,
        dependencies=[Depends(_lines_only)],
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/x-ndjson": {
                        "schema": {
                            "type": "string",
                            "description": "One JSON object a line: a product with its `product_id`, or "
                            '`{"product_id": "p17", "deleted": true}`.',
                        }
                    }
                },
            }
        },
    )
    async def bulk(request: Request) -> BulkResponse:
        """Take the lines in their order, each with a fate of its own.

        When this answers, what was stored is on disk, and searches see it.
        """
        started = time.perf_counter()
        body = await request.body()

        def applied(changes: Changes) -> BulkResponse:
            outcome = apply_lines(changes, body)
            return BulkResponse(
                stored=outcome.stored,
                deleted=outcome.deleted,
                rejected=[
                    RejectedLine(line=one.line, product_id=one.product_id, reason=one.reason)
                    for one in outcome.rejected
                ],
                sequence=outcome.sequence,
                took_ms=0.0,
                request_id=request.state.request_id,
            )

        answer = await live.change(applied)
        return answer.model_copy(update={"took_ms": _milliseconds(started)})

    return router


async def _object(request: Request) -> dict[str, Any]:
    try:
        values = orjson.loads(await request.body())  # unlike json, it takes no halves of characters
    except orjson.JSONDecodeError as error:
        raise InvalidInputError("body", "is not JSON in UTF-8 that can be read") from error
    if not isinstance(values, dict):
        raise InvalidInputError("body", "is not a JSON object")
    return values


def _changed(product_id: str, sequence: int, started: float, request: Request) -> ChangeResponse:
    return ChangeResponse(
        product_id=product_id,
        sequence=sequence,
        took_ms=_milliseconds(started),
        request_id=request.state.request_id,
    )


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1e3, 3)
