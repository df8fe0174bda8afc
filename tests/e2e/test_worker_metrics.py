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


@pytest.fixture
def together(tmp_path):
    """A function that publishes, the first snapshot, and three services that share a directory of metrics."""
    root, publish = publisher(tmp_path)
    first = publish(200)
    directory = tmp_path / "metrics"
    directory.mkdir()
    with ExitStack() as stack:
        services = [
            stack.enter_context(saddle_serve(root, environment={DIRECTORY: str(directory)}, name=f"serve{i}"))[:2]
            for i in range(3)
        ]
        for url, _ in services:
            wait_for_snapshot(url, first)
        yield publish, first, services


def searched(url, times):
    for _ in range(times):
        assert httpx.get(f"{url}/v1/search", params={"q": "cordless drill"}).status_code == 200


def test_any_worker_shows_the_numbers_of_all_and_forgets_only_the_gauges_of_one_that_was_killed(together):
    _, snapshot, services = together
    for times, (url, _) in enumerate(services, start=1):
        searched(url, times)
    requests = ("saddle_http_requests_total", ("method", "GET"), ("route", "/v1/search"), ("status", "200"))
    stage = ("saddle_search_stage_seconds_count", ("stage", "encode"))
    for url, _ in services:
        found = scraped(url)
        assert found[requests] == 6
        assert found[stage] == 6
        assert found[("saddle_searches_total", ("mode", "hybrid"))] == 6
        assert (found[("saddle_workers",)], found[("saddle_workers_ready",)]) == (3, 3)
        assert found[("saddle_snapshot_products",)] == 200
        assert found[("saddle_worker_deaths_total",)] == 0
        infos = [key for key in found if key[0] == "saddle_snapshot_info"]
        assert [dict(key[1:])["snapshot"] for key in infos] == [snapshot]
        assert len([key for key in found if key[0] == "saddle_build_info"]) == 1
    memory = found[("process_resident_memory_bytes",)]
    assert not [key for key in found if "pid" in dict(key[1:])]

    services[0][1].kill()
    services[0][1].wait()
    found = scraped(services[1][0])
    assert found[requests] == 6
    assert (found[("saddle_workers",)], found[("saddle_workers_ready",)]) == (2, 2)
    assert found[("saddle_worker_deaths_total",)] == 1
    assert found[("process_resident_memory_bytes",)] < memory


def test_a_new_snapshot_is_told_by_every_worker_without_the_one_before(together):
    publish, _, services = together
    newer = publish(250)
    for url, _ in services:
        wait_for_snapshot(url, newer)
    for url, _ in services:
        found = scraped(url)
        assert [dict(key[1:])["snapshot"] for key in found if key[0] == "saddle_snapshot_info"] == [newer]
        assert found[("saddle_snapshot_products",)] == 250


def test_the_journal_is_as_far_behind_as_with_the_worker_that_is_farthest(together):
    _, _, services = together
    (writing, _), (reading, _), _ = services
    for number in range(3):
        stored = httpx.put(f"{writing}/v1/products/new{number}", json={"title": f"cordless drill number {number}"})
        assert stored.status_code == 200
    until(lambda: scraped(reading)[("saddle_journal_unfolded_changes",)] == 3, "three changes")
    assert scraped(reading)[("saddle_journal_unseen_changes",)] == 0


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
