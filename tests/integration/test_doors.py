"""Who may call what: every route, with every kind of key."""

from __future__ import annotations

import re
import time

import pytest
import structlog
from fakes_service import FakeSearcher, point_at, serving
from fastapi.routing import iter_route_contexts

from service import keys
from service.app import create_app
from service.errors import PROBLEM_JSON
from service.scopes import DECLARED, PROBES, SCOPES, RouteTable, UndeclaredRouteError
from service.settings import Settings


def routes_of(app):
    """Path and method of every route that an application serves, as the framework has them."""
    return [
        (route.path, method) for route in iter_route_contexts(app.routes) for method in sorted(route.methods - {"HEAD"})
    ]


def filled(path):
    return re.sub(r"\{[^}]*\}", "p1", path)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """A file of keys and the secrets of some: one of each scope, one revoked, one expired."""
    from datetime import UTC, datetime

    path = tmp_path_factory.mktemp("keys") / "keys.json"
    made = {scope: keys.create(path, scope, scopes=[scope]) for scope in SCOPES}
    made["all"] = keys.create(path, "all", scopes=SCOPES)
    made["revoked"] = keys.create(path, "revoked", scopes=SCOPES)
    keys.revoke(path, "revoked")
    made["expired"] = keys.create(path, "expired", scopes=SCOPES, expires=datetime(2020, 1, 1, tzinfo=UTC))
    made["slow"] = keys.create(path, "slow", scopes=SCOPES, rate=0.5, burst=3)
    made["batches"] = keys.create(path, "batches", scopes=SCOPES, rate=1, burst=10)
    made["wrong"] = f"{made['all'][:-1]}{'A' if made['all'][-1] != 'A' else 'B'}"
    return path, made


@pytest.fixture(scope="module")
def client(tmp_path_factory, secrets):
    root = tmp_path_factory.mktemp("index")
    point_at(root, "s1")
    with serving(root, keys=secrets[0]) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        yield client


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def refused(response, status, code):
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM_JSON), response.text
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


def test_there_are_routes_of_every_scope_to_walk(client):
    walked = routes_of(client.app)
    assert len(walked) > 15
    assert {DECLARED[path][method] for path, method in walked} == {None, *SCOPES}
    assert {(path, method) for path, declared in DECLARED.items() for method in declared} == {*walked}


@pytest.mark.parametrize("shown", ["nothing", "wrong", "revoked", "expired", "basic", "empty", "twice"])
def test_without_a_valid_key_every_route_but_the_open_ones_is_a_401(client, secrets, shown):
    _, made = secrets
    headers = {
        "nothing": {},
        "basic": {"Authorization": f"Basic {made['all']}"},
        "empty": {"Authorization": "Bearer "},
        "twice": {"Authorization": f"Bearer {made['all']} {made['all']}"},
    }.get(shown) or bearer(made.get(shown, ""))
    for path, method in routes_of(client.app):
        response = client.request(method, filled(path), headers=headers if shown != "nothing" else {})
        if DECLARED[path][method] is None:
            assert response.status_code in {200, 404}, path
        else:
            problem = refused(response, 401, "unauthorized")
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert "search" not in problem["detail"]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_the_routes_of_its_scope_and_no_other(client, secrets, scope):
    _, made = secrets
    for path, method in routes_of(client.app):
        response = client.request(method, filled(path), headers=bearer(made[scope]))
        needed = DECLARED[path][method]
        if needed in {None, scope}:
            assert response.status_code not in {401, 403}, (method, path)
        else:
            assert needed in refused(response, 403, "forbidden")["detail"]


