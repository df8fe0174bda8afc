"""Directories with a manifest: made whole or not at all, and read only where this release can."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

_Manifest = TypeVar("_Manifest", bound=BaseModel)


def read(path: Path, kind: type[_Manifest], *, artefact: str, release_format: int, remedy: str) -> _Manifest:
    """The manifest in ``path``, of an ``artefact`` that the command ``remedy`` makes.

    Raises:
        ValueError: it is no such manifest, or one of another format than ``release_format``.
    """
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
