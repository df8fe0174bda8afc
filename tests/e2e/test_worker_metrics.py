"""The metrics of several processes that answer together: scraped from any of them, they are those of all."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from running import publisher, saddle_serve, until, wait_for_snapshot

from service.metrics_directory import DIRECTORY


def scraped(url):
    """Every sample: its value by its name, and its labels if it has any."""
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples
    }


REQUESTS = ("saddle_http_requests_total", ("method", "GET"), ("route", "/v1/search"), ("status", "200"))
STAGE = ("saddle_search_stage_seconds_count", ("stage", "encode"))
SEARCHES = ("saddle_searches_total", ("mode", "hybrid"))


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A function that publishes, and two services that share a directory of metrics: addresses and processes."""
    directory = tmp_path_factory.mktemp("together")
    root, publish = publisher(directory)
    first = publish(200)
    shared = directory / "metrics"
    shared.mkdir()
    with ExitStack() as stack:
        services = [
            stack.enter_context(saddle_serve(root, environment={DIRECTORY: str(shared)}, name=f"serve{number}"))[:2]
            for number in range(2)
        ]
        for url, _ in services:
            wait_for_snapshot(url, first)
        yield publish, services


def snapshots_of(found):
    return [dict(key[1:])["snapshot"] for key in found if key[0] == "saddle_snapshot_info"]


def test_any_worker_shows_the_numbers_of_all(together):
    _, services = together
    before = scraped(services[0][0])
    for times, (url, _) in enumerate(services, start=1):
        for number in range(times):  # not the same twice: that would come from the cache
            assert httpx.get(f"{url}/v1/search", params={"q": f"cordless drill {number}"}).status_code == 200
    for url, _ in services:
        found = scraped(url)
        for name in (REQUESTS, STAGE, SEARCHES):
            assert found[name] - before.get(name, 0) == 3
        assert (found[("saddle_workers",)], found[("saddle_workers_ready",)]) == (2, 2)
        assert found[("saddle_worker_deaths_total",)] == 0
        assert len([key for key in found if key[0] == "saddle_build_info"]) == 1
        assert not [key for key in found if "pid" in dict(key[1:])]


def test_the_journal_is_as_far_behind_as_with_the_worker_that_is_farthest(together):
    _, ((writing, _), (reading, _)) = together
    for number in range(3):
        stored = httpx.put(f"{writing}/v1/products/new{number}", json={"title": f"cordless drill number {number}"})
        assert stored.status_code == 200
    until(lambda: scraped(reading)[("saddle_journal_unfolded_changes",)] == 3, "three changes")
    until(lambda: scraped(reading)[("saddle_journal_unseen_changes",)] == 0, "every change to be seen")


def test_a_new_snapshot_is_told_by_every_worker_without_the_one_before(together):
    publish, services = together
    newer = publish(250)
    for url, _ in services:
        wait_for_snapshot(url, newer)
    for url, _ in services:
        found = scraped(url)
        assert snapshots_of(found) == [newer]
        assert found[("saddle_snapshot_products",)] >= 250


def test_a_worker_that_is_killed_leaves_its_counts_and_takes_its_gauges_along(together):
    _, ((url, killed), (staying, _)) = together
    assert httpx.get(f"{url}/v1/search", params={"q": "cordless drill"}).status_code == 200
    before = scraped(staying)
    killed.kill()
    killed.wait()
    after = scraped(staying)
    for name in (REQUESTS, STAGE, SEARCHES):
        assert after[name] == before[name]
    assert (after[("saddle_workers",)], after[("saddle_workers_ready",)]) == (1, 1)
    assert after[("saddle_worker_deaths_total",)] == 1
    assert after[("process_resident_memory_bytes",)] < before[("process_resident_memory_bytes",)]


def _run(program, **environment):
    return subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


SHARING = """
import os, pathlib
from service.metrics_directory import shared
with shared() as directory:
    assert list(directory.iterdir()) == [], list(directory.iterdir())
    from prometheus_client import CollectorRegistry
    from service.metrics import Metrics
    Metrics(CollectorRegistry()).started()
    print(len(list(directory.glob("*.db"))))
print(directory.exists())
"""


def test_the_shared_directory_is_new_and_goes(tmp_path):
    done = _run(SHARING, TMPDIR=str(tmp_path))
    files, stays = done.stdout.split()
    assert int(files) > 3, done.stderr
    assert stays == "False"
    assert list(tmp_path.iterdir()) == []


def test_a_shared_directory_that_is_named_is_emptied_first_and_stays(tmp_path):
    (tmp_path / "counter_1.db").touch()
    done = _run(SHARING, **{DIRECTORY: str(tmp_path)})
    assert done.stdout.split()[1] == "True", done.stderr


def test_a_directory_that_comes_too_late_is_refused():
    done = _run("import prometheus_client\nfrom service.metrics_directory import shared\nshared().__enter__()")
    assert "was imported before PROMETHEUS_MULTIPROC_DIR was there" in done.stderr
