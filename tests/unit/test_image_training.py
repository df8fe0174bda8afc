from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from model.catalog import CatalogError, split_of
from model.image.backbones import BackboneError, backbone
from model.image.network import ImageNetwork, NetworkConfig
from model.image.proxies import Hierarchy
from model.image.surface import Surface
from model.image.tree import read_paths
from model.training import checkpoint
from model.training.checkpoint import ResumeError
from model.training.image.augmentation import augmented
from model.training.image.examples import NothingToLearnError, Pictures, read_pictures
from model.training.image.trainer import Recipe, Trainer, batch_rows, points_of
from model.training.run import EVALUATIONS

if TYPE_CHECKING:
    from pathlib import Path

PATHS = ["warm > red", "warm > orange", "cold > blue", "cold > cyan"]
COLOURS = np.array([[200, 30, 30], [220, 140, 30], [30, 40, 200], [40, 190, 210]])
SPHERE = Surface(dim=8)
SHEET = Surface(kind="sheet", dim=8, curvature=1.0, radius=2.0)


def coloured(count, *, seed, size=(24, 18)):
    """Plain pictures in the colours of four classes, with noise."""
    rng = np.random.default_rng(seed)
    tree, of_path = read_paths(PATHS)
    drawn = np.arange(count) % 4
    pixels = COLOURS[drawn][:, None, None] + 40 * rng.standard_normal((count, *size, 3))
    return Pictures(pixels.clip(0, 255).astype(np.uint8), of_path[drawn], tree)


def recipe(surface=SPHERE, **options):
    network = NetworkConfig(surface=surface, height=24, width=18, channels=4)
    hierarchy = Hierarchy(tree="learnt", sizes=(2,), warm_up=4, interval=3)
    return Recipe(**{"steps": 24, "batch": 16, "network": network, "hierarchy": hierarchy, **options})


def trainer(directory, asked, *, report=lambda progress: None, data=None):
    train, dev = coloured(64, seed=1), coloured(24, seed=2)
    return Trainer(train, dev, asked, directory=directory, data=data or {"catalog": "sha256:0"}, report=report)


@pytest.mark.parametrize("surface", [SPHERE, SHEET], ids=["sphere", "sheet"])
def test_training_learns_to_tell_classes_apart(tmp_path, surface):
    seen = []
    trained = trainer(tmp_path / "ck", recipe(surface, steps=40), report=seen.append).fit()
    assert trained.metrics["R@1"] == 1.0
    assert trained.metrics["MAP@R"] > 0.9
    assert sum(progress.metrics is not None for progress in seen) == EVALUATIONS
    assert [progress.step for progress in seen if progress.metrics is None] == list(range(1, 41))
    points = points_of(trained.network, coloured(8, seed=3).pixels)
    assert points.shape == (8, 8)
    if surface.kind == "sphere":
        assert np.linalg.norm(points, axis=1) == pytest.approx(np.ones(8), rel=1e-5)


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("stop", [3, 11])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, monkeypatch, stop):
    monkeypatch.setattr("model.training.run.CHECKPOINT_SECONDS", 0.0)
    whole = trainer(tmp_path / "whole", recipe()).fit()

    def halt(progress):
        if progress.step == stop and progress.metrics is None:
            raise StoppedError

    with pytest.raises(StoppedError):
        trainer(tmp_path / "parts", recipe(), report=halt).fit()
    again = trainer(tmp_path / "parts", recipe())
    assert again.resumed_at == stop - 1
    resumed = again.fit()
    assert resumed.steps == whole.steps
    assert resumed.metrics == whole.metrics
    for name, tensor in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], tensor)
    for name, tensor in whole.criterion.state_dict().items():
        torch.testing.assert_close(resumed.criterion.state_dict()[name], tensor)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = trainer(tmp_path, recipe()).fit()
    again = trainer(tmp_path, recipe())
    assert again.resumed_at == 24
    second = again.fit()
    assert second.steps == 24
    assert second.metrics == first.metrics


def test_a_checkpoint_of_another_recipe_or_other_data_is_refused(tmp_path):
    trainer(tmp_path, recipe()).fit()
    with pytest.raises(ResumeError, match=r"its rate 0\.003, not 0\.001"):
        trainer(tmp_path, recipe(rate=0.001))
    with pytest.raises(ResumeError, match="its catalog 'sha256:0', not 'sha256:1'"):
        trainer(tmp_path, recipe(), data={"catalog": "sha256:1"})


