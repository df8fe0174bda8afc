"""Errors as RFC 9457 problem documents: ``application/problem+json`` with a stable ``code``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import orjson
import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware

from index.documents import UnknownProductError
from service.deadline import DeadlineExceededError
from service.live import NotReadyError, ReadOnlyError
from service.scopes import DECLARED, route_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request
    from starlette.responses import Response
    from starlette.types import Scope, Send

    from index.places import Place

PROBLEM_JSON = "application/problem+json"
_PROBLEM_TYPE = (b"content-type", PROBLEM_JSON.encode())
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_RETRY_SECONDS = "2"
_MAX_FIELD_ERRORS = 20
_MAX_FIELD_NAME = 100
_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "content_too_large",
    415: "unsupported_media_type",
}

log = structlog.get_logger()


class FieldError(BaseModel):
    """One part of the request that cannot be used."""

    field: Annotated[str, Field(description="The field or parameter; `body` is the whole body.", examples=["limit"])]
    message: Annotated[str, Field(examples=["Input should be greater than or equal to 1"])]
    position: Annotated[int | None, Field(description="In a text: the offset of the offending character.")] = None
    pointer: Annotated[str | None, Field(description="In a JSON query: where the offending part is.")] = None


class Problem(BaseModel):
    """An RFC 9457 problem document. Programs should read `code`; the other texts are for people."""

    type: Annotated[str, Field(description="Always `about:blank`: `code` says which problem.")] = "about:blank"
    title: Annotated[str, Field(examples=["Unprocessable Content"])]
    status: Annotated[int, Field(examples=[422])]
    detail: Annotated[str, Field(examples=["limit: Input should be greater than or equal to 1"])]
    code: Annotated[str, Field(examples=["invalid_input"])]
    request_id: str
    errors: Annotated[list[FieldError] | None, Field(description="Given with status 422: what to mend.")] = None


class InvalidInputError(ValueError):
    """A field that passed its schema and still cannot be used, and where in it the fault lies."""

    def __init__(self, field: str, message: str, *, place: Place = None) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.position = place if isinstance(place, int) else None
        self.pointer = f"#/{field}{place}" if isinstance(place, str) else None


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI declaration of problem responses, for a route's ``responses``."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


class Refusal(NamedTuple):
    """A problem that is answered at the door, before the application sees the request."""

    status: int
    code: str
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


async def refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    """Answer a request with a problem document, as cheaply as that goes: under overload, most answers are this."""
    scope["state"]["refused"] = True
    body = orjson.dumps(
        {
            "type": "about:blank",
            "title": _PHRASES[refusal.status],
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code,
            "request_id": scope["state"]["request_id"],
        }
    )
    headers = [_PROBLEM_TYPE, (b"content-length", str(len(body)).encode()), *refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document; what was unexpected is told to the log only."""
    handlers = {
        HTTPException: _http,
        RequestValidationError: _validation,
        InvalidInputError: _invalid_input,
        UnknownProductError: _unknown_product,
        NotReadyError: _not_ready,
        ReadOnlyError: _read_only,
        DeadlineExceededError: _deadline_exceeded,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    # A middleware of its own and not Starlette's outermost handler, which would answer outside the access
    # middleware, without a request id, and raise the error again. It answers also for the middleware inside it.
    app.add_middleware(ExceptionMiddleware, handlers={**handlers, Exception: _unexpected})


async def response_to(request: Request, error: Exception) -> Response:
    """What ``error`` is answered with if it is raised while ``request`` is answered."""
    handlers = request.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), _unexpected)
    response: Response = await handler(request, error)
    return response


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        # FastAPI's answer to a body it cannot decode: bad UTF-8, endless nesting, giant numbers
        unreadable = FieldError(field="body", message="is not JSON in UTF-8 that can be read")
        return _invalid(request, [unreadable], code="malformed_json")
    code = _CODES.get(error.status_code, "http_error")
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # each route knows its own method only
        headers = {"Allow": ", ".join(sorted(DECLARED[route_of(request.scope).path]))}
    return _problem(request, error.status_code, code, str(error.detail), headers=headers)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        message = f"is not JSON: {found[0]['ctx']['error']} at character {found[0]['loc'][1]}"
        return _invalid(request, [FieldError(field="body", message=message)], code="malformed_json")
    return _invalid(
        request,
        [_field_error(item) for item in found[:_MAX_FIELD_ERRORS]],
    )


async def _invalid_input(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InvalidInputError)
    found = FieldError(field=error.field, message=error.message, position=error.position, pointer=error.pointer)
    return _invalid(request, [found])


async def _unknown_product(request: Request, error: Exception) -> JSONResponse:
    return _problem(request, 404, "product_not_found", str(error))


async def _not_ready(request: Request, error: Exception) -> JSONResponse:
    return _problem(request, 503, "not_ready", str(error), headers={"Retry-After": _RETRY_SECONDS})


async def _read_only(request: Request, error: Exception) -> JSONResponse:
    return _problem(request, 503, "read_only", str(error))


async def _deadline_exceeded(request: Request, error: Exception) -> JSONResponse:
    return _problem(request, 504, "deadline_exceeded", str(error))


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", path=request.url.path, exc_info=error)
    return _problem(request, 500, "internal_error", "Something went wrong; the log has it under this request_id.")


def _invalid(request: Request, errors: list[FieldError], *, code: str = "invalid_input") -> JSONResponse:
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return _problem(request, 422, code, detail, errors=errors)


def _problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[FieldError] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request.state.request_id,
        errors=errors,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True), status_code=status, headers=headers, media_type=PROBLEM_JSON
    )


def _field_error(item: Mapping[str, Any]) -> FieldError:
    context = item.get("ctx", {})
    return FieldError(
        field=_field(item["loc"]),
        message=item["msg"],
        position=context.get("position"),
        pointer=context.get("pointer"),
    )


def _field(location: Sequence[str | int]) -> str:
    """The field's name as the caller wrote it, from a location such as ``("body", "limit")``."""
    # a name that the caller made up may be of any length
    return (".".join(str(part) for part in location[1:]) or "body")[:_MAX_FIELD_NAME]
