"""The words of the HTTP interface for what callers make of an answer: filters, order, facets, fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from index import filter_syntax
from index.filters import Filter, FilterError

if TYPE_CHECKING:
    from index.places import MisplacedError

MAX_COLUMN = 256
MAX_FACETS = 20
MAX_FIELDS = 100


def place(error: MisplacedError, info: ValidationInfo) -> dict[str, Any]:
    """Where in the request an error is, for its context."""
    if error.pointer is not None:
        return {"pointer": f"#/{info.field_name}{error.pointer}"}
    return {"position": error.position}


def _filter(value: Any, info: ValidationInfo) -> Filter | None:
    """A filter in either of its two forms."""
    if value is None:
        return None
    try:
        return filter_syntax.parse(value) if isinstance(value, str) else filter_syntax.from_json(value)
    except FilterError as error:
        raise PydanticCustomError("filter", "{reason}", {"reason": error.message, **place(error, info)}) from error


_FILTER_ABOUT = (
    'Which products may be hits: `price < 50 AND brand IN ("3M", "Behr") AND category_path UNDER "Tools"`, with OR, '
    "NOT, BETWEEN … AND …, IS NULL, and backticks around a column's name that is not one word."
)
_FILTER_TEXT = {"type": "string", "minLength": 1, "maxLength": filter_syntax.MAX_LENGTH}
FilterChoice = Annotated[
    Filter | None,
    PlainValidator(_filter),
    WithJsonSchema(
        {
            "title": "Filter",
            "description": f"{_FILTER_ABOUT} The same as JSON is an object, all of whose members must hold.",
            "anyOf": [_FILTER_TEXT, {"type": "object", "minProperties": 1}],
            "examples": [
                'price < 50 AND brand IN ("3M", "Behr")',
                {"price": {"lt": 50}, "brand": ["3M", "Behr"], "not": {"category_path": {"under": "Tools"}}},
            ],
        }
    ),
]
FilterParam = Annotated[
    Filter | None,
    PlainValidator(_filter),
    WithJsonSchema({**_FILTER_TEXT, "title": "Filter", "description": _FILTER_ABOUT}),
]
_Column = Annotated[str, Field(min_length=1, max_length=MAX_COLUMN)]
SortChoice = Annotated[
    _Column,
    Field(
        description="A column to order the matching products by, with a `-` before it for the highest first, or "
        "`distance`; by default hits come by their score.",
        examples=["price", "-rating"],
    ),
]
Facets = Annotated[
    list[_Column],
    Field(
        max_length=MAX_FACETS,
        description="Columns whose values are counted over the matching products: those the hyperboloid contains, and "
        "those that hold every word of the query.",
        examples=[["brand", "price"]],
    ),
]
FacetSize = Annotated[int, Field(ge=1, le=1_000, description="How many values of each facet to return.")]
Fields = Annotated[
    list[_Column],
    Field(
        max_length=MAX_FIELDS,
        description="The columns of each product to return beside its id; by default all.",
        examples=[["title", "price"]],
    ),
]