def test_a_checkpoint_of_an_earlier_version_is_refused(tmp_path):
    trainer(tmp_path, recipe()).fit()
    tensors, state = checkpoint.load(tmp_path)
    state.pop("tensors")
    checkpoint.save(tmp_path, {name.replace("now.", "model."): tensor for name, tensor in tensors.items()}, state)
    with pytest.raises(ResumeError, match="written by an earlier version"):
        trainer(tmp_path, recipe())


def test_every_picture_is_seen_once_before_any_is_seen_again_and_a_batch_depends_on_its_number_alone():
    epoch = np.concatenate([batch_rows(60, 20, number, seed=5) for number in range(3)])
    assert sorted(epoch.tolist()) == list(range(60))
    assert np.array_equal(batch_rows(60, 20, 7, seed=5), batch_rows(60, 20, 7, seed=5))
    assert not np.array_equal(batch_rows(60, 20, 3, seed=5), batch_rows(60, 20, 0, seed=5))
    assert len(batch_rows(5, 20, 4, seed=0)) == 5


def test_augmented_pictures_differ_a_little_and_the_same_generator_gives_the_same():
    pixels = torch.from_numpy(coloured(4, seed=0).pixels).permute(0, 3, 1, 2) / 255.0
    once = augmented(pixels, torch.Generator().manual_seed(3))
    assert torch.equal(once, augmented(pixels, torch.Generator().manual_seed(3)))
    assert not torch.equal(once, augmented(pixels, torch.Generator().manual_seed(4)))
    assert once.shape == pixels.shape
    assert once.min() >= 0
    assert once.max() <= 1
    assert (once.mean(dim=(2, 3)) - pixels.mean(dim=(2, 3))).abs().max() < 0.3


def test_a_network_takes_bytes_and_pixels_alike():
    network = ImageNetwork(NetworkConfig(surface=SPHERE, height=24, width=18, channels=4)).eval()
    pictures = torch.from_numpy(coloured(3, seed=0).pixels)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), network.encode(pictures.permute(0, 3, 1, 2) / 255.0))


def shop(folder: Path, rows):
    """A catalogue with pictures; a row is (product_id, category, colour or None or text that is no picture)."""
    lines = ["product_id,title,category_path,image"]
    for product_id, category, colour in rows:
        name = f"{product_id}.png" if colour is not None else ""
        if isinstance(colour, tuple):
            Image.new("RGB", (30, 40), colour).save(folder / name)
        elif colour is not None:
            (folder / name).write_text(colour)
        lines.append(f"{product_id},thing {product_id},{category},{name}")
    (folder / "catalog.csv").write_text("\n".join(lines))
    return folder / "catalog.csv"


def names(split, count):
    return [name for name in (f"p{i}" for i in range(500)) if split_of(name) == split][:count]


def test_a_catalogue_with_half_its_pictures_missing_is_read_counted_and_split(tmp_path):
    train, dev, test = names("train", 8), names("dev", 3), names("test", 2)
    rows = [(name, "a > x" if i % 2 else "b > y", (9 * i, 0, 0)) for i, name in enumerate(train[:4])]
    rows += [(train[4], "a > x", None), (train[5], "", (1, 1, 1)), (train[6], "b > y", "no picture")]
    rows += [(dev[0], "a > x", (0, 0, 200)), (dev[1], "c > z", (0, 0, 200)), (dev[2], "a > x", None)]
    rows += [(name, "a > x", (0, 9, 0)) for name in test]
    found, held, census, rejects = read_pictures(shop(tmp_path, rows), tmp_path, size=(24, 18), max_reject_share=0)
    assert found.pixels.shape == (4, 24, 18, 3)
    assert found.pixels[:, 12, 9, 0].tolist() == [0, 9, 18, 27]
    assert found.tree.names[0] == ("a > x", "b > y")
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert held.labels.tolist() == [0], "a class that was not trained on is not chosen by"
    assert (census.products, census.without_picture, census.without_category) == (12, 2, 1)
    assert census.unreadable == {"this is not a picture of a kind that is read, which are JPEG, PNG, WEBP, GIF": 1}
    assert census.examples[0].startswith(f"{train[6]}: ")
    assert rejects.count == 0


def test_a_catalogue_that_teaches_nothing_is_refused(tmp_path):
    path = shop(tmp_path, [(name, "a > x", (5, 5, 5)) for name in names("train", 3)])
    with pytest.raises(NothingToLearnError, match="3 pictures of 1 categories"):
        read_pictures(path, tmp_path, size=(24, 18), max_reject_share=0)
    with pytest.raises(CatalogError):
        read_pictures(tmp_path / "nowhere.csv", tmp_path, size=(24, 18), max_reject_share=0)


def test_a_backbone_without_torchvision_or_weights_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(BackboneError, match="pip install torchvision"):
        backbone("resnet18", tmp_path / "resnet18.safetensors")
