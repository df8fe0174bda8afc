"""Index roots: where snapshots lie, which of them is current, and how one comes and goes.

A root holds ``snapshots/<id>/`` and ``CURRENT``, a file with one id. A snapshot is written under a hidden name in the
same root and renamed once it is complete and on disk; then ``CURRENT`` is replaced. One that is pruned gets a hidden
name first. So whoever reads the root sees whole snapshots only, whatever happens to the process that writes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from index.journal import JOURNAL, Journal
from index.snapshot import (
    BEHAVIOUR,
    BUNDLE,
    CANDIDATES,
    PAYLOAD,
    PICTURES,
    Contents,
    Manifest,
    Snapshot,
    SnapshotError,
    read_manifest,
    recorded,
)
from model import manifests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

SNAPSHOTS = "snapshots"
CURRENT = "CURRENT"
_LOCK, _LEARNING_LOCK = ".lock", ".learning.lock"
_UNFINISHED = ".unfinished-"
_LEARNT = ".behaviour-"
_POINTING = ".current-"


class UnknownSnapshotError(SnapshotError):
    """A snapshot that is not there."""


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
    with _building(root):
        _sweep(root)
        try:
            draft = root / f"{_UNFINISHED}{os.getpid()}"
            draft.mkdir()
            yield draft
        finally:
            _sweep(root)


@contextmanager
def learning(root: Path) -> Iterator[Path]:
    """An empty hidden directory in ``root`` to learn a channel in, on the way to a snapshot; it is removed in the end.

    One process at a time learns for a root, while others may build. What dead processes left is removed.

    Raises:
        SnapshotError: another process is learning there.
    """
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / _LEARNING_LOCK, f"another run is learning from clicks for {root}; wait for it to end"):
        for left in root.glob(f"{_LEARNT}*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_LEARNT, dir=root) as directory:
            yield Path(directory)


def publish(root: Path, draft: Path, contents: Contents) -> Path:
    """Seal a complete ``draft`` with its manifest, move it to its place, make it current; return it."""
    created = datetime.now(UTC)
    # what a candidate index consists of depends on its kind, and there may be more channels
    parts = (draft / CANDIDATES, draft / BEHAVIOUR, draft / PICTURES)
    more = (path for part in parts for path in part.rglob("*") if path.is_file())
    sealed = {part / BUNDLE for part in parts}
    names = {*PAYLOAD, *(path.relative_to(draft).as_posix() for path in more if path.parent not in sealed)}
    files = {name: recorded(draft / name) for name in sorted(names)}
    identity = hashlib.sha256(
        "".join((created.isoformat(), contents.model, *(r.sha256 for r in files.values()))).encode()
    )
    manifest = Manifest(
        **contents.model_dump(),
        id=f"{created:%Y%m%dT%H%M%S}-{identity.hexdigest()[:6]}",
        created=created.isoformat(timespec="microseconds"),
        files=files,
    )
    manifests.write(draft, manifest)
    for path in (*draft.rglob("*"), draft):
        _sync(path)
    place = root / SNAPSHOTS / manifest.id
    place.parent.mkdir(exist_ok=True)
    draft.rename(place)
    _sync(place.parent)
    point_at(root, manifest.id)
    return place


def listed(root: Path) -> list[Manifest]:
    """The snapshots of an index root that can be read, the newest first."""
    found = []
    for directory in (root / SNAPSHOTS).iterdir() if (root / SNAPSHOTS).is_dir() else ():
        with suppress(SnapshotError):
            found.append(read_manifest(directory))
    return sorted(found, key=lambda manifest: manifest.created, reverse=True)


def activate(root: Path, snapshot_id: str) -> None:
    """Make a published snapshot the current one, if it is sound, in one step and durably.

    Raises:
        UnknownSnapshotError: there is none of that id.
        SnapshotError: it is damaged.
    """
    Snapshot.open(place_of(root, snapshot_id)).documents.close()
    point_at(root, snapshot_id)


def place_of(root: Path, snapshot_id: str) -> Path:
    """The directory of a published snapshot.

    Raises:
        UnknownSnapshotError: there is none of that id.
    """
    directory = root / SNAPSHOTS / snapshot_id
    if snapshot_id in {"", ".", ".."} or "/" in snapshot_id or not directory.is_dir():
        have = ", ".join(manifest.id for manifest in listed(root)) or "none"
        raise UnknownSnapshotError(f"there is no snapshot {snapshot_id!r} in {root}; there are: {have}")
    return directory


def roll_back(root: Path) -> str:
    """Make the newest snapshot that is older than the current one current; return its id.

    Raises:
        UnknownSnapshotError: there is none.
        SnapshotError: nothing is current, or the older one is damaged.
    """
    older = one_before(root)
    activate(root, older)
    return older


def one_before(root: Path) -> str:
    """The id of the newest snapshot that is older than the current one.

    Raises:
        UnknownSnapshotError: there is none.
        SnapshotError: nothing is current.
    """
    now = read_manifest(current(root))
    older = [manifest.id for manifest in listed(root) if manifest.created < now.created]
    if not older:
        raise UnknownSnapshotError(f"{now.id} is the oldest snapshot in {root}: there is none to go back to")
    return older[0]


def prune(root: Path, *, keep: int) -> list[str]:
    """Remove all snapshots but the current one and the ``keep`` newest; return the ids of those removed.

    The journal loses the changes that all that are left hold. Services go on with what they serve: a file that is
    open stays until it is closed.

    Raises:
        SnapshotError: a build is writing to ``root``, or nothing that can be read is current.
    """
    with _building(root):
        now = read_manifest(current(root)).id
        found = listed(root)
        kept = [manifest for place, manifest in enumerate(found) if place < keep or manifest.id == now]
        removed = [manifest.id for manifest in found if manifest not in kept]
        for snapshot_id in removed:
            hidden = root / f"{_UNFINISHED}{snapshot_id}"
            (root / SNAPSHOTS / snapshot_id).rename(hidden)
        _sweep(root)
        if (root / JOURNAL).is_file():
            with Journal(root / JOURNAL) as journal:
                marks = [manifest.journal for manifest in kept]
                if all(mark is not None and mark.id == journal.id for mark in marks):
                    journal.prune(
                        min(mark.sequence for mark in marks if mark is not None),
                        before=min(manifest.as_of for manifest in kept),
                    )
        return removed


def point_at(root: Path, snapshot_id: str) -> None:
    """Make a snapshot that is known to be sound the current one, in one step and durably."""
    while True:
        try:
            _write_beside(root, snapshot_id).replace(root / CURRENT)
        except FileNotFoundError:  # a build, which alone has the lock, swept it away
            continue
        break
    _sync(root)


def _write_beside(root: Path, snapshot_id: str) -> Path:
    with tempfile.NamedTemporaryFile("w", dir=root, prefix=_POINTING, delete=False, encoding="utf-8") as beside:
        beside.write(snapshot_id + "\n")
        beside.flush()
        os.fsync(beside.fileno())
        os.fchmod(beside.fileno(), 0o644)
    return Path(beside.name)


def _building(root: Path) -> AbstractContextManager[None]:
    refusal = f"another build is writing to {root}; wait for it to end, or give this one another directory"
    return _locked(root / _LOCK, refusal)


@contextmanager
def _locked(path: Path, refusal: str) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SnapshotError(refusal) from error
        yield


def adopt(bundle_dir: Path, names: Sequence[str], target: Path) -> None:
    """Put the files of a bundle into a draft: by hard links where the file system allows it, else by copying."""
    target.mkdir()
    for name in names:
        try:
            (target / name).hardlink_to(bundle_dir / name)
        except OSError:
            shutil.copyfile(bundle_dir / name, target / name)


def _sweep(root: Path) -> None:
    """Remove what no living process is writing; the caller holds the root's lock."""
    for path in root.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(path)
    for path in root.glob(f"{_POINTING}*"):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the kernel put a file, or a directory's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
