"""Traces as a collector gets them: OTLP over HTTP from a service of its own."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from running import free_port, publisher, saddle_serve, wait_for_snapshot

STAGES = ["queue", "encode", "candidates", "rerank", "fuse", "fetch", "serialise"]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector:
    """What was exported: spans with the attributes of the resource that they are of."""

    def __init__(self):
        self.spans = queue.Queue()

    def take(self, body):
        for exported in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = attributes(exported.resource)
            for scope in exported.scope_spans:
                for span in scope.spans:
                    self.spans.put((resource, span))

    def trace(self, trace_id, count):
        """The next ``count`` spans of that trace."""
        found, deadline = [], time.monotonic() + 20
        while len(found) < count:
            resource, span = self.spans.get(timeout=max(0.0, deadline - time.monotonic()))
            if span.trace_id.hex() == trace_id:
                found.append((resource, span))
        return found


def attributes(of):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


@contextmanager
def collecting():
    collector = Collector()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def shop(tmp_path):
    root, publish = publisher(tmp_path)
    return root, publish(200)


def test_a_request_is_followed_from_its_caller_through_the_stages_to_the_log(shop):
    root, snapshot = shop
    trace_id, above = PARENT.split("-")[1:3]
    with collecting() as (endpoint, collector):
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with saddle_serve(root, environment=environment) as (url, _, log):
            wait_for_snapshot(url, snapshot)
            answer = httpx.get(f"{url}/v1/search", params={"q": "cordless drill"}, headers={"traceparent": PARENT})
            found = collector.trace(trace_id, 1 + len(STAGES))
            lines = [json.loads(line) for line in log.read_text().splitlines()]
    (request,) = [span for _, span in found if span.kind == span.SPAN_KIND_SERVER]
    stages = sorted((span for _, span in found if span is not request), key=lambda span: span.start_time_unix_nano)
    assert request.name == "GET /v1/search"
    assert request.parent_span_id.hex() == above
    told = attributes(request)
    assert told == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/v1/search",
        "url.path": "/v1/search",
        "saddle.request_id": answer.json()["request_id"],
    }
    assert [span.name for span in stages] == STAGES
    assert {span.parent_span_id for span in stages} == {request.span_id}
    *search, serialise = stages
    for before, after in pairwise(search):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    assert search[-1].end_time_unix_nano <= serialise.start_time_unix_nano
    assert request.start_time_unix_nano <= stages[0].start_time_unix_nano
    assert stages[-1].end_time_unix_nano <= request.end_time_unix_nano
    assert {resource["service.name"] for resource, _ in found} == {"saddle"}
    (line,) = [line for line in lines if line["event"] == "request" and line["path"] == "/v1/search"]
    assert (line["trace_id"], line["request_id"]) == (trace_id, told["saddle.request_id"])
    assert line["span_id"] == request.span_id.hex()
    assert "drill" not in str(found)


def test_a_caller_that_samples_nothing_is_believed_and_other_requests_begin_a_trace(shop):
    root, snapshot = shop
    with collecting() as (endpoint, collector):
        environment = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/v1/traces", "OTEL_SERVICE_NAME": "shop"}
        with saddle_serve(root, environment=environment) as (url, process, log):
            wait_for_snapshot(url, snapshot)
            unsampled = PARENT.removesuffix("01") + "00"
            httpx.get(f"{url}/v1/search", params={"q": "drill"}, headers={"traceparent": unsampled})
            httpx.get(f"{url}/v1/search", params={"q": ""})
            process.send_signal(signal.SIGTERM)  # what was not exported yet is exported then
            process.wait(timeout=20)
            lines = [json.loads(line) for line in log.read_text().splitlines()]
    (bad,) = [line for line in lines if line["event"] == "request" and line["status"] == 422]
    ((resource, span),) = collector.trace(bad["trace_id"], 1)
    assert (span.name, attributes(span)["http.response.status_code"]) == ("GET /v1/search", 422)
    assert span.status.code == span.status.STATUS_CODE_UNSET
    assert resource["service.name"] == "shop"
    rest = [one.trace_id.hex() for _, one in list(collector.spans.queue)]
    assert PARENT.split("-")[1] not in rest


def test_a_collector_that_is_gone_harms_neither_searches_nor_the_end(shop):
    root, snapshot = shop
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with saddle_serve(root, environment=environment) as (url, process, log):
        wait_for_snapshot(url, snapshot)
        for _ in range(20):
            assert httpx.get(f"{url}/v1/search", params={"q": "drill"}).status_code == 200
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=9)  # the exporter alone would take ten seconds to give up
    assert process.returncode in (0, -signal.SIGTERM)
    for line in log.read_text().splitlines():
        json.loads(line)
