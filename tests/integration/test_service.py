from __future__ import annotations

import json
import time

import pytest
import structlog
from fakes_service import FakeSearcher, point_at, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

PROBLEM = "application/problem+json"


def wait_until_ready(client, snapshot="s1"):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        response = client.get("/readyz")
        if response.status_code == 200 and response.json()["snapshot"] == snapshot:
            return
        time.sleep(0.01)
    raise AssertionError(f"{snapshot} never served")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = tmp_path_factory.mktemp("index")
    point_at(root, "s1")
    with serving(root) as client:
        wait_until_ready(client)
        yield client


@pytest.fixture
def registry():
    return CollectorRegistry()


def fields_of(response):
    """The fields a 422 names, after checking that it is a sound problem document."""
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == PROBLEM
    problem = response.json()
    assert problem["status"] == 422
    assert problem["code"] in {"invalid_input", "malformed_json"}
    assert problem["title"]
    assert problem["request_id"] == response.headers["x-request-id"]
    for error in problem["errors"]:
        assert error["message"]
        assert f"{error['field']}: {error['message']}" in problem["detail"]
    return [error["field"] for error in problem["errors"]]


# Answers


def test_a_search_answers_with_hits_and_where_they_come_from(client):
    response = client.post("/v1/search", json={"query": "drill", "limit": 2, "offset": 1})
    assert response.status_code == 200
    body = response.json()
    assert [hit["product_id"] for hit in body["hits"]] == ["p1", "p2"]
    hit = body["hits"][0]
    assert (hit["score"], hit["distance"], hit["contained"]) == (-0.1, 0.1, True)
    assert hit["product"] == {
        "product_id": "p1",
        "title": "Cordless drill 1 <b>bold</b>",
        "description": "",
        "brand": "Acme",
        "category_path": "Tools > Drills",
        "price": 11.0,
        "image": "",
        "attributes": {"volts": 18.0, "kit": True, "colour": "red"},
    }
    assert body["total"] == {"value": 3, "relation": "gte"}
    assert (body["snapshot"], body["model"]) == ("s1", "anthem-fake")
    assert body["took_ms"] >= 0
    assert body["request_id"] == response.headers["x-request-id"]


def test_get_and_post_give_the_same_answer(client):
    posted = client.post("/v1/search", json={"query": "drill", "limit": 3, "offset": 2}).json()
    got = client.get("/v1/search", params={"q": "drill", "limit": 3, "offset": 2}).json()
    changing = {"took_ms", "request_id"}
    assert {k: v for k, v in posted.items() if k not in changing} == {k: v for k, v in got.items() if k not in changing}


def test_ten_hits_come_unless_another_number_is_asked_for(client):
    assert len(client.get("/v1/search", params={"q": "drill"}).json()["hits"]) == 10


@pytest.mark.parametrize(
    "query",
    ['1/2" pvc pipe', "[drill](x", "o'brien`s", "🔨 hammer", "дрель", "電動ドリル", "a AND NOT b", "{{x}}"],
)
def test_odd_queries_are_plain_text(client, query):
    assert client.post("/v1/search", json={"query": query}).status_code == 200
    assert client.get("/v1/search", params={"q": query}).status_code == 200


# Bad input


@pytest.mark.parametrize("query", ["", "  \t\n", "x" * 10_000, "drill\x00", "a\x07b", "🔨🔧🪛", "—…!"])
def test_a_query_that_cannot_be_searched_is_a_422(client, query):
    assert fields_of(client.post("/v1/search", json={"query": query})) == ["query"]
    assert fields_of(client.get("/v1/search", params={"q": query})) == ["q"]


@pytest.mark.parametrize("limit", [0, -1, 10**9, 10**40, "abc", None, 1.5, [], {}])
def test_a_bad_limit_is_a_422(client, limit):
    assert fields_of(client.post("/v1/search", json={"query": "drill", "limit": limit})) == ["limit"]


@pytest.mark.parametrize("limit", ["0", "-1", "1000000000", "abc", "", "1.5", "9" * 5000])
def test_a_bad_limit_in_a_url_is_a_422(client, limit):
    assert fields_of(client.get("/v1/search", params={"q": "drill", "limit": limit})) == ["limit"]


@pytest.mark.parametrize("offset", [-1, 9_991, 10**9])
def test_a_bad_offset_is_a_422(client, offset):
    assert fields_of(client.post("/v1/search", json={"query": "drill", "offset": offset})) == ["offset"]
    assert fields_of(client.get("/v1/search", params={"q": "drill", "offset": offset})) == ["offset"]


@pytest.mark.parametrize("query", [None, 7, True, ["drill"], {"text": "drill"}])
def test_a_query_that_is_no_text_is_a_422(client, query):
    assert fields_of(client.post("/v1/search", json={"query": query})) == ["query"]


