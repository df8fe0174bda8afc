from __future__ import annotations

import time

import pytest
from fakes_service import FAKE_TIMINGS
from prometheus_client import CollectorRegistry, generate_latest

from service.metrics import Metrics


def test_a_request_is_counted_and_timed():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.request(method="GET", route="/v1/search", status=200, seconds=0.004)
    metrics.request(method="GET", route="/v1/search", status=200, seconds=0.2)
    labels = {"method": "GET", "route": "/v1/search"}
    assert registry.get_sample_value("saddle_http_requests_total", {**labels, "status": "200"}) == 2
    name = "saddle_http_request_duration_seconds"
    assert registry.get_sample_value(f"{name}_sum", labels) == pytest.approx(0.204)
    assert registry.get_sample_value(f"{name}_bucket", {**labels, "le": "0.005"}) == 1


def test_methods_that_callers_make_up_share_one_label():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for i in range(50):
        metrics.request(method=f"MADEUP{i}", route="unmatched", status=405, seconds=0.001)
    labels = {"method": "other", "route": "unmatched", "status": "405"}
    assert registry.get_sample_value("saddle_http_requests_total", labels) == 50


def test_every_stage_of_a_search_is_timed_from_half_a_millisecond():
    registry = CollectorRegistry()
    Metrics(registry).stages(FAKE_TIMINGS)
    for stage in ("encode", "candidates", "rerank", "fuse", "fetch"):
        seconds = registry.get_sample_value("saddle_search_stage_seconds_sum", {"stage": stage})
        assert seconds == getattr(FAKE_TIMINGS, stage)
    first = {"stage": "rerank", "le": "0.0005"}
    assert registry.get_sample_value("saddle_search_stage_seconds_bucket", first) == 1


def test_only_the_snapshot_that_serves_is_shown():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.snapshot_loaded(snapshot="s1", model="m1", products=10)
    metrics.snapshot_loaded(snapshot="s2", model="m1", products=20)
    assert registry.get_sample_value("saddle_snapshot_info", {"snapshot": "s1", "model": "m1"}) is None
    assert registry.get_sample_value("saddle_snapshot_info", {"snapshot": "s2", "model": "m1"}) == 1
    assert registry.get_sample_value("saddle_snapshot_products") == 20
    loaded = registry.get_sample_value("saddle_snapshot_loaded_timestamp_seconds")
    assert abs(loaded - time.time()) < 5


def test_failed_snapshots_are_counted_and_the_release_is_named():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.snapshot_failed()
    assert registry.get_sample_value("saddle_snapshot_load_failures_total") == 1
    assert b"saddle_build_info{" in generate_latest(registry)


def test_two_services_in_one_process_keep_their_numbers_apart():
    one, other = CollectorRegistry(), CollectorRegistry()
    Metrics(one).snapshot_failed()
    Metrics(other)
    assert other.get_sample_value("saddle_snapshot_load_failures_total") == 0
