from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
from fakes import hierarchical_points

from index.algebra import Box
from index.candidates import CandidateIndex
from index.shapes import Choice, Shape, contenders
from model import lorentz

CURVATURES = [0.0, 0.25, 1.0, 4.0]

SHAPES = [Shape(backend, form) for backend in ("flat", "codes", "cells", "hnsw") for form in ("centre", "region")]


def point(centre):
    """The box that is a point."""
    return Box.around(centre, np.zeros_like(centre))


def exact_distances(points, centre, *, c):
    return lorentz.dist(points.astype(np.float64), centre.astype(np.float64), c=c)


@pytest.mark.parametrize("c", CURVATURES)
def test_the_flat_order_is_that_of_the_distance_to_the_centre(c):
    points = hierarchical_points(2000, 24)
    index = CandidateIndex.build(points, c=c, shape=Shape("flat"))
    for centre in hierarchical_points(5, 24, seed=1):
        rows = index.search([point(centre)], 2000)
        distances = exact_distances(points[rows], centre, c=c)
        assert sorted(rows.tolist()) == list(range(2000))
        assert (np.diff(distances) > -1e-4).all()


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_the_graph_finds_the_nearest_of_hierarchical_points(c):
    points = hierarchical_points(6000, 48)
    index = CandidateIndex.build(points, c=c, shape=Shape("hnsw"))
    recalls = []
    for centre in hierarchical_points(40, 48, seed=2):
        truth = np.argsort(exact_distances(points, centre, c=c))[:100]
        recalls.append(np.isin(truth, index.search([point(centre)], 100, effort=200)).mean())
    assert np.mean(recalls) >= 0.95


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", [47, 48])
def test_codes_find_the_nearest_among_some_hundred(c, dim):
    points = hierarchical_points(6000, dim)
    index = CandidateIndex.build(points, c=c, shape=Shape("codes"))
    recalls = []
    for centre in hierarchical_points(40, dim, seed=2):
        truth = np.argsort(exact_distances(points, centre, c=c))[:100]
        recalls.append(np.isin(truth, index.search([point(centre)], 500)).mean())
    assert np.mean(recalls) >= 0.93


def test_more_effort_finds_more():
    points = hierarchical_points(6000, 48)
    index = CandidateIndex.build(points, c=1.0, shape=Shape("hnsw"))
    flat = CandidateIndex.build(points, c=1.0, shape=Shape("flat"))
    centres = hierarchical_points(40, 48, seed=3)

    def recall(effort):
        found = [
            np.isin(flat.search([point(m)], 10), index.search([point(m)], 10, effort=effort)).mean() for m in centres
        ]
        return np.mean(found)

    assert recall(None) < recall(200)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_asking_for_more_than_there_is_gives_each_row_once(shape):
    index = CandidateIndex.build(hierarchical_points(30, 8), c=1.0, shape=shape)
    rows = index.search([point(np.zeros(8, dtype=np.float32))], 1000, effort=9.0)
    assert sorted(rows.tolist()) == list(range(30))
    assert rows.dtype == np.int64


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_a_saved_index_answers_as_before(tmp_path, shape, c):
    points = hierarchical_points(1000, 16)
    index = CandidateIndex.build(points, c=c, shape=shape)
    index.save(tmp_path / "index")
    loaded = CandidateIndex.load(tmp_path / "index", form=shape.form, c=c)
    assert loaded.shape == index.shape == shape
    assert len(loaded) == 1000
    for centre in points[:10]:
        np.testing.assert_array_equal(index.search([point(centre)], 50), loaded.search([point(centre)], 50))


def test_a_file_that_is_no_index_is_refused_by_name(tmp_path):
    (tmp_path / "index.faiss").write_bytes(b"no index at all")
    with pytest.raises(ValueError, match=r"index\.faiss"):
        CandidateIndex.load(tmp_path, form="centre", c=1.0)


def test_cells_without_their_spreads_or_with_those_of_others_are_refused(tmp_path):
    CandidateIndex.build(hierarchical_points(2000, 8), c=1.0, shape=Shape("cells")).save(tmp_path / "index")
    spreads = tmp_path / "index" / "spreads.npy"
    np.save(spreads, np.load(spreads)[1:])
    with pytest.raises(ValueError, match=r"of shape \(49, 9\), but the cells beside it of \(50, 9\)"):
        CandidateIndex.load(tmp_path / "index", form="centre", c=1.0)
    spreads.unlink()
    with pytest.raises(ValueError, match=r"spreads\.npy cannot be read"):
        CandidateIndex.load(tmp_path / "index", form="centre", c=1.0)


@pytest.mark.parametrize("backend", ["cells", "hnsw"])
def test_concurrent_searches_answer_as_one_by_one(backend):
    points = hierarchical_points(3000, 16)
    index = CandidateIndex.build(points, c=1.0, shape=Shape(backend))

    def found(centre):
        return index.search([point(centre)], 20, effort=2.0).tolist()

    alone = [found(centre) for centre in points[:100]]
    with ThreadPoolExecutor(max_workers=4) as pool:
        together = list(pool.map(found, points[:100]))
    assert together == alone


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("form", ["centre", "region"])
def test_cells_find_the_nearest_and_more_of_them_the_farther_they_are_looked_for(c, form):
    points = hierarchical_points(6000, 48)
    index = CandidateIndex.build(points, c=c, shape=Shape("cells", form))
    truths = [np.argsort(exact_distances(points, m, c=c))[:100] for m in hierarchical_points(40, 48, seed=2)]

    def recall(effort):
        found = [index.search([point(m)], 200, effort=effort) for m in hierarchical_points(40, 48, seed=2)]
        return np.mean([np.isin(truth, rows).mean() for truth, rows in zip(truths, found, strict=True)])

    recalls = [recall(effort) for effort in (0.0, 1.5, 3.0)]
    assert recalls == sorted(recalls)
    assert recalls[-1] >= 0.97


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_several_boxes_get_the_candidates_of_each_once(shape):
    points = hierarchical_points(3000, 16)
    index = CandidateIndex.build(points, c=1.0, shape=shape)
    boxes = [Box.around(m, np.full(16, 0.1, dtype=np.float32)) for m in points[:3]]
    each = [index.search([box], 30, effort=100) for box in boxes]
    np.testing.assert_array_equal(index.search(boxes, 30, effort=100), np.unique(np.concatenate(each)))


def test_progress_ends_at_the_number_of_rows():
    heard = []
    CandidateIndex.build(hierarchical_points(10_000, 4), c=1.0, shape=Shape("flat"), on_progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 10_000


def test_a_catalogue_of_any_size_has_contenders_and_a_choice_is_kept_to():
    for products in (1, 5_000, 50_000, 100_000, 2_000_000, 50_000_000):
        assert contenders("auto", products, lifted=False)
        assert contenders("hnsw", products, lifted=False) == [Shape("hnsw")]
        assert contenders("cells", products, lifted=True) == [Shape("cells"), Shape("cells", "region")]
        assert set(contenders("all", products, lifted=True)) == set(SHAPES)


def test_small_catalogues_are_scanned_larger_ones_coded_and_large_ones_parted():
    def backends(products):
        return [shape.backend for shape in contenders("auto", products, lifted=False)]

    assert backends(1_000) == ["flat"]
    assert backends(20_000) == ["flat", "codes"]
    assert backends(1_000_000) == ["codes", "cells"]
    assert backends(5_000_000) == ["cells"]


def test_every_choice_names_backends():
    assert {*get_args(Choice)} == {"auto", "all", *(shape.backend for shape in SHAPES)}