def test_a_query_that_is_missing_is_a_422(client):
    assert fields_of(client.post("/v1/search", json={"limit": 3})) == ["query"]
    assert fields_of(client.get("/v1/search")) == ["q"]


def test_every_bad_field_is_named(client):
    body = {"query": "", "limit": 0, "offset": -1, "size": 3}
    assert fields_of(client.post("/v1/search", json=body)) == ["query", "limit", "offset", "size"]


def test_an_unknown_field_is_a_422(client):
    assert fields_of(client.post("/v1/search", json={"query": "drill", "filter": {}})) == ["filter"]
    assert fields_of(client.get("/v1/search", params={"q": "drill", "query": "x"})) == ["query"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"query": "drill"',
        b"[1, 2]",
        b'"drill"',
        b"null",
        b"7",
        b"\xff\xfe\x00",
        b'{"query": "\xff"}',
        b"[" * 20_000,
        b'{"limit": ' + b"9" * 5_000 + b"}",
        b"query=drill",
    ],
)
def test_a_malformed_body_is_a_422(client, content):
    response = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
    assert fields_of(response) == ["body"]


def test_broken_unicode_is_a_422_and_does_not_break_the_answer(client):
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/search", content=rb'{"query": "\ud800 drill"}', headers=headers)
    assert fields_of(response) == ["query"]
    response = client.post("/v1/search", content=rb'{"query": "drill", "\ud800": 1}', headers=headers)
    assert fields_of(response) == ["body"]


def test_a_thousand_unknown_fields_do_not_make_a_thousand_errors(client):
    body = {"query": "drill"} | {f"field{i}": i for i in range(1000)}
    assert len(fields_of(client.post("/v1/search", json=body))) == 20


def test_a_field_with_an_endless_name_is_named_by_its_beginning(client):
    assert fields_of(client.post("/v1/search", json={"query": "drill", "x" * 5_000: 1})) == ["x" * 100]


