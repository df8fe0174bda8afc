from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fakes import hierarchical_points

from index.candidates import CODES_BELOW, FLAT_BELOW, CandidateIndex, default_backend
from model import lorentz

CURVATURES = [0.0, 0.25, 1.0, 4.0]


def exact_distances(points, centre, *, c):
    return lorentz.dist(points.astype(np.float64), centre.astype(np.float64), c=c)


@pytest.mark.parametrize("c", CURVATURES)
def test_the_flat_order_is_that_of_the_distance_to_the_centre(c):
    points = hierarchical_points(2000, 24)
    index = CandidateIndex.build(points, c=c, backend="flat")
    for centre in hierarchical_points(5, 24, seed=1):
        rows = index.search(centre, 2000)
        distances = exact_distances(points[rows], centre, c=c)
        assert sorted(rows.tolist()) == list(range(2000))
        assert (np.diff(distances) > -1e-4).all()


@pytest.mark.parametrize("c", [0.0, 1.0])
def test_the_graph_finds_the_nearest_of_hierarchical_points(c):
    points = hierarchical_points(6000, 48)
    index = CandidateIndex.build(points, c=c, backend="hnsw")
    recalls = []
    for centre in hierarchical_points(40, 48, seed=2):
        truth = np.argsort(exact_distances(points, centre, c=c))[:100]
        recalls.append(np.isin(truth, index.search(centre, 100, ef_search=200)).mean())
    assert np.mean(recalls) >= 0.95


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", [47, 48])
def test_codes_find_the_nearest_among_some_hundred(c, dim):
    points = hierarchical_points(6000, dim)
    index = CandidateIndex.build(points, c=c, backend="codes")
    recalls = []
    for centre in hierarchical_points(40, dim, seed=2):
        truth = np.argsort(exact_distances(points, centre, c=c))[:100]
        recalls.append(np.isin(truth, index.search(centre, 500)).mean())
    assert np.mean(recalls) >= 0.93


def test_more_effort_finds_more():
    points = hierarchical_points(6000, 48)
    index = CandidateIndex.build(points, c=1.0, backend="hnsw")
    flat = CandidateIndex.build(points, c=1.0, backend="flat")
    centres = hierarchical_points(40, 48, seed=3)

    def recall(ef_search):
        found = [np.isin(flat.search(m, 10), index.search(m, 10, ef_search=ef_search)).mean() for m in centres]
        return np.mean(found)

    assert recall(None) < recall(200)


@pytest.mark.parametrize("backend", ["flat", "codes", "hnsw"])
def test_asking_for_more_than_there_is_gives_each_row_once(backend):
    index = CandidateIndex.build(hierarchical_points(30, 8), c=1.0, backend=backend)
    rows = index.search(np.zeros(8, dtype=np.float32), 1000)
    assert sorted(rows.tolist()) == list(range(30))
    assert rows.dtype == np.int64


@pytest.mark.parametrize("backend", ["flat", "codes", "hnsw"])
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_a_saved_index_answers_as_before(tmp_path, backend, c):
    points = hierarchical_points(1000, 16)
    index = CandidateIndex.build(points, c=c, backend=backend)
    index.save(tmp_path / "index")
    loaded = CandidateIndex.load(tmp_path / "index", c=c)
    assert loaded.backend == index.backend == backend
    assert len(loaded) == 1000
    for centre in points[:10]:
        np.testing.assert_array_equal(index.search(centre, 50), loaded.search(centre, 50))


def test_a_file_that_is_no_index_is_refused_by_name(tmp_path):
    path = tmp_path / "candidates.faiss"
    path.write_bytes(b"no index at all")
    with pytest.raises(ValueError, match=r"candidates\.faiss"):
        CandidateIndex.load(path, c=1.0)


def test_concurrent_searches_answer_as_one_by_one():
    points = hierarchical_points(3000, 16)
    index = CandidateIndex.build(points, c=1.0, backend="hnsw")
    alone = [index.search(centre, 20).tolist() for centre in points[:100]]
    with ThreadPoolExecutor(max_workers=4) as pool:
        together = list(pool.map(lambda centre: index.search(centre, 20).tolist(), points[:100]))
    assert together == alone


def test_progress_ends_at_the_number_of_rows():
    heard = []
    CandidateIndex.build(hierarchical_points(10_000, 4), c=1.0, backend="flat", on_progress=heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == 10_000


def test_small_catalogues_are_scanned_larger_ones_coded_and_large_ones_linked():
    assert default_backend(FLAT_BELOW - 1) == "flat"
    assert default_backend(FLAT_BELOW) == default_backend(CODES_BELOW - 1) == "codes"
    assert default_backend(CODES_BELOW) == "hnsw"
