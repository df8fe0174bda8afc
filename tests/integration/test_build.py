from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from fakes import shop_titles, write_bundle, write_catalog

import index.build
from index import calibration
from index.algebra import Region
from index.build import BuildError, build
from index.exact import scan
from index.familiarity import UnfamiliarError, familiar_share
from index.fusion import FEWEST_QUERIES, Fusion
from index.learning import read_dev_judgments
from index.lexical import LexicalIndex, LexicalWriter
from index.root import current
from index.snapshot import Snapshot
from model.bundle import BundleError
from model.catalog import CatalogError, Rejects, fingerprint, read_products, searchable_text, split_of
from model.runtime import TextEncoder
from model.text import Vocabulary

TITLES = shop_titles(800)
QUERIES = ["cordless drill", "oak door", "acme", "white vanity 12"]


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundles") / "model"
    write_bundle(directory, TITLES)
    return directory


@pytest.fixture
def catalog(tmp_path):
    return write_catalog(tmp_path / "catalog.csv", TITLES)


def visible(root):
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def hidden(root):
    return sorted(path.name for path in root.iterdir() if path.name.startswith("."))


def test_a_build_publishes_every_product_with_its_point(tmp_path, bundle_dir, catalog):
    report = build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "index", threads=1)
    opened = Snapshot.open(current(tmp_path / "index"))
    assert report.directory == opened.directory
    assert report.products == opened.manifest.products == 800
    assert opened.manifest.catalog == report.catalog == fingerprint(catalog)
    products = list(read_products(catalog, Rejects()))
    assert [opened.documents.product(row) for row in range(800)] == products
    expected = TextEncoder(bundle_dir).encode_products([searchable_text(product) for product in products])
    np.testing.assert_allclose(opened.points, expected, atol=1e-6)
    assert list(report.seconds) == ["encode", "words", "columns", "measure", "index", "calibrate"]
    assert report.fusion == opened.manifest.fusion == Fusion()
    assert report.products_per_second == pytest.approx(800 / report.total_seconds)
    assert hidden(tmp_path / "index") == [".lock"]


def test_batches_leave_no_seam(tmp_path, bundle_dir, catalog, monkeypatch):
    monkeypatch.setattr(index.build, "_BATCH", 77)
    whole = build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "a", queries=QUERIES)
    monkeypatch.setattr(index.build, "_BATCH", 1000)
    parts = build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "b", queries=QUERIES)
    a, b = Snapshot.open(whole.directory), Snapshot.open(parts.directory)
    np.testing.assert_allclose(a.points, b.points, atol=1e-6)
    for row in (0, 76, 77, 153, 154, 799):
        assert a.documents.product(row) == b.documents.product(row)
    assert a.documents.row("p799") == 799
    words_a, words_b = (LexicalIndex.load(place.directory / "lexical") for place in (a, b))
    for query in QUERIES:
        np.testing.assert_array_equal(words_a.scores(query), words_b.scores(query))


def test_both_channels_share_their_rows(tmp_path, bundle_dir, catalog):
    report = build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "index", queries=QUERIES)
    writer = LexicalWriter()
    # the brand is the first word of every title, so it adds nothing to what is searched
    writer.append(TITLES)
    writer.save(tmp_path / "lexical")
    alone = LexicalIndex.load(tmp_path / "lexical")
    built = LexicalIndex.load(report.directory / "lexical")
    for query in (*QUERIES, "fjord lamp 7 x 7"):
        np.testing.assert_array_equal(built.scores(query), alone.scores(query))


@pytest.fixture(scope="module")
def judgments(tmp_path_factory):
    """Queries of all splits; relevant is what holds all their words, and a product that the catalogue lacks."""
    holding = {}
    for row, title in enumerate(TITLES):
        brand, first, second, kind, *_ = title.split()
        for query in (f"{first} {kind}", f"{second} {kind}", f"{brand} {first} {kind}", f"{brand} {second} {kind}"):
            holding.setdefault(query, []).append(f"p{row}")
    path = tmp_path_factory.mktemp("judged") / "judgments.csv"
    with path.open("w") as file:
        file.write("query,product_id,relevance\n")
        for query, found in holding.items():
            file.writelines(f"{query},{product_id},3\n" for product_id in (*found, "gone"))
    return path


