"""``/v1/explain``: why a product is where it is in a query's answer."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from index.explain import Explanation, explain
from index.search import Searcher
from model.runtime import EmptyTextError
from service.errors import InvalidInputError, responses
from service.live import LiveSearcher
from service.routes.search import json_only
from service.schemas_explain import ExplainParams, ExplainRequest, ExplainResponse

_GET_PROBLEMS = responses(404, 422, 500, 503)
_POST_PROBLEMS = responses(404, 413, 415, 422, 500, 503)


def routes(live: LiveSearcher) -> APIRouter:
    """The routes that explain, from the snapshot of ``live``."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/explain",
        summary="Explain a hit",
        responses=_POST_PROBLEMS,
        dependencies=[Depends(json_only)],
        operation_id="explain",
    )
    async def post_explain(body: ExplainRequest, request: Request) -> ExplainResponse:
        """Say what of a query a product's title answers, and what keeps the product outside its hyperboloid."""
        return await answer(body.query, "query", body.product_id, request)

    @router.get(
        "/v1/explain",
        summary="Explain a hit, by URL",
        responses=_GET_PROBLEMS,
        operation_id="explain_by_url",
    )
    async def get_explain(params: Annotated[ExplainParams, Query()], request: Request) -> ExplainResponse:
        """The same explanation as a link: `/v1/explain?q=cordless+drill&product_id=p17`."""
        return await answer(params.q, "q", params.product_id, request)

    async def answer(query: str, field: str, product_id: str, request: Request) -> ExplainResponse:
        started = time.perf_counter()

        def explained(searcher: Searcher) -> dict[str, object]:
            found = explain(searcher, query, product_id)
            return {
                **{part.name: getattr(found, part.name) for part in fields(Explanation)},
                "product_id": product_id,
                "snapshot": searcher.snapshot_id,
                "model": searcher.model_version,
            }

        try:
            found = await live.ask(explained)
        except EmptyTextError as error:
            raise InvalidInputError(field, str(error)) from error
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        return ExplainResponse.model_validate({**found, "took_ms": took_ms, "request_id": request.state.request_id})

    return router
