from __future__ import annotations

import json
import time

import numpy as np
import pytest

from benchmarks.behaviour import scale, stages
from benchmarks.behaviour.stages import Stages
from model.behaviour.graphs import build

MIB = 2**20


def quick():
    time.sleep(0.1)


def sleeping():
    time.sleep(0.4)
    # what the stage calls is its own
    sum_of(range(10))


def sum_of(numbers):
    time.sleep(0.1)
    return sum(numbers)


def computing():
    until = time.process_time() + 0.4
    while time.process_time() < until:
        pass


def large():
    held = np.ones(300 * MIB, dtype=np.uint8)
    time.sleep(0.4)
    return int(held[0])


def work():
    quick()
    large()
    sleeping()
    computing()


def test_a_call_is_told_by_its_stages_each_with_its_own_time_and_memory(monkeypatch):
    monkeypatch.setattr(stages, "_SHORT", 0.25)
    with Stages(work) as watched:
        work()
    found = watched.told()
    assert list(found) == ["rest", "large", "sleeping", "computing"]
    # rounded to hundredths of a minute
    assert found["sleeping"]["minutes"] == pytest.approx(0.5 / 60, abs=0.006)
    assert found["sleeping"]["core_minutes"] == 0.0
    assert found["large"]["peak_gib"] - found["sleeping"]["peak_gib"] == pytest.approx(300 / 1024, abs=0.05)


def test_what_is_not_the_call_is_no_stage():
    with Stages(work) as watched:
        quick()
    assert watched.told() == {}


def test_the_whole_size_leaves_what_was_asked_for_after_the_tenth_that_chooses():
    clicks = scale.clicks_of(0, 0.01)
    kept = clicks.where(slice(len(clicks) * 9 // 10))
    graphs = build(kept, 2000)
    assert len(graphs.query) > 10_000
    assert graphs.sessions > 5_000


@pytest.mark.slow
def test_files_are_made_once_and_go_through_the_products_own_training(tmp_path):
    said = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "scale.json"), "--share", "0.002"]
    said += ["--minutes", "0.05", "--text-minutes", "0.05", "--threads", "1"]
    scale.main(said)
    found = json.loads((tmp_path / "scale.json").read_bytes())
    assert found["products"] == 400
    assert found["steps"] > 0
    assert 0 < found["core_minutes"] < 2
    assert sum(stage["minutes"] for stage in found["stages"].values()) == pytest.approx(found["minutes"], abs=0.05)
    assert found["peak_gib"] == max(stage["peak_gib"] for stage in found["stages"].values()) > 0.1
    made = (tmp_path / "work" / "scale-0.002" / "clicks.csv").stat().st_mtime_ns
    scale.main(said)
    assert (tmp_path / "work" / "scale-0.002" / "clicks.csv").stat().st_mtime_ns == made
