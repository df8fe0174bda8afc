"""The encoder bundle: a directory that holds everything needed to turn texts into hyperboloids and points.

Its layout is frozen under ``FORMAT``: ``manifest.json``, ``tokenizer.json``, ``query.onnx``, ``product.onnx`` and
``explain.onnx``, which shows both towers' attention. A bundle is written beside its place and renamed there once; its
version is a hash of what it holds, so two bundles of one version are the same encoder.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model import manifests

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2
MANIFEST = manifests.MANIFEST
TOKENIZER = "tokenizer.json"
QUERY_ENCODER = "query.onnx"
PRODUCT_ENCODER = "product.onnx"
EXPLAINER = "explain.onnx"
_PAYLOAD = (TOKENIZER, QUERY_ENCODER, PRODUCT_ENCODER, EXPLAINER)
FILES = (MANIFEST, *_PAYLOAD)
"""Names of all files of a bundle."""


class BundleError(ValueError):
    """A directory that is not a usable encoder bundle."""


class Geometry(BaseModel):
    """The space a bundle's vectors live in, and the weight of d_in in its containment distance."""

    model_config = ConfigDict(frozen=True)

    dim: Annotated[int, Field(ge=1)]
    curvature: Annotated[float, Field(ge=0)]
    """c of the curvature −c; 0 is Euclidean space."""
    gamma: Annotated[float, Field(gt=0, le=1)]


class Manifest(BaseModel):
    """What a bundle says of itself."""

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = 2
    version: str
    created: str
    """When it was written, ISO 8601 in UTC."""
    geometry: Geometry
    catalog: str
    """Fingerprint of the catalogue it was trained on, ``sha256:…``."""
    interactions: str | None = None
    """That of the interactions, if there were any."""
    until: str | None = None
    """The time of the last interaction learnt from, ISO 8601 in UTC; None where they have no times."""
    files: dict[str, str]
    """SHA-256 of every payload file."""
    training: dict[str, object]
    """How it was made: seed, minutes, steps, data and dev metrics; for people, never read by code."""


def seal(
    directory: Path,
    *,
    geometry: Geometry,
    created: str,
    catalog: str,
    training: dict[str, object],
    interactions: str | None = None,
    until: str | None = None,
) -> Manifest:
    """Write the manifest of a directory whose payload is complete, and return it."""
    files = manifests.checksums(directory, _PAYLOAD)
    identity = hashlib.sha256((geometry.model_dump_json() + "".join(files.values())).encode()).hexdigest()
    manifest = Manifest(
        version=f"anthem-{identity[:12]}",
        created=created,
        geometry=geometry,
        catalog=catalog,
        interactions=interactions,
        until=until,
        files=files,
        training=training,
    )
    manifests.write(directory, manifest)
    return manifest


def load_manifest(directory: Path) -> Manifest:
    """Read and check a bundle's manifest and the checksums of its files.

    Raises:
        BundleError: no bundle there, one of another format, or a file that is missing or changed.
    """
    try:
        manifest = manifests.read(
            directory, Manifest, artefact="encoder bundle", release_format=FORMAT, remedy="`saddle train`"
        )
        manifests.check_files(directory, _PAYLOAD, manifest.files, artefact=f"encoder bundle {manifest.version}")
    except ValueError as error:
        raise BundleError(str(error)) from error
    return manifest
