"""Directories with a manifest: made whole or not at all, and read only if this release can and nothing was changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MANIFEST = "manifest.json"

_Manifest = TypeVar("_Manifest", bound=BaseModel)


def write(directory: Path, manifest: BaseModel) -> None:
    """Write the manifest of ``directory``."""
    (directory / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(directory: Path, kind: type[_Manifest], *, artefact: str, release_format: int, remedy: str) -> _Manifest:
    """The manifest of ``directory``, an ``artefact`` that the command ``remedy`` makes.

    Raises:
        ValueError: there is none, or none of this kind, or one of another format than ``release_format``.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise ValueError(f"{directory} is no {artefact}: it has no {MANIFEST}; {remedy} makes one")
    content = path.read_bytes()
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        if any(fault["loc"] == ("format",) for fault in error.errors()):
            found = json.loads(content)["format"]
            raise ValueError(
                f"{path} is of {artefact} format {found!r}, and this release reads format {release_format}; {remedy} "
                "makes a new one"
            ) from error
        raise ValueError(f"{path} is not a manifest of {artefact} format {release_format}: {error}") from error


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """A new directory to fill, which becomes ``out`` in one rename when the context ends, and is gone if that fails.

    Raises:
        FileExistsError: there is something at ``out``.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists already")
    out.parent.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield directory
        directory.chmod(0o755)
        directory.rename(out)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def checksums(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files ``names`` in ``directory``, by name."""
    return {name: _sha256(directory / name) for name in names}


def check_files(directory: Path, names: Iterable[str], files: Mapping[str, str], *, artefact: str) -> None:
    """See that the files ``names`` of an artefact are those whose checksums its manifest has.

    ``artefact`` is its kind and version, for the message.

    Raises:
        ValueError: one is missing or changed.
    """
    for name in names:
        if not (directory / name).is_file():
            raise ValueError(f"{artefact} in {directory} lacks {name}")
        found = _sha256(directory / name)
        if found != files.get(name):
            raise ValueError(
                f"{directory / name} does not belong to {artefact}: its SHA-256 is {found[:12]}…, "
                f"the manifest says {files.get(name, 'nothing')[:12]}…"
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
