from __future__ import annotations

import json
import signal
import threading
import time

import httpx
import pytest
from running import publisher, saddle_serve, wait_for_snapshot

from index.root import activate

CLIENTS = 20


@pytest.fixture
def shop(tmp_path):
    """A function that publishes a snapshot of so many products in an index root, and the root."""
    return publisher(tmp_path)


def search_until(done, url, answers, failures):
    """Search again and again, noting which snapshot answered and everything but a full answer."""
    with httpx.Client(base_url=url) as client:
        while not done.is_set():
            try:
                response = client.get("/v1/search", params={"q": "cordless steel drill", "limit": 5})
            except httpx.HTTPError as error:
                failures.append(error)
                return
            if response.status_code == 200 and len(response.json()["hits"]) == 5:
                answers.append(response.json()["snapshot"])
            else:
                failures.append(response.text)
            time.sleep(0.02)


def test_no_request_fails_while_a_new_snapshot_takes_over(shop):
    root, publish = shop
    first = publish(300)
    answers, failures, done = [], [], threading.Event()
    with saddle_serve(root) as (url, _, _):
        wait_for_snapshot(url, first)
        arguments = (done, url, answers, failures)
        clients = [threading.Thread(target=search_until, args=arguments) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        second = publish(400)
        wait_for_snapshot(url, second)
        time.sleep(0.5)
        done.set()
        for client in clients:
            client.join()
        metrics = httpx.get(f"{url}/metrics").text
    assert not failures
    assert set(answers) == {first, second}
    assert answers[0] == first
    assert answers[-1] == second
    assert "saddle_snapshot_products 400.0" in metrics
    assert 'route="/v1/search",status="5' not in metrics


def test_a_damaged_snapshot_is_refused_and_the_old_one_serves_on(shop):
    root, publish = shop
    first, second = publish(300), publish(350)
    activate(root, first)
    with (root / "snapshots" / second / "points.npy").open("r+b") as file:
        file.truncate(1000)
    with saddle_serve(root) as (url, _, _):
        wait_for_snapshot(url, first)
        (root / "CURRENT").write_text(second)  # by hand: activating it is refused
        deadline = time.monotonic() + 20
        while "saddle_snapshot_load_failures_total 0.0" in httpx.get(f"{url}/metrics").text:
            assert time.monotonic() < deadline, "the damaged snapshot was never looked at"
            time.sleep(0.1)
        answer = httpx.get(f"{url}/v1/search", params={"q": "drill"})
        assert (answer.status_code, answer.json()["snapshot"]) == (200, first)


def test_sigterm_ends_the_service_in_good_order(shop):
    root, publish = shop
    first = publish(300)
    with saddle_serve(root) as (url, process, log):
        wait_for_snapshot(url, first)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert "Application shutdown complete." in [line["event"] for line in lines]
    assert not [line for line in lines if "exception" in line]
