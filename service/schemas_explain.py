"""The words of ``/v1/explain``: what callers ask for and what an explanation says."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from service.schemas import ProductId, QueryText
from service.schemas_answer import ProductBody


class ExplainRequest(BaseModel):
    """What to explain, as the JSON body of a POST."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    query: QueryText
    product_id: ProductId


class ExplainParams(BaseModel):
    """What to explain, as the parameters of a GET."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: QueryText
    product_id: ProductId


class QueryTermBody(BaseModel):
    """A term of the query."""

    model_config = ConfigDict(from_attributes=True)

    term: str
    weight: Annotated[float, Field(description="Its share of the query's attention; a pair counts half for each.")]
    alone: Annotated[float, Field(description="What of that goes to the term itself and to no intersection.")]


class TitleTermBody(BaseModel):
    """A term of the title."""

    model_config = ConfigDict(from_attributes=True)

    term: str
    weight: Annotated[float, Field(description="Its share of the title's attention.")]
    answers: Annotated[float, Field(description="The share of the query it answers: the sum of its grid column.")]


class IntersectionBody(BaseModel):
    """The intersection of two query terms."""

    model_config = ConfigDict(from_attributes=True)

    first: Annotated[int, Field(description="Place of one term in `query_terms`, from 0.")]
    second: Annotated[int, Field(description="Place of the other.")]
    weight: Annotated[float, Field(description="The attention to the two together.")]


class AxisBody(BaseModel):
    """An axis on which the product lies outside the hyperboloid."""

    model_config = ConfigDict(from_attributes=True)

    axis: Annotated[int, Field(description="Number of the axis, from 0.")]
    offset: Annotated[float, Field(description="From the centre to the product, with its sign.")]
    limit: Annotated[float, Field(description="How far the hyperboloid reaches to either side.")]
    excess: Annotated[float, Field(description="What of the offset goes beyond the limit.")]
    share: Annotated[float, Field(description="Its share of the squared excess of all axes.")]


class WordsBody(BaseModel):
    """What BM25 says of the product."""

    model_config = ConfigDict(from_attributes=True)

    score: Annotated[float, Field(description="BM25.", ge=0)]
    shared: Annotated[list[str], Field(description="Words of the query, as BM25 corrects it, that the product has.")]
    missing: Annotated[list[str], Field(description="Those that it has not.")]


class FusedBody(BaseModel):
    """The score of a hybrid search, and what each channel brings to it."""

    model_config = ConfigDict(from_attributes=True)

    score: Annotated[float, Field(description="The sum of the others.")]
    hyperboloid: Annotated[float, Field(description="What the distance costs, weighed.")]
    lexical: Annotated[float, Field(description="What BM25 brings, weighed.")]
    behaviour: Annotated[float, Field(description="What clicks bring, weighed.")]


class CompanionBody(BaseModel):
    """A product that shares sessions with the one explained."""

    model_config = ConfigDict(from_attributes=True)

    product_id: str
    title: str


class ClicksBody(BaseModel):
    """What shoppers' clicks say of the product under the query."""

    model_config = ConfigDict(from_attributes=True)

    asked: Annotated[bool, Field(description="Whether shoppers were seen to ask this query; else its text stands in.")]
    score: Annotated[float, Field(description="How likely the product is what they are after; higher is likelier.")]
    sessions: Annotated[
        float, Field(description="The share of that which comes from sessions and not from its own clicks.", ge=0, le=1)
    ]
    queries: Annotated[list[str], Field(description="The queries that most often led to the product.")]
    companions: Annotated[list[CompanionBody], Field(description="The products that share most sessions with it.")]


class ExplainResponse(BaseModel):
    """Why a product lies where it does to a query."""

    read: Annotated[str, Field(description="The query with unknown words corrected.")]
    product_id: str
    product: ProductBody
    distance: Annotated[float, Field(description="Containment distance from the query's hyperboloid.", ge=0)]
    d_out: Annotated[float, Field(description="From the product to the nearest point of the hyperboloid.", ge=0)]
    d_in: Annotated[float, Field(description="From that point to the hyperboloid's centre.", ge=0)]
    contained: Annotated[bool, Field(description="Whether the product lies inside the query's hyperboloid.")]
    words: WordsBody
    fused: Annotated[
        FusedBody | None,
        Field(description="What makes its score in mode `hybrid`; null if ranks are fused."),
    ]
    query_terms: Annotated[list[QueryTermBody], Field(description="What of that was encoded: its first terms.")]
    intersections: Annotated[list[IntersectionBody], Field(description="Of every two query terms, heaviest first.")]
    title_terms: list[TitleTermBody]
    grid: Annotated[
        list[list[float]],
        Field(
            description="A row for every query term, a column for every title term, of sum 1: how much of the query's "
            "attention each title term answers. Computed after the fact; no search uses it."
        ),
    ]
    axes: Annotated[list[AxisBody], Field(description="The axes on which it lies outside, worst first.")]
    clicks: Annotated[
        ClicksBody | None, Field(description="What shoppers' clicks say; null if the index has no behaviour channel.")
    ]
    took_ms: Annotated[float, Field(description="Milliseconds from reading the request to having the explanation.")]
    snapshot: Annotated[str, Field(description="The index snapshot that answered.")]
    model: Annotated[str, Field(description="The encoder bundle that answered.")]
    request_id: Annotated[str, Field(description="The X-Request-ID of this request, yours or a new one.")]
