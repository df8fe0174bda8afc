"""Products stored, deleted and read over HTTP, and snapshots listed and switched, with everything real beneath."""

from __future__ import annotations

import json
import os
import time

import pytest
from fakes import shop_titles, write_bundle, write_catalog
from fakes_service import error_of, serving

from index.build import build
from index.journal import JOURNAL, Journal
from index.root import current
from index.search import Searcher
from service.errors import PROBLEM_JSON

TITLES = shop_titles(300)
NDJSON = {"Content-Type": "application/x-ndjson"}


def publish(root, count, **options):
    catalog = write_catalog(root.parent / f"catalog{count}.csv", TITLES[:count])
    os.utime(catalog, (time.time() - 3600, time.time() - 3600))
    return build(bundle_dir=root.parent / "model", catalog=catalog, root=root, threads=1, **options).snapshot


@pytest.fixture
def root(tmp_path):
    write_bundle(tmp_path / "model", TITLES)
    publish(tmp_path / "index", 200)
    return tmp_path / "index"


@pytest.fixture
def client(root):
    with serving(root, open_searcher=Searcher.open) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        yield client


def found(client, query, **params):
    answer = client.get("/v1/search", params={"q": query, "mode": "lexical", **params}).json()
    return [hit["product_id"] for hit in answer["hits"]]


def lines(*objects):
    return "\n".join(json.dumps(one) for one in objects)


GIZMO = {"title": "Quixotic gizmo 18 V", "brand": "Acme", "price": 9.5, "volts": 18, "kit": True}


def test_a_stored_product_is_found_read_and_kept(client, root):
    answer = client.request("PUT", "/v1/products/new 1/2", json=GIZMO)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["product_id"], answer.json()["sequence"]) == ("new 1/2", 1)
    assert found(client, "quixotic") == ["new 1/2"]
    assert found(client, "gizmo", filter="volts = 18 AND kit = true") == ["new 1/2"]
    product = client.get("/v1/products/new 1/2").json()["product"]
    assert (product["title"], product["attributes"]) == (GIZMO["title"], {"volts": 18.0, "kit": True})
    with Journal(root / JOURNAL) as journal:
        assert [entry.change.product_id for entry in journal.since(0)] == ["new 1/2"]


def test_a_stored_product_replaces_the_one_before_whole(client):
    client.request("PUT", "/v1/products/p3", json=GIZMO)
    client.request("PUT", "/v1/products/p3", json={"title": "plain thing", "product_id": "p3"})
    product = client.get("/v1/products/p3").json()["product"]
    assert (product["title"], product["brand"], product["price"], product["attributes"]) == (
        "plain thing",
        "",
        None,
        {},
    )
    assert found(client, "quixotic") == []


def test_a_deleted_product_is_gone(client):
    assert client.request("DELETE", "/v1/products/p3").json()["sequence"] == 1
    for response in (
        client.get("/v1/products/p3"),
        client.request("DELETE", "/v1/products/p3"),
        client.get("/v1/similar", params={"product_id": "p3"}),
    ):
        assert response.status_code == 404
        assert response.json()["code"] == "product_not_found"


def test_lines_are_taken_in_their_order_and_each_has_its_own_fate(client):
    body = "\n".join(
        (
            lines({"product_id": "a", **GIZMO}, {"product_id": "a", "deleted": True}, {"product_id": "b", **GIZMO}),
            "",
            "not json",
            lines([1], {"product_id": "c", "title": ""}, {"title": "nameless"}, {"product_id": "p1", "deleted": True}),
            lines({"product_id": "d", "title": "x", "price": "cheap"}, {"product_id": "e", "title": "y", "brand": 3}),
        )
    )
    answer = client.post("/v1/products", content=body, headers=NDJSON).json()
    assert (answer["stored"], answer["deleted"], answer["sequence"]) == (3, 2, 5)
    assert [(one["line"], one["product_id"]) for one in answer["rejected"]] == [
        (5, None), (6, None), (7, "c"), (8, None), (10, "d"),
    ]  # fmt: skip
    assert [one["reason"].partition(":")[0] for one in answer["rejected"]] == [
        "broken JSON", "not a JSON object", "empty title", "empty product_id", "price is not a finite number",
    ]  # fmt: skip
    assert found(client, "quixotic") == ["b"]
    assert client.get("/v1/products/e").json()["product"]["brand"] == "3"


def test_a_thousand_lines_are_stored_and_an_empty_body_is_none(client):
    body = lines(*({"product_id": f"n{i}", "title": f"{title} zyxo"} for i, title in enumerate(TITLES * 4)))
    assert client.post("/v1/products", content=body, headers=NDJSON).json()["stored"] == 1200
    assert len(found(client, "zyxo", limit=1000)) == 1000
    empty = client.post("/v1/products", content="\n", headers=NDJSON).json()
    assert (empty["stored"], empty["sequence"]) == (0, None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"title": ""}, "empty title"),
        ({"title": "!!!"}, "title without a letter or digit"),
        ({}, "empty title"),
        ({"title": "x", "price": -1}, "negative price"),
        ({"title": "x", "volts": "many"}, "has a text in the column volts, which holds numbers"),
        ({"title": "x" * 3000}, "title longer than 2,000 characters: 3,000"),
        ([], "is not a JSON object"),
    ],
)
def test_a_product_that_cannot_be_stored_is_a_422_and_changes_nothing(client, body, said):
    client.request("PUT", "/v1/products/first", json=GIZMO)
    error = error_of(client.request("PUT", "/v1/products/p3", json=body))
    assert said in error["message"]
    assert client.get("/v1/products/p3").json()["product"]["title"] == TITLES[3]


