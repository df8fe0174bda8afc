"""``/v1/search`` and ``/v1/similar``: a query or a product in, the products nearest to it out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from index.expression import Expression
from index.facets import Facet
from index.filters import FilterError
from index.refinement import Refinement, RefinementError, Sort
from index.search import Searcher, SearchResult
from model.catalog import Product
from model.runtime import EmptyTextError
from service import tracing
from service.errors import InvalidInputError, responses
from service.live import LiveSearcher
from service.metrics import Metrics
from service.probe import RecallProbe
from service.schemas import SearchParams, SearchRequest, SimilarParams, SimilarRequest
from service.schemas_answer import FacetBody, FacetCount, HitBody, ProductBody, SearchResponse, TotalBody

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


def routes(live: LiveSearcher, metrics: Metrics, probe: RecallProbe) -> APIRouter:
    """The search routes, answered by ``live``; ``probe`` is offered what they answered."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search",
        summary="Search products",
        responses=_POST_PROBLEMS,
        dependencies=[Depends(json_only)],
        response_model_exclude_unset=True,
        operation_id="search",
    )
    async def post_search(body: SearchRequest, request: Request) -> SearchResponse:
        """Find the products in and around the query's hyperboloid, best first."""
        return await answer(_search(body.query, body), "query", body.fields, request)

    @router.get(
        "/v1/search",
        summary="Search products, by URL",
        responses=_GET_PROBLEMS,
        response_model_exclude_unset=True,
        operation_id="search_by_url",
    )
    async def get_search(params: Annotated[SearchParams, Query()], request: Request) -> SearchResponse:
        """The same search as a link: `/v1/search?q=cordless+drill`."""
        return await answer(_search(params.q, params), "q", params.fields, request)

    @router.post(
        "/v1/similar",
        summary="Find similar products",
        responses={**_POST_PROBLEMS, **_UNKNOWN},
        dependencies=[Depends(json_only)],
        response_model_exclude_unset=True,
        operation_id="similar",
    )
    async def post_similar(body: SimilarRequest, request: Request) -> SearchResponse:
        """Find the products nearest to one of the catalogue, nearest first."""
        return await answer(_similar(body), "product_id", body.fields, request)

    @router.get(
        "/v1/similar",
        summary="Find similar products, by URL",
        responses={**_GET_PROBLEMS, **_UNKNOWN},
        response_model_exclude_unset=True,
        operation_id="similar_by_url",
    )
    async def get_similar(params: Annotated[SimilarParams, Query()], request: Request) -> SearchResponse:
        """The same as a link: `/v1/similar?product_id=p17`."""
        return await answer(_similar(params), "product_id", params.fields, request)

    async def answer(
        question: Callable[[Searcher], SearchResult], field: str, fields: list[str] | None, request: Request
    ) -> SearchResponse:
        started = time.perf_counter()
        try:
            result = await live.ask(question)
        except EmptyTextError as error:
            raise InvalidInputError(field, str(error)) from error
        except FilterError as error:
            raise InvalidInputError("filter", error.message, place=error.place) from error
        except RefinementError as error:
            raise InvalidInputError(error.part, error.message) from error
        metrics.stages(result.timings)
        tracing.stages(result.timings)
        metrics.measured(result.measured)
        metrics.answered(result)
        probe.offer(question, result)
        took_ms = round((time.perf_counter() - started) * 1e3, 3)
        return _body(result, fields, took_ms=took_ms, request_id=request.state.request_id)

    return router


def _search(query: str | Expression, asked: SearchRequest | SearchParams) -> Callable[[Searcher], SearchResult]:
    refinement = Refinement(
        filter=asked.filter,
        sort=None if asked.sort is None else Sort.parse(asked.sort),
        facets=tuple(asked.facets),
        facet_size=asked.facet_size,
        fields=None if asked.fields is None else tuple(asked.fields),
    )
    return lambda searcher: searcher.search(
        query, mode=asked.mode, limit=asked.limit, offset=asked.offset, refinement=refinement
    )


def _similar(asked: SimilarRequest | SimilarParams) -> Callable[[Searcher], SearchResult]:
    refinement = Refinement(filter=asked.filter, fields=None if asked.fields is None else tuple(asked.fields))
    return lambda searcher: searcher.similar(
        asked.product_id, limit=asked.limit, offset=asked.offset, refinement=refinement
    )


def _body(result: SearchResult, fields: list[str] | None, *, took_ms: float, request_id: str) -> SearchResponse:
    return SearchResponse(
        hits=[
            HitBody(
                product_id=hit.product.product_id,
                score=hit.score,
                distance=hit.distance,
                contained=hit.contained,
                product=_product(hit.product, fields),
            )
            for hit in result.hits
        ],
        total=TotalBody(value=result.total.value, relation=result.total.relation),
        facets={found.column: _facet(found) for found in result.facets},
        mode=result.mode,
        generality=result.generality,
        took_ms=took_ms,
        snapshot=result.snapshot,
        model=result.model,
        request_id=request_id,
    )


def _product(product: Product, fields: list[str] | None) -> ProductBody:
    """The whole product, or its id and those of the ``fields`` that it has: only what is set is sent."""
    if fields is None:
        return ProductBody.model_validate(product)
    kept: dict[str, Any] = {name: getattr(product, name) for name in fields if name in ProductBody.model_fields}
    attributes = {name: value for name, value in product.attributes.items() if name in fields}
    if attributes:
        kept["attributes"] = attributes
    return ProductBody(**{**kept, "product_id": product.product_id})


def _facet(found: Facet) -> FacetBody:
    return FacetBody(
        counts=[FacetCount(value=value, count=count) for value, count in found.counts],
        values=found.values,
        missing=found.missing,
        least=found.least,
        greatest=found.greatest,
    )
