"""``/v1/search/batch``: several searches in one request, each with its own answer or problem."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from index.asked import Search
from service import tracing
from service.answers import Answers
from service.encoding import search_document
from service.errors import response_to, responses
from service.limits import TokenBucket
from service.metrics import Metrics
from service.routes.search import in_terms_of, json_only, search_of
from service.schemas import SearchRequest
from service.schemas_batch import BatchRequest, BatchResponse

_PROBLEMS = responses(413, 415, 422, 500)


def routes(answers: Answers, metrics: Metrics) -> APIRouter:
    """The batch route, answered by ``answers``."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search/batch",
        summary="Search products, several times",
        responses=_PROBLEMS,
        dependencies=[Depends(json_only)],
        response_model=BatchResponse,
        operation_id="search_batch",
    )
    async def post_batch(body: BatchRequest, request: Request) -> Response:
        """Up to 64 searches, each answered as `/v1/search` would, or with the problem that it would have had alone.

        The status is 200 whatever became of them. A key's rate counts each of them.
        """
        started = time.perf_counter()
        bucket: TokenBucket | None = getattr(request.state, "bucket", None)
        if bucket is not None:
            bucket.charge(len(body.searches) - 1)
        found = await asyncio.gather(*(answered(search, request) for search in body.searches))
        ended = time.perf_counter()
        document = {
            "results": found,
            "took_ms": round((ended - started) * 1e3, 3),
            "request_id": request.state.request_id,
        }
        response = Response(orjson.dumps(document), media_type="application/json")
        took = time.perf_counter() - ended
        metrics.stage("serialise", took)
        tracing.stage("serialise", took)
        return response

    async def answered(search: SearchRequest | ValidationError, request: Request) -> dict[str, Any] | orjson.Fragment:
        started = time.perf_counter()
        try:
            asked = _asked(search)
            result = await answers.answer(asked)
        except Exception as error:  # noqa: BLE001 - whatever became of one of them, the others have their answers
            told = in_terms_of("query", error) if isinstance(error, ValueError) else error
            response = await response_to(request, told)
            return orjson.Fragment(bytes(response.body))
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        request_id = request.state.request_id
        return search_document(result, asked.refinement.fields, took_ms=took_ms, request_id=request_id)

    return router


def _asked(search: SearchRequest | ValidationError) -> Search:
    """What is asked for.

    Raises:
        RequestValidationError: it cannot be used; it says why as if the search were the whole body.
    """
    if isinstance(search, ValidationError):
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in search.errors()])
    return search_of(search)
