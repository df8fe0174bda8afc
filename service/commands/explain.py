"""``saddle explain``: why a product is where it is in a query's answer, in the terminal or as a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from service.commands.query import legible


def explain(
    query: Annotated[str, typer.Argument(help="What a shopper would type.", callback=legible)],
    product_id: Annotated[str, typer.Argument(help="The product, by its id in the catalogue.")],
    index: Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")],
    svg: Annotated[Path | None, typer.Option(help="Write the grid to this file, as a picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the explanation as JSON.")] = False,
) -> None:
    """Show which terms of a title answer which terms of a query.

    The grid is computed after the fact, from what both encoders attend
    to; distance and axes are those of the search.

    Examples:
      saddle explain "cordless drill" p17 --index var/index
      saddle explain "cordless drill" p17 --index var/index --svg drill.svg
    """
    from rich.console import Console
    from rich.text import Text

    from index.changes import opened
    from index.explain import explain as explained
    from service import drawing

    with opened(index) as searcher:
        explanation = explained(searcher, query, product_id)
    if svg is not None:
        svg.write_text(drawing.svg(explanation), encoding="utf-8")
    if as_json:
        import orjson

        typer.echo(orjson.dumps(asdict(explanation), option=orjson.OPT_INDENT_2))
        return
    Console().print(drawing.terminal(explanation))
    if svg is not None:
        Console().print(Text(f"drawn to {svg}", style="dim"))
