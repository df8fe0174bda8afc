"""SIGTERM under load: every request that was accepted is answered."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

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
    """Three changes whose bodies are still on their way at SIGTERM, and arrive when nobody can connect any more."""
    bodies = [f'{{"product_id": "new{i}", "title": "brass lamp {i}"}}\n'.encode() for i in range(3)]
    with ExitStack() as stack:
        url, process = stack.enter_context(serving(root, drain_seconds=0))
        address = httpx.URL(url).host, httpx.URL(url).port
        calls = [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in bodies]
        for call, body in zip(calls, bodies, strict=True):
            call.sendall(
                b"POST /v1/products HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-ndjson\r\n"
                b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            assert call.recv(1000).startswith(b"HTTP/1.1 100 "), "the body was not asked for"
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while is_open(address):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for call, body in zip(calls, bodies, strict=True):
            call.sendall(body)
        answers = [call.makefile("rb").read() for call in calls]
        process.wait(timeout=20)
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"stored":1' in answer


def is_open(address):
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True
