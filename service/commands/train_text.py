"""``saddle train``: a catalogue, and judged or clicked pairs, into an encoder bundle."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import typer

from service.commands.bars import training_bar

if TYPE_CHECKING:
    from pathlib import Path

    from model.bundle import Manifest
    from model.catalog import Rejects
    from model.training.examples import Examples
    from model.training.trainer import Recipe, Trained

_PARITY_SAMPLES = 32


def train_text(
    catalog: Path, interactions: Path | None, out: Path, recipe: Recipe, *, checkpoint: Path, max_reject_share: float
) -> tuple[Manifest, dict[str, str]]:
    """Train and write an encoder bundle; returns its manifest and what a person wants to read of it."""
    import torch

    from model.behaviour.clicks import moment
    from model.catalog import fingerprint
    from model.export import export
    from model.training.examples import read_examples
    from model.training.trainer import Trainer

    examples, rejects = read_examples(catalog, interactions, max_reject_share=max_reject_share)
    source = fingerprint(catalog)
    data = {"catalog": source, "interactions": fingerprint(interactions) if interactions else "none"}
    with training_bar() as report:
        trainer = Trainer(examples, recipe, directory=checkpoint, data=data, report=report)
        _say_start(examples, rejects, checkpoint, trainer.resumed_at)
        trained = trainer.fit()
    manifest = export(
        trained.model,
        trained.tokenizer,
        out,
        catalog=source,
        interactions=None if interactions is None else data["interactions"],
        until=moment(examples.until) if isfinite(examples.until) else None,
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
    return manifest, _report(trained, manifest, out)


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
