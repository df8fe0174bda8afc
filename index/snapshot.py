"""Snapshots: immutable directories, each holding one built index whole.

What is in one is listed in its manifest, with checksums. The layout is frozen under ``FORMAT``; where snapshots lie and
which of them is current is :mod:`index.root`'s.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from index import lexical
from index.column_files import COLUMNS, load_columns
from index.documents import IDS, PRODUCTS, Documents
from index.fusion import Fusion
from index.points import load_points
from index.shapes import INDEX, Backend, Form, Shape
from model import bundle, manifests
from model.behaviour import bundle as behaviour_bundle
from model.image import bundle as image_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from index.columns import Columns

_BundleManifest = TypeVar("_BundleManifest", bundle.Manifest, behaviour_bundle.Manifest, image_bundle.Manifest)

FORMAT = 5
MANIFEST = manifests.MANIFEST
POINTS = "points.npy"
CANDIDATES = "candidates"
ENCODER = "encoder"
BEHAVIOUR, PICTURES = "behaviour", "pictures"
"""Directories of the channels that a snapshot may have."""
BUNDLE = "bundle"
"""In each of them that of its bundle."""
PAYLOAD = (
    POINTS,
    f"{CANDIDATES}/{INDEX}",
    PRODUCTS,
    IDS,
    COLUMNS,
    *(f"{lexical.LEXICAL}/{name}" for name in lexical.FILES),
)
"""Files of every snapshot; its candidate index may have more, and there may be more channels."""


class SnapshotError(ValueError):
    """A directory that is not a usable snapshot or index root."""


class Trial(BaseModel):
    """How candidates may be found in a snapshot, and what that was measured to give."""

    model_config = ConfigDict(frozen=True)

    backend: Backend
    form: Form
    count: Annotated[int, Field(ge=1)]
    """Candidates taken for a query, to be re-ranked exactly."""
    effort: float | None
    """Rows that the graph walk keeps, or how far cells are looked for, in deviations; None where all is looked at."""
    recall: float
    """Share of the exact containment top ``depth`` among the candidates, mean over the queries measured."""
    latency_seconds: float
    """Median time for candidates and re-ranking of one query on one thread, where the snapshot was built."""

    @property
    def shape(self) -> Shape:
        """The kind of index."""
        return Shape(self.backend, self.form)


class CandidateSettings(Trial):
    """How candidates are found in a snapshot: the best of what was tried."""

    target_recall: float
    depth: int
    queries: int
    """How many queries the trials were measured on."""
    tried: tuple[Trial, ...]


class JournalMark(BaseModel):
    """How far into which journal a snapshot reaches."""

    model_config = ConfigDict(frozen=True)

    id: str
    sequence: Annotated[int, Field(ge=0)]
    """The last change that the snapshot holds."""


class RejectSummary(BaseModel):
    """Rows of the catalogue that could not be indexed."""

    model_config = ConfigDict(frozen=True)

    count: int
    reasons: dict[str, int]


class FileRecord(BaseModel):
    """A payload file as it was written."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class Contents(BaseModel):
    """What a build knows about the snapshot it has written."""

    model_config = ConfigDict(frozen=True)

    model: str
    """Version of the encoder bundle inside."""
    geometry: bundle.Geometry
    products: Annotated[int, Field(ge=1)]
    candidates: CandidateSettings
    fusion: Fusion
    behaviour: str | None = None
    """Version of the behaviour bundle inside, if there is one."""
    pictures: str | None = None
    """Version of the image bundle inside, if there is one."""
    catalog: str
    """Fingerprint of the catalogue, ``sha256:…``."""
    as_of: float
    """When the catalogue was true, in Unix seconds: changes after it count more, those before it less."""
    journal: JournalMark | None
    """What of the journal was there to be folded in, None if there was no journal."""
    rejects: RejectSummary