def test_judgments_teach_how_the_channels_are_fused(tmp_path, bundle_dir, catalog, judgments):
    heard = []
    report = build(
        bundle_dir=bundle_dir,
        catalog=catalog,
        root=tmp_path / "index",
        queries=QUERIES,
        judgments=judgments,
        on_progress=lambda stage, done, total: heard.append((stage, done, total)),
    )
    fusion = report.fusion
    judged = {line.split(",")[0] for line in judgments.read_text().splitlines()[1:]}
    dev = {query for query in judged if split_of(query) == "dev"}
    assert len(dev) >= FEWEST_QUERIES
    assert (fusion.method, fusion.queries) == ("weighted", len(dev))
    assert fusion.lexical_weight > 0
    assert Snapshot.open(report.directory).manifest.fusion == fusion
    assert list(report.seconds) == ["encode", "words", "columns", "measure", "index", "calibrate", "fuse"]
    assert heard[-1] == ("fuse", len(dev), len(dev))
    best = max(fusion.metrics["hyperboloid"]["nDCG@10"], fusion.metrics["lexical"]["nDCG@10"])
    assert fusion.metrics["hybrid"]["nDCG@10"] >= best - 0.01


def test_only_dev_queries_are_learnt_from(judgments):
    read = read_dev_judgments(judgments, max_reject_share=0.0)
    assert {split_of(query) for query in read} == {"dev"}
    assert all(len(grades) > 1 and set(grades.values()) == {6} for grades in read.values())


def test_judgments_that_cannot_be_read_are_refused_before_anything_is_built(tmp_path, bundle_dir, catalog):
    (tmp_path / "judgments.csv").write_text("query,product\noak door,p1\n")
    with pytest.raises(CatalogError, match="lacks the columns product_id and relevance"):
        build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "index", judgments=tmp_path / "judgments.csv")
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("backend", ["flat", "cells", "hnsw"])
def test_the_recall_in_the_manifest_is_what_an_exact_scan_confirms(tmp_path, bundle_dir, catalog, backend):
    report = build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "index", backend=backend, queries=QUERIES)
    found = report.candidates
    assert (found.backend, found.queries, found.depth) == (backend, len(QUERIES), 100)
    assert report.meets_target
    opened = Snapshot.open(report.directory)
    candidates = index.build.CandidateIndex.load(opened.directory / "candidates", form=found.form, c=1.0)
    regions = TextEncoder(bundle_dir).encode_queries(QUERIES)
    recalls = []
    for centre, limit in zip(regions.centres, regions.limits, strict=True):
        region = Region.around(centre, limit)
        truth = scan(opened.points, region, c=1.0, gamma=0.9, count=100).rows
        recalls.append(np.isin(truth, candidates.search(region.boxes, found.count, effort=found.effort)).mean())
    assert found.recall == pytest.approx(np.mean(recalls))
    assert found.recall >= 0.98


def test_a_target_out_of_reach_takes_the_best_and_says_so(tmp_path, bundle_dir, catalog, monkeypatch):
    monkeypatch.setattr(calibration, "_COUNTS", (20, 110))
    report = build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path, target_recall=1.0, queries=QUERIES)
    assert not report.meets_target
    assert report.candidates.count == 110
    assert Snapshot.open(current(tmp_path)).manifest.candidates == report.candidates


def test_a_higher_target_never_takes_fewer_candidates(tmp_path, bundle_dir, catalog):
    counts = [
        build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path, target_recall=target).candidates.count
        for target in (0.1, 0.9, 1.0)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_bad_rows_are_counted_and_listed_and_the_rest_is_indexed(tmp_path, bundle_dir):
    titles = [*TITLES[:50], "", "!!", *TITLES[50:60]]
    catalog = write_catalog(tmp_path / "catalog.csv", titles)
    listed = tmp_path / "out" / "rejects.jsonl"
    report = build(
        bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "index", queries=QUERIES, rejects_path=listed
    )
    assert (report.products, report.rejects) == (60, 2)
    assert sum(report.reasons.values()) == 2
    assert [json.loads(line)["line"] for line in listed.read_text().splitlines()] == [52, 53]
    manifest = Snapshot.open(report.directory).manifest
    assert manifest.rejects.reasons == report.reasons


def test_too_many_bad_rows_publish_nothing_but_are_listed(tmp_path, bundle_dir, catalog):
    root = tmp_path / "index"
    before = build(bundle_dir=bundle_dir, catalog=catalog, root=root, queries=QUERIES)
    bad = write_catalog(tmp_path / "bad.csv", [*TITLES[:9], ""])
    listed = tmp_path / "rejects.jsonl"
    with pytest.raises(CatalogError, match="1 of 10 rows"):
        build(bundle_dir=bundle_dir, catalog=bad, root=root, queries=QUERIES, rejects_path=listed)
    assert len(listed.read_text().splitlines()) == 1
    assert current(root) == before.directory
    assert (visible(root), hidden(root)) == (["CURRENT", "snapshots"], [".lock"])


