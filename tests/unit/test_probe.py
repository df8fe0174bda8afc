from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import structlog
from fakes_service import FakeSearcher
from prometheus_client import CollectorRegistry

from service.live import NotReadyError
from service.metrics import Metrics
from service.probe import MOST_HITS, RecallProbe


class FakeLive:
    """Leases one searcher, or none."""

    def __init__(self, searcher):
        self.searcher = searcher

    @contextmanager
    def lease(self):
        if self.searcher is None:
            raise NotReadyError("none")
        yield self.searcher


class Bench:
    """A probe over a fake searcher, a clock that is set by hand, and what it measured."""

    def __init__(self, tmp_path, *, a_minute=600.0):
        self.now = 0.0
        self.searcher = FakeSearcher(tmp_path / "s1")
        self.live = FakeLive(self.searcher)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.probe = RecallProbe(self.live, metrics, a_minute=a_minute, clock=lambda: self.now)
        self.given = self.searcher.search("drill", limit=10)

    def offer(self, question=None, **changed):
        """Offer the answer, with these fields changed, when a probe is sure to be due, and wait for what is done."""
        self.now += 1e6
        self.probe.offer(
            question or (lambda searcher: searcher.search("drill", limit=10)), replace(self.given, **changed)
        )
        self.settle()

    def settle(self):
        self.probe._thread.submit(lambda: None).result(timeout=10)

    def count(self, outcome):
        return self.registry.get_sample_value("saddle_probes_total", {"outcome": outcome})

    def recall(self, part, mode="hybrid"):
        return self.registry.get_sample_value(f"saddle_probe_recall_ratio_{part}", {"mode": mode})


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_an_answer_that_is_exact_has_a_recall_of_one(bench):
    bench.offer()
    assert (bench.recall("sum"), bench.recall("count"), bench.count("measured")) == (1.0, 1, 1)


def test_hits_that_the_exact_answer_has_and_the_given_one_lacks_are_missed(bench):
    wrong = bench.searcher.search("drill", limit=3, offset=20).hits
    bench.offer(hits=(*wrong, *bench.given.hits[:7]))
    assert bench.recall("sum") == pytest.approx(0.7)


def test_an_answer_in_another_order_is_not_worse(bench):
    bench.offer(hits=bench.given.hits[::-1])
    assert bench.recall("sum") == 1.0


def test_recall_is_told_by_mode_and_never_for_words_alone(bench):
    bench.offer(lambda searcher: searcher.search("drill", mode="hyperboloid"), mode="hyperboloid")
    bench.offer(lambda searcher: searcher.search("drill", mode="lexical"), mode="lexical")
    assert bench.recall("count", mode="hyperboloid") == 1
    assert bench.count("measured") == 1


@pytest.mark.parametrize("hits", [0, MOST_HITS + 1])
def test_an_answer_without_hits_or_with_very_many_is_not_run_again(bench, hits):
    bench.offer(hits=bench.given.hits[:1] * hits)
    assert bench.count("measured") == 0


def test_an_answer_of_a_snapshot_that_was_replaced_says_nothing(bench):
    bench.offer(snapshot="s0")
    bench.live.searcher = None
    bench.offer()
    assert (bench.count("outdated"), bench.count("measured")) == (2, 0)


def test_a_probe_that_fails_is_counted_and_logged_and_others_follow(bench):
    def explode(_):
        raise RuntimeError("no such thing")

    with structlog.testing.capture_logs() as logs:
        bench.offer(explode)
    bench.offer()
    assert [line["event"] for line in logs] == ["probe failed"]
    assert (bench.count("failed"), bench.count("measured")) == (1, 1)


def test_no_more_are_run_than_were_asked_for(tmp_path):
    bench = Bench(tmp_path, a_minute=60.0)
    for _ in range(40_000):
        bench.now += 0.01
        bench.probe.offer(lambda searcher: searcher.search("drill"), bench.given)
        bench.settle()
    assert 300 < bench.count("measured") < 500  # 400 seconds, one a second; 20 is the deviation


def test_none_are_run_where_none_were_asked_for(tmp_path):
    bench = Bench(tmp_path, a_minute=0.0)
    bench.now += 1e6
    bench.probe.offer(lambda searcher: searcher.search("drill"), bench.given)
    assert not bench.probe._thread._threads


def test_they_never_pile_up(bench):
    gate, entered = threading.Event(), threading.Event()

    def slow(searcher):
        entered.set()
        assert gate.wait(10)
        return searcher.search("drill")

    bench.now += 1e6
    bench.probe.offer(slow, bench.given)
    assert entered.wait(10)
    for _ in range(100):
        bench.now += 1e6
        bench.probe.offer(slow, bench.given)
    gate.set()
    bench.settle()
    assert bench.count("measured") == 1


def test_one_that_rests_is_given_up_when_the_service_ends(tmp_path):
    bench = Bench(tmp_path)
    resting = threading.Event()

    def endless(searcher):
        while True:
            resting.set()
            searcher.exactly(bench.probe._pause)

    async def serve():
        async with bench.probe.running():
            bench.now += 1e6
            bench.probe.offer(endless, bench.given)
            await asyncio.to_thread(resting.wait, 10)

    asyncio.run(asyncio.wait_for(serve(), timeout=10))
    assert (bench.count("measured"), bench.count("failed")) == (0, 0)
