"""How the service reads queries: modes, operators, JSON, and products to find similar ones of."""

from __future__ import annotations

import json

import pytest
from fakes_service import FakeSearcher, error_of, point_at, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from index.expression import And, Not, Or, Text
from service.errors import PROBLEM_JSON

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
    """The last query and mode that reached the searcher."""
    return OPENED[-1].asked[-1]


def operators(client, query):
    return client.post("/v1/search", json={"query": query, "syntax": "operators"})


# Modes


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
def test_the_mode_asked_for_is_searched_and_named(client, mode):
    for response in (
        client.post("/v1/search", json={"query": "drill", "mode": mode}),
        client.get("/v1/search", params={"q": "drill", "mode": mode}),
    ):
        assert response.json()["mode"] == mode
        assert asked() == ("drill", mode)


def test_hybrid_is_the_mode_unless_another_is_asked_for(client):
    body = client.post("/v1/search", json={"query": "drill"}).json()
    assert body["mode"] == "hybrid"
    assert body["generality"] == -12.5


def test_generality_is_null_where_there_is_none(client):
    assert client.get("/v1/similar", params={"product_id": "p1"}).json()["generality"] is None


@pytest.mark.parametrize(("name", "value"), [("mode", "both"), ("mode", None), ("syntax", "lucene"), ("syntax", 1)])
def test_an_unknown_mode_or_syntax_is_a_422(client, name, value):
    assert error_of(client.post("/v1/search", json={"query": "drill", name: value}))["field"] == name


# Operators


def test_operators_are_read_only_when_asked_for(client):
    query = "fire tv stick AND (alexa OR kindle) NOT refurbished"
    expected = And(
        (Text("fire tv stick"), Or((Text("alexa"), Text("kindle"))), Not(Text("refurbished"))),
    )
    assert client.post("/v1/search", json={"query": query}).status_code == 200
    assert asked()[0] == query
    assert operators(client, query).status_code == 200
    assert asked()[0] == expected
    assert client.get("/v1/search", params={"q": query, "syntax": "operators"}).status_code == 200
    assert asked()[0] == expected


@pytest.mark.parametrize("query", ["a AND (b", 'say "hello', ")a(", "NOT", "AND", "NOT " * 100 + "a", "a OR NOT b"])
def test_in_plain_syntax_nothing_fails_to_parse(client, query):
    assert client.post("/v1/search", json={"query": query}).status_code == 200
    assert client.get("/v1/search", params={"q": query, "syntax": "plain"}).status_code == 200
    assert asked()[0] == query


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("a AND (b", 6),
        ("a) b", 1),
        ('a AND "b', 6),
        ("a AND", 5),
        ("OR a", 0),
        ("a AND ()", 7),
        ('a AND ""', 6),
        ("NOT refurbished", 0),
        ("drill OR NOT saw", 9),
        (" OR ".join(f"w{i}" for i in range(17)), 0),
        (" AND ".join(f"(a{i} OR b{i})" for i in range(5)), 0),
        ("NOT " * 120 + "a", 128),
        ("(" * 200 + "a" + ")" * 200, 32),
        ("  \t a AND (b\n", 10),
    ],
)
def test_an_expression_that_cannot_be_searched_is_a_422_with_the_position(client, query, position):
    error = error_of(operators(client, query))
    assert (error["field"], error["position"]) == ("query", position)
    error = error_of(client.get("/v1/search", params={"q": query, "syntax": "operators"}))
    assert (error["field"], error["position"]) == ("q", position)


def test_a_contradiction_is_searched(client):
    assert operators(client, "drill NOT drill").status_code == 200


# JSON


@pytest.mark.parametrize("syntax", ["plain", "operators"])
def test_an_expression_as_json_needs_no_syntax(client, syntax):
    query = {"and": ["fire AND ice", {"or": ["b", {"not": {"not": "c"}}]}]}
    response = client.post("/v1/search", json={"query": query, "syntax": syntax})
    assert response.status_code == 200
    assert asked()[0] == And((Text("fire AND ice"), Or((Text("b"), Not(Not(Text("c")))))))


def nested(depth):
    query = "a"
    for _ in range(depth):
        query = {"not": query}
    return query


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"and": []}, "#/query/and"),
        ({"and": ["a", ""]}, "#/query/and/1"),
        ({"and": ["a", "b\x00"]}, "#/query/and/1"),
        ({"and": ["a", "b" * 513]}, "#/query/and/1"),
        ({"xor": ["a"]}, "#/query"),
        ({}, "#/query"),
        (["a"], "#/query"),
        ({"not": "a"}, "#/query"),
        ({"or": ["a", {"not": "b"}]}, "#/query/or/1"),
        ({"or": [f"w{i}" for i in range(17)]}, "#/query"),
        ({"and": ["w"] * 3000}, "#/query/and/64"),
        (nested(200), "#/query" + "/not" * 32),
    ],
)
def test_json_that_cannot_be_searched_is_a_422_with_the_pointer(client, query, pointer):
    error = error_of(client.post("/v1/search", json={"query": query}))
    assert (error["field"], error["pointer"]) == ("query", pointer)


def test_json_nested_without_end_is_a_422(client):
    content = b'{"query": ' + b'{"not": ' * 7000 + b'"a"' + b"}" * 7001
    response = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert response.headers["content-type"] == PROBLEM_JSON


PIECES = st.sampled_from(["AND", "OR", "NOT", "(", ")", '"', "drill", "saw 12", "!", "½", "\n", "\x00"])
QUERIES = st.recursive(
    st.text(max_size=4) | st.none() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["and", "or", "not", "x"]), inner),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.lists(PIECES, max_size=30).map(" ".join) | QUERIES)
def test_no_expression_whatever_makes_a_server_error(client, query):
    response = client.post(
        "/v1/search",
        content=json.dumps({"query": query, "syntax": "operators"}),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code in {200, 422}


# Similar products


def test_similar_products_come_by_post_and_get(client):
    posted = client.post("/v1/similar", json={"product_id": "p3", "limit": 2, "offset": 1})
    got = client.get("/v1/similar", params={"product_id": "p3", "limit": 2, "offset": 1})
    assert posted.status_code == got.status_code == 200
    assert posted.json()["hits"] == got.json()["hits"]
    assert len(got.json()["hits"]) == 2
    assert got.json()["mode"] == "hyperboloid"


def test_an_unknown_product_is_a_404_with_a_code_of_its_own(client):
    for response in (
        client.post("/v1/similar", json={"product_id": "nope"}),
        client.get("/v1/similar", params={"product_id": "nope"}),
    ):
        assert response.status_code == 404
        assert response.headers["content-type"] == PROBLEM_JSON
        assert response.json()["code"] == "product_not_found"
        assert "'nope'" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "product_id"),
        ({"product_id": ""}, "product_id"),
        ({"product_id": 7}, "product_id"),
        ({"product_id": "p" * 513}, "product_id"),
        ({"product_id": "p3", "limit": 0}, "limit"),
        ({"product_id": "p3", "offset": 9_991}, "offset"),
        ({"product_id": "p3", "mode": "lexical"}, "mode"),
    ],
)
def test_a_bad_request_for_similar_products_is_a_422(client, body, field):
    assert error_of(client.post("/v1/similar", json=body))["field"] == field
