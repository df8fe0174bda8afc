"""Snapshots: immutable directories, each holding one built index whole, and which of them is current.

An index root holds ``snapshots/<id>/`` and ``CURRENT``, a file with one id. A snapshot is written under a
hidden name in the same root and renamed once it is complete and on disk; then ``CURRENT`` is replaced. So
whoever reads the root sees whole snapshots only, whatever happens to the process that builds one. The layout
is frozen under ``FORMAT``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from index import lexical
from index.column_files import COLUMNS, load_columns
from index.documents import IDS, PRODUCTS, Documents
from index.fusion import Fusion
from index.points import load_points
from model import bundle, manifests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from index.columns import Columns

FORMAT = 3
MANIFEST = "manifest.json"
POINTS = "points.npy"
CANDIDATES = "candidates.faiss"
ENCODER = "encoder"
SNAPSHOTS = "snapshots"
CURRENT = "CURRENT"
_PAYLOAD = (POINTS, CANDIDATES, PRODUCTS, IDS, COLUMNS, *(f"{lexical.LEXICAL}/{name}" for name in lexical.FILES))
_LOCK = ".lock"
_UNFINISHED = ".unfinished-"


class SnapshotError(ValueError):
    """A directory that is not a usable snapshot or index root."""


class CandidateSettings(BaseModel):
    """How candidates are found in a snapshot, and what that was measured to give."""

    model_config = ConfigDict(frozen=True)

    backend: Literal["flat", "hnsw"]
    count: Annotated[int, Field(ge=1)]
    """Candidates taken for a query, to be re-ranked exactly."""
    ef_search: int | None
    """Effort of the graph walk; None where there is no graph."""
    recall: float
    """Share of the exact containment top ``depth`` among the candidates, mean over the queries measured."""
    target_recall: float
    depth: int
    queries: int
    """How many queries the two numbers were measured on."""
    latency_seconds: float
    """Median time for candidates and re-ranking of one query on one thread, where the snapshot was built."""


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
    catalog: str
    """Fingerprint of the catalogue, ``sha256:…``."""
    as_of: float
    """When the catalogue was true, in Unix seconds: changes after it count more, those before it less."""
    journal: JournalMark | None
    """What of the journal was there to be folded in, None if there was no journal."""
    rejects: RejectSummary


class Manifest(Contents):
    """What a snapshot says of itself."""

    format: Literal[3] = 3
    id: str
    created: str
    """When it was published, ISO 8601 in UTC."""
    files: dict[str, FileRecord]
    """Every payload file but the encoder's, which its own manifest vouches for."""


@dataclass(frozen=True)
class Snapshot:
    """One checked snapshot, its files mapped into memory.

    ``points`` (N, d) float32, ``documents`` and ``columns`` share their rows.
    """

    directory: Path
    manifest: Manifest
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
        _check_encoder(directory / ENCODER, manifest)
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
        return cls(directory, manifest, points, documents, columns)


def read_manifest(directory: Path) -> Manifest:
    """Read a snapshot's manifest without looking at its other files.

    Raises:
        SnapshotError: there is none, or one of another format.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise SnapshotError(f"{directory} is not a snapshot: it has no {MANIFEST}; `saddle reindex` makes one")
    try:
        manifest = manifests.read(path, Manifest, artefact="snapshot", release_format=FORMAT, remedy="`saddle reindex`")
    except ValueError as error:
        raise SnapshotError(str(error)) from error
    missing = sorted({*_PAYLOAD} - manifest.files.keys())
    if missing:
        raise SnapshotError(f"{path} does not list {', '.join(missing)}; rebuild with `saddle reindex`")
    return manifest


def current(root: Path) -> Path:
    """The directory of the current snapshot of an index root.

    Raises:
        SnapshotError: nothing was ever published there, or ``CURRENT`` names a snapshot that is not there.
    """
    try:
        name = (root / CURRENT).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise SnapshotError(f"{root} holds no index: it has no {CURRENT}; `saddle reindex` makes one") from error
    directory = root / SNAPSHOTS / name
    if name in {"", ".", ".."} or "/" in name or not directory.is_dir():
        raise SnapshotError(f"{root / CURRENT} names the snapshot {name!r}, which is not in {root / SNAPSHOTS}")
    return directory


@contextmanager
def drafting(root: Path) -> Iterator[Path]:
    """An empty hidden directory in ``root`` to write a snapshot in, for :func:`publish` to bring to light.

    One process at a time drafts in a root. What is not published is removed, also what dead processes left.

    Raises:
        SnapshotError: another process is drafting there.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SnapshotError(
                f"another build is writing to {root}; wait for it to end, or give this one another directory"
            ) from error
        _sweep(root)
        try:
            draft = root / f"{_UNFINISHED}{os.getpid()}"
            draft.mkdir()
            yield draft
        finally:
            _sweep(root)


