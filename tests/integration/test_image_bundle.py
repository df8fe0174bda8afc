from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from model.export import ParityError
from model.image import bundle
from model.image.bundle import ImageBundleError, load_classes, load_manifest
from model.image.export import check_parity, export
from model.image.network import ImageNetwork, NetworkConfig
from model.image.pictures import PictureError
from model.image.proxies import HierarchicalProxies, Hierarchy
from model.image.runtime import ImageEncoder
from model.image.surface import Surface
from model.image.tree import read_paths

PATHS = ["a > x > 1", "a > x > 2", "a > y > 3", "b > z > 4", "b > z > 5", "b > w > 6"]
CATALOG = "sha256:0123456789ab"


def pictures(count, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 40, 30, 3), dtype=np.uint8)


def made(surface, *, kind="given"):
    torch.manual_seed(1)
    network = ImageNetwork(NetworkConfig(surface=surface, height=40, width=30, channels=4))
    with torch.no_grad():  # running means of batch normalisation away from their start
        for _ in range(3):
            network(torch.from_numpy(pictures(8)))
    tree, _ = read_paths(PATHS)
    proxies = HierarchicalProxies(
        Hierarchy(tree=kind, sizes=(3,) if kind == "learnt" else (), warm_up=0), surface, tree, seed=1
    )
    proxies.advance(0)
    return network, proxies, tree


@pytest.fixture(scope="module", params=["sphere", "sheet"])
def exported(request, tmp_path_factory):
    """A network and the bundle it was exported to."""
    surface = Surface(dim=8) if request.param == "sphere" else Surface(kind="sheet", dim=8, curvature=0.5, radius=2.0)
    network, proxies, tree = made(surface)
    out = tmp_path_factory.mktemp("bundles") / "below" / "image"
    manifest = export(network, proxies, tree, out, catalog=CATALOG, training={"seed": 1}, samples=pictures(9))
    return network, proxies, out, manifest


def test_the_bundle_computes_what_the_network_does(exported):
    network, _, out, manifest = exported
    encoder = ImageEncoder(out)
    assert encoder.manifest == manifest
    assert manifest.version.startswith("hpl-")
    assert (manifest.height, manifest.width) == (40, 30)
    assert manifest.surface == network.config.surface
    many = pictures(150, seed=5)
    with torch.no_grad():
        expected = network(torch.from_numpy(many)).numpy()
    found = encoder.encode(many)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(encoder.encode(many[:1]), found[:1], rtol=0, atol=1e-5)
    assert encoder.encode(many[:0]).shape == (0, 8)


def test_bytes_are_decoded_to_the_size_that_the_bundle_takes(exported):
    _, _, out, _ = exported
    encoder = ImageEncoder(out)
    picture, file = pictures(1)[0], BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    np.testing.assert_allclose(encoder.encode_bytes(file.getvalue()), encoder.encode(picture[None])[0], atol=1e-6)
    with pytest.raises(PictureError):
        encoder.encode_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"24 × 30 × 3 do not fit bundle hpl-.*takes 40 × 30 × 3"):
        encoder.encode(pictures(2)[:, :24])


def test_the_classes_and_their_proxies_travel_along(exported):
    _, proxies, out, _ = exported
    tree, found = load_classes(out)
    assert tree.names[0] == tuple(sorted(PATHS))
    assert tree.names[2] == ("a", "b")
    assert tree.nodes.tolist() == proxies.nodes.tolist()
    np.testing.assert_allclose(found, proxies.proxies().detach().numpy(), atol=1e-7)


def test_a_learnt_tree_is_named_by_its_classes(tmp_path):
    network, proxies, tree = made(Surface(dim=8), kind="learnt")
    export(network, proxies, tree, tmp_path / "image", catalog=CATALOG, training={}, samples=pictures(3))
    found, _ = load_classes(tmp_path / "image")
    assert found.levels == 2
    for name, node in zip(found.names[0], found.nodes[0], strict=True):
        assert name in found.names[1][node].split(" + ")


def test_a_bundle_is_loaded_without_torch(exported):
    _, _, out, _ = exported
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from pathlib import Path; from model.image.runtime import ImageEncoder\n"
        "print(ImageEncoder(Path(sys.argv[1])).manifest.version)"
    )
    done = subprocess.run([sys.executable, "-c", code, out], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == load_manifest(out).version


@pytest.mark.parametrize("name", bundle.FILES[1:])
def test_a_bundle_that_was_changed_or_lacks_a_file_is_refused(exported, tmp_path, name):
    _, _, out, manifest = exported
    for file in out.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert load_manifest(tmp_path) == manifest
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b" ")
    with pytest.raises(ImageBundleError, match=f"{name} does not belong to image bundle {manifest.version}"):
        load_manifest(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ImageBundleError, match=f"lacks {name}"):
        load_manifest(tmp_path)


def test_what_is_no_bundle_or_one_of_another_format_is_refused(exported, tmp_path):
    with pytest.raises(ImageBundleError, match="`saddle train --channel image` makes one"):
        load_manifest(tmp_path)
    _, _, _, manifest = exported
    (tmp_path / bundle.MANIFEST).write_text(json.dumps({**manifest.model_dump(), "format": 9}))
    with pytest.raises(ImageBundleError, match="image bundle format 9, and this release reads format 1"):
        load_manifest(tmp_path)


def test_equal_content_has_one_version_and_an_existing_place_is_left_alone(exported, tmp_path):
    network, proxies, out, manifest = exported
    tree, _ = read_paths(PATHS)
    again = export(network, proxies, tree, tmp_path / "image", catalog="other", training={}, samples=pictures(2))
    assert again.version == manifest.version
    with pytest.raises(FileExistsError):
        export(network, proxies, tree, out, catalog=CATALOG, training={}, samples=pictures(2))


def test_a_graph_of_another_network_is_noticed_and_leaves_nothing_behind(exported, tmp_path, monkeypatch):
    network, proxies, out, _ = exported
    with torch.no_grad():
        network.project.bias += 0.5
    try:
        with pytest.raises(ParityError, match="points of the exported graph differ"):
            check_parity(network, out, pictures(4))
    finally:
        with torch.no_grad():
            network.project.bias -= 0.5
    monkeypatch.setattr("model.image.export.check_parity", lambda *_: (_ for _ in ()).throw(ParityError("differs")))
    with pytest.raises(ParityError):
        export(
            network,
            proxies,
            read_paths(PATHS)[0],
            tmp_path / "image",
            catalog=CATALOG,
            training={},
            samples=pictures(2),
        )
    assert not list(tmp_path.iterdir())
