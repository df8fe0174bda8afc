"""The behaviour bundle: a directory with the vectors that a trained behaviour network gives, and no network.

Its layout is frozen under ``FORMAT``; N products, Q known queries, F axes of the text vectors, d axes of its own:

    manifest.json         what it says of itself, and the SHA-256 of every other file
    product_ids.txt       a line for each product; the order is that of all arrays of N rows
    products.npy          (N, d) float32
    queries.txt           a line for each known query, as :func:`model.behaviour.clicks.query_key` writes it, the most
                          clicked first
    queries.npy           (Q, d) float32
    query_projection.npy  (F + 1, d) float32: what maps a query's text vector, with a 1 behind it, to a vector
    product_projection.npy  (F + 1, d) float32: the same of products, for those that no click knows
    query_features.npy    (A, F) float32, the text vectors of the first known queries, those that others are compared
                          with, if the manifest's ``mapping`` asks for them
    leanings.npy          (N,) float32: how much of a product's vector comes from sessions, 0 to 1
    companions.npy        (N, 5) int32: the products that most share sessions with a product, −1 where there are fewer
    askings.npy           (N, 5) int32: the queries that most led to a product, −1 where there are fewer
    later_queries.txt     a line for each query of the later clicks, as in queries.txt
    later.npy             (P, 2) int32: pairs of a later query and a product, of clicks that no vector knows

A network was chosen by the later clicks; how much the channel counts beside others is learnt on them.

The score of a product for a query is the inner product of their vectors. A bundle belongs to the text bundle that its
features came from; it is written beside its place and renamed there once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model import manifests

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2
COMPARED = 10_000
"""Known queries that an unknown one is compared with, at most: at 256 axes that takes half a millisecond."""
MANIFEST = manifests.MANIFEST
PRODUCT_IDS, PRODUCTS = "product_ids.txt", "products.npy"
QUERIES, QUERY_VECTORS = "queries.txt", "queries.npy"
QUERY_PROJECTION, PRODUCT_PROJECTION = "query_projection.npy", "product_projection.npy"
QUERY_FEATURES = "query_features.npy"
LEANINGS, COMPANIONS, ASKINGS = "leanings.npy", "companions.npy", "askings.npy"
LATER_QUERIES, LATER = "later_queries.txt", "later.npy"
_ALWAYS = (
    PRODUCT_IDS,
    PRODUCTS,
    QUERIES,
    QUERY_VECTORS,
    QUERY_PROJECTION,
    PRODUCT_PROJECTION,
    LEANINGS,
    COMPANIONS,
    ASKINGS,
    LATER_QUERIES,
    LATER,
)


class BehaviourBundleError(ValueError):
    """A directory that is not a usable behaviour bundle."""


class Mapping(BaseModel):
    """How a query that is not known comes by its vector; see :func:`model.behaviour.vectors.mixed`."""

    model_config = ConfigDict(frozen=True)

    share: Annotated[float, Field(ge=0, le=1)]
    """Of the nearest known queries' vectors; the rest is the projection."""
    neighbours: Annotated[int, Field(ge=1)]
    sharpness: Annotated[float, Field(gt=0)]


class Manifest(BaseModel):
    """What a behaviour bundle says of itself."""

    model_config = ConfigDict(frozen=True)

    format: Literal[2] = 2
    version: str
    created: str
    """When it was written, ISO 8601 in UTC."""
    text: str
    """Version of the text bundle whose vectors its features are."""
    catalog: str
    interactions: str
    """Fingerprints of the files it was trained on, ``sha256:…``."""
    until: str | None
    """The time of the last click that its vectors know, ISO 8601 in UTC; None where most have no time."""
    dim: Annotated[int, Field(ge=1)]
    features: Annotated[int, Field(ge=1)]
    products: Annotated[int, Field(ge=1)]
    queries: Annotated[int, Field(ge=0)]
    mapping: Mapping
    files: dict[str, str]
    """SHA-256 of every payload file."""
    training: dict[str, object]
    """How it was made, and what was left out; for people, never read by code."""


def seal(directory: Path, **said: object) -> Manifest:
    """Write the manifest of a directory whose payload is complete, from all its fields that the files do not tell."""
    draft = Manifest.model_validate({"version": "", "files": {}, **said})
    files = manifests.checksums(directory, payload(draft))
    identity = hashlib.sha256((draft.text + draft.mapping.model_dump_json() + "".join(files.values())).encode())
    manifest = draft.model_copy(update={"version": f"dcah-{identity.hexdigest()[:12]}", "files": files})
    manifests.write(directory, manifest)
    return manifest


def load_manifest(directory: Path) -> Manifest:
    """Read and check a behaviour bundle's manifest and the checksums of its files.

    Raises:
        BehaviourBundleError: no bundle there, one of another format, or a file that is missing or changed.
    """
    try:
        manifest = manifests.read(
            directory,
            Manifest,
            artefact="behaviour bundle",
            release_format=FORMAT,
            remedy="`saddle train --channel behaviour`",
        )
        named = f"behaviour bundle {manifest.version}"
        manifests.check_files(directory, payload(manifest), manifest.files, artefact=named)
    except ValueError as error:
        raise BehaviourBundleError(str(error)) from error
    return manifest


def payload(manifest: Manifest) -> tuple[str, ...]:
    """The names of all files but the manifest."""
    return (*_ALWAYS, QUERY_FEATURES) if manifest.mapping.share > 0 else _ALWAYS
