"""What the device setting asks for, and what is said where a machine cannot do it."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import SimpleNamespace

import faiss
import numpy as np
import pytest
from fakes import hierarchical_points, shop_titles, write_bundle
from places import has_gpu

from index import candidates_gpu
from index.algebra import Region
from index.candidates_gpu import GpuCandidates
from index.device import CPU, Device, DeviceError, hold
from index.exact import scan
from model.runtime import TextEncoder

POINTS = hierarchical_points(500, 8)
without_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU, so nothing falls back")
with_gpu = [pytest.mark.gpu, pytest.mark.skipif(not has_gpu(), reason="torch finds no CUDA device")]


@pytest.mark.parametrize(
    ("setting", "device"),
    [
        ("cpu", CPU),
        ("cuda", Device(0)),
        ("cuda:3", Device(3)),
        ("cuda/flat", Device(0, "flat")),
        ("cuda:12/cagra", Device(12, "cagra")),
        ("cuda:1/scan", Device(1)),
    ],
)
def test_a_setting_names_a_device_and_what_finds_candidates_there(setting, device):
    assert Device.parse(setting) == device
    assert Device.parse(str(device)) == device


@pytest.mark.parametrize(
    "setting", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cpu/flat", "cuda/hnsw", "cuda:0 "]
)
def test_any_other_setting_is_refused_with_what_it_may_be(setting):
    with pytest.raises(DeviceError, match="cuda:N") as caught:
        Device.parse(setting)
    assert repr(setting) in str(caught.value)


def test_on_the_cpu_nothing_is_held_and_nothing_is_said(caplog):
    assert hold(POINTS, CPU, c=1.0, gamma=0.8) is None
    assert not caplog.records


def test_serving_on_the_cpu_loads_neither_torch_nor_triton():
    code = (
        "import sys, numpy as np, service.app, index.search\n"
        "from index.device import CPU, hold\n"
        "hold(np.zeros((1, 2), dtype=np.float32), CPU, c=1.0, gamma=0.5)\n"
        "print(sorted({'torch', 'triton', 'index.resident', 'index.fused', 'index.candidates_gpu'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@without_gpu
def test_where_there_is_no_gpu_points_stay_where_they_are_and_a_warning_names_both(caplog):
    pytest.importorskip("torch", reason="torch is not installed")
    with caplog.at_level(logging.WARNING):
        assert hold(POINTS, Device(1), c=1.0, gamma=0.8) is None
    (record,) = caplog.records
    for part in ("cpu", "cuda:1", "finds no CUDA device"):
        assert part in record.getMessage()


def test_where_torch_is_not_installed_the_warning_says_so(caplog, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "index.resident", raising=False)
    with caplog.at_level(logging.WARNING):
        assert hold(POINTS, Device(0), c=1.0, gamma=0.8) is None
    assert "torch" in caplog.text
    assert "cuda:0" in caplog.text


def test_a_gpu_whose_memory_is_too_small_is_not_used(caplog, monkeypatch):
    resident = pytest.importorskip("index.resident", reason="torch is not installed")

    def full(*_, **__):
        raise resident.torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 10.00 GiB")

    monkeypatch.setattr(resident, "check", lambda number: None)
    monkeypatch.setattr(resident, "ResidentPoints", full)
    with caplog.at_level(logging.WARNING):
        assert hold(POINTS, Device(0), c=1.0, gamma=0.8) is None
    assert "10.00 GiB" in caplog.text


@without_gpu
def test_a_faiss_without_gpus_leaves_candidates_to_the_scan_and_says_so(caplog, monkeypatch):
    resident = pytest.importorskip("index.resident", reason="torch is not installed")

    class OnCpu(resident.ResidentPoints):
        def __init__(self, points, *, place, c, gamma):
            super().__init__(points, place="cpu", c=c, gamma=gamma)

    monkeypatch.setattr(resident, "check", lambda number: None)
    monkeypatch.setattr(resident, "ResidentPoints", OnCpu)
    with caplog.at_level(logging.WARNING):
        held = hold(POINTS, Device(0, "cagra"), c=1.0, gamma=0.8)
    assert held is not None
    assert held.index is None
    (record,) = caplog.records
    for part in ("fused scan", "cuda:0/cagra", "FAISS"):
        assert part in record.getMessage()


@without_gpu
def test_an_encoder_that_cannot_run_on_the_gpu_runs_on_the_cpu_and_says_so(caplog, tmp_path):
    titles = shop_titles(50)
    write_bundle(tmp_path / "model", titles)
    with caplog.at_level(logging.WARNING):
        asked = TextEncoder(tmp_path / "model", gpu=2)
    (record,) = caplog.records
    for part in ("cpu", "cuda:2", "CPUExecutionProvider"):
        assert part in record.getMessage()
    np.testing.assert_array_equal(
        asked.encode_products(titles[:5]), TextEncoder(tmp_path / "model").encode_products(titles[:5])
    )


@without_gpu
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_an_encoder_whose_gpu_cannot_be_set_up_runs_on_the_cpu_and_says_why(caplog, capsys, tmp_path, monkeypatch):
    titles = shop_titles(50)
    write_bundle(tmp_path / "model", titles)
    monkeypatch.setattr("model.runtime.ort.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("model.runtime.ort.preload_dlls", lambda: print("Failed to load libcudnn.so.9"))  # noqa: T201
    with caplog.at_level(logging.WARNING):
        encoder = TextEncoder(tmp_path / "model", gpu=0)
    (record,) = caplog.records
    assert "could not be set up. Failed to load libcudnn.so.9" in record.getMessage()
    assert not capsys.readouterr().out
    assert len(encoder.encode_products(titles[:2])) == 2


def _at(point):
    return Region.around(point, np.zeros_like(point))


class _Finder:
    """Finds the nearest rows to a centre, at most ten, by looking at all."""

    most = 10

    def search(self, box, count):
        return scan(POINTS, _at(box.centre), c=1.0, gamma=1.0, count=count).rows


def test_an_index_finds_candidates_as_far_as_it_reaches_and_the_scan_does_beyond():
    resident = pytest.importorskip("index.resident", reason="torch is not installed")
    held = resident.ResidentPoints(POINTS, place="cpu", c=1.0, gamma=0.8)
    held.index = _Finder()
    region = Region.around(POINTS[3], np.full(8, 0.5, dtype=np.float32))
    assert held.nearest(region, 10).tolist() == _Finder().search(region.boxes[0], 10).tolist()
    expected = scan(POINTS, region, c=1.0, gamma=0.8, count=11)
    assert sorted(held.nearest(region, 11).tolist()) == sorted(expected.rows.tolist())


class _FaissWithGpus:
    """FAISS as a build for GPUs has it, the flat index of the CPU behind its names."""

    StandardGpuResources = object
    GpuIndexFlatConfig = SimpleNamespace
    GpuIndexCagraConfig = SimpleNamespace
    SearchParametersCagra = SimpleNamespace

    class GpuIndexFlatL2(faiss.IndexFlatL2):
        def __init__(self, resources, width, config):
            super().__init__(width)

    class GpuIndexCagra:
        def __init__(self, resources, width, metric, config):
            assert (config.graph_degree, metric) == (32, faiss.METRIC_L2)
            self._flat = faiss.IndexFlatL2(width)

        def train(self, x):
            self._flat.add(x)

        def search(self, x, count, *, params):
            assert count <= params.itopk_size
            assert params.itopk_size % 32 == 0
            return self._flat.search(x, count)

    @staticmethod
    def get_num_gpus():
        return 1


@pytest.mark.parametrize("finder", ["flat", "cagra"])
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_what_faiss_indexes_on_a_gpu_has_the_order_of_the_distance_to_the_centre(finder, c, monkeypatch):
    monkeypatch.setattr(candidates_gpu, "_gpu", _FaissWithGpus)
    monkeypatch.setattr(candidates_gpu, "_BLOCK", 77)
    found = GpuCandidates.build(POINTS, c=c, finder=finder, number=0)
    for row in (3, 99):
        asked = _at(POINTS[row])
        expected = scan(POINTS, asked, c=c, gamma=1.0, count=90)
        assert sorted(found.search(asked.boxes[0], 90).tolist()) == sorted(expected.rows.tolist())
    with pytest.raises(ValueError, match="finds 1 GPUs"):
        GpuCandidates.build(POINTS, c=c, finder=finder, number=1)


@pytest.mark.parametrize("finder", [pytest.param("flat", marks=with_gpu), pytest.param("cagra", marks=with_gpu)])
@pytest.mark.parametrize("c", [0.0, 1.0])
def test_on_a_gpu_faiss_finds_what_is_nearest_to_a_centre(finder, c):
    points = hierarchical_points(20_000, 32, c=c)
    found = GpuCandidates.build(points, c=c, finder=finder, number=0)
    recalls = []
    for row in range(0, 1000, 50):
        centre = points[row] * np.float32(0.95)
        expected = scan(points, Region.around(centre, np.zeros_like(centre)), c=c, gamma=1.0, count=100)
        recalls.append(np.isin(found.search(centre, 100), expected.rows).sum() / 100)
    assert np.mean(recalls) >= (0.999 if finder == "flat" else 0.9)


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="torch finds no CUDA device")
def test_on_a_gpu_encoders_give_what_they_give_on_the_cpu(tmp_path, caplog):
    titles = shop_titles(50)
    write_bundle(tmp_path / "model", titles)
    there, here = TextEncoder(tmp_path / "model", gpu=0), TextEncoder(tmp_path / "model")
    assert not caplog.records
    np.testing.assert_allclose(there.encode_products(titles), here.encode_products(titles), atol=1e-4)
