from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fakes_service import FAKE_TIMINGS

from service import tracing
from service.tracing import TracingError, wanted

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environment", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_made_where_the_environment_names_an_endpoint(environment, is_wanted):
    assert wanted(environment) is is_wanted


def test_another_protocol_is_refused_by_both_names():
    with pytest.raises(TracingError, match=r"'grpc', but only 'http/protobuf'"):
        wanted({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    with pytest.raises(TracingError, match="http/json"):
        wanted({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"})


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tracing, "find_spec", lambda name: None)
    with pytest.raises(TracingError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set.*saddle\[tracing\]"):
        wanted(ENDPOINT)


def test_serve_says_so_before_it_begins(tmp_path):
    program = "import sys; sys.modules['opentelemetry.sdk'] = None; from service.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--index", str(tmp_path)],
        env={**os.environ, **ENDPOINT}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode not in (0, None)
    assert "saddle[tracing]" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_none_are_wanted_nothing_of_opentelemetry_is_imported(tmp_path):
    program = (
        "import sys, pathlib; from service.app import create_app; from service.settings import Settings\n"
        "create_app(Settings(index=pathlib.Path(sys.argv[1])))\n"
        # FastAPI imports its interface, which does nothing
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_stages_are_told_only_where_somebody_listens():
    tracing.stages(FAKE_TIMINGS)
    told = []
    token = tracing.RECORD.set(told.append)
    try:
        tracing.stages(FAKE_TIMINGS)
        tracing.stages(FAKE_TIMINGS, queue=0.25)
        tracing.stage("serialise", 0.5)
    finally:
        tracing.RECORD.reset(token)
    tracing.stages(FAKE_TIMINGS)
    search = [("encode", 0.0007), ("candidates", 0.002), ("rerank", 0.0004), ("fuse", 0.0002), ("fetch", 0.0001)]
    assert told == [search, [("queue", 0.25), *search], [("serialise", 0.5)]]
