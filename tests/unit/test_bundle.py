from __future__ import annotations

import hashlib
import json

import pytest
from fakes import CREATED, shop_titles, write_bundle

from model import bundle
from model.bundle import BundleError, Geometry, load_manifest, seal
from model.runtime import EmptyTextError, TextEncoder

TITLES = shop_titles(40)
GEOMETRY = Geometry(dim=16, curvature=1.0, gamma=0.9)
PAYLOAD = [name for name in bundle.FILES if name != bundle.MANIFEST]


@pytest.fixture
def directory(tmp_path):
    write_bundle(tmp_path / "model", TITLES)
    return tmp_path / "model"


def reseal(directory, *, geometry=GEOMETRY, created=CREATED, catalog="sha256:0", training=None):
    return seal(directory, geometry=geometry, created=created, catalog=catalog, training=training or {})


def test_a_sealed_bundle_loads_as_it_was_sealed(directory):
    sealed = reseal(directory, training={"seed": 3, "dev_metrics": {"nDCG@10": 0.5}})
    assert load_manifest(directory) == sealed
    assert sealed.version.startswith("anthem-")
    assert sorted(sealed.files) == sorted(PAYLOAD)
    assert TextEncoder(directory).encode_products(["oak door"]).shape == (1, 16)


@pytest.mark.parametrize("name", PAYLOAD)
def test_one_flipped_byte_is_refused_and_both_checksums_are_named(directory, name):
    manifest = load_manifest(directory)
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 1
    (directory / name).write_bytes(content)
    with pytest.raises(BundleError) as caught:
        load_manifest(directory)
    message = str(caught.value)
    assert name in message
    assert manifest.version in message
    assert manifest.files[name][:12] in message
    assert hashlib.sha256(content).hexdigest()[:12] in message
    with pytest.raises(BundleError):
        TextEncoder(directory)


@pytest.mark.parametrize("name", PAYLOAD)
def test_a_missing_file_is_named(directory, name):
    version = load_manifest(directory).version
    (directory / name).unlink()
    with pytest.raises(BundleError, match=f"{version}.*lacks {name}"):
        load_manifest(directory)


def test_a_file_that_the_manifest_does_not_know_is_refused(directory):
    path = directory / bundle.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["files"][bundle.QUERY_ENCODER]
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"query\.onnx.*nothing"):
        load_manifest(directory)


@pytest.mark.parametrize("found", [1, 7, "2", None])
def test_another_format_is_refused_and_both_are_named_with_what_to_do(directory, found):
    path = directory / bundle.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": found}))
    expected = f"is of encoder bundle format {found!r}.*reads format 2; `saddle train` makes a new"
    with pytest.raises(BundleError, match=expected):
        load_manifest(directory)


def test_a_directory_without_a_manifest_is_no_bundle(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            BundleError, match=r"is no encoder bundle: it has no manifest\.json; `saddle train` makes one"
        ):
            load_manifest(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "x"}'])
def test_a_manifest_that_says_nothing_useful_is_refused(directory, content):
    (directory / bundle.MANIFEST).write_text(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_manifest(directory)


@pytest.mark.parametrize(
    "change", [{"dim": 0}, {"curvature": -1.0}, {"gamma": 0.0}, {"gamma": 1.5}], ids=lambda change: str(change)
)
def test_an_impossible_geometry_is_refused(directory, change):
    path = directory / bundle.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["geometry"] |= change
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=next(iter(change))):
        load_manifest(directory)


def test_the_version_depends_on_content_and_geometry_alone(directory):
    version = reseal(directory).version
    assert reseal(directory, created="2031-01-01T00:00:00+00:00").version == version
    assert reseal(directory, catalog="sha256:other", training={"seed": 9}).version == version
    assert reseal(directory, geometry=Geometry(dim=16, curvature=0.0, gamma=0.9)).version != version
    assert reseal(directory, geometry=Geometry(dim=16, curvature=1.0, gamma=0.8)).version != version
    for name in PAYLOAD:
        before = (directory / name).read_bytes()
        (directory / name).write_bytes(before + b" ")
        assert reseal(directory).version != version
        (directory / name).write_bytes(before)
    assert reseal(directory).version == version


def test_two_payload_files_that_change_places_make_another_version(directory):
    version = reseal(directory).version
    query, product = ((directory / name).read_bytes() for name in (bundle.QUERY_ENCODER, bundle.PRODUCT_ENCODER))
    (directory / bundle.QUERY_ENCODER).write_bytes(product)
    (directory / bundle.PRODUCT_ENCODER).write_bytes(query)
    assert reseal(directory).version != version


@pytest.mark.parametrize("text", ["", "???", " - "])
def test_a_text_without_a_letter_or_digit_is_refused_by_name(directory, text):
    encoder = TextEncoder(directory)
    with pytest.raises(EmptyTextError, match="no letter or digit"):
        encoder.encode_queries(["door", text])
    with pytest.raises(EmptyTextError, match="no letter or digit"):
        encoder.encode_products([*TITLES, text])


def test_products_come_back_in_the_order_they_were_given(directory, monkeypatch):
    monkeypatch.setattr("model.runtime.PRODUCT_BATCH", 7)
    encoder = TextEncoder(directory)
    texts = [title * (1 + i % 3) for i, title in enumerate(TITLES)]
    together = encoder.encode_products(texts)
    for text, point in zip(texts, together, strict=True):
        assert abs(encoder.encode_products([text])[0] - point).max() < 1e-6
    assert encoder.encode_products([]).shape == (0, 16)
