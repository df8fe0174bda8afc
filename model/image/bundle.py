"""The image bundle: a directory that holds what turns a product's picture into a point, and the classes it learnt.

Its layout is frozen under ``FORMAT``: ``manifest.json``, ``encoder.onnx``, ``proxies.npy``, the proxy (C, d) of each
class, and ``tree.json``, the names of all nodes, level by level, and what each class belongs to. It is written beside
its place and renamed there once; its version is a hash of what it holds.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from model import manifests
from model.image.surface import Surface
from model.image.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = 1
MANIFEST = manifests.MANIFEST
ENCODER = "encoder.onnx"
PROXIES = "proxies.npy"
TREE = "tree.json"
_PAYLOAD = (ENCODER, PROXIES, TREE)
FILES = (MANIFEST, *_PAYLOAD)
"""Names of all files of an image bundle."""


class ImageBundleError(ValueError):
    """A directory that is not a usable image bundle."""


class Manifest(BaseModel):
    """What an image bundle says of itself."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    version: str
    created: str
    """When it was written, ISO 8601 in UTC."""
    surface: Surface
    """Where its points lie."""
    height: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    """Size of the pictures that the encoder takes."""
    catalog: str
    """Fingerprint of the catalogue it was trained on, ``sha256:…``."""
    files: dict[str, str]
    """SHA-256 of every payload file."""
    training: dict[str, object]
    """How it was made; for people, never read by code."""


def seal(
    directory: Path, *, surface: Surface, size: tuple[int, int], created: str, catalog: str, training: dict[str, object]
) -> Manifest:
    """Write the manifest of a directory whose payload is complete, and return it; ``size`` is (height, width)."""
    files = manifests.checksums(directory, _PAYLOAD)
    described = surface.model_dump_json() + "×".join(map(str, size)) + "".join(files.values())
    manifest = Manifest(
        version=f"hpl-{hashlib.sha256(described.encode()).hexdigest()[:12]}",
        created=created,
        surface=surface,
        height=size[0],
        width=size[1],
        catalog=catalog,
        files=files,
        training=training,
    )
    manifests.write(directory, manifest)
    return manifest


def load_manifest(directory: Path) -> Manifest:
    """Read and check an image bundle's manifest and the checksums of its files.

    Raises:
        ImageBundleError: no bundle there, one of another format, or a file that is missing or changed.
    """
    try:
        manifest = manifests.read(
            directory,
            Manifest,
            artefact="image bundle",
            release_format=FORMAT,
            remedy="`saddle train --channel image`",
        )
        manifests.check_files(directory, _PAYLOAD, manifest.files, artefact=f"image bundle {manifest.version}")
    except ValueError as error:
        raise ImageBundleError(str(error)) from error
    return manifest


def write_classes(directory: Path, tree: Tree, proxies: NDArray[np.float32]) -> None:
    """Write the classes' part of a bundle: its tree, given or learnt, and the proxy (C, d) of each class."""
    written = {"names": tree.names, "nodes": tree.nodes.tolist()}
    (directory / TREE).write_text(json.dumps(written, ensure_ascii=False) + "\n", encoding="utf-8")
    np.save(directory / PROXIES, proxies.astype(np.float32), allow_pickle=False)


def load_classes(directory: Path) -> tuple[Tree, NDArray[np.float32]]:
    """The tree of a bundle's classes, and the proxy (C, d) of each."""
    written = json.loads((directory / TREE).read_bytes())
    names = tuple(tuple(level) for level in written["names"])
    nodes = np.array(written["nodes"], dtype=np.int64).reshape(-1, len(names[0]))
    return Tree(names, nodes), np.load(directory / PROXIES, allow_pickle=False)
