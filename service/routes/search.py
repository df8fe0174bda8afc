"""``/v1/search``: a query in, the products nearest to its hyperboloid out."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from index.search import SearchResult
from model.runtime import EmptyTextError
from service.errors import InvalidInputError, responses
from service.live import LiveSearcher
from service.metrics import Metrics
from service.schemas import HitBody, ProductBody, SearchParams, SearchRequest, SearchResponse, TotalBody

_GET_PROBLEMS = responses(422, 500, 503)
_POST_PROBLEMS = responses(413, 415, 422, 500, 503)


def routes(live: LiveSearcher, metrics: Metrics) -> APIRouter:
    """The search routes, answered by ``live``."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search",
        summary="Search products",
        responses=_POST_PROBLEMS,
        dependencies=[Depends(_json_only)],
        operation_id="search",
    )
    async def post_search(body: SearchRequest, request: Request) -> SearchResponse:
        """Find the products in and around the query's hyperboloid, nearest first."""
        return await answer(body.query, "query", body.limit, body.offset, request)

    @router.get(
        "/v1/search",
        summary="Search products, by URL",
        responses=_GET_PROBLEMS,
        operation_id="search_by_url",
    )
    async def get_search(params: Annotated[SearchParams, Query()], request: Request) -> SearchResponse:
        """The same search as a link: `/v1/search?q=cordless+drill`."""
        return await answer(params.q, "q", params.limit, params.offset, request)

    async def answer(query: str, field: str, limit: int, offset: int, request: Request) -> SearchResponse:
        started = time.perf_counter()
        try:
            result = await live.search(query, limit=limit, offset=offset)
        except EmptyTextError as error:
            raise InvalidInputError(field, str(error)) from error
        metrics.stages(result.timings)
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        return _body(result, took_ms=took_ms, request_id=request.state.request_id)

    return router


async def _json_only(request: Request) -> None:
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(
            415, f"the body is {media_type or 'of no stated type'}; send it as Content-Type: application/json"
        )


def _body(result: SearchResult, *, took_ms: float, request_id: str) -> SearchResponse:
    return SearchResponse(
        hits=[
            HitBody(
                product_id=hit.product.product_id,
                score=hit.score,
                distance=hit.distance,
                contained=hit.contained,
                product=ProductBody.model_validate(hit.product),
            )
            for hit in result.hits
        ],
        total=TotalBody(value=result.total.value, relation=result.total.relation),
        took_ms=took_ms,
        snapshot=result.snapshot,
        model=result.model,
        request_id=request_id,
    )
