from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import hierarchical_points

from index.algebra import Region
from index.calibration import Calibration
from index.candidates import CandidateIndex
from index.channels import Channels, Wanted
from index.exact import scan
from index.filters import Missing
from index.live import nothing
from index.rerank import rerank
from index.selection import Selection
from index.shapes import Shape
from index.view import View
from model.bundle import Geometry
from model.hyperboloid import Hyperboloids

DIM = 24
GEOMETRY = Geometry(dim=DIM, curvature=1.0, gamma=0.8)
POINTS = hierarchical_points(20_000, DIM)
REGIONS = Hyperboloids(centres=hierarchical_points(25, DIM, seed=5), limits=np.full((25, DIM), 0.1, dtype=np.float32))
FILTER = Missing("colour")
"""Stands for whatever filter it was that selected."""


class Watched:
    """A candidate index that remembers how many rows it was asked for."""

    def __init__(self, index):
        self._index = index
        self.asked = []

    def search_many(self, regions, count, *, effort):
        self.asked.append(count)
        return self._index.search_many(regions, count, effort=effort)


@pytest.fixture(params=["flat", "cells"])
def channels(request):
    calibration = Calibration(POINTS, REGIONS, geometry=GEOMETRY, target_recall=0.98)
    index = CandidateIndex.build(POINTS, c=1.0, shape=Shape(request.param))
    settings = calibration.settings([calibration.trial(index)])
    encoder = SimpleNamespace(manifest=SimpleNamespace(geometry=GEOMETRY))
    return Channels(encoder, Watched(index), settings, lexical=None)


def view(mask):
    return View(POINTS, nothing(len(POINTS), dim=DIM), FILTER, Selection(mask))


def passing(share):
    return np.random.default_rng(1).random(len(POINTS)) < share


def near(channels, region, view, *, depth):
    (rows,) = channels.near([Wanted(region, view, depth)])
    return rows


def recall(channels, mask, *, depth=100):
    found = []
    for centre, limit in zip(REGIONS.centres, REGIONS.limits, strict=True):
        region = Region.around(centre, limit)
        rows = near(channels, region, view(mask), depth=depth)
        assert mask[rows].all()
        assert len(rows) >= min(depth, np.count_nonzero(mask))
        best = rerank(POINTS, rows, region, c=1.0, gamma=0.8).head(depth).rows
        truth = scan(POINTS, region, c=1.0, gamma=0.8, count=depth, mask=mask).rows
        found.append(np.isin(truth, best).mean())
    return np.mean(found)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.01, 0.001])
def test_the_top_of_what_passes_a_filter_is_found_however_few_pass(channels, share):
    assert recall(channels, passing(share)) >= 0.97


def test_where_many_pass_more_candidates_are_fetched_and_where_few_do_they_are_scanned(channels):
    region = Region.around(REGIONS.centres[0], REGIONS.limits[0])
    near(channels, region, view(passing(0.5)), depth=10)
    count = channels.settings.count
    assert channels.candidates.asked[0] == pytest.approx(2 * count, rel=0.05)
    channels.candidates.asked.clear()
    near(channels, region, view(passing(0.01)), depth=10)
    assert not channels.candidates.asked


def test_a_filter_that_passes_what_lies_far_away_gets_its_rows_all_the_same(channels):
    region = Region.around(REGIONS.centres[0], REGIONS.limits[0])
    farthest = np.zeros(len(POINTS), dtype=np.bool_)
    farthest[scan(POINTS, region, c=1.0, gamma=0.8, count=len(POINTS)).rows[-9000:]] = True
    rows = near(channels, region, view(farthest), depth=100)
    assert farthest[rows].all()
    best = rerank(POINTS, rows, region, c=1.0, gamma=0.8).head(100).rows
    truth = scan(POINTS, region, c=1.0, gamma=0.8, count=100, mask=farthest).rows
    assert np.isin(truth, best).mean() >= 0.97


def test_what_the_nearest_leave_out_is_made_up_for_by_more_candidates(channels):
    """As many as are wanted, or nearly: a page can be filled by far fewer, but not in the right order."""
    region = Region.around(REGIONS.centres[0], REGIONS.limits[0])
    order = scan(POINTS, region, c=1.0, gamma=0.8, count=len(POINTS)).rows
    mask = np.ones(len(POINTS), dtype=np.bool_)
    mask[order[: 2 * channels.settings.count : 3]] = False
    mask[order[1 : 2 * channels.settings.count : 3]] = False
    assert 2 * len(near(channels, region, view(mask), depth=1)) >= channels.settings.count


def test_nothing_passes_and_nothing_is_found(channels):
    region = Region.around(REGIONS.centres[0], REGIONS.limits[0])
    assert len(near(channels, region, view(np.zeros(len(POINTS), dtype=np.bool_)), depth=10)) == 0
