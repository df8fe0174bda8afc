from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from fakes import hierarchical_points, shop_titles, write_bundle

from index import root as index_root
from index import snapshot
from index.candidates import CandidateIndex
from index.column_files import COLUMNS, ColumnsWriter
from index.documents import Documents, DocumentWriter
from index.fusion import Fusion
from index.journal import JOURNAL, Change, Journal
from index.lexical import LEXICAL, LexicalIndex, LexicalWriter
from index.points import PointsWriter, load_points
from index.shapes import Shape
from index.snapshot import CandidateSettings, Contents, JournalMark, RejectSummary, Snapshot, SnapshotError
from model import bundle
from model.catalog import Product

TITLES = shop_titles(60)
PRODUCTS = [
    Product(
        f"id-{i}",
        title,
        description="über ½ inch" if i % 2 else "",
        brand="acme",
        category_path="tools > drills",
        price=None if i % 3 else 1.5 * i,
        image=f"{i}.jpg",
        attributes={"volts": 18.0, "kit": True, "colour": "red"} if i % 2 else {},
    )
    for i, title in enumerate(TITLES)
]
FUSION = Fusion(
    method="weighted", distance_weight=11.0, lexical_weight=0.6, queries=9, metrics={"hybrid": {"nDCG@10": 0.4}}
)
PAYLOAD = list(snapshot.PAYLOAD)


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundles") / "model"
    write_bundle(directory, TITLES, dim=8)
    return directory


def fill(draft, bundle_dir, *, as_of=0.0, mark=None):
    points = hierarchical_points(len(PRODUCTS), 8)
    with PointsWriter(draft / snapshot.POINTS, dim=8) as writer:
        writer.append(points[:25])
        writer.append(points[25:])
    with DocumentWriter(draft) as documents:
        documents.append(PRODUCTS[:25])
        documents.append(PRODUCTS[25:])
    CandidateIndex.build(points, c=1.0, shape=Shape("flat")).save(draft / snapshot.CANDIDATES)
    columns = ColumnsWriter()
    columns.append(PRODUCTS)
    columns.save(draft / COLUMNS)
    terms = LexicalWriter()
    terms.append(TITLES)
    terms.save(draft / LEXICAL)
    index_root.adopt(bundle_dir, bundle.FILES, draft / snapshot.ENCODER)
    manifest = json.loads((bundle_dir / "manifest.json").read_text())
    return Contents(
        model=manifest["version"],
        geometry=manifest["geometry"],
        products=len(PRODUCTS),
        candidates=CandidateSettings(
            backend="flat",
            count=20,
            form="centre",
            effort=None,
            tried=(),
            recall=1.0,
            target_recall=0.98,
            depth=100,
            queries=5,
            latency_seconds=0.001,
        ),
        fusion=FUSION,
        catalog="sha256:0123456789ab",
        as_of=as_of,
        journal=mark,
        rejects=RejectSummary(count=1, reasons={"empty title": 1}),
    )


def publish(root, bundle_dir, **parts):
    with index_root.drafting(root) as draft:
        return index_root.publish(root, draft, fill(draft, bundle_dir, **parts))


@pytest.fixture
def published(tmp_path, bundle_dir):
    return publish(tmp_path / "index", bundle_dir)


def test_a_published_snapshot_is_current_and_opens_whole(published, tmp_path):
    root = tmp_path / "index"
    assert index_root.current(root) == published
    opened = Snapshot.open(published)
    np.testing.assert_array_equal(opened.points, hierarchical_points(len(PRODUCTS), 8))
    assert [opened.documents.product(row) for row in range(len(PRODUCTS))] == PRODUCTS
    assert opened.manifest.rejects.reasons == {"empty title": 1}
    assert opened.manifest.fusion == FUSION
    assert len(LexicalIndex.load(published / LEXICAL)) == len(PRODUCTS)
    assert re.fullmatch(r"\d{8}T\d{6}-[0-9a-f]{6}", opened.manifest.id)
    assert published.name == opened.manifest.id
    assert {path.name for path in root.iterdir()} == {".lock", "CURRENT", "snapshots"}


