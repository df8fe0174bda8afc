from __future__ import annotations

import numpy as np
import pytest
from fakes import hierarchical_points

from index.calibration import Calibration, choose
from index.candidates import CandidateIndex
from index.shapes import Shape
from index.snapshot import Trial
from model.bundle import Geometry
from model.hyperboloid import Hyperboloids

DIM = 64
GEOMETRY = Geometry(dim=DIM, curvature=1.0, gamma=0.8)
POINTS = hierarchical_points(6000, DIM)


def regions(*, spread, count=20):
    """Boxes around points, their limits the more unlike the greater ``spread``."""
    chance = np.random.default_rng(3)
    limits = np.exp(chance.normal(np.log(0.5), spread, size=(count, DIM))).astype(np.float32)
    return Hyperboloids(centres=hierarchical_points(count, DIM, seed=5), limits=limits)


def calibration(*, spread=0.3, target_recall=0.98):
    return Calibration(POINTS, regions(spread=spread), geometry=GEOMETRY, target_recall=target_recall)


def trial(recall, latency):
    return Trial(backend="codes", form="centre", count=100, effort=None, recall=recall, latency_seconds=latency)


def test_the_fastest_that_reaches_the_recall_is_chosen():
    trials = [trial(0.999, 0.003), trial(0.981, 0.001), trial(0.97, 0.0001)]
    assert choose(trials, 0.98) is trials[1]


def test_where_none_reaches_the_recall_the_highest_is_chosen():
    trials = [trial(0.9, 0.003), trial(0.97, 0.01), trial(0.5, 0.0001)]
    assert choose(trials, 0.98) is trials[1]


def test_order_by_centre_suffices_where_limits_are_alike_and_pays_no_lift():
    assert not calibration(spread=0.0).lift_pays()


def test_limits_that_differ_by_axis_make_the_lift_pay():
    assert calibration(spread=0.7).lift_pays()


@pytest.mark.parametrize("backend", ["flat", "codes", "cells", "hnsw"])
@pytest.mark.parametrize("form", ["centre", "region"])
def test_what_a_trial_says_is_what_the_index_finds(backend, form):
    measured = calibration()
    found = measured.trial(CandidateIndex.build(POINTS, c=1.0, shape=Shape(backend, form)))
    assert found.shape == Shape(backend, form)
    assert found.recall >= 0.98
    assert found.latency_seconds > 0
    assert (found.effort is None) == (backend in ("flat", "codes"))


def test_a_region_aware_order_needs_fewer_candidates_where_limits_differ():
    measured = calibration(spread=0.7)
    by_centre, by_region = (
        measured.trial(CandidateIndex.build(POINTS, c=1.0, shape=Shape("flat", form))) for form in ("centre", "region")
    )
    assert by_region.count < by_centre.count


def test_settings_hold_the_best_and_all_that_was_tried():
    measured = calibration()
    trials = [trial(0.99, 0.2), trial(0.985, 0.1)]
    settings = measured.settings(trials)
    assert settings.tried == tuple(trials)
    assert settings.latency_seconds == 0.1
    assert (settings.depth, settings.queries, settings.target_recall) == (100, 20, 0.98)
