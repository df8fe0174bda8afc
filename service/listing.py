"""An answer in the terminal: a table for people, or one JSON document."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
import typer
from rich.console import Console
from rich.table import Table

from index.column_files import as_text
from service.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from index.facets import Facet
    from index.results import SearchResult


def timed(ask: Callable[[], SearchResult]) -> tuple[SearchResult, float]:
    """The answer and how many milliseconds it took, the second time: first runs of a graph allocate."""
    ask()
    started = time.perf_counter()
    result = ask()
    return result, round(1e3 * (time.perf_counter() - started), 3)


def print_json(asked: Mapping[str, object], result: SearchResult, took_ms: float) -> None:
    """Print what was ``asked`` and the answer as JSON."""
    document = {**asked, "took_ms": took_ms, **asdict(result)}
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def print_table(result: SearchResult, took_ms: float) -> None:
    """Print the hits as a table, and below it what they were found with."""
    table = Table(box=None, pad_edge=False, expand=True)  # the title alone gives way, and takes what is left
    table.add_column("#", justify="right")
    table.add_column("product_id", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("score", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("contained", justify="center")
    for rank, hit in enumerate(result.hits, start=1):
        table.add_row(
            str(rank),
            printable(hit.product.product_id),
            printable(hit.product.title),
            f"{hit.score:.4f}",
            f"{hit.distance:.4f}",
            "yes" if hit.contained else "",
        )
    console = Console()
    console.print(table)
    if result.facets:
        console.print(_facet_table(result.facets))
    console.print(" · ".join(_notes(result, took_ms)), style="dim", highlight=False)


def _facet_table(facets: Sequence[Facet]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("facet")
    table.add_column("value", overflow="ellipsis", no_wrap=True)
    table.add_column("products", justify="right")
    for facet in facets:
        for value, count in facet.counts:
            table.add_row(printable(facet.column), printable(as_text(value)), f"{count:,}")
        if facet.values > len(facet.counts):
            table.add_row(printable(facet.column), f"{facet.values - len(facet.counts):,} more", "")
        if facet.missing:
            table.add_row(printable(facet.column), "none", f"{facet.missing:,}")
    return table


def _notes(result: SearchResult, took_ms: float) -> list[str]:
    least = "at least " if result.total.relation == "gte" else ""
    return [
        result.mode,
        f"{least}{result.total.value:,} products in the hyperboloid",
        "no volume" if result.generality is None else f"generality {result.generality:.1f}",
        f"{took_ms:.1f} ms",
        f"snapshot {result.snapshot}",
        f"model {result.model}",
    ]