def test_where_nothing_is_one_needs_a_key_to_be_told_so(client, secrets):
    _, made = secrets
    refused(client.get("/v1/nothing"), 401, "unauthorized")
    refused(client.get("/v1/nothing", headers=bearer(made["write"])), 404, "not_found")
    refused(client.request("DELETE", "/v1/search"), 401, "unauthorized")
    refused(client.request("DELETE", "/v1/search", headers=bearer(made["write"])), 403, "forbidden")
    wrong = client.request("DELETE", "/v1/search", headers=bearer(made["search"]))
    refused(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET, POST"


def test_the_body_of_a_refused_request_is_not_read(client):
    read = []

    async def body():
        read.append(True)
        yield b"{}"

    refused(client.post("/v1/search", content=body()), 401, "unauthorized")
    assert not read


def test_a_route_that_is_not_declared_keeps_the_service_from_starting(tmp_path, monkeypatch):
    from fastapi import APIRouter

    from service.routes import health

    def forgotten(*given):
        router = APIRouter()
        router.add_api_route("/v1/forgotten", lambda: None, methods=["POST"])
        return router

    monkeypatch.setattr(health, "routes", forgotten)
    with pytest.raises(UndeclaredRouteError, match=r"POST /v1/forgotten"):
        create_app(Settings(index=tmp_path))


def test_a_method_that_is_not_declared_counts_as_a_route_of_its_own():
    with pytest.raises(UndeclaredRouteError, match="PATCH /v1/search"):
        RouteTable([("/v1/search", ["GET", "PATCH"])])


def test_more_than_the_rate_of_a_key_is_a_429_that_says_when_to_come_back(client, secrets):
    _, made = secrets
    answers = [client.get("/v1/search", params={"q": "drill"}, headers=bearer(made["slow"])) for _ in range(4)]
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    refused(answers[3], 429, "rate_limited")
    assert 1 <= int(answers[3].headers["retry-after"]) <= 2
    assert client.get("/v1/search", params={"q": "drill"}, headers=bearer(made["search"])).status_code == 200


def test_a_batch_counts_as_many_requests_as_it_has_searches(client, secrets):
    _, made = secrets
    asked = {"json": {"searches": [{"query": "drill"}] * 64}, "headers": bearer(made["batches"])}
    assert client.post("/v1/search/batch", **asked).status_code == 200
    answer = client.post("/v1/search/batch", **asked)
    refused(answer, 429, "rate_limited")
    assert 50 <= int(answer.headers["retry-after"]) <= 55


def test_neither_log_nor_answer_nor_metrics_ever_have_a_key_in_them(client, secrets):
    _, made = secrets
    texts = []
    with structlog.testing.capture_logs() as logs:
        for name in ("all", "wrong", "revoked"):
            for path in ("/v1/search?q=drill", "/v1/search?q=explode", "/metrics", "/v1/snapshots", "/nothing"):
                response = client.get(path, headers=bearer(made[name]))
                texts.append(f"{response.headers} {response.text}")
    texts.append(str(logs))
    for token in made.values():
        secret = token.split("_", 2)[2][:20]
        assert not [text for text in texts if secret in text]
    assert {line["key"] for line in logs if line["event"] == "request" and line["status"] == 200} == {"all"}


def test_a_key_that_is_revoked_while_the_service_runs_opens_nothing_any_more(tmp_path):
    point_at(tmp_path / "index", "s1")
    path = tmp_path / "keys.json"
    token = keys.create(path, "shop", scopes=["search"])
    with serving(tmp_path / "index", keys=path) as client:
        while client.get("/v1/search", params={"q": "drill"}, headers=bearer(token)).status_code != 200:
            time.sleep(0.01)
        keys.revoke(path, "shop")
        deadline = time.monotonic() + 5
        while client.get("/v1/search", params={"q": "drill"}, headers=bearer(token)).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        refused(client.get("/v1/search", params={"q": "drill"}, headers=bearer(token)), 401, "unauthorized")


def test_the_document_says_which_scope_each_operation_needs(client):
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    seen = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            template = next(one for one in DECLARED if one.replace(":path", "") == path)
            scope = DECLARED[template][method.upper()]
            seen.add((template, method.upper()))
            assert ("security" in operation) == (scope is not None)
            assert {"401", "403"} <= {*operation["responses"]} or scope is None
            assert ({"429", "504"} <= {*operation["responses"]}) == (path not in PROBES)
    assert len(seen) > 10


# Pages of other sites


@pytest.fixture(scope="module")
def keyless(tmp_path_factory):
    root = tmp_path_factory.mktemp("keyless")
    point_at(root, "s1")
    with serving(root) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "192.168.0.7", "["]
)
def test_a_name_that_was_pointed_at_this_machine_is_refused_without_keys(keyless, host):
    refused(keyless.get("/v1/search", params={"q": "drill"}, headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "[::1]:8080"])
