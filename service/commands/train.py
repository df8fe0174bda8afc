"""``saddle train``: a catalogue, and what shoppers did with it, into an encoder bundle."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel

    from model.bundle import Manifest
    from model.catalog import Rejects
    from model.training.examples import Examples
    from model.training.trainer import Progress, Trained

_PARITY_SAMPLES = 32


def train(
    catalog: Annotated[Path, typer.Option(help="Catalogue: CSV, JSONL or Parquet.")],
    out: Annotated[Path, typer.Option(help="Directory to write the encoder bundle to; must not exist.")],
    interactions: Annotated[
        Path | None,
        typer.Option(help="Judged or clicked pairs: query, product_id and relevance (1 to 3) or event."),
    ] = None,
    channel: Annotated[
        Literal["text", "image"], typer.Option(help="What to train: the text encoders, or the image channel.")
    ] = "text",
    image_root: Annotated[
        Path | None, typer.Option(help="Folder below which the catalogue's images are (image).", file_okay=False)
    ] = None,
    tree: Annotated[
        Literal["flat", "given", "learnt"],
        typer.Option(help="Proxies of categories alone, of their levels, or of groups found among them (image)."),
    ] = "given",
    backbone: Annotated[
        str | None, typer.Option(help="torchvision's architecture to start from instead of a small one (image).")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights, a .safetensors file (image).")] = None,
    minutes: Annotated[float, typer.Option(min=0.05, help="Time to train for.")] = 10.0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train this many steps instead: repeatable on one machine.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    dim: Annotated[
        int | None, typer.Option(min=4, max=1024, help="Dimensions of the space.", show_default="256; image: 128")
    ] = None,
    curvature: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="c of the curvature −c; 0 trains the Euclidean twin, of images on the sphere.",
            show_default="1; image: 0",
        ),
    ] = None,
    terms: Annotated[
        Literal["word", "trigram"],
        typer.Option(help="What queries are made of: words composed of trigrams, or trigrams alone."),
    ] = "word",
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train the text encoders on a shop's own catalogue and, if there are any, its judged or clicked pairs.

    Of the queries, 72 % are trained on, 8 % choose the best model, 20 % are never
    looked at: `saddle evaluate` tests on those. A run that was stopped, or killed,
    goes on where it was when the same command is given again.

    Examples:
      saddle train --catalog shop.csv --out var/model
      saddle train --catalog shop.csv --interactions clicks.csv --out var/model --minutes 30
      saddle train --channel image --catalog shop.csv --image-root photos --out var/image
    """
    from service.commands import CommandError

    if out.exists():
        raise CommandError(f"{out} exists already: choose another --out, or remove it first")
    # A core that something else uses would stall every parallel step while the other threads spin; but a thread that
    # sleeps at once is woken a thousand times a step. So they spin for microseconds.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    import torch

    from model.catalog import fingerprint
    from model.export import export
    from model.training.examples import read_examples
    from model.training.trainer import Recipe, Trainer

    if threads is not None:
        torch.set_num_threads(threads)
    recipe = Recipe(
        minutes=minutes,
        steps=steps,
        seed=seed,
        dim=256 if dim is None else dim,
        curvature=1.0 if curvature is None else curvature,
        terms=terms,
    )
    state = checkpoint or out.with_name(f"{out.name}.checkpoint")
    if fresh:
        shutil.rmtree(state, ignore_errors=True)
    if channel == "image":
        from service.commands.train_image import Asked, train_image

        if image_root is None or (backbone is None) != (weights is None):
            raise CommandError("the image channel needs --image-root, and a --backbone with its --weights or neither")
        bundled, told = train_image(
            Asked(
                catalog=catalog,
                image_root=image_root,
                out=out,
                minutes=minutes,
                steps=steps,
                seed=seed,
                dim=128 if dim is None else dim,
                curvature=0.0 if curvature is None else curvature,
                tree=tree,
                backbone=(backbone, weights) if backbone is not None and weights is not None else None,
                checkpoint=state,
                max_reject_share=max_reject_share,
            )
        )
        shutil.rmtree(state, ignore_errors=True)
        _print(bundled, told, as_json=as_json)
        return
    examples, rejects = read_examples(catalog, interactions, max_reject_share=max_reject_share)
    source = fingerprint(catalog)
    data = {"catalog": source, "interactions": fingerprint(interactions) if interactions else "none"}
    with _progress() as report:
        trainer = Trainer(examples, recipe, directory=state, data=data, report=report)
        _say_start(examples, rejects, state, trainer.resumed_at)
        trained = trainer.fit()
    manifest = export(
        trained.model,
        trained.tokenizer,
        out,
        catalog=source,
        training={
            "recipe": recipe.model_dump(),
            "products": len(examples.texts),
            "train_queries": len(examples.train),
            "dev_queries": len(examples.dev),
            "dev_metrics": trained.metrics,
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "torch": torch.__version__,
        },
        samples=examples.texts[:_PARITY_SAMPLES],
    )
    shutil.rmtree(state)
    _print(manifest, _report(trained, manifest, out), as_json=as_json)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """A bar on stderr with the loss, and a line for every dev evaluation."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Training"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("step {task.fields[step]}  loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0, step=0, loss=float("nan"))

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.fraction, step=progress.step, loss=progress.loss)
            if progress.metrics is not None:
                shown = "  ".join(f"{name} {value:.3f}" for name, value in progress.metrics.items())
                bar.console.print(f"step {progress.step:>6}  dev  {shown}", markup=False, highlight=False)

        yield show


def _say_start(examples: Examples, rejects: dict[str, Rejects], state: Path, resumed_at: int | None) -> None:
    typer.echo(
        f"{len(examples.texts):,} products, {len(examples.train):,} queries to train on, "
        f"{len(examples.dev):,} to choose by",
        err=True,
    )
    if examples.unmatched:
        typer.echo(f"{examples.unmatched:,} interactions with products that the catalogue lacks are left out", err=True)
    for name, rejected in rejects.items():
        if rejected.count:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.reasons.most_common())
            typer.echo(f"{rejected.count:,} rows of the {name} set aside: {reasons}", err=True)
    if resumed_at is not None:
        typer.echo(f"Resuming at step {resumed_at:,} from {state}", err=True)


def _report(trained: Trained, manifest: Manifest, out: Path) -> dict[str, str]:
    return {
        "model": manifest.version,
        "bundle": str(out),
        "trained": f"{trained.steps:,} steps in {trained.seconds:.0f} s",
        "γ": f"{manifest.geometry.gamma:.3f}",
        **{f"dev {name}": f"{value:.3f}" for name, value in trained.metrics.items()},
    }


def _print(manifest: BaseModel, told: dict[str, str], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in told.items():
        table.add_row(name, value)
    Console(markup=False).print(table)