def test_a_body_that_is_too_large_is_a_413_announced_or_not(client):
    large = json.dumps({"query": "x" * 100_000}).encode()

    async def in_pieces():
        for start in range(0, len(large), 1000):
            yield large[start : start + 1000]

    for content in (large, in_pieces()):
        response = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 413
        assert response.headers["content-type"] == PROBLEM
        assert response.json()["code"] == "content_too_large"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_a_415_that_says_which_one_to_send(client, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    response = client.post("/v1/search", content=b'{"query": "drill"}', headers=headers)
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/v1/search/", 404, "not_found"),
        ("GET", "/../etc/passwd", 404, "not_found"),
        ("DELETE", "/v1/search", 405, "method_not_allowed"),
        ("POST", "/livez", 405, "method_not_allowed"),
        ("MADEUP", "/v1/search", 405, "method_not_allowed"),
    ],
)
def test_a_wrong_path_or_method_is_a_problem_too(client, method, path, status, code):
    response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["code"] == code
    assert response.json()["request_id"] == response.headers["x-request-id"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_BODIES = st.one_of(
    _JSON,
    st.fixed_dictionaries(
        {"query": st.text() | _JSON},
        optional={"limit": st.integers() | _JSON, "offset": st.integers() | _JSON},
    ),
).map(lambda body: json.dumps(body).encode())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_BODIES | st.binary())
def test_no_body_whatever_makes_a_server_error(client, content):
    response = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in {200, 422}
    assert response.json()["request_id"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(q=st.text(), limit=st.text(max_size=5), extra=st.text(max_size=5))
def test_no_url_whatever_makes_a_server_error(client, q, limit, extra):
    response = client.get("/v1/search", params={"q": q, "limit": limit, extra: "1"})
    assert response.status_code in {200, 422}


# Failures


def test_an_unexpected_error_is_a_500_that_tells_nothing_but_where_to_look(client):
    with structlog.testing.capture_logs() as logs:
        response = client.post("/v1/search", json={"query": "explode"})
    assert response.status_code == 500
    assert response.headers["content-type"] == PROBLEM
    assert response.json()["code"] == "internal_error"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    (line,) = [line for line in logs if line["event"] == "unexpected error"]
    assert "secret details" in str(line["exc_info"])


def test_without_a_snapshot_it_lives_but_is_not_ready_until_one_is_published(tmp_path):
    with serving(tmp_path / "index") as client:
        assert client.get("/livez").json() == {"status": "live"}
        for response in (client.get("/readyz"), client.get("/v1/search", params={"q": "drill"})):
            assert response.status_code == 503
            assert response.headers["content-type"] == PROBLEM
            assert response.json()["code"] == "not_ready"
            assert int(response.headers["retry-after"]) > 0
        point_at(tmp_path / "index", "s1")
        wait_until_ready(client)
        assert client.get("/v1/search", params={"q": "drill"}).status_code == 200


def test_readiness_names_what_it_serves(client):
    assert client.get("/readyz").json() == {
        "status": "ready",
        "snapshot": "s1",
        "model": "anthem-fake",
        "products": FakeSearcher.size,
    }


# Request ids, metrics, logs


@pytest.mark.parametrize("given_id", ["abc-123", "A.b_c-9", "x" * 128])
def test_a_sane_request_id_is_kept(client, given_id):
    response = client.get("/v1/search", params={"q": "drill"}, headers={"X-Request-ID": given_id})
    assert response.headers["x-request-id"] == given_id
    assert response.json()["request_id"] == given_id


@pytest.mark.parametrize("given_id", ["", "x" * 129, "a b", 'a"b', "a/b", "{}", "abc,def"])
def test_another_request_id_is_replaced(client, given_id):
    response = client.get("/livez", headers={"X-Request-ID": given_id})
    assert response.headers["x-request-id"] != given_id
    assert len(response.headers["x-request-id"]) == 32


def test_metrics_count_requests_by_route_and_searches_by_stage(tmp_path, registry):
    point_at(tmp_path, "s1")
    with serving(tmp_path, registry=registry) as client:
        wait_until_ready(client)
        client.post("/v1/search", json={"query": "drill"})
        client.post("/v1/search", json={"query": "saw"})
        client.get("/v1/search", params={"q": ""})
        client.get("/v1/search", params={"q": "explode"})
        client.get("/some/path/17")
        client.get("/some/path/18")
        client.request("DELETE", "/v1/search")
        text = client.get("/metrics").text

    def count(method, route, status):
        labels = {"method": method, "route": route, "status": status}
        return registry.get_sample_value("saddle_http_requests_total", labels)

    assert count("POST", "/v1/search", "200") == 2
    assert count("GET", "/v1/search", "422") == 1
    assert count("GET", "/v1/search", "500") == 1
    assert count("GET", "unmatched", "404") == 2
    assert count("DELETE", "/v1/search", "405") == 1
    seconds = registry.get_sample_value("saddle_search_stage_seconds_count", {"stage": "encode"})
    assert seconds == 2
    assert registry.get_sample_value("saddle_snapshot_products") == FakeSearcher.size
    assert 'saddle_snapshot_info{model="anthem-fake",snapshot="s1"} 1.0' in text
    assert "/some/path" not in text


def test_live_searches_are_probed_as_often_as_the_settings_say(tmp_path, registry):
    point_at(tmp_path, "s1")

    def probes():
        return registry.get_sample_value("saddle_probes_total", {"outcome": "measured"})

    with serving(tmp_path, registry=registry, probes_per_minute=600) as client:
        wait_until_ready(client)
        deadline = time.monotonic() + 10
        while not probes():
            assert time.monotonic() < deadline, "no search was probed"
            client.get("/v1/search", params={"q": "drill"})
    assert registry.get_sample_value("saddle_probe_recall_ratio_sum", {"mode": "hybrid"}) == probes()
    assert registry.get_sample_value("saddle_searches_total", {"mode": "hybrid"}) >= probes()


def test_a_request_is_one_log_line_without_the_shoppers_words(client):
    with structlog.testing.capture_logs() as logs:
        client.get("/v1/search", params={"q": "private words"})
        client.get("/livez")
    lines = [line for line in logs if line["log_level"] == "info"]
    assert [(line["event"], line["path"], line["status"]) for line in lines] == [("request", "/v1/search", 200)]
    assert "private" not in str(logs)


# Pages


def test_the_openapi_document_describes_answers_and_problems(client):
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/search", "/v1/similar", "/livez", "/readyz", "/metrics"}
    for operation in (*document["paths"]["/v1/search"].values(), *document["paths"]["/v1/similar"].values()):
        assert operation["summary"]
        assert operation["tags"] == ["search"]
        answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer == {"$ref": "#/components/schemas/SearchResponse"}
        for status in ("422", "500", "503"):
            assert list(operation["responses"][status]["content"]) == [PROBLEM]
    query = document["components"]["schemas"]["SearchRequest"]["properties"]["query"]
    text, expression = query["anyOf"]
    assert (text["type"], text["minLength"], text["maxLength"]) == ("string", 1, 512)
    assert set(expression["properties"]) == {"and", "or", "not"}
    assert query["examples"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_console_loads_nothing_from_elsewhere_and_writes_texts_only(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    script = client.get("/console.js")
    style = client.get("/console.css")
    assert script.headers["content-type"].startswith("text/javascript")
    assert style.headers["content-type"].startswith("text/css")
    for text in (page.text, script.text, style.text):
        assert "http://" not in text
        assert "https://" not in text
    assert "innerHTML" not in script.text


def test_the_documentation_page_is_there(client):
    assert client.get("/docs").status_code == 200