def test_this_machine_is_not_refused(keyless, host):
    assert keyless.get("/v1/search", params={"q": "drill"}, headers={"Host": host}).status_code == 200


def test_a_page_of_another_site_cannot_send_a_form_without_keys(keyless):
    for path in ("/v1/snapshots/rollback", "/v1/snapshots/s1/activate", "/v1/products"):
        refused(keyless.post(path, headers={"Origin": "https://evil.example"}), 403, "forbidden")
        refused(keyless.post(path, headers={"Origin": "null"}), 403, "forbidden")
    own = keyless.post("/v1/search", json={"query": "drill"}, headers={"Origin": "http://localhost"})
    assert own.status_code == 200


def test_behind_a_gateway_any_host_will_do(tmp_path):
    point_at(tmp_path, "s1")
    with serving(tmp_path, allow_public=True) as client:
        assert client.get("/livez", headers={"Host": "shop.example"}).status_code == 200


def test_no_origin_may_call_from_a_browser_unless_it_is_named(keyless, tmp_path, secrets):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in keyless.request("OPTIONS", "/v1/search", headers=asked).headers
    path, _ = secrets
    point_at(tmp_path, "s1")
    with serving(tmp_path, keys=path, cors_origins="https://shop.example") as client:
        wanted = {**asked, "Access-Control-Request-Headers": "authorization,content-type"}
        preflight = client.request("OPTIONS", "/v1/search", headers=wanted)
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (
            200,
            "https://shop.example",
        )
        assert "access-control-allow-credentials" not in preflight.headers
        answer = client.post("/v1/search", json={"query": "drill"}, headers={"Origin": "https://shop.example"})
        refused(answer, 401, "unauthorized")  # and the page may read why
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        other = client.post("/v1/search", json={"query": "drill"}, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


# What answers say and do not say


def test_every_answer_has_safe_headers(client):
    for path in ("/", "/docs", "/console.js", "/docs/swagger-ui.css", "/openapi.json", "/livez", "/v1/search", "/no"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["content-security-policy"].count("default-src") == 1
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_the_documentation_loads_nothing_from_elsewhere(client):
    page = client.get("/docs")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "//" not in page.text.replace("<!doctype", "")
    for part in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert client.get(part).status_code == 200


def test_no_answer_names_a_directory(keyless, tmp_path):
    root = tmp_path / "secret-place"
    point_at(root, "s1")
    with serving(root) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        answers = [
            client.post("/v1/snapshots/nope/activate"),
            client.post("/v1/snapshots/rollback"),
            client.post("/v1/snapshots/s1/activate"),
            client.get("/v1/snapshots"),
            client.get("/v1/search", params={"q": "explode"}),
            client.request("PUT", "/v1/products/p1", json={"title": "x", "price": "much"}),
        ]
    with serving(root, open_searcher=lambda directory: FakeSearcher(directory / "missing" / "broken")) as client:
        answers += [client.get("/readyz"), client.get("/v1/search", params={"q": "drill"})]
    assert {answer.status_code for answer in answers} >= {404, 500}
    for answer in answers:
        assert "secret-place" not in answer.text
        assert "/tmp" not in answer.text


@pytest.mark.parametrize(
    "snapshot_id",
    ["..", "../..", "%2e%2e", "..%2f..%2fetc", "%2fetc%2fpasswd", "s1%2f..%2f..", "%00", "s1%00", ".", "x" * 65],
)
def test_a_snapshot_id_cannot_leave_its_folder(keyless, snapshot_id):
    response = keyless.post(f"/v1/snapshots/{snapshot_id}/activate")
    assert response.status_code in {404, 405, 422}
    assert "passwd" not in response.json()["detail"] or response.status_code == 404
