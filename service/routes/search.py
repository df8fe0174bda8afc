"""``/v1/search`` and ``/v1/similar``: a query or a product in, the products nearest to it out."""

from __future__ import annotations

import time
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from index.asked import Asked, ModeError, Search, Similar
from index.filters import FilterError
from index.refinement import Refinement, RefinementError, Sort
from model.image.pictures import PictureError
from model.runtime import EmptyTextError
from service import tracing
from service.answers import Answers
from service.encoding import search_document
from service.errors import InvalidInputError, responses
from service.metrics import Metrics
from service.schemas import SearchParams, SearchRequest, SimilarParams, SimilarRequest
from service.schemas_answer import SearchResponse

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


def routes(answers: Answers, metrics: Metrics) -> APIRouter:
    """The search routes, answered by ``answers``."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search",
        summary="Search products",
        responses=_POST_PROBLEMS,
        dependencies=[Depends(json_only)],
        response_model=SearchResponse,
        operation_id="search",
    )
    async def post_search(body: SearchRequest, request: Request) -> Response:
        """Find the products in and around the query's hyperboloid, best first."""
        return await answer(search_of(body), "query", body.fields, request)

    @router.get(
        "/v1/search",
        summary="Search products, by URL",
        responses=_GET_PROBLEMS,
        response_model=SearchResponse,
        operation_id="search_by_url",
    )
    async def get_search(params: Annotated[SearchParams, Query()], request: Request) -> Response:
        """The same search as a link: `/v1/search?q=cordless+drill`."""
        return await answer(search_of(params), "q", params.fields, request)

    @router.post(
        "/v1/similar",
        summary="Find similar products",
        responses={**_POST_PROBLEMS, **_UNKNOWN},
        dependencies=[Depends(json_only)],
        response_model=SearchResponse,
        operation_id="similar",
    )
    async def post_similar(body: SimilarRequest, request: Request) -> Response:
        """Find the products nearest to one of the catalogue, nearest first."""
        return await answer(_similar_of(body), "product_id", body.fields, request)

    @router.get(
        "/v1/similar",
        summary="Find similar products, by URL",
        responses={**_GET_PROBLEMS, **_UNKNOWN},
        response_model=SearchResponse,
        operation_id="similar_by_url",
    )
    async def get_similar(params: Annotated[SimilarParams, Query()], request: Request) -> Response:
        """The same as a link: `/v1/similar?product_id=p17`."""
        return await answer(_similar_of(params), "product_id", params.fields, request)

    async def answer(asked: Asked, field: str, fields: list[str] | None, request: Request) -> Response:
        return await answered(answers, metrics, asked, field, fields, request)

    return router


async def answered(
    answers: Answers, metrics: Metrics, asked: Asked, field: str, fields: list[str] | None, request: Request
) -> Response:
    """The answer to a search whose query or product came in ``field``, with these ``fields`` of products."""
    started = time.perf_counter()
    try:
        result = await answers.answer(asked)
    except ValueError as error:
        raise in_terms_of(field, error) from error
    found = time.perf_counter()
    took_ms = round((found - started) * 1e3, 3)
    document = search_document(result, fields, took_ms=took_ms, request_id=request.state.request_id)
    response = Response(orjson.dumps(document), media_type="application/json")
    took = time.perf_counter() - found
    metrics.stage("serialise", took)
    tracing.stage("serialise", took)
    return response


def search_of(asked: SearchRequest | SearchParams) -> Search:
    """What is asked for."""
    refinement = Refinement(
        filter=asked.filter,
        sort=None if asked.sort is None else Sort.parse(asked.sort),
        facets=tuple(asked.facets),
        facet_size=asked.facet_size,
        fields=None if asked.fields is None else tuple(asked.fields),
    )
    query = asked.query if isinstance(asked, SearchRequest) else asked.q
    return Search(query, asked.mode, asked.limit, asked.offset, refinement)


def in_terms_of(field: str, error: ValueError) -> ValueError:
    """What is wrong with a search as the caller wrote it, the query or product being in ``field``."""
    if isinstance(error, EmptyTextError):
        return InvalidInputError(field, str(error))
    if isinstance(error, FilterError):
        return InvalidInputError("filter", error.message, place=error.place)
    if isinstance(error, ModeError):
        return InvalidInputError(error.part, str(error))
    if isinstance(error, PictureError):
        return InvalidInputError("image", str(error))
    if isinstance(error, RefinementError):
        return InvalidInputError(error.part, error.message)
    return error


def _similar_of(asked: SimilarRequest | SimilarParams) -> Similar:
    refinement = Refinement(filter=asked.filter, fields=None if asked.fields is None else tuple(asked.fields))
    return Similar(asked.product_id, asked.limit, asked.offset, refinement)
