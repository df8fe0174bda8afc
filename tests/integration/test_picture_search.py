"""Searches by a picture: a channel of their own in a snapshot, over real FAISS, ONNX Runtime and Pillow."""

from __future__ import annotations

import base64
import json
import shutil
import time
from dataclasses import replace
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fakes import bring, shop_titles, write_bundle, write_image_bundle
from fakes_service import serving
from PIL import Image
from typer.testing import CliRunner

from index import pictures
from index.build import build
from index.filter_syntax import parse as parse_filter
from index.filters import Missing
from index.journal import Change
from index.live import nothing
from index.picture_files import NoPicturesError
from index.refinement import Refinement
from index.search import ByPicture, ModeError, Search, Searcher, UnknownProductError
from index.selection import Selection
from index.snapshot import PICTURES, Snapshot, SnapshotError
from index.view import View
from model.image.pictures import PictureError
from service.cli import app

COUNT = 300
TITLES = shop_titles(COUNT)
IDS = [f"p{i}" for i in range(COUNT)]


def colour(row):
    """Of every third product; others have no picture, or one that cannot be read."""
    chance = np.random.default_rng(row)
    return tuple(int(value) for value in chance.integers(0, 256, 3)) if row % 3 == 0 else None


def encoded(colour, kind="PNG", size=(30, 40)):
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def near(rgb):
    """The products with pictures by the angle between their colours and this one."""

    def point(rgb):
        vector = np.array(rgb, dtype=float) / 127.5 - 1
        return vector / np.linalg.norm(vector)

    pictured = [row for row in range(COUNT) if colour(row) is not None]
    return [f"p{row}" for row in sorted(pictured, key=lambda row: -point(colour(row)) @ point(rgb))]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with bundles, pictures below ``photos``, and a catalogue that names them."""
    folder = tmp_path_factory.mktemp("pictures")
    write_bundle(folder / "model", TITLES)
    write_image_bundle(folder / "sphere")
    write_image_bundle(folder / "sheet", sheet=True)
    (folder / "photos").mkdir()
    lines = []
    for row, title in enumerate(TITLES):
        name = f"{row}.png" if row % 3 < 2 else ""
        if colour(row) is not None:
            (folder / "photos" / name).write_bytes(encoded(colour(row)))
        lines.append({"product_id": IDS[row], "title": title, "image": name, "price": row % 50 + 0.5})
    (folder / "photos" / "1.png").write_text("not a picture")
    (folder / "catalog.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module", params=["sphere", "sheet"])
def report(request, files):
    return build(
        bundle_dir=files / "model",
        catalog=files / "catalog.jsonl",
        root=files / f"index-{request.param}",
        images=files / request.param,
        image_root=files / "photos",
    )


@pytest.fixture
def searcher(report):
    searcher = Searcher.open(report.directory)
    yield searcher
    searcher.close()


def ids(result):
    return [hit.product.product_id for hit in result.hits]


def test_half_of_the_pictures_missing_are_counted_and_the_others_searched(report, searcher):
    census = report.pictures
    assert (census.read, census.without) == (100, 100)
    assert census.unreadable.total() == 100
    assert "p1: this is not a picture" in census.examples[0]
    assert report.products == COUNT
    assert searcher.snapshot.manifest.pictures.startswith("hpl-")


@pytest.mark.parametrize("rgb", [(250, 20, 20), (10, 240, 200), (200, 200, 210)])
def test_hits_come_by_the_likeness_of_their_pictures(files, report, searcher, rgb):
    found = searcher.by_picture(encoded(rgb, "JPEG"), limit=30)
    assert found.mode == "image"
    assert (found.total.value, found.total.relation, found.generality) == (0, "eq", None)
    distances = [hit.distance for hit in found.hits]
    assert distances == sorted(distances)
    assert [hit.score for hit in found.hits] == [-distance for distance in distances]
    assert all(hit.pictured and not hit.contained for hit in found.hits)
    if report.directory.parents[1].name == "index-sphere":
        # a JPEG's colours are a little off
        assert len(set(ids(found)[:10]) & set(near(rgb)[:12])) >= 9


def test_the_picture_of_a_product_finds_it_first(files, searcher):
    data = (files / "photos" / "42.png").read_bytes()
    found = searcher.by_picture(data, limit=100)
    assert ids(found)[0] == "p42"
    assert found.hits[0].distance == pytest.approx(0, abs=1e-3)
    assert set(ids(found)) == {name for row, name in enumerate(IDS) if row % 3 == 0}


def test_words_and_a_picture_are_answered_together(files, searcher):
    data = (files / "photos" / "42.png").read_bytes()
    query = TITLES[42].rpartition(" x ")[0]
    found = searcher.by_picture(data, query, limit=20)
    assert ids(found)[0] == "p42"
    by_words, by_picture = set(ids(searcher.search(query, limit=20))), set(ids(searcher.by_picture(data, limit=20)))
    assert by_words & set(ids(found)) - by_picture
    assert by_picture & set(ids(found)) - by_words
    measured = {h.product.product_id: h for h in searcher.search(query, mode="hyperboloid", limit=COUNT).hits}
    for hit in found.hits:
        expected = measured[hit.product.product_id]
        assert (hit.distance, hit.contained) == (pytest.approx(expected.distance, abs=1e-6), expected.contained)
    assert found.total == searcher.search(query).total


def test_a_filter_holds_for_pictures_too(files, searcher):
    data = (files / "photos" / "42.png").read_bytes()
    for wanted, least in (("price = 42.5", 1), ("price < 20", 20), ("price > 1000", 0)):
        refinement = Refinement(filter=parse_filter(wanted))
        found = searcher.by_picture(data, limit=COUNT, refinement=refinement)
        assert len(found.hits) >= least
        passing = {"price = 42.5": lambda p: p == 42.5, "price < 20": lambda p: p < 20, "price > 1000": lambda _: False}
        assert all(passing[wanted](hit.product.price) for hit in found.hits)


@pytest.fixture
def few(monkeypatch):
    """Few candidates at first, as if there were many more pictures than that."""
    monkeypatch.setattr(pictures, "PICTURE_CANDIDATES", 10)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("wanted", [None, "price < 45"])
def test_a_page_is_full_after_most_of_the_nearest_pictures_were_deleted(files, searcher, wanted):
    refinement = Refinement(filter=None if wanted is None else parse_filter(wanted))

    def found(limit):
        return ids(searcher.by_picture((files / "photos" / "42.png").read_bytes(), limit=limit, refinement=refinement))

    everything = found(COUNT)
    bring(searcher, [Change(name, None) for name in everything[:60]])
    assert found(5) == everything[60:65]
    assert found(COUNT) == everything[60:]


@pytest.mark.usefixtures("few")
def test_a_page_is_full_although_the_nearest_pictures_pass_no_filter(files, searcher):
    """So many pass that candidates are fetched, and all that are fetched first do not."""
    data = (files / "photos" / "42.png").read_bytes()
    rows = np.array([int(name[1:]) for name in ids(searcher.by_picture(data, limit=COUNT))])
    mask = np.ones(COUNT, dtype=np.bool_)
    mask[rows[:60]] = False
    points, channel = searcher.snapshot.points, searcher.channels.pictures
    view = View(points, nothing(COUNT, dim=points.shape[1]), Missing("colour"), Selection(mask))
    assert view.fetched(10) is not None
    near = channel.near(channel.encode(data), view, depth=5)
    assert mask[near].all()
    assert set(rows[60:65].tolist()) <= set(near.tolist())


@pytest.mark.usefixtures("few")
def test_a_product_that_comes_to_pass_a_filter_is_found_by_its_picture(files, searcher):
    product = replace(searcher.find("p42")[0], price=2000.0)
    bring(searcher, [Change("p42", product, searcher.encode([product])[0])])
    refinement = Refinement(filter=parse_filter("price > 1000"))
    data = (files / "photos" / "42.png").read_bytes()
    assert ids(searcher.by_picture(data, limit=5, refinement=refinement)) == ["p42"]


def test_similar_products_are_alike_in_words_and_pictures(searcher):
    with_picture, without = searcher.similar("p42", limit=10), searcher.similar("p41", limit=10)
    assert (with_picture.mode, without.mode) == ("image", "hyperboloid")
    assert "p42" not in ids(with_picture)
    scores = [hit.score for hit in with_picture.hits]
    assert scores == sorted(scores, reverse=True)
    # one of three has a picture, and both ranks count
    assert all(hit.pictured for hit in with_picture.hits)
    assert not all(hit.pictured for hit in without.hits)
    unlike = {h.product.product_id: h.distance for h in searcher.by_picture(searcher.thumbnail("p42"), limit=100).hits}
    assert np.mean([unlike[name] for name in ids(with_picture)]) < np.mean(list(unlike.values()))


def test_a_product_that_is_stored_again_keeps_its_picture_and_a_new_one_has_none(files, searcher):
    again, new = (replace(searcher.find("p42")[0], product_id=name, price=0.25) for name in ("p42", "new"))
    points = searcher.encode([again, new])
    bring(searcher, [Change(p.product_id, p, point) for p, point in zip((again, new), points, strict=True)])
    data = (files / "photos" / "42.png").read_bytes()
    found = searcher.by_picture(data, limit=COUNT)
    assert ids(found)[0] == "p42"
    assert found.hits[0].product.price == 0.25
    assert "new" not in ids(found)
    assert searcher.thumbnail("p42") is not None
    assert searcher.thumbnail("new") is None
    bring(searcher, [Change("p42", None)])
    assert "p42" not in ids(searcher.by_picture(data, limit=COUNT))
    with pytest.raises(UnknownProductError):
        searcher.thumbnail("p42")


def test_what_is_no_picture_is_one_searchs_error(files, searcher):
    with pytest.raises(PictureError, match="not a picture of a kind that is read"):
        searcher.by_picture(b"words")
    answers = searcher.search_many([ByPicture(b""), Search("oak"), ByPicture(encoded((9, 9, 9)))])
    assert isinstance(answers[0], PictureError)
    assert answers[1].hits
    assert answers[2].hits


def test_pictures_in_the_catalogue_itself_are_indexed(files, tmp_path):
    pictures = [None if colour(row) is None else encoded(colour(row)) for row in range(COUNT)]
    pq.write_table(pa.table({"product_id": IDS, "title": TITLES, "image": pictures}), tmp_path / "c.parquet")
    report = build(
        bundle_dir=files / "model", catalog=tmp_path / "c.parquet", root=tmp_path / "index", images=files / "sphere"
    )
    assert (report.pictures.read, report.pictures.without) == (100, 200)
    searcher = Searcher.open(report.directory)
    assert ids(searcher.by_picture(pictures[42]))[0] == "p42"
    assert searcher.find("p42")[0].image == ""
    searcher.close()


def test_a_catalogue_without_pictures_is_refused_in_words(files, tmp_path):
    with pytest.raises(NoPicturesError, match=r"not one of 300 products has a picture that can be read: 300 have none"):
        build(
            bundle_dir=files / "model",
            catalog=files / "catalog.jsonl",
            root=tmp_path / "index",
            images=files / "sphere",
        )
    assert not (tmp_path / "index" / "CURRENT").exists()


def test_a_damaged_channel_is_found_on_opening(report, tmp_path):
    for name, told in (("points.npy", "SHA-256"), ("bundle/encoder.onnx", "does not belong to image bundle")):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(report.directory, copy)
        path = copy / PICTURES / name
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(SnapshotError, match=told):
            Snapshot.open(copy)


# HTTP


@pytest.fixture(scope="module")
def client(files):
    build(
        bundle_dir=files / "model",
        catalog=files / "catalog.jsonl",
        root=files / "served",
        images=files / "sphere",
        image_root=files / "photos",
    )
    with serving(files / "served", open_searcher=Searcher.open) as client:
        wait_until_ready(client)
        yield client


def wait_until_ready(client):
    deadline = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, "never ready"
        time.sleep(0.01)


def test_a_picture_is_uploaded_or_sent_as_json(files, client):
    data = (files / "photos" / "42.png").read_bytes()
    sent = client.post(
        "/v1/search/image", params={"limit": 3, "filter": "price < 100"}, content=data,
        headers={"Content-Type": "image/png"},
    )  # fmt: skip
    assert sent.status_code == 200, sent.text
    as_json = client.post("/v1/search/image?limit=3", json={"image": base64.b64encode(data).decode()})
    found = [hit["product_id"] for hit in sent.json()["hits"]]
    assert found == [hit["product_id"] for hit in as_json.json()["hits"]]
    assert (found[0], sent.json()["mode"]) == ("p42", "image")
    with_words = client.post(
        "/v1/search/image?q=oak", content=data, headers={"Content-Type": "image/jpeg"}
    )  # what it is, its bytes say
    assert with_words.json()["generality"] is not None


def test_a_hit_says_where_its_thumbnail_is(files, client):
    hits = client.get("/v1/search", params={"q": TITLES[42], "limit": 20}).json()["hits"]
    links = {hit["product_id"]: hit["thumbnail"] for hit in hits}
    assert links["p42"] == "/v1/thumbnails/p42"
    assert None in links.values()
    answer = client.get(links["p42"])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert "max-age" in answer.headers["cache-control"]
    small = Image.open(BytesIO(answer.content))
    assert small.size == (160, 160)
    middle = np.array(small.convert("RGB").getpixel((80, 80)), dtype=int)
    assert np.abs(middle - np.array(colour(42))).max() < 12
    for name, status in (("p41", 404), ("nothing", 404)):
        assert client.get(f"/v1/thumbnails/{name}").status_code == status


@pytest.mark.parametrize(
    ("content", "media_type", "status", "field"),
    [
        (b"", "image/png", 422, "image"),
        (b"words", "image/png", 422, "image"),
        (encoded((1, 2, 3))[:60], "image/png", 422, "image"),
        (b"<svg/>", "image/svg+xml", 415, None),
        (b"{}", "application/json", 422, "image"),
        (b'{"image": "%%%"}', "application/json", 422, "image"),
        (b"x" * (25 << 20), "image/jpeg", 413, None),
    ],
    ids=["empty", "words", "cut short", "svg", "no image", "no base64", "huge"],
)
def test_what_cannot_be_searched_by_is_refused(client, content, media_type, status, field):
    answer = client.post("/v1/search/image", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == status, answer.text
    if field is not None:
        assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_decompression_bomb_is_refused(client):
    bomb = encoded((0, 0, 0), size=(9000, 9000))
    assert len(bomb) < 1 << 20
    answer = client.post("/v1/search/image", content=bomb, headers={"Content-Type": "image/png"})
    assert answer.status_code == 422
    assert "more than the 25,000,000 that are allowed" in answer.json()["errors"][0]["message"]


def test_without_pictures_a_search_by_one_is_a_422(files, tmp_path):
    build(bundle_dir=files / "model", catalog=files / "catalog.jsonl", root=tmp_path / "plain")
    with serving(tmp_path / "plain", open_searcher=Searcher.open) as client:
        wait_until_ready(client)
        answer = client.post("/v1/search/image", content=encoded((1, 2, 3)), headers={"Content-Type": "image/png"})
        assert answer.status_code == 422
        assert "no picture channel" in answer.json()["errors"][0]["message"]
        assert client.get("/v1/thumbnails/p42").status_code == 404
    searcher = Searcher.open(next((tmp_path / "plain" / "snapshots").iterdir()))
    with pytest.raises(ModeError):
        searcher.by_picture(encoded((1, 2, 3)))
    searcher.close()


# The command line


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line_indexes_and_searches_pictures(files, tmp_path):
    asked = ["reindex", "--model", files / "model", "--catalog", files / "catalog.jsonl", "--out", tmp_path / "index"]
    done = run(*asked, "--images", files / "sphere", "--image-root", files / "photos")
    assert done.exit_code == 0, done.output
    assert "100; 100 products have none" in " ".join(done.output.split())
    found = run("search", "--image", files / "photos" / "42.png", "--index", tmp_path / "index", "--json")
    assert json.loads(found.stdout)["hits"][0]["product"]["product_id"] == "p42"
    found = run("search", "oak", "--image", files / "photos" / "42.png", "--index", tmp_path / "index")
    assert found.exit_code == 0
    assert run("search", "--index", tmp_path / "index").exit_code == 2
    refused = run("search", "--image", files / "photos" / "42.png", "--explain", "--index", tmp_path / "index")
    assert refused.exit_code == 2
    assert run(*asked, "--image-root", files / "photos").exit_code == 1