def test_every_product_is_found_by_its_id_and_no_other_is(published):
    documents = Documents(published)
    assert [documents.row(product.product_id) for product in PRODUCTS] == list(range(len(PRODUCTS)))
    assert documents.row("id-60") is None
    assert documents.row("") is None


def test_two_ids_of_one_hash_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr("index.documents._hash", lambda _id: 7)
    with DocumentWriter(tmp_path) as writer:
        writer.append(PRODUCTS)
    documents = Documents(tmp_path)
    assert [documents.row(product.product_id) for product in PRODUCTS] == list(range(len(PRODUCTS)))
    assert documents.row("unknown") is None


def test_products_stay_valid_when_the_snapshot_is_closed(published):
    documents = Documents(published)
    product = documents.product(31)
    documents.close()
    assert product == PRODUCTS[31]


def test_the_bundle_it_came_from_may_go(published, tmp_path, bundle_dir):
    copy = tmp_path / "model"
    write_bundle(copy, TITLES, dim=8)
    place = publish(tmp_path / "index", copy)
    for path in copy.iterdir():
        path.unlink()
    assert Snapshot.open(place).manifest.id == place.name


@pytest.mark.parametrize("name", PAYLOAD)
def test_one_flipped_bit_is_found_and_the_file_named(published, name):
    path = published / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=rf"{name} has the SHA-256 [0-9a-f]+…, .* says [0-9a-f]+…"):
        Snapshot.open(published)


@pytest.mark.parametrize("name", PAYLOAD)
def test_a_missing_or_shortened_file_is_named(published, name):
    path = published / name
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SnapshotError, match=rf"{name} has {size - 1} bytes, .* says {size}"):
        Snapshot.open(published)
    path.unlink()
    with pytest.raises(SnapshotError, match=f"lacks .*{name}"):
        Snapshot.open(published)


def test_a_damaged_encoder_is_found(published):
    path = published / snapshot.ENCODER / "query.onnx"
    content = path.read_bytes()
    path.unlink()  # a hard link: the bundle it came from must stay as it is
    path.write_bytes(content + b"\0")
    with pytest.raises(SnapshotError, match=r"a bundle of snapshot .*query\.onnx"):
        Snapshot.open(published)


def test_another_encoder_is_refused_and_both_versions_are_named(published, tmp_path):
    built_with = Snapshot.open(published).manifest.model
    for path in (published / snapshot.ENCODER).iterdir():
        path.unlink()
    (published / snapshot.ENCODER).rmdir()
    other = write_bundle(published / snapshot.ENCODER, TITLES, dim=8, seed=1)
    with pytest.raises(SnapshotError, match=f"{built_with}.*{other.version}"):
        Snapshot.open(published)


def test_a_manifest_that_promises_other_numbers_is_refused(published):
    path = published / snapshot.MANIFEST
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "products": 61}))
    with pytest.raises(SnapshotError, match=r"61 products.*60"):
        Snapshot.open(published)
    path.write_text(json.dumps({**manifest, "model": None}))
    with pytest.raises(SnapshotError, match="not a manifest of snapshot format 5"):
        Snapshot.open(published)
    path.write_text(json.dumps({**manifest, "files": {}}))
    with pytest.raises(SnapshotError, match=r"does not list candidates/index\.faiss"):
        Snapshot.open(published)
    path.unlink()
    with pytest.raises(SnapshotError, match=r"no manifest\.json"):
        Snapshot.open(published)


