"""The words of the HTTP interface: what callers send."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from index.expression import Expression, ExpressionError, normal_form, texts
from index.operators import from_json, parse
from index.refinement import FACET_SIZE
from index.results import TextMode
from model.text import words
from service.schemas_refinement import Facets, FacetSize, Fields, FilterChoice, FilterParam, SortChoice, place

MAX_QUERY = 512
MAX_PRODUCT_ID = 512
MAX_LIMIT = 1_000
MAX_WINDOW = 10_000
# Control characters, and lone surrogates: halves of a character, which no encoder takes.
_NOT_TEXT = frozenset({"Cc", "Cs"})
_LINE_BREAKS = str.maketrans("\t\n\v\f\r", " " * 5)


def _searchable(text: str) -> str:
    """The query as it is searched, or an error that says why it cannot be."""
    spaced = text.translate(_LINE_BREAKS)
    query = spaced.strip()
    if not query:
        raise PydanticCustomError("query_empty", "is empty: write at least one word")
    if len(query) > MAX_QUERY:
        raise PydanticCustomError(
            "query_too_long",
            "is {found} characters long; at most {most} are allowed",
            {"found": len(query), "most": MAX_QUERY},
        )
    for position, char in enumerate(spaced):
        if unicodedata.category(char) in _NOT_TEXT:
            raise PydanticCustomError(
                "query_not_text",
                "has {char} at position {position}, which is a control character or half of one",
                {"char": f"U+{ord(char):04X}", "position": position},
            )
    if not words(query):
        raise PydanticCustomError("query_without_words", "has no letter or digit to search by")
    return query


def _query(value: Any, info: ValidationInfo) -> str | Expression:
    """The query as it is searched: a text, or an expression in either of its two forms."""
    if isinstance(value, str):
        query = _searchable(value)
        if info.data.get("syntax") != "operators":
            return query
    try:
        # untrimmed, so that a position is one in what the caller wrote
        expression = parse(value.translate(_LINE_BREAKS)) if isinstance(value, str) else from_json(value)
        normal_form(expression)
    except ExpressionError as error:
        raise PydanticCustomError("expression", "{reason}", {"reason": error.message, **place(error, info)}) from error
    if not isinstance(value, str):
        for text in texts(expression):
            _check_operand(text.text, f"#/{info.field_name}{text.place}")
    return expression


def _check_operand(text: str, pointer: str) -> None:
    try:
        _searchable(text)
    except PydanticCustomError as error:
        context = {**(error.context or {}), "pointer": pointer}
        raise PydanticCustomError(error.type, error.message_template, context) from error


def inside_window(offset: int, info: ValidationInfo) -> int:
    """The offset, if a page there is not too deep; a validator, after that of ``limit``."""
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
_TEXT_SCHEMA = {"type": "string", "minLength": 1, "maxLength": MAX_QUERY}
_OPERANDS_SCHEMA = {"type": "array", "minItems": 1, "items": {}, "description": "Texts, or objects like this one."}
_EXPRESSION_SCHEMA = {
    "type": "object",
    "description": "Exactly one of the three operators; they nest.",
    "properties": {
        "and": _OPERANDS_SCHEMA,
        "or": _OPERANDS_SCHEMA,
        "not": {"description": "A text, or an object like this one."},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_QUERY_ABOUT = (
    "What the shopper typed, with at least one letter or digit. With `syntax` `operators` it is read as an "
    "expression: `fire tv stick AND alexa`, `fire OR kindle`, `drill NOT cordless`, operators in capitals, with "
    'brackets and "quoted phrases".'
)
Query = Annotated[
    str | Expression,
    PlainValidator(_query),
    WithJsonSchema(
        {
            "title": "Query",
            "description": f"{_QUERY_ABOUT} An object is the same as JSON, whatever the syntax.",
            "anyOf": [_TEXT_SCHEMA, _EXPRESSION_SCHEMA],
            "examples": ["cordless drill", '1/2" pvc pipe', {"and": ["fire tv stick", {"not": "refurbished"}]}],
        }
    ),
]
QueryParam = Annotated[
    str | Expression,
    PlainValidator(_query),
    WithJsonSchema({**_TEXT_SCHEMA, "title": "Q", "description": _QUERY_ABOUT, "examples": ["cordless drill"]}),
]
Syntax = Annotated[
    Literal["plain", "operators"],
    Field(description="How a text is read: `plain` takes it as it is, whatever quotes or brackets it holds."),
]
ModeChoice = Annotated[
    TextMode,
    Field(
        description="What finds and orders the hits: `hyperboloid` the distance to the query's region, `lexical` "
        "BM25, `behaviour` what shoppers clicked, where the index has that channel; `hybrid` all of them."
    ),
]
ProductId = Annotated[
    str,
    Field(min_length=1, max_length=MAX_PRODUCT_ID, description="A product's id in the catalogue.", examples=["p17"]),
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

    # before the query, which is read by it
    syntax: Syntax = "plain"
    query: Query
    mode: ModeChoice = "hybrid"
    limit: Limit = 10
    offset: Offset = 0
    filter: FilterChoice = None
    sort: SortChoice | None = None
    facets: Facets = []
    facet_size: FacetSize = FACET_SIZE
    fields: Fields | None = None

    _check_window = field_validator("offset")(inside_window)


class SearchParams(BaseModel):
    """A search, as the parameters of a GET."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    syntax: Syntax = "plain"
    q: QueryParam
    mode: ModeChoice = "hybrid"
    limit: Limit = 10
    offset: Offset = 0
    filter: FilterParam = None
    sort: SortChoice | None = None
    facets: Facets = []
    facet_size: FacetSize = FACET_SIZE
    fields: Fields | None = None

    _check_window = field_validator("offset")(inside_window)


class SimilarRequest(BaseModel):
    """A search from a product, as the JSON body of a POST."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    product_id: ProductId
    limit: Limit = 10
    offset: Offset = 0
    filter: FilterChoice = None
    fields: Fields | None = None

    _check_window = field_validator("offset")(inside_window)


class SimilarParams(BaseModel):
    """A search from a product, as the parameters of a GET."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    product_id: ProductId
    limit: Limit = 10
    offset: Offset = 0
    filter: FilterParam = None
    fields: Fields | None = None

    _check_window = field_validator("offset")(inside_window)
