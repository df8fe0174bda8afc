"""The OpenAPI document: what FastAPI writes, less what no route speaks of, and the same bytes every time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

_SCHEMAS = "#/components/schemas/"


def prune(document: dict[str, Any]) -> dict[str, Any]:
    """Remove the schemas that no route leads to, such as the parsed forms of what callers write as text."""
    schemas = document.get("components", {}).get("schemas", {})
    kept: set[str] = set()
    found = _named(document["paths"])
    while found:
        kept |= found
        found = {name for known in found for name in _named(schemas[known])} - kept
    for name in schemas.keys() - kept:
        del schemas[name]
    return document


def written() -> bytes:
    """The document of this release as JSON, its keys sorted."""
    from service.app import create_app
    from service.settings import Settings

    document = create_app(Settings(index=Path("index"))).openapi()
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def _named(part: object) -> set[str]:
    """The names of the schemas that a part of the document refers to."""
    if isinstance(part, dict):
        reference = part.get("$ref")
        own = {reference.removeprefix(_SCHEMAS)} if isinstance(reference, str) else set()
        return own.union(*(_named(value) for value in part.values()))
    return set[str]().union(*(_named(value) for value in part)) if isinstance(part, list) else set()
