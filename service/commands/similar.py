"""``saddle similar``: the products nearest to one of the catalogue, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def similar(
    product_id: Annotated[str, typer.Argument(help="The product, by its id in the catalogue.")],
    index: Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many products to show.")] = 10,
    wanted: Annotated[
        str | None, typer.Option("--filter", help="Which products may be hits, as in the examples.", metavar="FILTER")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Print the products nearest to a product of the current snapshot.

    Examples:
      saddle similar p17 --index var/index
      saddle similar p17 --index var/index --limit 3 --json
      saddle similar p17 --index var/index --filter 'price < 50 AND brand = "Behr"'
    """
    from index.changes import opened
    from index.filter_syntax import parse as parse_filter
    from index.refinement import Refinement
    from service.listing import print_json, print_table, timed

    refinement = Refinement(filter=None if wanted is None else parse_filter(wanted))
    with opened(index) as searcher:
        result, took_ms = timed(lambda: searcher.similar(product_id, limit=limit, refinement=refinement))
    if as_json:
        print_json({"product_id": product_id}, result, took_ms)
    else:
        print_table(result, took_ms)
