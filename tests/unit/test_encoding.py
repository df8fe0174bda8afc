"""What is sent is what the models of the interface describe, and would send."""

from __future__ import annotations

import json
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.facets import Facet
from index.results import Hit, SearchResult, Timings, Total
from model.catalog import Product
from service.encoding import search_document
from service.schemas_answer import FacetBody, FacetCount, HitBody, ProductBody, SearchResponse, TotalBody

numbers = st.floats(-1e6, 1e6, width=32)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.one_of(texts, st.floats(-1e6, 1e6), st.booleans())
products = st.builds(
    Product,
    product_id=texts,
    title=texts,
    description=texts,
    brand=texts,
    category_path=texts,
    price=st.none() | st.floats(0, 1e6),
    image=texts,
    attributes=st.dictionaries(st.sampled_from(["volts", "kit", "colour", "título"]), values),
)
facets = st.builds(
    Facet,
    column=texts,
    counts=st.lists(st.tuples(values, st.integers(1, 99)), max_size=3).map(tuple),
    values=st.integers(0, 9),
    missing=st.integers(0, 9),
    least=st.none() | numbers,
    greatest=st.none() | numbers,
)
results = st.builds(
    SearchResult,
    hits=st.lists(
        st.builds(
            Hit,
            products,
            score=numbers,
            distance=st.floats(0, 9, width=32),
            contained=st.booleans(),
            pictured=st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
    total=st.builds(Total, st.integers(0, 9), st.sampled_from(["eq", "gte"])),
    facets=st.lists(facets, max_size=2).map(tuple),
    mode=st.sampled_from(["hybrid", "hyperboloid", "lexical"]),
    generality=st.none() | numbers,
    snapshot=texts,
    model=texts,
    timings=st.just(Timings(0, 0, 0, 0, 0)),
    measured=st.just(0),
)


def slowly(result, fields):
    """The same document, through the models."""

    def shown(product):
        if fields is None:
            return ProductBody.model_validate(product)
        kept = {name: getattr(product, name) for name in fields if name in ProductBody.model_fields}
        attributes = {name: value for name, value in product.attributes.items() if name in fields}
        if attributes:
            kept["attributes"] = attributes
        return ProductBody(**{**kept, "product_id": product.product_id})

    response = SearchResponse(
        hits=[
            HitBody(
                product_id=hit.product.product_id,
                score=hit.score,
                distance=hit.distance,
                contained=hit.contained,
                thumbnail=f"/v1/thumbnails/{quote(hit.product.product_id, safe='')}" if hit.pictured else None,
                product=shown(hit.product),
            )
            for hit in result.hits
        ],
        total=TotalBody(value=result.total.value, relation=result.total.relation),
        facets={
            found.column: FacetBody(
                counts=[FacetCount(value=value, count=count) for value, count in found.counts],
                values=found.values,
                missing=found.missing,
                least=found.least,
                greatest=found.greatest,
            )
            for found in result.facets
        },
        mode=result.mode,
        generality=result.generality,
        took_ms=1.5,
        snapshot=result.snapshot,
        model=result.model,
        request_id="r1",
    )
    return response.model_dump(mode="json", exclude_unset=fields is not None)


@pytest.mark.parametrize("fields", [None, [], ["title", "price"], ["volts", "colour", "brand"]])
@given(result=results)
def test_what_is_sent_is_what_the_models_would_send(fields, result):
    sent = orjson.dumps(search_document(result, fields, took_ms=1.5, request_id="r1"))
    assert json.loads(sent) == slowly(result, fields)
    SearchResponse.model_validate_json(sent)
