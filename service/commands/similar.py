"""``saddle similar``: the products nearest to one of the catalogue, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def similar(
    product_id: Annotated[str, typer.Argument(help="The product, by its id in the catalogue.")],
    index: Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many products to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Print the products nearest to a product of the current snapshot.

    Examples:
      saddle similar p17 --index var/index
      saddle similar p17 --index var/index --limit 3 --json
    """
    from index.changes import opened
    from service.listing import print_json, print_table, timed

    with opened(index) as searcher:
        result, took_ms = timed(lambda: searcher.similar(product_id, limit=limit))
    if as_json:
        print_json({"product_id": product_id}, result, took_ms)
    else:
        print_table(result, took_ms)
