"""How the service reads filters, order, facets and fields, and what it shows of them."""

from __future__ import annotations

import pytest
from fakes_service import PRODUCTS, FakeSearcher, error_of, point_at, serving

from index.filter_syntax import parse
from index.refinement import Refinement, Sort

OPENED: list[FakeSearcher] = []


def remembered(directory):
    OPENED.append(FakeSearcher(directory))
    return OPENED[-1]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("index")
    point_at(root, "s1")
    with serving(root, open_searcher=remembered) as client:
        while client.get("/readyz").status_code != 200:
            pass
        yield client


def asked():
    """The last refinement that reached the searcher."""
    return OPENED[-1].refinements[-1]


FILTER = 'price < 50 AND brand IN ("3M", "Acme")'
FORM = {"price": {"lt": 50}, "brand": ["3M", "Acme"]}


def test_a_filter_is_read_from_text_and_from_json(client):
    for response in (
        client.post("/v1/search", json={"query": "drill", "filter": FILTER}),
        client.post("/v1/search", json={"query": "drill", "filter": FORM}),
        client.get("/v1/search", params={"q": "drill", "filter": FILTER}),
        client.post("/v1/similar", json={"product_id": "p1", "filter": FORM}),
        client.get("/v1/similar", params={"product_id": "p1", "filter": FILTER}),
    ):
        assert response.status_code == 200, response.text
        assert asked() == Refinement(filter=parse(FILTER))


def test_order_facets_and_fields_are_read_from_a_body_and_from_a_url(client):
    body = {"query": "drill", "sort": "-price", "facets": ["brand", "volts"], "facet_size": 5, "fields": ["title"]}
    params = [("q", "drill"), ("sort", "-price"), ("facets", "brand"), ("facets", "volts"), ("facet_size", "5"),
              ("fields", "title")]  # fmt: skip
    expected = Refinement(
        sort=Sort("price", descending=True), facets=("brand", "volts"), facet_size=5, fields=("title",)
    )
    for response in (client.post("/v1/search", json=body), client.get("/v1/search", params=params)):
        assert response.status_code == 200, response.text
        assert asked() == expected


def test_nothing_is_refined_unless_asked(client):
    answer = client.post("/v1/search", json={"query": "drill", "filter": None, "sort": None, "fields": None}).json()
    assert asked() == Refinement()
    assert answer["facets"] == {}
    assert answer["hits"][1]["product"]["attributes"] == {"volts": 18.0, "kit": True, "colour": "red"}
    assert answer["hits"][0]["product"]["price"] is None


def test_facets_are_shown_by_column(client):
    answer = client.post("/v1/search", json={"query": "drill", "facets": ["brand"]}).json()
    assert answer["facets"] == {
        "brand": {"counts": [{"value": "Acme", "count": 3}], "values": 5, "missing": 1, "least": None, "greatest": None}
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], {"product_id": "p1"}),
        (["title", "price"], {"product_id": "p1", "title": PRODUCTS[1].title, "price": 11.0}),
        (["volts", "product_id"], {"product_id": "p1", "attributes": {"volts": 18.0}}),
        (["description"], {"product_id": "p1", "description": ""}),
    ],
)
def test_only_the_fields_asked_for_are_sent(client, fields, expected):
    hits = client.post("/v1/search", json={"query": "drill", "fields": fields}).json()["hits"]
    assert hits[1]["product"] == expected


@pytest.mark.parametrize(
    ("wanted", "place", "said"),
    [
        ("price <", {"position": 7}, "ends where more should follow"),
        ("brand = Acme", {"position": 8}, "a text stands in quotes"),
        ("price > 20 AND price < 10", {"position": 15}, "which no value is"),
        ("size = 3", {"position": 0}, "names the column 'size'; the columns are brand, category_path"),
        ('price = "cheap"', {"position": 0}, 'compares price, which holds numbers, with "cheap"'),
        ({"size": 3}, {"pointer": "#/filter/size"}, "names the column 'size'"),
        ({"or": [{"brand": "Acme"}, {"price": {"gt": "x"}}]}, {"pointer": "#/filter/or/1/price"}, "holds numbers"),
        ({}, {"pointer": "#/filter"}, "is an object with 0 keys"),
        (3, {"pointer": "#/filter"}, "is a number"),
    ],
)
def test_a_filter_that_cannot_be_used_is_a_422_with_its_place(client, wanted, place, said):
    error = error_of(client.post("/v1/search", json={"query": "drill", "filter": wanted}))
    assert error["field"] == "filter"
    assert said in error["message"]
    assert {name: error[name] for name in ("position", "pointer") if name in error} == place
    if isinstance(wanted, str):
        by_url = error_of(client.get("/v1/search", params={"q": "drill", "filter": wanted}))
        assert (by_url["field"], by_url["message"]) == ("filter", error["message"])


@pytest.mark.parametrize("wanted", ['"brand = \\ud800"', '{"price": "\\ud800"}', '{"\\ud800": 3}'])
def test_half_a_character_in_a_filter_is_a_422(client, wanted):
    content = f'{{"query": "drill", "filter": {wanted}}}'
    response = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text


@pytest.mark.parametrize("part", [{"sort": "-size"}, {"facets": ["brand", "size"]}, {"fields": ["title", "size"]}])
def test_another_column_is_a_422_that_lists_the_columns(client, part):
    error = error_of(client.post("/v1/search", json={"query": "drill", **part}))
    assert error["field"] in part
    assert "names the column 'size'; the columns are brand, category_path, colour, " in error["message"]


@pytest.mark.parametrize(
    "part", [{"facet_size": 0}, {"facets": ["a"] * 21}, {"sort": ""}, {"sort": 3}, {"fields": "title"}, {"facets": [3]}]
)
def test_a_refinement_of_another_shape_is_a_422(client, part):
    error = error_of(client.post("/v1/search", json={"query": "drill", **part}))
    assert error["field"].partition(".")[0] in part
