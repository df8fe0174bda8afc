"""``saddle search``: one query against the current snapshot, in the terminal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from service.commands.query import legible

if TYPE_CHECKING:
    from index.asked import Asked
    from index.explain import Explanation
    from index.expression import Expression
    from index.refinement import Refinement
    from index.results import TextMode


def search(
    index: Annotated[Path, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")],
    query: Annotated[
        str | None,
        typer.Argument(
            help="What a shopper would type; not needed with --image.", show_default=False, callback=legible
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(help="A photograph: find products whose pictures are like it.", exists=True, dir_okay=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many products to show.")] = 10,
    mode: Annotated[
        Literal["hybrid", "hyperboloid", "lexical", "behaviour"],
        typer.Option(help="What finds and orders the products: the hyperboloid, BM25, clicks, or all that there is."),
    ] = "hybrid",
    operators: Annotated[
        bool, typer.Option("--operators", help="Read AND, OR, NOT (in capitals), brackets and quotes in the query.")
    ] = False,
    wanted: Annotated[
        str | None, typer.Option("--filter", help="Which products may be hits, as in the examples.", metavar="FILTER")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(help="Column to order the matching products by, -COLUMN for the highest first.")
    ] = None,
    facet: Annotated[
        list[str] | None, typer.Option(help="Column whose values to count over the matching products; repeatable.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show why the first hit is where it is; `saddle explain` does any other.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where points lie and encoders run: cpu, cuda or cuda:N.", envvar="SADDLE_DEVICE")
    ] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Search the current snapshot and print the best products.

    Examples:
      saddle search "cordless drill" --index var/index
      saddle search "white oak vanity 36 in" --index var/index --limit 3 --json
      saddle search "cordless drill" --explain --index var/index
      saddle search "drill NOT cordless" --operators --index var/index
      saddle search drill --filter 'price < 50 AND brand IN ("3M", "Behr")'
      saddle search drill --filter 'category_path UNDER "Tools"' --facet brand
      saddle search drill --sort=-price
      saddle search --image photo.jpg
      saddle search "red" --image photo.jpg
    """
    from index.changes import opened
    from index.device import Device
    from index.explain import explain as explained
    from index.filter_syntax import parse as parse_filter
    from index.refinement import Refinement, Sort
    from service.listing import print_json, print_table, timed

    if query is None and image is None:
        raise typer.BadParameter("say what to look for, or give a photograph with --image", param_hint="QUERY")
    if image is not None and (explain or mode != "hybrid"):
        raise typer.BadParameter("it has no mode and no grid; leave --mode and --explain out", param_hint="--image")
    if explain and operators:
        raise typer.BadParameter(
            "an expression has no terms of its own; explain one of its texts", param_hint="--explain"
        )
    sought = _read(query) if operators and query is not None else query
    refinement = Refinement(
        filter=None if wanted is None else parse_filter(wanted),
        sort=None if sort is None else Sort.parse(sort),
        facets=tuple(facet or ()),
    )
    explanation = None
    with opened(index, device=Device.parse(device)) as searcher:
        asked = _asked(sought, image, mode, limit, refinement)
        result, took_ms = timed(lambda: searcher.answer(asked))
        if explain and result.hits and query is not None:
            first = result.hits[0].product.product_id
            explanation = explained(searcher, query, first)
    if as_json:
        told = {"query": query, **({"explanation": asdict(explanation)} if explanation else {})}
        print_json(told, result, took_ms)
        return
    print_table(result, took_ms)
    if explanation:
        _print_explanation(explanation)


def _asked(
    query: str | Expression | None, image: Path | None, mode: TextMode, limit: int, refinement: Refinement
) -> Asked:
    from index.asked import ByPicture, Search

    if image is not None:
        return ByPicture(image.read_bytes(), query, limit, refinement=refinement)
    assert query is not None
    return Search(query, mode, limit, refinement=refinement)


def _print_explanation(explanation: Explanation) -> None:
    from rich.console import Console

    from service import drawing

    Console().print("", drawing.terminal(explanation))


def _read(query: str) -> Expression:
    from index.expression import normal_form
    from index.operators import parse

    expression = parse(query)
    normal_form(expression)  # before an index is opened for a query that it cannot answer
    return expression
