from __future__ import annotations

import signal
import socket

import pytest
from fakes import write_bundle, write_image_bundle

from index.root import current
from index.snapshot import read_manifest
from model.bundle import MANIFEST
from model.catalog import Rejects, fingerprint, read_products
from service.commands import CommandError
from service.commands.demo import demo


@pytest.fixture(autouse=True)
def _keep_signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def trainings(monkeypatch):
    """Training replaced by a bundle of random weights; the list of the trainings asked for."""
    asked = []

    def train(*, catalog, out, minutes, channel="text", **_files):
        asked.append((channel, minutes))
        titles = [product.title for product in read_products(catalog, Rejects())]
        made = write_bundle(out, titles) if channel == "text" else write_image_bundle(out)
        manifest = made.model_copy(update={"catalog": fingerprint(catalog)})
        (out / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")

    monkeypatch.setattr("service.commands.train.train", train)
    return asked


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(directory, *, port, products=100):
    demo(directory=directory, port=port, minutes=0.1, products=products, serve=False)


def test_the_demo_answers_a_search_and_a_second_run_repeats_no_step(tmp_path, trainings, capfd):
    directory = tmp_path / "demo"
    run(directory, port=free_port(), products=200)
    first = capfd.readouterr().out
    run(directory, port=free_port(), products=200)
    second = capfd.readouterr().out
    assert trainings == [("text", 0.1), ("image", 0.05)]
    assert len(list((directory / "index" / "snapshots").iterdir())) == 1
    snapshot = read_manifest(current(directory / "index"))
    assert snapshot.behaviour is not None
    assert snapshot.pictures is not None
    for output in (first, second):
        assert "asked over HTTP" in output
        assert "products in the hyperboloid" in output
    assert "dev queries" in first
    assert "already" not in first
    assert second.count("already") == 4


def test_a_taken_port_is_passed_over_and_said(tmp_path, trainings, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run(tmp_path / "demo", port=port)
    output = capfd.readouterr().out
    assert f"Port {port} is taken" in output
    assert "asked over HTTP" in output


def test_a_directory_that_is_somebody_elses_is_left_alone(tmp_path, trainings):
    (tmp_path / "catalog.csv").write_text("mine")
    with pytest.raises(CommandError, match="not empty"):
        run(tmp_path, port=free_port())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("catalog.csv", "mine")]


def test_a_shop_of_another_size_is_kept_and_both_sizes_are_named(tmp_path, trainings, capfd):
    directory = tmp_path / "demo"
    run(directory, port=free_port(), products=100)
    catalog = (directory / "catalog.csv").read_bytes()
    with pytest.raises(CommandError, match=r"100 products, not of 200"):
        run(directory, port=free_port(), products=200)
    assert (directory / "catalog.csv").read_bytes() == catalog


def test_a_shop_that_was_cut_short_is_made_again(tmp_path, trainings, capfd):
    directory = tmp_path / "demo"
    directory.mkdir()
    (directory / "demo.json").write_text('{"products": 100, "complete": false}')
    (directory / "catalog.csv").write_text("product_id,ti")
    run(directory, port=free_port())
    assert "asked over HTTP" in capfd.readouterr().out
