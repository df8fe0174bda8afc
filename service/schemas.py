"""The words of the HTTP interface: what callers send and what they get back."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from model.text import words

MAX_QUERY = 512
MAX_LIMIT = 1_000
MAX_WINDOW = 10_000
# Control characters, and lone surrogates: halves of a character, which no encoder takes.
_NOT_TEXT = frozenset({"Cc", "Cs"})
_LINE_BREAKS = str.maketrans("\t\n\v\f\r", " " * 5)


def _searchable(text: str) -> str:
    """The query as it is searched, or an error that says why it cannot be."""
    query = text.translate(_LINE_BREAKS).strip()
    if not query:
        raise PydanticCustomError("query_empty", "is empty: write at least one word")
    if len(query) > MAX_QUERY:
        raise PydanticCustomError(
            "query_too_long",
            "is {found} characters long; at most {most} are allowed",
            {"found": len(query), "most": MAX_QUERY},
        )
    for position, char in enumerate(query):
        if unicodedata.category(char) in _NOT_TEXT:
            raise PydanticCustomError(
                "query_not_text",
                "has {char} at position {position}, which is a control character or half of one",
                {"char": f"U+{ord(char):04X}", "position": position},
            )
    if not words(query):
        raise PydanticCustomError("query_without_words", "has no letter or digit to search by")
    return query


def _inside_window(offset: int, info: ValidationInfo) -> int:
    limit = info.data.get("limit")
    if limit is not None and limit + offset > MAX_WINDOW:
        raise PydanticCustomError(
            "window_too_deep",
            "limit + offset is {found}; at most {most} products can be paged through",
            {"found": limit + offset, "most": MAX_WINDOW},
        )
    return offset


QueryText = Annotated[
    str,
    AfterValidator(_searchable),
    Field(
        description="What the shopper typed, as plain text with at least one letter or digit.",
        examples=["cordless drill", '1/2" pvc pipe'],
        json_schema_extra={"minLength": 1, "maxLength": MAX_QUERY},
    ),
]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT, description="How many hits to return.", examples=[10])]
Offset = Annotated[
    int,
    Field(
        ge=0,
        description=f"How many of the best hits to skip; limit + offset is at most {MAX_WINDOW}.",
        examples=[0],
    ),
]


class SearchRequest(BaseModel):
    """A search, as the JSON body of a POST."""

    # strict: "10" and true are not numbers in JSON
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    query: QueryText
    limit: Limit = 10
    offset: Offset = 0

    _check_window = field_validator("offset")(_inside_window)


class SearchParams(BaseModel):
    """A search, as the parameters of a GET."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: QueryText
    limit: Limit = 10
    offset: Offset = 0

    _check_window = field_validator("offset")(_inside_window)


class ProductBody(BaseModel):
    """A product as the catalogue described it."""

    model_config = ConfigDict(from_attributes=True)

    product_id: str
    title: str
    description: str
    brand: str
    category_path: str
    price: float | None
    image: str
    attributes: dict[str, str | float | bool]


class HitBody(BaseModel):
    """One product found, and how it lies to the query's hyperboloid."""

    product_id: str
    score: Annotated[float, Field(description="The negated distance: higher is better.")]
    distance: Annotated[float, Field(description="Containment distance from the query's hyperboloid.", ge=0)]
    contained: Annotated[bool, Field(description="Whether the product lies inside the query's hyperboloid.")]
    product: ProductBody


class TotalBody(BaseModel):
    """How many products the query's hyperboloid contains."""

    value: int
    relation: Annotated[
        Literal["eq", "gte"],
        Field(description="`eq`: every product was looked at. `gte`: only the candidates were."),
    ]


class SearchResponse(BaseModel):
    """The answer to a search, best hits first."""

    hits: list[HitBody]
    total: TotalBody
    took_ms: Annotated[float, Field(description="Milliseconds from reading the request to having the hits.")]
    snapshot: Annotated[str, Field(description="The index snapshot that answered.")]
    model: Annotated[str, Field(description="The encoder bundle that answered.")]
    request_id: Annotated[str, Field(description="The X-Request-ID of this request, yours or a new one.")]


class LiveResponse(BaseModel):
    """The process is up."""

    status: Literal["live"] = "live"


class ReadyResponse(BaseModel):
    """The service answers searches, from this snapshot."""

    status: Literal["ready"] = "ready"
    snapshot: str
    model: str
    products: int
