from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from model.image.bundle import load_classes
from model.image.runtime import ImageEncoder
from service.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    out = tmp_path_factory.mktemp("shops") / "shop"
    assert run("sample", "--products", 200, "--images", "--out", out).exit_code == 0
    return out


@pytest.mark.slow
def test_a_shops_pictures_become_a_bundle_that_encodes_them(shop, tmp_path):
    out = tmp_path / "image"
    asked = ["train", "--channel", "image", "--catalog", shop / "catalog.csv", "--image-root", shop, "--out", out]
    done = run(*asked, "--steps", 6, "--dim", 16, "--tree", "learnt", "--threads", 1, "--json")
    assert done.exit_code == 0, done.output
    manifest = json.loads(done.stdout)
    assert manifest["version"].startswith("hpl-")
    assert manifest["training"]["steps"] == 6
    assert manifest["surface"]["kind"] == "sphere"
    encoder = ImageEncoder(out)
    point = encoder.encode_bytes(next((shop / "images" / "000").iterdir()).read_bytes())
    assert np.linalg.norm(point) == pytest.approx(1.0, rel=1e-5)
    assert load_classes(out)[0].levels == 3
    assert not out.with_name("image.checkpoint").exists()


def test_the_image_channel_says_what_it_lacks(shop, tmp_path):
    done = run("train", "--channel", "image", "--catalog", shop / "catalog.csv", "--out", tmp_path / "image")
    assert done.exit_code == 1
    assert "0 pictures of 0 categories" in str(done.exception)
    assert "below --image-root" in str(done.exception)
