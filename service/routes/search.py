"""``/v1/search`` and ``/v1/similar``: a query or a product in, the products nearest to it out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from index.expression import Expression
from index.search import Searcher, SearchResult
from model.runtime import EmptyTextError
from service.errors import InvalidInputError, responses
from service.live import LiveSearcher
from service.metrics import Metrics
from service.schemas import (
    HitBody,
    ProductBody,
    SearchParams,
    SearchRequest,
    SearchResponse,
    SimilarParams,
    SimilarRequest,
    TotalBody,
)

_GET_PROBLEMS = responses(422, 500, 503)
_POST_PROBLEMS = responses(413, 415, 422, 500, 503)
_UNKNOWN = responses(404)


async def json_only(request: Request) -> None:
    """A dependency that refuses a body of another media type than JSON."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise HTTPException(
            415, f"the body is {media_type or 'of no stated type'}; send it as Content-Type: application/json"
        )


def routes(live: LiveSearcher, metrics: Metrics) -> APIRouter:
    """The search routes, answered by ``live``."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search",
        summary="Search products",
        responses=_POST_PROBLEMS,
        dependencies=[Depends(json_only)],
        operation_id="search",
    )
    async def post_search(body: SearchRequest, request: Request) -> SearchResponse:
        """Find the products in and around the query's hyperboloid, best first."""
        return await answer(_search(body.query, body), "query", request)

    @router.get(
        "/v1/search",
        summary="Search products, by URL",
        responses=_GET_PROBLEMS,
        operation_id="search_by_url",
    )
    async def get_search(params: Annotated[SearchParams, Query()], request: Request) -> SearchResponse:
        """The same search as a link: `/v1/search?q=cordless+drill`."""
        return await answer(_search(params.q, params), "q", request)

    @router.post(
        "/v1/similar",
        summary="Find similar products",
        responses={**_POST_PROBLEMS, **_UNKNOWN},
        dependencies=[Depends(json_only)],
        operation_id="similar",
    )
    async def post_similar(body: SimilarRequest, request: Request) -> SearchResponse:
        """Find the products nearest to one of the catalogue, nearest first."""
        return await answer(_similar(body), "product_id", request)

    @router.get(
        "/v1/similar",
        summary="Find similar products, by URL",
        responses={**_GET_PROBLEMS, **_UNKNOWN},
        operation_id="similar_by_url",
    )
    async def get_similar(params: Annotated[SimilarParams, Query()], request: Request) -> SearchResponse:
        """The same as a link: `/v1/similar?product_id=p17`."""
        return await answer(_similar(params), "product_id", request)

    async def answer(question: Callable[[Searcher], SearchResult], field: str, request: Request) -> SearchResponse:
        started = time.perf_counter()
        try:
            result = await live.ask(question)
        except EmptyTextError as error:
            raise InvalidInputError(field, str(error)) from error
        metrics.stages(result.timings)
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        return _body(result, took_ms=took_ms, request_id=request.state.request_id)

    return router


def _search(query: str | Expression, asked: SearchRequest | SearchParams) -> Callable[[Searcher], SearchResult]:
    return lambda searcher: searcher.search(query, mode=asked.mode, limit=asked.limit, offset=asked.offset)


def _similar(asked: SimilarRequest | SimilarParams) -> Callable[[Searcher], SearchResult]:
    return lambda searcher: searcher.similar(asked.product_id, limit=asked.limit, offset=asked.offset)


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
        mode=result.mode,
        generality=result.generality,
        took_ms=took_ms,
        snapshot=result.snapshot,
        model=result.model,
        request_id=request_id,
    )
