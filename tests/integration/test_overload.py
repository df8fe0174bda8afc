"""More requests than threads: what waits too long, or for nobody, is not computed."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes_service import FakeSearcher, point_at, serving

THREADS = 2


@pytest.fixture
def busy(tmp_path):
    """A service both of whose threads wait inside a search, its searcher, and the two searches' answers to be."""
    point_at(tmp_path, "s1")
    opened = []

    def opening(directory):
        opened.append(FakeSearcher(directory))
        return opened[-1]

    with serving(tmp_path, threads=THREADS, open_searcher=opening) as client, ThreadPoolExecutor(40) as pool:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.01)
        (searcher,) = opened
        searcher.asked.clear()
        searcher.gate.clear()
        searcher.batches.clear()
        inside = [pool.submit(search, client, f"inside {i}") for i in range(THREADS)]
        while len(searcher.batches) < THREADS:  # each thread is inside, and what comes now has to wait
            time.sleep(0.01)
        try:
            yield client, searcher, inside, pool
        finally:
            searcher.gate.set()


def search(client, query, **headers):
    return client.post("/v1/search", json={"query": query}, headers=headers)


def words(searcher):
    return {query for query, _ in searcher.asked}


def test_a_search_that_waits_past_its_deadline_is_a_504_and_never_computed(busy):
    client, searcher, inside, _ = busy
    late = search(client, "late", **{"X-Request-Timeout-Ms": "50"})
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
    assert late.json()["request_id"] == late.headers["x-request-id"]
    searcher.gate.set()
    assert [answer.result().status_code for answer in inside] == [200] * THREADS
    assert search(client, "after").status_code == 200
    assert words(searcher) == {"inside 0", "inside 1", "after"}


def test_a_deadline_that_makes_no_sense_is_a_422(busy):
    client, _, _, _ = busy
    answer = search(client, "drill", **{"X-Request-Timeout-Ms": "soon"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "X-Request-Timeout-Ms"


def test_a_search_whose_caller_hangs_up_while_it_waits_is_never_computed(busy):
    client, searcher, inside, pool = busy
    gone = threading.Event()

    async def hung_up():
        head = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"17")]
        scope = {
            "type": "http", "method": "POST", "path": "/v1/search", "raw_path": b"/v1/search", "query_string": b"",
            "root_path": "", "scheme": "http", "http_version": "1.1", "headers": head, "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        messages = [{"type": "http.request", "body": b'{"query": "gone"}', "more_body": False}]

        async def receive():
            if messages:
                return messages.pop()
            while not gone.is_set():
                await asyncio.sleep(0.005)
            return {"type": "http.disconnect"}

        sent = []

        async def send(message):
            sent.append(message)

        await client.app(scope, receive, send)
        return sent

    waiting = pool.submit(client.portal.call, hung_up)
    time.sleep(0.1)
    assert not waiting.done()
    gone.set()
    assert waiting.result(timeout=5) == []
    searcher.gate.set()
    assert [answer.result().status_code for answer in inside] == [200] * THREADS
    assert search(client, "after").status_code == 200
    assert "gone" not in words(searcher)


def test_beyond_the_places_searches_are_refused_while_probes_and_changes_pass(busy):
    client, searcher, inside, pool = busy
    more = [pool.submit(search, client, f"more {i}") for i in range(36)]
    deadline = time.monotonic() + 5
    while sum(answer.done() for answer in more) < 6:  # of 32 places, two are taken by those inside
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refused = [answer.result() for answer in more if answer.done()]
    assert {answer.status_code for answer in refused} == {429}
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert client.get("/readyz").status_code == 200
    assert 'saddle_requests_refused_total{reason="overloaded"} 6.0' in client.get("/metrics").text
    assert client.request("PUT", "/v1/products/p1", json={"title": "drill"}).status_code in {200, 503}
    searcher.gate.set()
    assert [answer.result().status_code for answer in (*inside, *more)].count(200) == 32
