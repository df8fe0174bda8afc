"""A query as an argument of a command."""

from __future__ import annotations

import typer


def legible(query: str | None) -> str | None:
    """The argument itself; a callback of it.

    Raises:
        typer.BadParameter: it holds a byte that is no part of UTF-8, which Python keeps as half a character.
    """
    try:
        (query or "").encode()
    except UnicodeEncodeError as error:
        byte = ord(error.object[error.start]) & 0xFF
        raise typer.BadParameter(f"is no UTF-8: it has the byte 0x{byte:02x} at position {error.start}") from error
    return query
