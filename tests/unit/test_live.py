from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
import structlog
from fakes_service import FakeSearcher, point_at
from prometheus_client import CollectorRegistry

from index.journal import JOURNAL, Change, Journal
from model.catalog import Product
from service.live import LiveSearcher, NotReadyError
from service.metrics import Metrics


class Bench:
    """A live searcher over fakes, with every searcher it opened and every attempt it made."""

    def __init__(self, root, *, reload_seconds=0.01):
        self.registry = CollectorRegistry()
        self.opened = []
        self.attempts = []
        self.live = LiveSearcher(
            root,
            threads=2,
            reload_seconds=reload_seconds,
            metrics=Metrics(self.registry),
            open_searcher=self._open,
        )

    def _open(self, directory):
        self.attempts.append(directory.name)
        searcher = FakeSearcher(directory)
        self.opened.append(searcher)
        return searcher

    @property
    def serving(self):
        with self.live.lease() as searcher:
            return searcher.snapshot_id

    def serves(self, name):
        try:
            return self.serving == name
        except NotReadyError:
            return False

    @property
    def failures(self):
        return self.registry.get_sample_value("saddle_snapshot_load_failures_total")


def test_without_a_snapshot_it_is_not_ready_and_says_what_to_do(tmp_path):
    bench = Bench(tmp_path)
    bench.live.reload()
    with pytest.raises(NotReadyError, match="saddle reindex"), bench.live.lease():
        pass
    assert bench.failures == 0


def test_it_follows_current_from_snapshot_to_snapshot_and_closes_the_old_ones(tmp_path):
    bench = Bench(tmp_path)
    for name in ("s1", "s2", "s3"):
        point_at(tmp_path, name)
        bench.live.reload()
        assert bench.serving == name
    assert [searcher.closed for searcher in bench.opened] == [True, True, False]