@pytest.mark.parametrize(("older", "lacks"), [(2, ("fusion",)), (4, ("fusion", "expected"))])
def test_a_snapshot_of_an_older_release_is_refused_with_what_to_do(published, older, lacks):
    path = published / snapshot.MANIFEST
    manifest = json.loads(path.read_text())
    *within, last = lacks
    del (manifest[within[0]] if within else manifest)[last]
    path.write_text(json.dumps({**manifest, "format": older}))
    told = rf"snapshot format {older}, .* reads format 5; `saddle reindex` makes a new one"
    with pytest.raises(SnapshotError, match=told):
        Snapshot.open(published)


@pytest.mark.parametrize("name", ["20261121T093000-abcdef", "", "..", "../snapshots"])
def test_current_must_name_a_snapshot(tmp_path, name):
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "CURRENT").write_text(name + "\n")
    with pytest.raises(SnapshotError, match=f"names the snapshot '{name}'"):
        index_root.current(tmp_path)


def test_an_empty_root_has_no_current_snapshot(tmp_path):
    with pytest.raises(SnapshotError, match="saddle reindex"):
        index_root.current(tmp_path / "nowhere")


def test_a_draft_that_fails_leaves_nothing_and_the_snapshot_before_current(published, tmp_path, bundle_dir):
    root = tmp_path / "index"

    def fail():
        with index_root.drafting(root) as draft:
            fill(draft, bundle_dir)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert index_root.current(root) == published
    assert {path.name for path in root.iterdir()} == {".lock", "CURRENT", "snapshots"}
    assert [path.name for path in (root / "snapshots").iterdir()] == [published.name]


def test_what_a_dead_build_left_is_removed_by_the_next(published, tmp_path, bundle_dir):
    root = tmp_path / "index"
    (root / ".unfinished-1" / "encoder").mkdir(parents=True)
    (root / ".unfinished-1" / "points.npy").write_bytes(b"half")
    (root / ".current-dead").write_text("half")
    place = publish(root, bundle_dir)
    assert {path.name for path in root.iterdir()} == {".lock", "CURRENT", "snapshots"}
    assert index_root.current(root) == place
    assert Snapshot.open(published).manifest.id == published.name


def test_two_snapshots_of_one_second_have_two_ids(tmp_path, bundle_dir):
    places = {publish(tmp_path, bundle_dir) for _ in range(3)}
    assert len(places) == 3


