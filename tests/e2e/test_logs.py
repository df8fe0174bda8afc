"""What a service of its own writes to stderr: lines of JSON, whoever wrote them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
from running import publisher, saddle_serve, until, wait_for_snapshot

UNCAUGHT = """
import threading, warnings
from service.logs import configure
configure("info")
warnings.warn("something is odd")
thread = threading.Thread(target=lambda: 1 / 0, name="worker-7")
thread.start()
thread.join()
raise RuntimeError("the end")
"""


def test_every_line_is_json_and_those_of_a_request_carry_its_id(tmp_path):
    root, publish = publisher(tmp_path)
    first = publish(200)
    with saddle_serve(root) as (url, process, log):
        wait_for_snapshot(url, first)
        for number in range(3):
            httpx.get(f"{url}/v1/search", params={"q": "drill"}, headers={"X-Request-ID": f"call-{number}"})
        httpx.post(f"{url}/v1/search", content=b"{")
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port)) as connection:
            connection.sendall(b"this is no HTTP\r\n\r\n")
            connection.recv(1000)
        (root / "snapshots" / "damaged").mkdir()
        (root / "CURRENT").write_text("damaged\n", encoding="utf-8")
        until(lambda: "snapshot refused" in log.read_text(), "the refusal")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        pid = process.pid
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        assert {"event", "level", "timestamp", "logger", "process"} <= line.keys(), line
        assert line["process"] == pid
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [200, 200, 200, 415]
    assert [line["request_id"] for line in requests[:3]] == ["call-0", "call-1", "call-2"]
    assert len(requests[3]["request_id"]) == 32
    assert not [line for line in requests if "trace_id" in line]
    by_uvicorn = {line["event"] for line in lines if line["logger"].startswith("uvicorn")}
    assert "Invalid HTTP request received." in by_uvicorn
    assert "Application shutdown complete." in by_uvicorn
    (refused,) = [line for line in lines if line["event"] == "snapshot refused"][:1]
    assert refused["level"] == "error"
    assert "SnapshotError" in refused["exception"]


def test_what_nobody_catches_is_a_line_as_well():
    done = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    warning, in_thread, at_last = [json.loads(line) for line in done.stderr.splitlines()]
    assert (warning["level"], "something is odd" in warning["event"]) == ("warning", True)
    assert (in_thread["thread"], "ZeroDivisionError" in in_thread["exception"]) == ("worker-7", True)
    assert (at_last["level"], "the end" in at_last["exception"]) == ("critical", True)
