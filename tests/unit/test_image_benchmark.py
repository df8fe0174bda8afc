from __future__ import annotations

import hashlib
import json
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.image import tuning
from benchmarks.image.__main__ import main
from benchmarks.image.cells import every_cell
from benchmarks.image.data import Photographs, Task
from benchmarks.image.plates import contact_sheet, projection
from benchmarks.image.report import collect
from benchmarks.image.serving import PHOTOGRAPHS, photograph
from benchmarks.image.systems import HIERARCHICAL
from benchmarks.tables import pictures as tables
from model.image.measure import nearest
from model.image.surface import Surface

TYPES = [
    ("Wear", "Top", "Shirts"),
    ("Wear", "Top", "Tshirts"),
    ("Wear", "Bottom", "Jeans"),
    ("Feet", "Shoes", "Heels"),
    ("Feet", "Shoes", "Flats"),
    ("Bags", "Bags", "Clutches"),
    ("Bags", "Purse", "Wallets"),
    ("Feet", "Socks", "Socks"),
]


def md5(text):
    return int(hashlib.md5(text.encode()).hexdigest(), 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Plain photographs in the colour of their article type."""
    root = tmp_path_factory.mktemp("data")
    (root / "fashion").mkdir()
    rows = []
    for number in range(240):
        place = number % len(TYPES)
        file = BytesIO()
        Image.new("RGB", (60, 80), (30 * place, 255 - 30 * place, number % 40)).save(file, "JPEG")
        master, sub, article = TYPES[place]
        rows.append({"product_id": 1000 + number, "title": "x", "master_category": master, "sub_category": sub,
                     "article_type": article, "colour": "Red", "jpeg": file.getvalue()})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), root / "fashion" / "products.parquet")
    return root


def test_nothing_that_is_reported_was_trained_on_or_chosen_by(folder):
    photographs = Photographs.read(folder / "fashion" / "products.parquet")
    test, tune = Task(photographs, "test"), Task(photographs, "tune")
    for part in (test.train, test.dev, tune.train, tune.dev, tune.seen):
        for name in np.array(part.tree.names[0])[part.labels]:
            assert md5(name.rpartition(" > ")[2]) % 5 != 0
    assert {md5(name.rpartition(" > ")[2]) % 5 for name in test.unseen.tree.names[0]} == {0}
    assert {md5(name.rpartition(" > ")[2]) % 5 for name in tune.unseen.tree.names[0]} <= {1}
    ids = photographs.ids
    for task, splits in ((test, ("train", "dev", "test")), (tune, ("train", "dev", "dev"))):
        held_out = (0,) if task.stage == "test" else (0, 1)
        known = ~np.isin(photographs.folds, held_out)
        for part, split in zip((task.train, task.dev, task.seen), splits, strict=True):
            bucket = np.array([md5(str(product)) % 100 for product in ids])
            wanted = {"train": bucket < 72, "dev": (bucket >= 72) & (bucket < 80), "test": bucket >= 80}[split]
            assert len(part) == (known & wanted).sum()
            assert part.tree.names == task.train.tree.names


def test_every_pairing_has_its_base_loss_and_every_seed():
    names = {cell.name for cell in every_cell([0, 1])}
    assert len(names) == len(every_cell([0, 1])) == 1 + 2 * (2 * len(HIERARCHICAL) + 2)
    for surface in ("sphere", "sheet"):
        for base in ("proxy-nca", "proxy-anchor"):
            for tree in ("flat", "given", "learnt"):
                assert {f"{base}-{tree}-{surface}-s0", f"{base}-{tree}-{surface}-s1"} <= names


def record(system, seed, recall):
    scores = {
        "R@1": recall,
        "MAP@R": recall / 2,
        "mistakes": {"wrong": 1 - recall, "level1": 0.1 + recall, "level2": 0.5},
    }
    cell = {"system": system, "surface": "sphere", "seed": seed, "stage": "test", "core_seconds": 1.0}
    told = {"measured": "2026", "commit": "c", "machine": "m", "versions": {}, "threads": 1}
    return {**cell, "seen": scores, "unseen": scores, **told}


def test_gains_are_taken_seed_by_seed(tmp_path):
    for seed, flat, deep in ((0, 0.5, 0.6), (1, 0.7, 0.75), (2, 0.1, None)):
        for system, recall in (("proxy-nca-flat", flat), ("proxy-nca-given", deep)):
            if recall is not None:
                (tmp_path / f"{system}-{seed}.json").write_text(json.dumps(record(system, seed, recall)))
    report = collect(tmp_path)
    (gain,) = report["gains"]
    assert (gain["base"], gain["tree"], gain["seeds"]) == ("proxy-nca", "given", [0, 1])
    assert gain["seen"]["R@1"]["mean"] == pytest.approx(0.075)
    assert gain["seen"]["R@1"]["ahead"]
    assert gain["unseen"]["mistakes in the right level2"] == {"mean": 0.0, "std": 0.0, "ahead": False}
    flat = next(row for row in report["systems"] if row["system"] == "proxy-nca-flat")
    assert flat["seen"]["mistakes"]["wrong"]["mean"] == pytest.approx(1 - (0.5 + 0.7 + 0.1) / 3)


def test_every_pairing_has_a_line_for_each_part_and_systems_are_listed_best_first(tmp_path, monkeypatch):
    for seed, flat, deep in ((0, 0.5, 0.6), (1, 0.7, 0.75)):
        for system, recall in (("proxy-nca-flat", flat), ("proxy-nca-given", deep)):
            found = record(system, seed, recall)
            for part in ("seen", "unseen"):
                found[part] |= {"R@2": 1.0, "R@4": 1.0, "R@8": 1.0}
            (tmp_path / f"{system}-{seed}.json").write_text(json.dumps(found))
    monkeypatch.setattr(tables, "read", lambda name: {"image": collect(tmp_path)}[name])
    seen, gains = tables.image_seen().splitlines(), tables.image_gains().splitlines()
    assert [line.split(" | ")[0] for line in seen[2:]] == ["| proxy-nca-given", "| proxy-nca-flat"]
    assert "| 0.675 ± 0.106 |" in seen[2]
    assert seen[2].endswith("| 0.775 ± 0.106 | 0.500 ± 0.000 |")
    assert [line.split(" | ")[3] for line in gains[2:]] == ["types that were learnt", "types never seen"]
    assert "| +0.075 ± 0.035 | +0.038 ± 0.018 |" in gains[2]
    assert len({line.count("|") for line in gains}) == 1


@pytest.mark.slow
def test_trials_change_what_they_name_and_go_on_where_they_were_stopped(folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "trials.json"
    asked = ["--data", str(folder), "--out", str(out), "--steps", "2"]
    tuning.main([*asked, "--trials", "proxy-nca-given,scale=16,rate=0.001"])
    (first,) = json.loads(out.read_bytes())["trials"]
    assert first["changes"] == {"scale": 16, "rate": 0.001}
    assert set(first["seen"]) == set(first["unseen"]) >= {"R@1", "MAP@R", "mistakes"}
    tuning.main([*asked, "--trials", "proxy-nca-given,scale=16,rate=0.001", "proxy-anchor-flat"])
    trials = json.loads(out.read_bytes())["trials"]
    assert trials[0] == first
    assert [trial["system"] for trial in trials] == ["proxy-nca-given", "proxy-anchor-flat"]
    assert capsys.readouterr().err.count("unseen: R@1") == 2
    monkeypatch.setattr(tables, "read", lambda name: {"image_tuning": {"trials": trials}}[name])
    lines = tables.image_tuning().splitlines()[2:]
    assert lines[0].startswith("| proxy-anchor-flat | sphere | 2 | none |")
    assert lines[1].startswith("| proxy-nca-given | sphere | 2 | scale 16, rate 0.001 |")


def test_a_trial_of_an_unknown_system_names_those_there_are():
    with pytest.raises(SystemExit, match="hpl is none of proxy-nca-flat, proxy-nca-given"):
        tuning.parsed("hpl,scale=1")


@pytest.mark.slow
def test_cells_are_run_once_and_write_what_they_found(folder, tmp_path, capsys):
    out, bundles = tmp_path / "cells", tmp_path / "bundles"
    asked = ["--data", str(folder), "--out", str(out), "--bundles", str(bundles), "--steps", "3", "--seeds", "0"]
    for cells in ("pixels-*", "softmax-*", "proxy-nca-learnt-sheet-*"):
        main([*asked, "--cells", cells])
    found = json.loads((out / "proxy-nca-learnt-sheet-s0.json").read_bytes())
    assert found["steps"] == 3
    assert set(found["seen"]) == set(found["unseen"]) == {"R@1", "R@2", "R@4", "R@8", "MAP@R", "mistakes", "radius"}
    assert found["seen"]["radius"]["p95"] < 2.0
    assert (bundles / "proxy-nca-learnt-sheet-s0" / "manifest.json").is_file()
    assert not (out / "checkpoints" / "proxy-nca-learnt-sheet-s0").exists()
    summary = json.loads(out.with_suffix(".json").read_bytes())
    assert {row["system"] for row in summary["systems"]} == {"pixels-pca", "softmax", "proxy-nca-learnt"}
    main([*asked, "--cells", "pixels-*"])
    assert "skipped" in capsys.readouterr().err


def test_a_contact_sheet_tells_right_near_and_wrong_by_colour_and_a_tree_is_drawn(folder):
    pytest.importorskip("matplotlib")
    photographs = Photographs.read(folder / "fashion" / "products.parquet")
    seen = Task(photographs, "test").train
    surface = Surface(dim=3)
    rng = np.random.default_rng(0)
    points = surface.place(rng.standard_normal((len(seen), 3)).astype(np.float32))
    sheet = np.asarray(contact_sheet(seen, points, [0, 5], surface))
    assert sheet.shape == (2 * 88, 11 * 68, 3)
    for line, query in enumerate((0, 5)):
        for place, row in enumerate(nearest(points, surface, 10)[query].tolist(), start=1):
            rim = tuple(sheet[line * 88, place * 68].tolist())
            levels = seen.tree.nodes[0][seen.labels]
            if seen.labels[row] == seen.labels[query]:
                assert rim == (46, 140, 70)
            else:
                assert rim == ((222, 170, 40) if levels[row] == levels[query] else (200, 50, 44))
    proxies = surface.place(rng.standard_normal((seen.tree.classes, 3)))
    labels = [text.get_text() for text in projection(seen.tree, proxies, surface).axes[0].texts]
    assert sorted(labels) == sorted(name.rpartition(" > ")[2] for name in seen.tree.names[0])


def test_photographs_are_what_they_are_called():
    for title, _, kind, options in PHOTOGRAPHS:
        image = Image.open(BytesIO(photograph((96, 64), kind, **options)))
        assert (image.format, image.size) == (kind, (96, 64))
        assert ("progressive" in title) == bool(image.info.get("progressive"))
        assert np.asarray(image.convert("RGB")).std() > 20
