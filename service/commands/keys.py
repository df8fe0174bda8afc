"""``saddle keys``: API keys made, listed and revoked, in the file that ``saddle serve --keys`` reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from service.commands import CommandError

app = typer.Typer(
    no_args_is_help=True,
    help="Make, list and revoke API keys; services see it within a second.",
    rich_markup_mode="rich",
)

File = Annotated[Path, typer.Option("--keys", help="File of API keys.", envvar="SADDLE_KEYS")]


@app.command()
def create(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Name of the key, as logs show it: a-z, 0-9 and -.")],
    keys: File,
    scope: Annotated[list[str], typer.Option(help="What it may do: search, write or admin; give it once for each.")],
    days: Annotated[float | None, typer.Option(min=0.0, help="After how many days it expires.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second that it may make.")] = None,
    burst: Annotated[
        int | None, typer.Option(min=1, help="How many of them may come at once.", show_default="a second's")
    ] = None,
) -> None:
    """Make a key and print it, once: the file keeps only its hash.

    To rotate, make another, give it to the callers, and revoke the old one.

    Examples:
      saddle keys create storefront --scope search --rate 200 --keys var/keys.json
      saddle keys create importer --scope search --scope write --days 90 --keys var/keys.json
    """
    from service.keys import create as made
    from service.scopes import SCOPES

    unknown = [name for name in scope if name not in SCOPES]
    if unknown:
        raise CommandError(f"--scope {unknown[0]!r} is none of {', '.join(SCOPES)}")
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    scopes = [name for name in SCOPES if name in scope]
    token = made(keys, key_id, scopes=scopes, expires=expires, rate=rate, burst=burst)
    typer.echo("Send it as `Authorization: Bearer …`. It is not shown again:", err=True)
    typer.echo(token)


@app.command("list")
def show(keys: File, as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False) -> None:
    """List the keys, without their secrets, which nobody knows.

    Examples:
      saddle keys list --keys var/keys.json
    """
    import orjson
    from rich.console import Console
    from rich.table import Table

    from service.keys import read

    now, found = datetime.now(UTC), read(keys)
    if as_json:
        told = [{**key.model_dump(exclude={"sha256"}), "scopes": sorted(key.scopes)} for key in found]
        rows = [{**row, "state": key.state(now)} for row, key in zip(told, found, strict=True)]
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "scopes", "state", "created", "expires", "requests a second"):
        table.add_column(column, no_wrap=True)
    for key in found:
        expires = "" if key.expires is None else f"{key.expires:%Y-%m-%d}"
        limit = "" if key.rate is None else f"{key.rate:g}, {key.burst} at once"
        table.add_row(key.id, " ".join(sorted(key.scopes)), key.state(now), f"{key.created:%Y-%m-%d}", expires, limit)
    Console().print(table)


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")], keys: File) -> None:
    """Let a key open nothing any more.

    Examples:
      saddle keys revoke importer --keys var/keys.json
    """
    from service.keys import revoke as closed

    closed(keys, key_id)
    typer.echo(f"{key_id} is revoked")
