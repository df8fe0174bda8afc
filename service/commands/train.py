"""``saddle train``: a catalogue, its pictures and what shoppers did with it, into the bundle of a channel."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel


_MINUTES = 10.0


def train(
    catalog: Annotated[Path, typer.Option(help="Catalogue: CSV, JSONL or Parquet.")],
    out: Annotated[Path, typer.Option(help="Directory to write the bundle to; must not exist.")],
    interactions: Annotated[
        Path | None,
        typer.Option(help="Judged or clicked pairs: query, product_id and relevance (1 to 3) or event."),
    ] = None,
    channel: Annotated[
        Literal["text", "behaviour", "image"],
        typer.Option(help="What to train: the text encoders, or the channel of clicks or of pictures."),
    ] = "text",
    text: Annotated[
        Path | None, typer.Option(help="Encoder bundle that the behaviour channel stands on (behaviour).")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.05, help="Time to train for.", show_default="10; behaviour: 30, at most")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train this many steps instead: repeatable on one machine.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    dim: Annotated[
        int | None,
        typer.Option(min=4, max=1024, help="Dimensions of the space.", show_default="256; behaviour: 64; image: 128"),
    ] = None,
    curvature: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="c of the curvature −c; 0 trains the Euclidean twin, of images on the sphere (text, image).",
            show_default="1; image: 0",
        ),
    ] = None,
    terms: Annotated[
        Literal["word", "trigram"] | None,
        typer.Option(
            help="What queries are made of: words composed of trigrams, or trigrams alone (text).", show_default="word"
        ),
    ] = None,
    pause: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="Minutes that end a session which has no session_id (behaviour).", show_default="30"
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        typer.Option(
            min=1, help="Clicks that a query and a product need to be learnt as a pair (behaviour).", show_default="1"
        ),
    ] = None,
    all_queries: Annotated[
        bool,
        typer.Option(
            "--all-queries", help="Learn from test queries too: to serve with, not to measure with (behaviour)."
        ),
    ] = False,
    image_root: Annotated[
        Path | None, typer.Option(help="Folder below which the catalogue's images are (image).", file_okay=False)
    ] = None,
    tree: Annotated[
        Literal["flat", "given", "learnt"] | None,
        typer.Option(
            help="Proxies of categories alone, of their levels, or of groups found among them (image).",
            show_default="given",
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="torchvision's architecture to start from instead of a small one (image).")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights, a .safetensors file (image).")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to compute with.", show_default="all cores")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Directory of the checkpoint.", show_default="--out with .checkpoint added"),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over instead of resuming.")] = False,
    max_reject_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of bad rows above which training is refused.")
    ] = 0.05,
    rejects: Annotated[
        Path | None, typer.Option(help="File to list in what of the interactions was left out (behaviour).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train the text encoders on a shop's own catalogue and, if there are any, its judged or clicked pairs.

    With --channel behaviour, train what clicks and sessions tell, on top of
    text encoders that are there already. With --channel image, train what
    pictures show, by the catalogue's categories.

    Of the queries, 72 % are trained on, 8 % choose the best model, 20 % are never
    looked at: `saddle evaluate` tests on those. A run that was stopped, or killed,
    goes on where it was when the same command is given again.

    Examples:
      saddle train --catalog shop.csv --out var/model
      saddle train --catalog shop.csv --interactions clicks.csv --out var/model --minutes 30
      saddle train --channel behaviour --text var/model --catalog shop.csv --interactions clicks.csv --out var/behaviour
      saddle train --channel image --catalog shop.csv --image-root photos --out var/image
    """
    from service.commands import CommandError, computing

    if out.exists():
        raise CommandError(f"{out} exists already: choose another --out, or remove it first")
    _check_options(
        channel,
        {
            ("--curvature", curvature): ("text", "image"),
            ("--terms", terms): ("text",),
            ("--interactions", interactions): ("text", "behaviour"),
            ("--text", text): ("behaviour",),
            ("--pause", pause): ("behaviour",),
            ("--min-count", min_count): ("behaviour",),
            ("--all-queries", all_queries or None): ("behaviour",),
            ("--rejects", rejects): ("behaviour",),
            ("--image-root", image_root): ("image",),
            ("--tree", tree): ("image",),
            ("--backbone", backbone): ("image",),
            ("--weights", weights): ("image",),
        },
    )
    computing.prepare(threads)
    state = checkpoint or out.with_name(f"{out.name}.checkpoint")
    if fresh:
        shutil.rmtree(state, ignore_errors=True)
    told: tuple[BaseModel, dict[str, str]]
    if channel == "behaviour":
        if interactions is None or text is None:
            raise CommandError("the behaviour channel needs --interactions and, from `saddle train`, --text")
        from service.commands.train_behaviour import MINUTES, PAUSE_MINUTES, Asked, train_behaviour

        told = train_behaviour(
            Asked(
                catalog=catalog,
                interactions=interactions,
                text=text,
                out=out,
                minutes=MINUTES if minutes is None else minutes,
                steps=steps,
                seed=seed,
                width=dim,
                pause_minutes=PAUSE_MINUTES if pause is None else pause,
                min_count=1 if min_count is None else min_count,
                all_queries=all_queries,
                threads=threads,
                checkpoint=state,
                max_reject_share=max_reject_share,
                rejects=rejects,
            )
        )
    elif channel == "image":
        if (backbone is None) != (weights is None):
            raise CommandError("the image channel needs a --backbone with its --weights, or neither")
        from service.commands import train_image as images

        told = images.train_image(
            images.Asked(
                catalog=catalog,
                image_root=image_root,
                out=out,
                minutes=_MINUTES if minutes is None else minutes,
                steps=steps,
                seed=seed,
                dim=images.DIM if dim is None else dim,
                curvature=curvature or 0.0,
                tree=tree or "given",
                backbone=(backbone, weights) if backbone is not None and weights is not None else None,
                checkpoint=state,
                max_reject_share=max_reject_share,
            )
        )
    else:
        from model.training.trainer import Recipe
        from service.commands.train_text import train_text

        asked: dict[str, Any] = {"minutes": minutes, "dim": dim, "curvature": curvature, "terms": terms}
        recipe = Recipe(steps=steps, seed=seed, **{name: value for name, value in asked.items() if value is not None})
        told = train_text(catalog, interactions, out, recipe, checkpoint=state, max_reject_share=max_reject_share)
    shutil.rmtree(state, ignore_errors=True)
    manifest, report = told
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
    else:
        _print_report(report)


def _check_options(channel: str, meant_for: dict[tuple[str, object], tuple[str, ...]]) -> None:
    """Refuse options that are given, not None, and not meant for this channel."""
    from service.commands import CommandError

    misplaced = [name for (name, value), channels in meant_for.items() if value is not None and channel not in channels]
    if misplaced:
        raise CommandError(f"{' and '.join(misplaced)} mean nothing to the {channel} channel")


def _print_report(told: dict[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in told.items():
        table.add_row(name, value)
    Console(markup=False).print(table)
