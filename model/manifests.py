"""Reading manifests: what kind of artefact a directory is, and whether this release can read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from pathlib import Path

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