def test_a_second_build_in_the_same_root_is_refused(tmp_path):
    second = "import sys, pathlib; from index.root import drafting\nwith drafting(pathlib.Path(sys.argv[1])): pass"
    with index_root.drafting(tmp_path):
        refused = subprocess.run(
            [sys.executable, "-c", second, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert refused.returncode != 0
    assert f"another build is writing to {tmp_path}" in refused.stderr


def test_activating_brings_an_older_snapshot_back(published, tmp_path, bundle_dir):
    root = tmp_path / "index"
    publish(root, bundle_dir)
    assert index_root.current(root) != published
    index_root.activate(root, published.name)
    assert index_root.current(root) == published
    assert {path.name for path in root.iterdir()} == {".lock", "CURRENT", "snapshots"}


def test_snapshots_are_listed_newest_first_and_rolled_back_one_by_one(tmp_path, bundle_dir):
    places = [publish(tmp_path, bundle_dir) for _ in range(3)]
    names = [place.name for place in reversed(places)]
    (tmp_path / "snapshots" / "stray").mkdir()
    assert [manifest.id for manifest in index_root.listed(tmp_path)] == names
    assert [index_root.roll_back(tmp_path) for _ in range(2)] == names[1:]
    assert index_root.current(tmp_path) == places[0]
    with pytest.raises(index_root.UnknownSnapshotError, match="is the oldest snapshot"):
        index_root.roll_back(tmp_path)


@pytest.mark.parametrize("name", ["nope", "..", "", "a/b"])
def test_a_snapshot_that_is_not_there_is_not_activated_and_those_that_are_are_named(tmp_path, bundle_dir, name):
    place = publish(tmp_path, bundle_dir)
    with pytest.raises(index_root.UnknownSnapshotError, match=place.name):
        index_root.activate(tmp_path, name)
    assert index_root.current(tmp_path) == place


def test_a_damaged_snapshot_is_not_activated(tmp_path, bundle_dir):
    first, second = publish(tmp_path, bundle_dir), publish(tmp_path, bundle_dir)
    (first / snapshot.POINTS).unlink()
    with pytest.raises(SnapshotError, match=snapshot.POINTS):
        index_root.activate(tmp_path, first.name)
    assert index_root.current(tmp_path) == second


def test_pruning_keeps_the_newest_and_the_current_one(tmp_path, bundle_dir):
    places = [publish(tmp_path, bundle_dir) for _ in range(4)]
    index_root.activate(tmp_path, places[0].name)
    opened = Snapshot.open(places[1])
    assert index_root.prune(tmp_path, keep=2) == [places[1].name]
    assert [manifest.id for manifest in index_root.listed(tmp_path)] == [places[i].name for i in (3, 2, 0)]
    assert opened.documents.product(3) == PRODUCTS[3]
    assert index_root.prune(tmp_path, keep=0) == [places[3].name, places[2].name]
    assert index_root.current(tmp_path) == places[0]
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "CURRENT", "snapshots"}


def test_pruning_leaves_in_the_journal_what_a_kept_snapshot_lacks(tmp_path, bundle_dir):
    with Journal(tmp_path / JOURNAL) as journal:
        journal.append([Change(f"p{i}", None) for i in range(5)], model="m")
        for as_of, sequence in ((1.0, 1), (time.time() + 9, 2), (time.time() + 9, 4)):
            publish(tmp_path, bundle_dir, as_of=as_of, mark=JournalMark(id=journal.id, sequence=sequence))
        index_root.prune(tmp_path, keep=3)  # the first has a catalogue older than the changes
        assert [entry.sequence for entry in journal.since(0)] == [1, 2, 3, 4, 5]
        index_root.prune(tmp_path, keep=2)
        assert [entry.sequence for entry in journal.since(0)] == [3, 4, 5]
        index_root.prune(tmp_path, keep=1)
        assert [entry.sequence for entry in journal.since(0)] == [5]


def test_pruning_leaves_a_journal_alone_that_a_kept_snapshot_knows_nothing_of(tmp_path, bundle_dir):
    with Journal(tmp_path / JOURNAL) as journal:
        journal.append([Change("p1", None)], model="m")
        publish(tmp_path, bundle_dir, as_of=time.time() + 9, mark=JournalMark(id="another", sequence=9))
        index_root.prune(tmp_path, keep=1)
        assert len(journal.since(0)) == 1


def test_nothing_is_pruned_where_the_current_snapshot_cannot_be_read(tmp_path, bundle_dir):
    first, second = publish(tmp_path, bundle_dir), publish(tmp_path, bundle_dir)
    (second / snapshot.MANIFEST).unlink()
    with pytest.raises(SnapshotError, match=snapshot.MANIFEST):
        index_root.prune(tmp_path, keep=0)
    assert first.is_dir()


def test_nothing_is_pruned_while_a_build_writes(tmp_path, bundle_dir):
    publish(tmp_path, bundle_dir)
    with index_root.drafting(tmp_path), pytest.raises(SnapshotError, match="another build is writing"):
        index_root.prune(tmp_path, keep=1)


def test_points_written_in_parts_are_one_ordinary_array(tmp_path):
    points = hierarchical_points(1234, 5)
    with PointsWriter(tmp_path / "points.npy", dim=5) as writer:
        for part in np.array_split(points, 7):
            writer.append(part)
    np.testing.assert_array_equal(np.load(tmp_path / "points.npy", allow_pickle=False), points)
    np.testing.assert_array_equal(load_points(tmp_path / "points.npy"), points)


def test_an_array_that_holds_no_points_is_refused(tmp_path):
    np.save(tmp_path / "points.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"float64 of shape \(3,\)"):
        load_points(tmp_path / "points.npy")
