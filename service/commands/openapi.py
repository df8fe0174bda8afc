"""``saddle openapi``: the HTTP interface as an OpenAPI document, without a running service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def openapi(
    out: Annotated[Path | None, typer.Option(help="File to write to, instead of the standard output.")] = None,
) -> None:
    """Print the OpenAPI document of the service, as `/openapi.json` has it, with sorted keys.

    Examples:
      saddle openapi --out docs/openapi.json
    """
    from service.openapi import written

    document = written()
    if out is None:
        typer.echo(document, nl=False)
    else:
        out.write_bytes(document)
