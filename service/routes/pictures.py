"""``/v1/search/image`` and ``/v1/thumbnails``: products found by a picture, and small pictures of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from index.asked import ByPicture
from index.refinement import Refinement
from model.image.pictures import KINDS
from service.answers import Answers
from service.errors import responses
from service.live import LiveSearcher
from service.metrics import Metrics
from service.routes.products import ProductPath
from service.routes.search import answered
from service.schemas_answer import SearchResponse
from service.schemas_pictures import PictureBody, PictureParams

_JPEG = "image/jpeg"
_TYPES = tuple(f"image/{kind.lower()}" for kind in KINDS)
_BODY = {
    "required": True,
    "content": {
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in _TYPES},
        "application/json": {"schema": PictureBody.model_json_schema()},
    },
}
_KEEP_SECONDS = 300


def routes(answers: Answers, live: LiveSearcher, metrics: Metrics) -> APIRouter:
    """The routes about pictures: searches answered by ``answers``, thumbnails from the snapshot of ``live``."""
    router = APIRouter(tags=["search"])

    @router.post(
        "/v1/search/image",
        summary="Search by a picture",
        responses=responses(413, 415, 422, 500, 503),
        response_model=SearchResponse,
        operation_id="search_by_picture",
        openapi_extra={"requestBody": _BODY},
    )
    async def post_picture(params: Annotated[PictureParams, Query()], request: Request) -> Response:
        """Find the products whose pictures are most like the one sent, and that answer `q` if there is one.

        The body is the picture's file, or JSON that holds it in Base64.
        """
        asked = ByPicture(
            picture=await _picture(request),
            query=params.q,
            limit=params.limit,
            offset=params.offset,
            refinement=Refinement(filter=params.filter, fields=None if params.fields is None else tuple(params.fields)),
        )
        return await answered(answers, metrics, asked, "q", params.fields, request)

    @router.get(
        "/v1/thumbnails/{product_id:path}",
        summary="A small picture of a product",
        responses={200: {"content": {_JPEG: {}}}, **responses(404, 422, 500, 503)},
        response_class=Response,
        operation_id="thumbnail",
    )
    async def get_thumbnail(product_id: ProductPath) -> Response:
        """A JPEG of at most 160 × 160 pixels; hits name this address where there is one."""
        found = await live.ask(lambda searcher: searcher.thumbnail(product_id))
        if found is None:
            raise HTTPException(404, f"the product {product_id!r} has no picture")
        return Response(found, media_type=_JPEG, headers={"Cache-Control": f"private, max-age={_KEEP_SECONDS}"})

    return router


async def _picture(request: Request) -> bytes:
    """The picture in the body of a request."""
    media_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type in _TYPES:
        return await request.body()
    if media_type != "application/json":
        raise HTTPException(
            415,
            f"the body is {media_type or 'of no stated type'}; send a picture as one of {', '.join(_TYPES)}, or JSON",
        )
    try:
        return PictureBody.model_validate_json(await request.body()).image
    except ValidationError as error:
        raise RequestValidationError([{**found, "loc": ("body", *found["loc"])} for found in error.errors()]) from error