class Manifest(Contents):
    """What a snapshot says of itself."""

    format: Literal[5] = 5
    id: str
    created: str
    """When it was published, ISO 8601 in UTC."""
    files: dict[str, FileRecord]
    """Every payload file but the bundles', which their own manifests vouch for."""

    @property
    def bytes(self) -> int:
        """Size of all payload files."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True)
class Snapshot:
    """One checked snapshot, its files mapped into memory.

    ``points`` (N, d) float32, ``documents`` and ``columns`` share their rows.
    """

    directory: Path
    manifest: Manifest
    encoder: bundle.Manifest
    behaviour: behaviour_bundle.Manifest | None
    pictures: image_bundle.Manifest | None
    points: NDArray[np.float32]
    documents: Documents
    columns: Columns

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Check ``directory`` and map it.

        Raises:
            SnapshotError: it is no snapshot, one of another format, or one whose parts are missing, changed
                or do not belong together.
        """
        manifest = read_manifest(directory)
        for name, record in manifest.files.items():
            _check_file(directory / name, record, manifest.id)
        encoder = _checked(directory / ENCODER, bundle.load_manifest, manifest.model, manifest)
        assert encoder is not None, "every snapshot names its encoder"
        behaviour = _checked(
            directory / BEHAVIOUR / BUNDLE, behaviour_bundle.load_manifest, manifest.behaviour, manifest
        )
        pictures = _checked(directory / PICTURES / BUNDLE, image_bundle.load_manifest, manifest.pictures, manifest)
        try:
            points = load_points(directory / POINTS)
            documents = Documents(directory)
            columns = load_columns(directory / COLUMNS)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise SnapshotError(f"snapshot {manifest.id} in {directory} cannot be read: {error}") from error
        expected = (manifest.products, manifest.geometry.dim)
        if points.shape != expected or len(documents) != manifest.products or len(columns) != manifest.products:
            raise SnapshotError(
                f"snapshot {manifest.id} in {directory} should hold {expected[0]} products in {expected[1]} "
                f"dimensions, but holds points of shape {points.shape}, {len(documents)} products and {len(columns)} "
                "rows of columns"
            )
        return cls(directory, manifest, encoder, behaviour, pictures, points, documents, columns)


def read_manifest(directory: Path) -> Manifest:
    """Read a snapshot's manifest without looking at its other files.

    Raises:
        SnapshotError: there is none, or one of another format.
    """
    try:
        manifest = manifests.read(
            directory, Manifest, artefact="snapshot", release_format=FORMAT, remedy="`saddle reindex`"
        )
    except ValueError as error:
        raise SnapshotError(str(error)) from error
    missing = sorted({*PAYLOAD} - manifest.files.keys())
    if missing:
        raise SnapshotError(f"{directory / MANIFEST} does not list {', '.join(missing)}; rebuild with `saddle reindex`")
    return manifest


def _check_file(path: Path, record: FileRecord, snapshot_id: str) -> None:
    if not path.is_file():
        raise SnapshotError(f"snapshot {snapshot_id} lacks {path}; rebuild it with `saddle reindex`")
    size = path.stat().st_size
    if size != record.size:  # before the checksum: a file cut short is found without reading it
        raise SnapshotError(
            f"{path} has {size} bytes, the manifest of snapshot {snapshot_id} says {record.size}; "
            "rebuild it with `saddle reindex`"
        )
    found = recorded(path)
    if found.sha256 != record.sha256:
        raise SnapshotError(
            f"{path} has the SHA-256 {found.sha256[:12]}…, the manifest of snapshot {snapshot_id} says "
            f"{record.sha256[:12]}…; rebuild it with `saddle reindex`"
        )


def _checked(
    directory: Path, load: Callable[[Path], _BundleManifest], version: str | None, manifest: Manifest
) -> _BundleManifest | None:
    """The manifest of the bundle that should be of ``version``, None if there should be none."""
    if version is None:
        return None
    try:
        found = load(directory)
    except ValueError as error:
        raise SnapshotError(f"a bundle of snapshot {manifest.id} is not usable: {error}") from error
    if found.version != version:
        raise SnapshotError(
            f"snapshot {manifest.id} was built with {version}, but {directory} holds {found.version}; "
            "rebuild it with `saddle reindex`"
        )
    return found


def recorded(path: Path) -> FileRecord:
    """Size and checksum of a file as it is."""
    with path.open("rb") as file:
        return FileRecord(size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
