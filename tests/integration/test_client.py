from __future__ import annotations

import asyncio
import re
import threading
import time
from pathlib import Path

import httpx
import pytest
from fakes import shop_titles, write_bundle, write_catalog
from fakes_http import listening
from fakes_service import FakeSearcher, point_at

from index.build import build
from saddle_client import (
    AsyncClient,
    BulkError,
    Client,
    Deletion,
    InvalidInputError,
    NotFoundError,
    NotReachedError,
    Product,
    Retry,
    UnavailableError,
)
from saddle_client.models import Problem, SearchResponse
from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "clients" / "python" / "README.md")
EXAMPLES = [
    example
    for readme in READMES
    for example in re.findall(r"^```python\n(.*?)^```", readme.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]


def wait_until_ready(url):
    deadline = time.monotonic() + 10
    with Client(url) as client:
        while True:
            try:
                return client.ready()
            except UnavailableError:
                assert time.monotonic() < deadline, "never ready"
                time.sleep(0.01)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("index")
    point_at(root, "s1")
    return root


@pytest.fixture(scope="module")
def url(root):
    with listening(root) as url:
        wait_until_ready(url)
        yield url


@pytest.fixture
def client(url):
    with Client(url, deadline=10.0) as client:
        yield client


def test_a_search_is_answered_with_products(client):
    found = client.search("drill", limit=2, offset=1, mode="hyperboloid", facets=["brand"], fields=["title", "volts"])
    assert [hit.product_id for hit in found.hits] == ["p1", "p2"]
    assert found.hits[0].product.attributes == {"volts": 18.0}
    assert (found.mode, found.snapshot, found.total.value, found.generality) == ("hyperboloid", "s1", 3, -12.5)
    assert found.facets["brand"].counts[0].value == "Acme"


def test_several_searches_are_answered_each_by_itself(client):
    found = client.search_batch([{"query": "drill", "limit": 2}, {"query": "drill", "limit": 0}, {"query": "door"}])
    first, refused, last = found.results
    assert isinstance(first, SearchResponse)
    assert [hit.product_id for hit in first.hits] == ["p0", "p1"]
    assert isinstance(refused, Problem)
    assert (refused.status, refused.code, refused.errors[0].field) == (422, "invalid_input", "limit")
    assert len(last.hits) == 10


def test_an_expression_and_a_filter_go_as_json(client):
    found = client.search({"and": ["drill", {"not": "hammer"}]}, filter={"price": {"lt": 50}})
    assert len(found.hits) == 10


def test_products_similar_to_one_are_found(client):
    assert len(client.similar("p3", limit=4, filter="price < 50").hits) == 4


def test_products_are_found_by_a_picture(client):
    found = client.search_by_picture(b"any", q="drill", limit=3, filter="price < 50", fields=["title"])
    assert (found.mode, len(found.hits), found.hits[0].thumbnail) == ("image", 3, None)


def test_a_product_that_was_read_can_be_stored_again_as_it_is(client):
    before = client.get_product("p1").product
    client.put_product("p1", before)
    assert client.get_product("p1").product == before
    assert isinstance(before, Product)


@pytest.mark.parametrize("product_id", ["a/b", "..", ".", "x?y#z%", "é ü", "a//b", "%2e%2e", "a+b", "/a"])
def test_a_product_of_any_id_is_stored_read_and_deleted(client, product_id):
    change = client.put_product(product_id, {"title": "Odd drill"})
    assert change.product_id == product_id
    assert client.get_product(product_id).product.product_id == product_id
    assert client.delete_product(product_id).sequence > change.sequence
    with pytest.raises(NotFoundError, match="product_not_found"):
        client.get_product(product_id)


def test_bulk_changes_are_stored_deleted_and_rejected_one_by_one(client, monkeypatch):
    monkeypatch.setattr("saddle_client.lines.CHUNK_LINES", 2)
    changes = [
        {"product_id": "b1", "title": "One"},
        {"product_id": "b2", "title": ""},
        Product(product_id="b3", title="Three", attributes={"volts": 12.0}),
        Deletion("b1"),
        {"product_id": "b5", "title": " "},
    ]
    report = client.bulk(changes)
    assert (report.stored, report.deleted, report.requests) == (2, 1, 3)
    assert [(one.line, one.product_id) for one in report.rejected] == [(2, "b2"), (5, "b5")]
    assert client.get_product("b3").product.attributes == {"volts": 12.0}


def test_what_cannot_be_used_names_the_field(client):
    with pytest.raises(InvalidInputError) as raised:
        client.search("drill", limit=0, filter="price <")
    assert raised.value.code == "invalid_input"
    assert [error.field for error in raised.value.problem.errors] == ["limit", "filter"]


def test_health_tells_the_snapshot(client):
    assert client.live().status == "live"
    assert (client.ready().snapshot, client.ready().products) == ("s1", 30)


def test_a_snapshot_that_is_not_there_cannot_be_activated(client):
    with pytest.raises(NotFoundError, match="nobody"):
        client.activate_snapshot("nobody")
    assert client.list_snapshots().serving == "s1"


def test_a_service_without_a_snapshot_is_waited_for(tmp_path):
    with listening(tmp_path) as url:
        with Client(url, retry=Retry(attempts=1)) as impatient, pytest.raises(UnavailableError) as raised:
            impatient.search("drill")
        assert raised.value.retry_after == 2.0
        timer = threading.Timer(0.2, point_at, (tmp_path, "late"))
        timer.start()
        with Client(url, retry=Retry(attempts=5)) as patient:
            assert patient.search("drill").snapshot == "late"
        timer.join()


def test_nobody_at_the_address_is_said(unused_url):
    with Client(unused_url, retry=Retry(attempts=2, first_pause=0.0)) as client:
        with pytest.raises(NotReachedError, match="attempt 2"):
            client.search("drill")
        with pytest.raises(BulkError) as raised:
            client.bulk([{"product_id": "p", "title": "t"}])
    assert raised.value.report.requests == 0


@pytest.fixture
def unused_url():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_the_async_client_asks_the_application_alike(root):
    app = create_app(Settings(index=root, reload_seconds=0.02, threads=2), open_searcher=FakeSearcher)

    async def changes():
        yield {"product_id": "a1", "title": "One"}
        await asyncio.sleep(0)
        yield Deletion("a1")

    async def asked():
        async with (
            app.router.lifespan_context(app),
            AsyncClient("http://127.0.0.1", transport=httpx.ASGITransport(app=app), retry=Retry(attempts=9)) as client,
        ):
            await client.search("warm")
            found = await asyncio.gather(*(client.search("drill", limit=limit) for limit in range(1, 6)))
            assert [len(one.hits) for one in found] == [1, 2, 3, 4, 5]
            assert len((await client.similar("p2", limit=2)).hits) == 2
            await client.put_product("a0", {"title": "Zero"})
            assert (await client.get_product("a0")).product.title == "Zero"
            await client.delete_product("a0")
            with pytest.raises(NotFoundError):
                await client.delete_product("a0")
            report = await client.bulk(changes())
            assert (report.stored, report.deleted) == (1, 1)
            assert (await client.bulk([{"product_id": "a2", "title": "Two"}])).stored == 1
            assert (await client.list_snapshots()).serving == "s1"
            assert (await client.live()).status == "live"
            assert (await client.ready()).snapshot == "s1"
            with pytest.raises(NotFoundError):
                await client.activate_snapshot("nobody")

    asyncio.run(asked())


@pytest.fixture(scope="module")
def shop_url(tmp_path_factory):
    """A service over a small shop that was indexed in earnest."""
    directory = tmp_path_factory.mktemp("shop")
    titles = shop_titles(300)
    write_bundle(directory / "model", titles)
    catalog = write_catalog(directory / "catalog.csv", titles)
    build(bundle_dir=directory / "model", catalog=catalog, root=directory / "index", threads=1)
    with listening(directory / "index", open_searcher=None) as url:
        wait_until_ready(url)
        yield url


def test_an_explanation_of_a_real_hit_says_what_was_read(shop_url):
    with Client(shop_url) as client:
        hit = client.search("cordless drill").hits[0]
        why = client.explain("cordless drill", hit.product_id)
    assert why.product == hit.product
    assert len(why.grid) == len(why.query_terms)
    assert all(len(row) == len(why.title_terms) for row in why.grid)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_of_the_readmes_runs(example, shop_url, capsys):
    assert "http://127.0.0.1:8080" in example
    exec(compile(example.replace("http://127.0.0.1:8080", shop_url), "README.md", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out
