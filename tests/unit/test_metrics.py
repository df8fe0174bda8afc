from __future__ import annotations

import re
import time

import pytest
from fakes_service import FAKE_TIMINGS, PRODUCTS
from prometheus_client import CollectorRegistry, generate_latest

from index.changes import Lag
from index.results import Hit, SearchResult, Total
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
    metrics.snapshot_loaded(snapshot="s1", model="m1", products=10, size=100, created=1.0)
    metrics.snapshot_loaded(snapshot="s2", model="m1", products=20, size=200, created=2.0)
    assert registry.get_sample_value("saddle_snapshot_info", {"snapshot": "s1", "model": "m1"}) is None
    assert registry.get_sample_value("saddle_snapshot_info", {"snapshot": "s2", "model": "m1"}) == 1
    assert registry.get_sample_value("saddle_snapshot_products") == 20
    assert registry.get_sample_value("saddle_snapshot_bytes") == 200
    assert registry.get_sample_value("saddle_snapshot_created_timestamp_seconds") == 2
    assert registry.get_sample_value("saddle_workers_ready") == 1
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


def _sample(registry, name, **labels):
    return registry.get_sample_value(name, labels)


def _result(*, contained, total, mode="hybrid"):
    hits = tuple(Hit(PRODUCTS[i], score=0.0, distance=0.0, contained=inside) for i, inside in enumerate(contained))
    return SearchResult(hits, total, (), mode, None, "s1", "m1", FAKE_TIMINGS, 700)


def test_what_searches_are_given_is_counted_by_mode():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.answered(_result(contained=[True, True, False], total=Total(2, "eq")))
    metrics.answered(_result(contained=[False], total=Total(0, "eq")))
    metrics.answered(_result(contained=[], total=Total(0, "gte"), mode="lexical"))
    counted = {
        (name, mode): _sample(registry, f"saddle_{name}_total", mode=mode)
        for name in ("searches", "search_hits", "search_hits_contained", "searches_nothing_contained",
                     "searches_without_hits")
        for mode in ("hybrid", "lexical", "hyperboloid")
    }  # fmt: skip
    assert [counted["searches", mode] for mode in ("hybrid", "lexical", "hyperboloid")] == [2, 1, 0]
    assert (counted["search_hits", "hybrid"], counted["search_hits_contained", "hybrid"]) == (4, 2)
    assert (counted["searches_nothing_contained", "hybrid"], counted["searches_without_hits", "hybrid"]) == (1, 0)
    assert (counted["searches_nothing_contained", "lexical"], counted["searches_without_hits", "lexical"]) == (1, 1)


def test_batches_the_queue_the_cache_refusals_and_rows_measured_are_told():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for size in (1, 3, 300):
        metrics.batch(size)
    metrics.queue(5)
    metrics.queue(2)
    metrics.cache(hit=True)
    metrics.cache(hit=False)
    metrics.cache(hit=False)
    metrics.refused("queue_full")
    metrics.measured(700)
    metrics.stage("serialise", 0.002)
    assert _sample(registry, "saddle_batch_queries_sum") == 304
    assert _sample(registry, "saddle_batch_queries_bucket", le="4.0") == 2
    assert _sample(registry, "saddle_queue_depth") == 2
    assert _sample(registry, "saddle_cache_lookups_total", result="hit") == 1
    assert _sample(registry, "saddle_cache_lookups_total", result="miss") == 2
    assert _sample(registry, "saddle_requests_refused_total", reason="queue_full") == 1
    assert _sample(registry, "saddle_search_measured_rows_sum") == 700
    assert _sample(registry, "saddle_search_stage_seconds_sum", stage="serialise") == 0.002


def test_the_journal_and_the_probe_are_told():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.journal(Lag(unfolded=40, unseen=2, seconds=1.5))
    metrics.probed("hybrid", 1.0)
    metrics.probed("hybrid", 0.9)
    metrics.probe_lost("outdated")
    assert _sample(registry, "saddle_journal_unfolded_changes") == 40
    assert _sample(registry, "saddle_journal_unseen_changes") == 2
    assert _sample(registry, "saddle_journal_unseen_seconds") == 1.5
    assert _sample(registry, "saddle_probe_recall_ratio_sum", mode="hybrid") == 1.9
    assert _sample(registry, "saddle_probe_recall_ratio_bucket", mode="hybrid", le="0.98") == 1
    assert _sample(registry, "saddle_probes_total", outcome="measured") == 2
    assert _sample(registry, "saddle_probes_total", outcome="outdated") == 1


def test_one_process_has_cpu_and_memory_of_its_own_and_no_deaths():
    registry = CollectorRegistry()
    Metrics(registry)
    assert _sample(registry, "process_resident_memory_bytes") > 1 << 20
    assert _sample(registry, "saddle_worker_deaths_total") == 0


def test_every_metric_follows_the_conventions():
    metrics = Metrics(CollectorRegistry())
    exposed = metrics.encoded("")[0].decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", exposed, re.MULTILINE):
        assert re.match(r"(saddle|process)_[a-z_]+$", name), name
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|kb|mb|percent|minutes)\b", name), name
