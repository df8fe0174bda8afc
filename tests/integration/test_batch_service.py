"""Several searches in one request, and searches answered again from the cache."""

from __future__ import annotations

import json

import pytest
from fakes_service import FakeSearcher, error_of, point_at, serving
from prometheus_client import CollectorRegistry

from service.schemas_batch import MAX_SEARCHES, BatchResponse

OPENED: list[FakeSearcher] = []
REGISTRY = CollectorRegistry()


def remembered(directory):
    OPENED.append(FakeSearcher(directory))
    return OPENED[-1]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("index")
    point_at(root, "s1")
    with serving(root, registry=REGISTRY, open_searcher=remembered) as client:
        while client.get("/readyz").status_code != 200:
            pass
        yield client


def together(client, *searches):
    response = client.post("/v1/search/batch", json={"searches": searches})
    assert response.status_code == 200, response.text
    BatchResponse.model_validate_json(response.content)
    body = response.json()
    assert body["request_id"] == response.headers["x-request-id"]
    assert len(body["results"]) == len(searches)
    return body["results"]


def without_times(document):
    return {name: value for name, value in document.items() if name not in ("took_ms", "request_id")}


def lookups(result):
    return REGISTRY.get_sample_value("saddle_cache_lookups_total", {"result": result}) or 0.0


def test_a_picture_keeps_nobody_waiting_in_a_batch(client):
    before = len(OPENED[-1].batches)
    found = client.post("/v1/search/image", content=b"any", headers={"Content-Type": "image/png"})
    assert (found.status_code, found.json()["mode"]) == (200, "image")
    assert len(OPENED[-1].batches) == before


def test_each_search_has_the_answer_that_it_would_have_alone(client):
    searches = [
        {"query": "one", "limit": 2},
        {"query": "two", "mode": "lexical", "offset": 3, "fields": ["title"]},
        {"query": "a OR b", "syntax": "operators", "facets": ["brand"]},
    ]
    for search, found in zip(searches, together(client, *searches), strict=True):
        alone = client.post("/v1/search", json=search).json()
        assert without_times(found) == without_times(alone)


def test_they_are_computed_together(client):
    before = len(OPENED[-1].batches)
    together(client, *({"query": f"never asked before {i}"} for i in range(20)))
    assert sum(OPENED[-1].batches[before:]) == 20
    assert len(OPENED[-1].batches) - before <= 4


ILL = {
    "empty": {"query": ""},
    "no limit": {"query": "drill", "limit": 0},
    "another type": {"query": "drill", "limit": "10"},
    "a field that is not there": {"query": "drill", "colour": "red"},
    "no query": {},
    "no object": 7,
    "operators": {"query": "a AND", "syntax": "operators"},
    "filter": {"query": "drill", "filter": "brand > 3"},
    "facet": {"query": "drill", "facets": ["nonesuch"]},
}


@pytest.mark.parametrize("ill", ILL.values(), ids=ILL)
def test_a_search_that_cannot_be_answered_has_its_problem_and_the_others_their_answers(client, ill):
    first, problem, last = together(client, {"query": "drill"}, ill, {"query": "saw"})
    assert first["hits"]
    assert last["hits"]
    alone = client.post("/v1/search", json=ill)
    assert alone.status_code == 422
    assert without_times(problem) == without_times(alone.json())


def test_an_unexpected_error_is_the_problem_of_one_search(client):
    first, problem, last = together(client, {"query": "drill"}, {"query": "explode"}, {"query": "saw"})
    assert first["hits"]
    assert last["hits"]
    assert (problem["status"], problem["code"]) == (500, "internal_error")
    assert "secret" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"searches": []}, "searches"),
        ({"searches": [{"query": "drill"}] * (MAX_SEARCHES + 1)}, "searches"),
        ({"searches": {"query": "drill"}}, "searches"),
        ({}, "searches"),
        ({"searches": [{"query": "drill"}], "limit": 3}, "limit"),
    ],
)
def test_a_batch_that_is_none_is_a_422(client, body, field):
    assert error_of(client.post("/v1/search/batch", json=body))["field"] == field


def test_before_there_is_a_snapshot_each_search_says_so(tmp_path):
    with serving(tmp_path) as client:
        (found,) = together(client, {"query": "drill"})
    assert (found["status"], found["code"]) == (503, "not_ready")


def test_the_document_describes_searches_answers_and_problems(client):
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/search/batch"]["post"]
    schemas = document["components"]["schemas"]
    assert schemas["BatchRequest"]["properties"]["searches"]["items"] == {"$ref": "#/components/schemas/SearchRequest"}
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/BatchResponse")
    assert "SearchResponse" in json.dumps(schemas["BatchResponse"])
    for path in ("/v1/search", "/v1/similar"):
        answer = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer["$ref"].endswith("/SearchResponse")


# The cache


def test_what_is_asked_again_is_not_computed_again_and_has_its_own_request_id(client):
    hits = lookups("hit")
    first = client.post("/v1/search", json={"query": "asked again"})
    computed = len(OPENED[-1].asked)
    second = client.get("/v1/search", params={"q": "asked again"})
    assert len(OPENED[-1].asked) == computed
    assert without_times(first.json()) == without_times(second.json())
    assert first.json()["request_id"] != second.json()["request_id"]
    assert lookups("hit") == hits + 1


def test_after_a_change_it_is_computed_again(client):
    client.post("/v1/search", json={"query": "changed meanwhile"})
    assert client.put("/v1/products/new", json={"title": "new"}).status_code == 200
    computed = len(OPENED[-1].asked)
    client.post("/v1/search", json={"query": "changed meanwhile"})
    assert len(OPENED[-1].asked) == computed + 1


def test_an_error_is_not_kept(client):
    for _ in range(2):
        computed = len(OPENED[-1].asked)
        assert client.post("/v1/search", json={"query": "explode"}).status_code == 500
        assert len(OPENED[-1].asked) > computed


def test_without_room_everything_is_computed(tmp_path):
    point_at(tmp_path, "s1")
    with serving(tmp_path, open_searcher=remembered, cache_hits=0) as client:
        while client.get("/readyz").status_code != 200:
            pass
        computed = len(OPENED[-1].asked)
        for _ in range(3):
            client.post("/v1/search", json={"query": "drill"})
        assert len(OPENED[-1].asked) == computed + 3