def test_an_unchanged_current_opens_nothing(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s1")
    for _ in range(5):
        bench.live.reload()
    assert bench.attempts == ["s1"]


def test_what_a_replaced_snapshot_took_is_given_back_at_the_next_look(tmp_path, monkeypatch):
    bench, given = Bench(tmp_path), []
    monkeypatch.setattr("service.live.give_back", lambda: given.append(len(bench.attempts)))
    for name in ("s1", "s2"):
        point_at(tmp_path, name)
        bench.live.reload()
    assert given == []
    for _ in range(3):
        bench.live.reload()
    assert given == [2]


def test_a_searcher_is_warm_before_it_serves(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s1")
    bench.live.reload()
    assert bench.opened[0].entered.is_set()


def test_the_old_searcher_is_closed_only_when_its_last_search_has_ended(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s1")
    bench.live.reload()
    with bench.live.lease() as first, bench.live.lease() as second:
        assert first is second
        point_at(tmp_path, "s2")
        bench.live.reload()
        assert bench.serving == "s2"
        assert not first.closed
    assert first.closed


def test_a_snapshot_that_fails_to_load_is_counted_once_and_the_old_one_serves_on(tmp_path):
    bench = Bench(tmp_path, reload_seconds=60.0)
    point_at(tmp_path, "s1")
    bench.live.reload()
    point_at(tmp_path, "s2", broken=True)
    with structlog.testing.capture_logs() as logs:
        for _ in range(5):
            bench.live.reload()
    assert bench.serving == "s1"
    assert bench.attempts == ["s1", "s2"]
    assert bench.failures == 1
    assert [line["event"] for line in logs] == ["snapshot refused"]


def test_a_refused_snapshot_is_tried_again_after_a_growing_pause(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("service.live.time.monotonic", lambda: clock[0])
    bench = Bench(tmp_path, reload_seconds=1.0)
    directory = point_at(tmp_path, "s1", broken=True)
    tried_at = []
    for second in range(200):
        before = len(bench.attempts)
        clock[0] = 100.0 + second
        bench.live.reload()
        if len(bench.attempts) > before:
            tried_at.append(second)
    assert tried_at == [0, 2, 6, 14, 30, 62, 122, 182]
    (directory / "broken").unlink()
    clock[0] += 60
    bench.live.reload()
    assert bench.serving == "s1"


def test_a_good_snapshot_after_a_broken_one_is_taken_up_at_once(tmp_path):
    bench = Bench(tmp_path, reload_seconds=60.0)
    point_at(tmp_path, "s1", broken=True)
    bench.live.reload()
    point_at(tmp_path, "s2")
    bench.live.reload()
    assert bench.serving == "s2"


def test_a_searcher_that_fails_to_warm_up_is_closed_and_refused(tmp_path, monkeypatch):
    bench = Bench(tmp_path)
    monkeypatch.setattr("service.live._WARM_UP", ("explode",))
    point_at(tmp_path, "s1")
    bench.live.reload()
    assert bench.opened[0].closed
    assert bench.failures == 1


@pytest.mark.parametrize("content", [b"gone\n", b"", b"\xff\xfe", b"../../etc\n"])
def test_a_current_that_names_nothing_leaves_the_old_snapshot_serving(tmp_path, content):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s1")
    bench.live.reload()
    (tmp_path / "CURRENT").write_bytes(content)
    for _ in range(3):
        bench.live.reload()
    assert bench.serving == "s1"
    assert bench.failures == 1


def test_two_that_look_at_once_open_a_snapshot_once(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s1")
    threads = [threading.Thread(target=bench.live.reload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bench.attempts == ["s1"]


def test_it_watches_while_it_runs_and_closes_at_the_end(tmp_path):
    bench = Bench(tmp_path)

    async def scenario():
        async with bench.live.running():
            with pytest.raises(NotReadyError):
                await bench.live.ask(lambda searcher: searcher.search("drill"))
            for name in ("s1", "s2"):
                point_at(tmp_path, name)
                while not bench.serves(name):
                    await asyncio.sleep(0.005)
            assert (await bench.live.ask(lambda searcher: searcher.search("drill"))).snapshot == "s2"

    asyncio.run(asyncio.wait_for(scenario(), timeout=10))
    assert all(searcher.closed for searcher in bench.opened)


def test_no_search_fails_while_snapshots_change_under_it(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s0")
    bench.live.reload()
    done = threading.Event()
    seen, failed = set(), []

    def search():
        while not done.is_set():
            try:
                with bench.live.lease() as searcher:
                    seen.add(searcher.search("drill").snapshot)
            except (AssertionError, NotReadyError) as error:
                failed.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(1, 30):
        point_at(tmp_path, f"s{i}")
        bench.live.reload()
        time.sleep(0.002)
    done.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(seen) > 2
    assert [searcher.closed for searcher in bench.opened] == [True] * 29 + [False]


def test_a_snapshot_is_opened_once_when_it_is_activated_and_only_then_named_current(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s2")
    point_at(tmp_path, "s1")
    bench.live.reload()
    bench.live.activate("s2")
    bench.live.reload()
    assert bench.serving == "s2"
    assert bench.attempts == ["s1", "s2"]
    assert (tmp_path / "CURRENT").read_text() == "s2\n"


def test_a_snapshot_that_is_answered_from_is_checked_again_when_it_is_activated(tmp_path):
    bench = Bench(tmp_path)
    directory = point_at(tmp_path, "s1")
    bench.live.reload()
    point_at(tmp_path, "s2")
    (directory / "broken").touch()
    with pytest.raises(RuntimeError, match="broken"):
        bench.live.activate("s1")
    assert bench.serving == "s1"
    assert (tmp_path / "CURRENT").read_text() == "s2\n"


def test_a_snapshot_that_cannot_be_opened_is_not_activated(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s2", broken=True)
    point_at(tmp_path, "s1")
    bench.live.reload()
    with pytest.raises(RuntimeError, match="broken"):
        bench.live.activate("s2")
    assert bench.serving == "s1"
    assert (tmp_path / "CURRENT").read_text() == "s1\n"


def test_changes_that_wait_keep_no_search_waiting(tmp_path):
    bench = Bench(tmp_path)
    gate = threading.Event()

    async def scenario():
        async with bench.live.running():
            point_at(tmp_path, "s1")
            while not bench.serves("s1"):
                await asyncio.sleep(0.005)
            changes = [asyncio.ensure_future(bench.live.change(lambda _: gate.wait(timeout=10))) for _ in range(8)]
            await asyncio.sleep(0.05)
            assert (await bench.live.ask(lambda searcher: searcher.search("drill"))).snapshot == "s1"
            assert not any(change.done() for change in changes)
            gate.set()
            assert await asyncio.gather(*changes) == [True] * 8

    asyncio.run(asyncio.wait_for(scenario(), timeout=10))


def test_changes_of_others_are_shown_while_a_new_snapshot_is_opened(tmp_path):
    bench = Bench(tmp_path)
    opening, gate = threading.Event(), threading.Event()
    open_searcher = bench.live._open_searcher

    def slow(directory):
        if directory.name == "s2":
            opening.set()
            assert gate.wait(timeout=10)
        return open_searcher(directory)

    bench.live._open_searcher = slow

    async def scenario():
        async with bench.live.running():
            point_at(tmp_path, "s1")
            while not bench.serves("s1"):
                await asyncio.sleep(0.005)
            point_at(tmp_path, "s2")
            while not opening.is_set():
                await asyncio.sleep(0.005)
            with Journal(tmp_path / JOURNAL) as other:
                other.append(
                    [Change("new", Product("new", "gizmo"), np.zeros(2, dtype=np.float32))], model="anthem-fake"
                )
            while "new" not in bench.opened[0].stored:
                await asyncio.sleep(0.005)
            gate.set()
            while not bench.serves("s2"):
                await asyncio.sleep(0.005)
            assert "new" in bench.opened[1].stored

    asyncio.run(asyncio.wait_for(scenario(), timeout=10))


def test_a_new_snapshot_shares_what_the_journal_stored(tmp_path):
    bench = Bench(tmp_path)
    point_at(tmp_path, "s1")
    bench.live.reload()
    with Journal(tmp_path / JOURNAL) as other:
        other.append([Change("new", Product("new", "gizmo"), np.zeros(2, dtype=np.float32))], model="anthem-fake")
    bench.live.catch_up()
    point_at(tmp_path, "s2")
    bench.live.reload()
    first, second = bench.opened
    assert second.rows is first.rows
    assert "new" in second.stored
