"""The words of the HTTP interface: what callers get back."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from index.results import Mode


class ProductBody(BaseModel):
    """A product as the catalogue described it, or the fields of it that were asked for."""

    model_config = ConfigDict(from_attributes=True)

    product_id: str
    title: str = ""
    description: str = ""
    brand: str = ""
    category_path: str = ""
    price: float | None = None
    image: str = ""
    attributes: dict[str, str | float | bool] = {}


class HitBody(BaseModel):
    """One product found, and how it lies to the query's hyperboloid."""

    product_id: str
    score: Annotated[
        float,
        Field(
            description="What ordered the hit, higher is better: the negated distance, BM25, what clicks tell, or all "
            "of these fused, and with the likeness of pictures."
        ),
    ]
    distance: Annotated[
        float,
        Field(
            description="Containment distance from the query's hyperboloid; in a search by a picture alone, between "
            "the two pictures.",
            ge=0,
        ),
    ]
    contained: Annotated[bool, Field(description="Whether the product lies inside the query's hyperboloid.")]
    thumbnail: Annotated[str | None, Field(description="Where a small picture of it is, if there is one.")]
    product: ProductBody


class TotalBody(BaseModel):
    """How many products the query's hyperboloid contains, whatever the mode, of those that pass the filter."""

    value: int
    relation: Annotated[
        Literal["eq", "gte"],
        Field(description="`eq`: this many. `gte`: this many among the candidates; no more were looked at."),
    ]


class FacetCount(BaseModel):
    """How many of the matching products have a value."""

    value: str | float | bool
    count: int


class FacetBody(BaseModel):
    """The values of one column among the matching products, the most frequent first."""

    counts: list[FacetCount]
    values: Annotated[int, Field(description="How many different values there are, counted or not.")]
    missing: Annotated[int, Field(description="How many matching products have no value.")]
    least: Annotated[float | None, Field(description="The least value of a column of numbers.")]
    greatest: Annotated[float | None, Field(description="The greatest value of a column of numbers.")]


class SearchResponse(BaseModel):
    """The answer to a search, best hits first."""

    hits: list[HitBody]
    total: TotalBody
    facets: Annotated[dict[str, FacetBody], Field(description="By column, those that were asked for.")]
    mode: Mode
    generality: Annotated[
        float | None,
        Field(
            description="Log-volume of the query's hyperboloid: the larger, the broader the query. Of an OR an upper "
            "bound. Null if it has no volume, as where the members of an AND lie apart."
        ),
    ]
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