def test_a_catalogue_without_a_usable_row_is_refused(tmp_path, bundle_dir):
    catalog = write_catalog(tmp_path / "catalog.csv", ["", "??"])
    with pytest.raises(BuildError, match="no usable product: all 2 rows"):
        build(bundle_dir=bundle_dir, catalog=catalog, root=tmp_path / "index", max_reject_share=1.0)


@pytest.mark.parametrize("terms", ["word", "trigram"])
def test_a_bundle_of_another_catalogue_is_refused_unless_insisted_on(tmp_path, terms):
    manifest = write_bundle(tmp_path / "model", TITLES, terms=terms)
    catalog = write_catalog(tmp_path / "books.csv", ["zyxwv qqjjx vvkkz"] * 30)
    with pytest.raises(UnfamiliarError, match="allow-foreign") as refused:
        build(bundle_dir=tmp_path / "model", catalog=catalog, root=tmp_path / "index")
    for named in (manifest.version, manifest.catalog, fingerprint(catalog)):
        assert named in str(refused.value)
    assert visible(tmp_path / "index") == []
    report = build(bundle_dir=tmp_path / "model", catalog=catalog, root=tmp_path / "index", allow_foreign=True)
    assert report.products == 30


def test_familiarity_counts_every_occurrence_of_a_word():
    vocabulary = Vocabulary.learn(["red drill", "red saw"], min_count=2)
    assert familiar_share(vocabulary, ["red red drill", "blue"]) == 0.5
    assert familiar_share(vocabulary, []) == 0.0


def test_a_directory_without_a_bundle_is_refused_before_the_root_is_made(tmp_path, catalog):
    with pytest.raises(BundleError, match="saddle train"):
        build(bundle_dir=tmp_path, catalog=catalog, root=tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_progress_is_told_stage_by_stage(tmp_path, bundle_dir, catalog):
    heard = []
    build(
        bundle_dir=bundle_dir,
        catalog=catalog,
        root=tmp_path,
        queries=QUERIES,
        on_progress=lambda stage, done, total: heard.append((stage, done, total)),
    )
    assert list(dict.fromkeys(stage for stage, _, _ in heard)) == [
        "encode",
        "words",
        "columns",
        "measure",
        "index",
        "calibrate",
    ]
    assert ("encode", 800, None) in heard
    assert ("index", 800, 800) in heard
    assert heard[-1][1] == heard[-1][2]


# Builds again and again, each time killed with SIGKILL one step later than before. A step is whatever touches
# the index root: opening a file to write, read or sync it; making, linking, renaming or removing one.
_KILLED_AT_EVERY_STEP = """
import itertools, json, os, signal, sys
from pathlib import Path
from index.build import build
from index.root import current
from index.snapshot import Snapshot

root, bundle_dir, catalog = map(Path, sys.argv[1:])
EVENTS = {"open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir"}

def build_until(fatal):
    steps = itertools.count(1)
    def watch(event, args):
        if event in EVENTS and str(args[0]).startswith(str(root)) and next(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    build(bundle_dir=bundle_dir, catalog=catalog, root=root, queries=["oak door"], threads=1)

for fatal in itertools.count(1):
    child = os.fork()
    if child == 0:
        build_until(fatal)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    snapshots = [Snapshot.open(place).manifest.id for place in (root / "snapshots").iterdir()]
    found = {"serving": current(root).name, "snapshots": snapshots, "root": sorted(os.listdir(root))}
    print(json.dumps({"killed": os.WIFSIGNALED(status), **found}), flush=True)
    if not os.WIFSIGNALED(status):
        sys.exit(os.WEXITSTATUS(status))
"""


def test_a_killed_build_leaves_the_old_snapshot_serving(tmp_path, bundle_dir):
    root = tmp_path / "index"
    catalog = write_catalog(tmp_path / "catalog.csv", TITLES[:40])
    before = build(bundle_dir=bundle_dir, catalog=catalog, root=root, queries=QUERIES).snapshot
    builds = subprocess.run(
        [sys.executable, "-c", _KILLED_AT_EVERY_STEP, str(root), str(bundle_dir), str(catalog)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert builds.returncode == 0, builds.stderr
    *killed, finished = (json.loads(line) for line in builds.stdout.splitlines())
    assert len(killed) > 20
    assert all(state["killed"] for state in killed)
    serving = [state["serving"] for state in killed]
    unswitched = serving.count(before)
    # Every kill before CURRENT is replaced leaves the old snapshot; the few steps after it leave the new one.
    assert serving[:unswitched] == [before] * unswitched
    assert len(killed) - unswitched <= 2
    # At most one dead build's traces lie around: each next build removes those before it.
    assert max(sum(name.startswith(".unfinished") for name in state["root"]) for state in killed) <= 2
    assert finished["serving"] not in serving
    assert finished["root"] == [".lock", "CURRENT", "snapshots"]