def test_a_product_of_another_id_than_its_path_is_refused_with_both(client):
    error = error_of(client.request("PUT", "/v1/products/p3", json={**GIZMO, "product_id": "p4"}))
    assert error["field"] == "product_id"
    assert "is 'p4', but the path says 'p3'" in error["message"]


def test_bodies_of_another_size_or_kind_are_refused(client):
    big = {"title": "x", "description": "y" * (10 << 20)}
    assert client.request("PUT", "/v1/products/p3", json=big).status_code == 413
    answer = client.post("/v1/products", content=lines({"product_id": "p3", **big}), headers=NDJSON).json()
    assert "at most 1,048,576 are allowed" in answer["rejected"][0]["reason"]
    assert client.post("/v1/products", content="x" * (33 << 20), headers=NDJSON).status_code == 413
    assert client.post("/v1/products", json=GIZMO).status_code == 415
    assert client.request("PUT", "/v1/products/p3", content="x", headers=NDJSON).status_code == 415
    broken = client.request("PUT", "/v1/products/p3", content="{", headers={"Content-Type": "application/json"})
    assert "is not JSON" in error_of(broken)["message"]
    assert client.get("/v1/products/p3").json()["product"]["title"] == TITLES[3]


def test_half_a_character_is_refused_in_a_product_and_in_a_line(client):
    half = '{"title": "gizmo", "description": "\\ud800"}'
    put = client.request("PUT", "/v1/products/p3", content=half, headers={"Content-Type": "application/json"})
    assert "is not JSON" in error_of(put)["message"]
    line = half.replace("{", '{"product_id": "a", ', 1)
    answer = client.post("/v1/products", content=line, headers=NDJSON).json()
    assert "broken JSON" in answer["rejected"][0]["reason"]


def test_two_services_on_one_root_show_each_others_changes(root, client):
    with serving(root, open_searcher=Searcher.open) as other:
        while other.get("/readyz").status_code != 200:
            time.sleep(0.01)
        waits = []
        for letter in "abcdefghij":
            client.request("PUT", f"/v1/products/{letter}", json={"title": f"zyxo{letter * 3} thing"})
            acknowledged = time.perf_counter()
            while found(other, f"zyxo{letter * 3}") != [letter]:
                assert time.perf_counter() - acknowledged < 5
            waits.append(time.perf_counter() - acknowledged)
        assert sorted(waits)[5] < 1.0, waits


def test_changes_outlive_a_new_snapshot_and_going_back(root, client):
    client.request("PUT", "/v1/products/new", json=GIZMO)
    first = current(root).name
    second = publish(root, 250)
    client.post(f"/v1/snapshots/{second}/activate")
    assert client.get("/readyz").json()["snapshot"] == second
    client.request("PUT", "/v1/products/newer", json=GIZMO)
    assert set(found(client, "quixotic")) == {"new", "newer"}
    listing = client.get("/v1/snapshots").json()
    assert [(one["id"], one["current"]) for one in listing["snapshots"]] == [(second, True), (first, False)]
    assert listing["serving"] == second
    assert client.post("/v1/snapshots/rollback").json()["snapshot"] == first
    assert client.get("/readyz").json() == {
        "status": "ready", "snapshot": first, "model": listing["snapshots"][0]["model"], "products": 202,
    }  # fmt: skip
    assert set(found(client, "quixotic")) == {"new", "newer"}


def test_a_snapshot_that_is_not_there_or_damaged_is_not_activated(root, client):
    first = current(root).name
    second = publish(root, 250)
    unknown = client.post("/v1/snapshots/nope/activate")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert second in unknown.json()["detail"]
    (root / "snapshots" / first / "points.npy").write_bytes(b"")
    damaged = client.post("/v1/snapshots/rollback")
    assert (damaged.status_code, damaged.json()["code"]) == (409, "conflict")
    assert damaged.headers["content-type"] == PROBLEM_JSON
    assert current(root).name == second


def test_a_root_that_cannot_be_written_to_serves_and_refuses_changes(root, monkeypatch):
    def refused(_path):
        raise OSError("read-only file system")

    monkeypatch.setattr("service.live.Journal", refused)
    with serving(root, open_searcher=Searcher.open) as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        response = client.request("PUT", "/v1/products/p3", json=GIZMO)
        assert (response.status_code, response.json()["code"]) == (503, "read_only")
        assert client.get("/v1/search", params={"q": "drill"}).status_code == 200
