"""The words of the HTTP interface for several searches at once."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from service.errors import Problem
from service.schemas import SearchRequest
from service.schemas_answer import SearchResponse

MAX_SEARCHES = 64


def _checked(search: Any, check: ValidatorFunctionWrapHandler) -> SearchRequest | ValidationError:
    """The search, or what is wrong with it: that must not spoil the others."""
    try:
        checked: SearchRequest = check(search)
    except ValidationError as error:
        return error
    return checked


class BatchRequest(BaseModel):
    """Several searches, each as it would be asked alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    searches: Annotated[
        list[Annotated[SearchRequest, WrapValidator(_checked)]], Field(min_length=1, max_length=MAX_SEARCHES)
    ]
    """Of one that cannot be used, the ``ValidationError``."""


class BatchResponse(BaseModel):
    """The answers to several searches, in their order."""

    results: Annotated[
        list[SearchResponse | Problem],
        Field(description="What each would be answered alone: its hits, or why there are none."),
    ]
    took_ms: Annotated[float, Field(description="Milliseconds from reading the request to having all hits.")]
    request_id: Annotated[str, Field(description="The X-Request-ID of this request, yours or a new one.")]
