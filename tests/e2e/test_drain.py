"""SIGTERM under load: every request that was accepted is answered."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from fakes import shop_titles, write_bundle, write_catalog

from index.build import build

CLIENTS = 12


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("shop")
    titles = shop_titles(400)
    write_bundle(place / "model", titles)
    catalog = write_catalog(place / "catalog.csv", titles)
    build(bundle_dir=place / "model", catalog=catalog, root=place / "index", threads=1)
    return place / "index"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(root, **told):
    """``saddle serve`` as a process of its own, ready; yields its address and the process."""
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--index", str(root), "--port", str(port)]
    environment = {f"SADDLE_{name.upper()}": str(value) for name, value in told.items()}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, **environment}) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            deadline = time.monotonic() + 30
            while not is_ready(url):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield url, process
        finally:
            process.kill()


def is_ready(url):
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_clients_that_heed_readiness_lose_nothing(root):
    """Twelve clients search without a pause; each stops when the service says that it is no longer ready."""
    answers, failures, stop = [], [], threading.Event()

    def search(client):
        while not stop.is_set():
            try:
                response = client.get("/v1/search", params={"q": "cordless drill"})
            except httpx.HTTPError as error:
                failures.append(error)
                return
            answers.append((response.status_code, stopping.is_set()))

    stopping = threading.Event()
    with serving(root, drain_seconds=2, latency_target_seconds=1) as (url, process):
        clients = [httpx.Client(base_url=url, timeout=20) for _ in range(CLIENTS)]
        threads = [threading.Thread(target=search, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        stopping.set()
        while is_ready(url):
            time.sleep(0.05)
        time.sleep(0.5)  # still answered while balancers learn of it
        stop.set()
        for thread in threads:
            thread.join()
        process.wait(timeout=20)
        for client in clients:
            client.close()
    assert not failures
    assert {status for status, _ in answers} <= {200, 429}
    assert sum(late for _, late in answers) > CLIENTS


def test_what_is_in_work_when_the_port_closes_is_answered(root):
    """Changes that take a second and more, with nothing to wait for: no drain, a connection each."""
    lines = [json.dumps({"product_id": f"new{i}", "title": f"brass lamp {i}"}) for i in range(3000)]
    outcomes = []

    def store(part):
        response = httpx.post(
            f"{url}/v1/products",
            content="\n".join(lines[part::3]),
            headers={"Content-Type": "application/x-ndjson"},
            timeout=30,
        )
        outcomes.append((response.status_code, response.json()["stored"]))

    with serving(root, drain_seconds=0) as (url, process):
        threads = [threading.Thread(target=store, args=(part,)) for part in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while httpx.get(f"{url}/v1/products/new3").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not outcomes, "too quick to be interrupted"
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        process.wait(timeout=20)
    assert outcomes == [(200, 1000)] * 3
