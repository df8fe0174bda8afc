from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from model.catalog import Rejects, read_products
from model.image.pictures import decode, picture_of
from model.sample.pictures import SIZE, name_of, picture
from model.sample.shop import Shop
from service.cli import app

STOCK = Shop(300, seed=3).stock


def pixels(row, stock=STOCK):
    return decode(picture(stock, row), height=SIZE[1], width=SIZE[0]).astype(int)


def test_one_seed_draws_the_same_pictures_byte_for_byte_and_another_draws_others():
    again, other = Shop(300, seed=3).stock, Shop(300, seed=4).stock
    assert [picture(STOCK, row) for row in range(20)] == [picture(again, row) for row in range(20)]
    assert picture(STOCK, 0) != picture(other, 0)
    assert len(picture(STOCK, 0)) < 10_000


def test_pictures_of_one_kind_look_more_alike_than_those_of_others():
    shapes = {row: (pixels(row) - pixels(row)[0, 0]).any(axis=2) for row in range(120)}  # what is not backdrop
    kinds = {row: STOCK.kind(row).type_name for row in shapes}

    def differ(alike):
        return np.mean([
            (shapes[a] != shapes[b]).mean() for a in shapes for b in shapes if a < b and (kinds[a] == kinds[b]) == alike
        ])  # fmt: skip

    assert differ(alike=True) < 0.8 * differ(alike=False)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_command_draws_a_picture_of_every_product_only_when_asked(tmp_path, kind):
    out = tmp_path / "shop"
    asked = ["sample", "--products", "60", "--format", kind, "--json"]
    done = CliRunner().invoke(app, [*asked, "--out", str(out), "--images"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"]["products"]["rows"] == 60
    products = list(read_products(out / f"catalog.{kind}", Rejects()))
    assert [product.image for product in products] == [name_of(row) for row in range(60)]
    for product in products:
        assert decode(picture_of(product, out), height=80, width=60).std() > 5
    assert CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "plain")]).exit_code == 0
    assert not (tmp_path / "plain" / "images").exists()
    assert {product.image for product in read_products(tmp_path / "plain" / f"catalog.{kind}", Rejects())} == {""}
