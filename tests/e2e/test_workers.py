"""Several processes behind one port: they share the work, one that dies is replaced, and all end in good order."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from running import publisher, saddle_serve, until, wait_for_snapshot

WORKERS = 2
CLIENTS = 6


@contextmanager
def serving(directory):
    """Address, process and log of a service of several workers."""
    root, publish = publisher(directory)
    snapshot = publish(300)
    with saddle_serve(root, "--workers", str(WORKERS)) as (url, process, log):
        wait_for_snapshot(url, snapshot)
        until(lambda: len(ready(log)) == WORKERS, "every worker")
        yield url, process, log


@pytest.fixture(scope="module")
def lasting(tmp_path_factory):
    """One for all that leave it running."""
    with serving(tmp_path_factory.mktemp("lasting")) as served:
        yield served


@pytest.fixture
def passing(tmp_path):
    """One to be ended."""
    with serving(tmp_path) as served:
        yield served


def ready(log):
    """Ids of the processes that began to answer, in their order."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["process"] for line in lines if line["event"] == "Application startup complete."]


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


class Caller(threading.Thread):
    """Searches again and again over a kept connection, and notes what became of each request."""

    def __init__(self, url, done):
        super().__init__()
        self._address = urlsplit(url).netloc
        self._done = done
        self.statuses = []
        self.cut = []

    def run(self):
        with closing(http.client.HTTPConnection(self._address, timeout=30)) as connection:
            self._search(connection)

    def _search(self, connection):
        number = 0
        while not self._done.is_set():
            number += 1
            body = json.dumps({"query": f"cordless drill {number % 50}"})
            try:
                connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                self.statuses.append(response.status)
            except (OSError, http.client.HTTPException):
                self.cut.append(time.monotonic())
                connection.close()


def test_a_worker_that_is_killed_under_load_takes_only_its_own_requests_along_and_is_back_in_seconds(lasting):
    url, _, log = lasting
    done = threading.Event()
    callers = [Caller(url, done) for _ in range(CLIENTS)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    killed = time.monotonic()
    os.kill(ready(log)[0], signal.SIGKILL)
    until(lambda: len(ready(log)) == WORKERS + 1, "the worker that replaces it")
    back = time.monotonic() - killed
    time.sleep(0.5)
    done.set()
    for caller in callers:
        caller.join()
    assert back < 20
    # who was connected to it lost the one request that it had there; nobody was refused, and nobody lost another
    assert {status for caller in callers for status in caller.statuses} == {200}
    assert max(len(caller.cut) for caller in callers) <= 1
    assert all(moment - killed < 2 for caller in callers for moment in caller.cut)
    assert sum(len(caller.statuses) for caller in callers) > 50
    assert "worker died" in log.read_text()
    assert sum("\nsaddle_worker_deaths_total 1.0" in httpx.get(f"{url}/metrics").text for _ in range(3)) == 3


def test_sigterm_ends_all_of_them_and_every_request_that_was_begun_is_answered(passing):
    url, process, log = passing
    workers = ready(log)
    done = threading.Event()
    callers = [Caller(url, done) for _ in range(CLIENTS)]
    for caller in callers:
        caller.start()
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    done.set()
    for caller in callers:
        caller.join()
    assert process.returncode == 0
    assert not any(map(alive, workers))
    assert {status for caller in callers for status in caller.statuses} == {200}
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines].count("Application shutdown complete.") == WORKERS
    assert not [line for line in lines if "exception" in line]


def test_workers_end_when_the_process_that_sees_to_them_is_killed(passing):
    _, process, log = passing
    workers = ready(log)
    assert all(map(alive, workers))
    process.kill()
    until(lambda: not any(map(alive, workers)), "the end of the workers")


def test_a_change_that_one_worker_made_is_seen_by_all(lasting):
    url, _, _ = lasting
    with httpx.Client(base_url=url) as client:
        assert client.put("/v1/products/new", json={"title": "quixotic gizmo"}).status_code == 200

    def seen():
        # a connection each, so that any worker may be asked
        answers = [httpx.get(f"{url}/v1/search", params={"q": "quixotic", "mode": "lexical"}) for _ in range(8)]
        return all([hit["product_id"] for hit in answer.json()["hits"]] == ["new"] for answer in answers)

    until(seen, "the change")


def test_a_port_that_is_taken_is_told_before_any_worker_starts(lasting, tmp_path):
    url, _, _ = lasting
    port = str(urlsplit(url).port)
    command = ["--index", str(tmp_path / "index"), "--port", port, "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "cannot listen" in done.stderr
