"""``saddle search``: one query against the current snapshot, in the terminal."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from index.search import SearchResult


def search(
    query: Annotated[str, typer.Argument(help="What a shopper would type.")],
    index: Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many products to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Search the current snapshot and print the nearest products.

    Examples:
      saddle search "cordless drill" --index var/index
      saddle search "white oak vanity 36 in" --index var/index --limit 3 --json
    """
    from index.search import Searcher
    from index.snapshot import current

    searcher = Searcher.open(current(index))
    try:
        searcher.search(query, limit=limit)  # the first run of a graph allocates: the second is what it takes
        started = time.perf_counter()
        result = searcher.search(query, limit=limit)
        took_ms = 1000.0 * (time.perf_counter() - started)
    finally:
        searcher.close()
    if as_json:
        _print_json(query, result, took_ms)
    else:
        _print_table(result, took_ms)


def _print_json(query: str, result: SearchResult, took_ms: float) -> None:
    import orjson

    document = {"query": query, "took_ms": round(took_ms, 3), **asdict(result)}
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _print_table(result: SearchResult, took_ms: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("#", justify="right")
    table.add_column("product_id", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("distance", justify="right")
    table.add_column("contained", justify="center")
    for rank, hit in enumerate(result.hits, start=1):
        # Text, not str: a title's square brackets are no markup
        table.add_row(
            str(rank),
            Text(hit.product.product_id),
            Text(hit.product.title),
            f"{hit.distance:.4f}",
            "yes" if hit.contained else "",
        )
    console = Console()
    console.print(table)
    counted = "candidates" if result.total.relation == "gte" else "products"
    console.print(
        f"{result.total.value:,} {counted} in the hyperboloid · {took_ms:.1f} ms · snapshot {result.snapshot} · "
        f"model {result.model}",
        style="dim",
        highlight=False,
    )
