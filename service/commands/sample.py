"""``saddle sample``: a generated shop to try everything on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from model.sample.shop import Shop


@dataclass(frozen=True, slots=True)
class _Written:
    """One file of the shop: what it holds, how many rows, and where it is."""

    what: str
    count: int
    path: Path


def sample(
    out: Annotated[Path, typer.Option(help="Directory to write into; made if it does not exist.", file_okay=False)],
    products: Annotated[int, typer.Option(min=50, help="How many products.")] = 2000,
    queries: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many different queries, at most.",
            show_default="14 times the square root of --products",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="One seed and size give the same files, byte for byte.")] = 0,
    catalog_format: Annotated[
        Literal["csv", "jsonl", "parquet"], typer.Option("--format", help="Format of the catalogue.")
    ] = "csv",
    images: Annotated[
        bool, typer.Option("--images", help="Draw a picture of every product, named in a column `image`.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Write into a directory that is not empty, over files of the same name."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Generate a shop: a catalogue, queries with graded relevance, and shoppers' clicks.

    Everything is invented. Relevance is known by construction, from 1 to 3.

    Examples:
      saddle sample --out var/shop
      saddle sample --out var/big --products 200000 --format parquet --seed 7
      saddle sample --out var/shop --images
    """
    from model.sample.shop import Shop

    if not force and out.is_dir() and any(out.iterdir()):
        raise typer.BadParameter(
            f"{out} is not empty; choose another directory, or --force to write into this one",
            param_hint="--out",
        )
    out.mkdir(parents=True, exist_ok=True)
    shop = Shop(products, queries=queries, seed=seed)
    written = _write(shop, out, catalog_format, images=images)
    if as_json:
        _print_json(shop, written, seed)
    else:
        _print_table(shop, written, out)


def _write(shop: Shop, out: Path, kind: Literal["csv", "jsonl", "parquet"], *, images: bool) -> tuple[_Written, ...]:
    """Write the shop's three files, and its pictures if asked, each under a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from model.sample import files, pictures

    catalog, judgments, interactions = (
        out / f"catalog.{kind}",
        out / "judgments.csv",
        out / "interactions.csv",
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        products = shop.products()
        if images:
            named = zip(products, pictures.write_pictures(out, shop.stock), strict=True)
            products = (replace(product, image=name) for product, name in named)
        stocked = progress.track(products, total=shop.size, description="Stocking products")
        made = files.write_catalog(catalog, stocked, kind=kind, images=images)
        graded = progress.track(shop.judgments(), total=None, description="Grading queries")
        judged = files.write_judgments(judgments, graded)
        events = progress.track(shop.interactions(), total=None, description="Following shoppers")
        followed = files.write_interactions(interactions, events)
    return (
        _Written("products", made, catalog),
        _Written("judgments", judged, judgments),
        _Written("interactions", followed, interactions),
    )


def _print_json(shop: Shop, written: tuple[_Written, ...], seed: int) -> None:
    import orjson

    document = {
        "seed": seed,
        "queries": len(shop.queries),
        "sessions": shop.sessions,
        "files": {part.what: {"path": str(part.path), "rows": part.count} for part in written},
    }
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _print_table(shop: Shop, written: tuple[_Written, ...], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    catalog, judgments, _ = (str(part.path) for part in written)
    table = Table(box=None, pad_edge=False)
    table.add_column("made")
    table.add_column("rows", justify="right")
    table.add_column("file", overflow="fold")
    notes = {"judgments": f"{len(shop.queries):,} queries", "interactions": f"{shop.sessions:,} sessions"}
    for part in written:
        note = f" ({notes[part.what]})" if part.what in notes else ""
        table.add_row(part.what + note, f"{part.count:,}", str(part.path))
    console = Console(markup=False, highlight=False)
    console.print(table)
    query = next((q.text for q in shop.queries if q.level == "middle"), shop.queries[0].text)
    console.print("\nNext:")
    for command in (
        f"saddle train --catalog {catalog} --interactions {judgments} --out {out / 'model'}",
        f"saddle reindex --model {out / 'model'} --catalog {catalog} --out {out / 'index'}",
        f'saddle search "{query}" --index {out / "index"}',
        f"saddle evaluate --index {out / 'index'} --judgments {judgments}",
    ):
        console.print(f"  {command}", soft_wrap=True)
