"""From the service to the pager: a real Prometheus scrapes, its rule fires, a real Alertmanager calls the webhook."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from running import free_port, publisher, saddle_serve, until, wait_for_snapshot

DEPLOY = Path(__file__).parents[2] / "deploy"
# Debian has named it both ways
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")

pytestmark = [
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
    pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager is not installed"),
]


@contextmanager
def webhook():
    """A receiver of alerts: its address, and what it was sent, with the path."""
    received = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def started(*command, log, ready):
    """A program that answers at the address ``ready``, until the context ends."""
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            until(lambda: answers(ready), f"{ready}, see {log}")
            yield
        finally:
            process.kill()


def answers(url):
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def shipped(name, directory, **replaced):
    """A copy of the shipped file in ``directory``, with each of these texts, which it holds, replaced."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    for old, new in replaced.items():
        assert old in text, f"{name} does not say {old}"
        text = text.replace(old, new)
    copy = directory / Path(name).name
    copy.write_text(text, encoding="utf-8")
    return copy


@contextmanager
def alertmanager(directory, hook):
    port = free_port()
    waits = {"group_wait: 30s": "group_wait: 0s", "group_wait: 10s": "group_wait: 0s"}
    file = shipped("alertmanager/alertmanager.yml", directory, **waits, **{"http://webhook.invalid": hook})
    command = (
        ALERTMANAGER, f"--config.file={file}", f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    )  # fmt: skip
    with started(*command, log=directory / "alertmanager.log", ready=f"http://127.0.0.1:{port}/-/ready"):
        yield port


@contextmanager
def prometheus(directory, *, service, alerts_to):
    port = free_port()
    file = shipped(
        "prometheus/prometheus.yml",
        directory,
        **{"saddle:8080": service, "alertmanager:9093": f"127.0.0.1:{alerts_to}", "_interval: 15s": "_interval: 1s"},
    )
    shipped("prometheus/recording.yml", directory)
    shipped("prometheus/alerts.yml", directory, **{"for: 2m": "for: 1s"})
    command = (
        "prometheus", f"--config.file={file}", f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with started(*command, log=directory / "prometheus.log", ready=f"{url}/-/ready"):
        yield url


def value(prometheus_url, query):
    """The only sample of a query's result, or None."""
    answer = httpx.get(f"{prometheus_url}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    result = answer["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def test_a_snapshot_that_does_not_load_reaches_the_webhook_as_a_ticket(tmp_path):
    root, publish = publisher(tmp_path)
    sound = publish(200)
    with (
        webhook() as (hook, received),
        saddle_serve(root) as (url, _, _),
        alertmanager(tmp_path, hook) as alerts_to,
        prometheus(tmp_path, service=url.removeprefix("http://"), alerts_to=alerts_to) as watcher,
    ):
        wait_for_snapshot(url, sound)
        assert httpx.get(f"{url}/v1/search", params={"q": "cordless drill"}).status_code == 200
        until(lambda: value(watcher, 'saddle_searches_total{mode="hybrid"}') == 1, "the search, scraped")
        assert value(watcher, 'up{job="saddle"}') == 1
        assert value(watcher, "saddle_snapshot_load_failures_total") == 0
        (root / "snapshots" / "damaged").mkdir()
        (root / "CURRENT").write_text("damaged\n", encoding="utf-8")
        path, sent = received.get(timeout=20)
    assert path == "/ticket"
    (alert,) = sent["alerts"]
    assert (sent["receiver"], sent["status"]) == ("ticket", "firing")
    assert alert["labels"] == {
        "alertname": "SaddleSnapshotLoadFails",
        "severity": "warning",
        "job": "saddle",
        "instance": url.removeprefix("http://"),
    }
    assert alert["annotations"]["runbook_url"] == "docs/runbook.md#saddlesnapshotloadfails"


def test_a_service_without_a_snapshot_wakes_somebody(tmp_path):
    with (
        webhook() as (hook, received),
        saddle_serve(tmp_path / "empty") as (url, _, _),
        alertmanager(tmp_path, hook) as alerts_to,
        prometheus(tmp_path, service=url.removeprefix("http://"), alerts_to=alerts_to),
    ):
        path, sent = received.get(timeout=30)
    assert path == "/page"
    assert [alert["labels"]["alertname"] for alert in sent["alerts"]] == ["SaddleNotReady"]