def publish(root: Path, draft: Path, contents: Contents) -> Path:
    """Seal a complete ``draft`` with its manifest, move it to its place, make it current; return it."""
    created = datetime.now(UTC)
    files = {name: _record(draft / name) for name in _PAYLOAD}
    identity = hashlib.sha256(
        "".join((created.isoformat(), contents.model, *(r.sha256 for r in files.values()))).encode()
    )
    manifest = Manifest(
        **contents.model_dump(),
        id=f"{created:%Y%m%dT%H%M%S}-{identity.hexdigest()[:6]}",
        created=created.isoformat(timespec="seconds"),
        files=files,
    )
    (draft / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for path in (*draft.rglob("*"), draft):
        _sync(path)
    place = root / SNAPSHOTS / manifest.id
    place.parent.mkdir(exist_ok=True)
    draft.rename(place)
    _sync(place.parent)
    activate(root, manifest.id)
    return place


def activate(root: Path, snapshot_id: str) -> None:
    """Make a published snapshot the current one, in one step and durably."""
    beside = root / f"{_UNFINISHED}{CURRENT}-{os.getpid()}"
    beside.write_text(snapshot_id + "\n", encoding="utf-8")
    _sync(beside)
    beside.replace(root / CURRENT)
    _sync(root)


def adopt_encoder(bundle_dir: Path, draft: Path) -> None:
    """Put an encoder bundle into a draft: by hard links where the file system allows it, else by copying."""
    target = draft / ENCODER
    target.mkdir()
    for name in bundle.FILES:
        try:
            (target / name).hardlink_to(bundle_dir / name)
        except OSError:
            shutil.copyfile(bundle_dir / name, target / name)


def _check_file(path: Path, record: FileRecord, snapshot_id: str) -> None:
    if not path.is_file():
        raise SnapshotError(f"snapshot {snapshot_id} lacks {path}; rebuild it with `saddle reindex`")
    size = path.stat().st_size
    if size != record.size:  # before the checksum: a file cut short is found without reading it
        raise SnapshotError(
            f"{path} has {size} bytes, the manifest of snapshot {snapshot_id} says {record.size}; "
            "rebuild it with `saddle reindex`"
        )
    found = _record(path)
    if found.sha256 != record.sha256:
        raise SnapshotError(
            f"{path} has the SHA-256 {found.sha256[:12]}…, the manifest of snapshot {snapshot_id} says "
            f"{record.sha256[:12]}…; rebuild it with `saddle reindex`"
        )


def _check_encoder(directory: Path, manifest: Manifest) -> None:
    try:
        found = bundle.load_manifest(directory)
    except bundle.BundleError as error:
        raise SnapshotError(f"the encoder of snapshot {manifest.id} is not usable: {error}") from error
    if found.version != manifest.model:
        raise SnapshotError(
            f"snapshot {manifest.id} was built with encoder {manifest.model}, but {directory} holds "
            f"{found.version}; rebuild it with `saddle reindex`"
        )


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        return FileRecord(size=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def _sweep(root: Path) -> None:
    """Remove what no living process is writing; the caller holds the root's lock."""
    for path in root.glob(f"{_UNFINISHED}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _sync(path: Path) -> None:
    """Have the kernel put a file, or a directory's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
