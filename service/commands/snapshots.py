"""``saddle snapshots``: which snapshots an index root holds, and which of them is current."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="List the snapshots of an index, choose the current one, and remove old ones.",
    rich_markup_mode="rich",
)

Index = Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")]


@app.command("list")
def show(
    index: Index, as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False
) -> None:
    """List the snapshots, the newest first.

    Examples:
      saddle snapshots list --index var/index
    """
    import orjson
    from rich.console import Console
    from rich.table import Table

    from index.root import current, listed

    now, found = current(index).name, listed(index)
    if as_json:
        told = ("id", "created", "model", "products", "bytes")
        rows = [{**{name: getattr(one, name) for name in told}, "current": one.id == now} for one in found]
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("snapshot", "created", "model"):
        table.add_column(column, no_wrap=True)
    table.add_column("products", justify="right")
    table.add_column("MB", justify="right")
    table.add_column("")
    for one in found:
        note = "current" if one.id == now else ""
        table.add_row(one.id, one.created[:19], one.model, f"{one.products:,}", f"{one.bytes / 1e6:,.1f}", note)
    Console().print(table)


@app.command()
def activate(
    snapshot: Annotated[str, typer.Argument(help="Id of a snapshot, as `saddle snapshots list` shows it.")],
    index: Index,
) -> None:
    """Check a snapshot and make it current; services take it up by themselves.

    Live changes since it was built are kept.

    Examples:
      saddle snapshots activate 20261121T175643-49c9de --index var/index
    """
    from index.root import activate as make_current

    make_current(index, snapshot)
    typer.echo(f"{snapshot} is current")


@app.command()
def rollback(index: Index) -> None:
    """Make the snapshot before the current one current again.

    Live changes since it was built are kept.

    Examples:
      saddle snapshots rollback --index var/index
    """
    from index.root import roll_back

    typer.echo(f"{roll_back(index)} is current")


@app.command()
def prune(
    index: Index,
    keep: Annotated[int, typer.Option(min=0, help="How many of the newest to keep, besides the current one.")] = 3,
) -> None:
    """Remove old snapshots, and the live changes that all that are left hold.

    The current snapshot is never removed. Services go on with what they serve.

    Examples:
      saddle snapshots prune --keep 2 --index var/index
    """
    from index.root import prune as remove

    removed = remove(index, keep=keep)
    for snapshot in removed:
        typer.echo(f"removed {snapshot}")
    if not removed:
        typer.echo("nothing to remove")
