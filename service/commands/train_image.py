"""``saddle train --channel image``: a catalogue's pictures and categories into an image bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from service.commands.bars import training_bar

if TYPE_CHECKING:
    from pathlib import Path

    from model.image.bundle import Manifest
    from model.training.image.examples import Census, Pictures
    from model.training.image.trainer import Trained

DIM = 128
_PARITY_SAMPLES = 16


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    catalog: Path
    image_root: Path | None
    """Where the files are that the catalogue names; not needed where it holds pictures itself."""
    out: Path
    minutes: float
    steps: int | None
    seed: int
    dim: int
    curvature: float
    """0 puts points on the sphere."""
    tree: Literal["flat", "given", "learnt"]
    backbone: tuple[str, Path] | None
    """torchvision's name of an architecture, and its weights."""
    checkpoint: Path
    max_reject_share: float


def train_image(asked: Asked) -> tuple[Manifest, dict[str, str]]:
    """Train and write an image bundle; returns its manifest and what a person wants to read of it."""
    import torch

    from model.catalog import fingerprint
    from model.image.backbones import backbone
    from model.image.export import export
    from model.image.network import ImageNetwork, NetworkConfig
    from model.image.proxies import HierarchicalProxies, Hierarchy
    from model.image.surface import Surface
    from model.training.image.examples import read_pictures
    from model.training.image.trainer import Recipe, Trainer

    sheet = {"kind": "sheet", "curvature": asked.curvature, "radius": 2.0} if asked.curvature else {}
    config = NetworkConfig(surface=Surface.model_validate({"dim": asked.dim, **sheet}))
    trunk = f"{asked.backbone[0]} {fingerprint(asked.backbone[1])}" if asked.backbone else "small"
    recipe = Recipe(
        minutes=asked.minutes,
        steps=asked.steps,
        seed=asked.seed,
        network=config,
        hierarchy=Hierarchy(tree=asked.tree),
        trunk=trunk,
    )
    network = None
    if asked.backbone is not None:
        larger, features = backbone(*asked.backbone)
        network = ImageNetwork(config, larger, features=features)
    source = fingerprint(asked.catalog)
    train, dev, census, rejects = read_pictures(
        asked.catalog, asked.image_root, size=(config.height, config.width), max_reject_share=asked.max_reject_share
    )
    _say_start(train, dev, census, rejects.count)
    with training_bar() as report:
        trainer = Trainer(
            train,
            dev,
            recipe,
            directory=asked.checkpoint,
            data={"catalog": source, "pictures": f"{len(train)} and {len(dev)}"},
            report=report,
            network=network,
        )
        if trainer.resumed_at is not None:
            typer.echo(f"Resuming at step {trainer.resumed_at:,} from {asked.checkpoint}", err=True)
        trained = trainer.fit()
    assert isinstance(trained.criterion, HierarchicalProxies)
    manifest = export(
        trained.network,
        trained.criterion,
        train.tree,
        asked.out,
        catalog=source,
        training={
            "recipe": recipe.model_dump(mode="json"),
            "pictures": len(train),
            "dev_pictures": len(dev),
            "dev_metrics": trained.metrics,
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "torch": torch.__version__,
        },
        samples=train.pixels[:_PARITY_SAMPLES],
    )
    return manifest, _report(manifest, trained, train, asked.out)


def _say_start(train: Pictures, dev: Pictures, census: Census, rejected: int) -> None:
    levels = ", ".join(f"{len(names):,}" for names in train.tree.names)
    typer.echo(f"{len(train):,} pictures to train on, {len(dev):,} to choose by; classes by level: {levels}", err=True)
    left_out = {
        "without a picture": census.without_picture,
        "without a category": census.without_category,
        "with a picture that cannot be read": census.unreadable.total(),
        "rows set aside": rejected,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
    if told:
        typer.echo(f"Of {census.products:,} products: {told}", err=True)
    for example in census.examples:
        typer.echo(f"  {example}", err=True)


def _report(manifest: Manifest, trained: Trained, train: Pictures, out: Path) -> dict[str, str]:
    return {
        "model": manifest.version,
        "bundle": str(out),
        "trained": f"{trained.steps:,} steps in {trained.seconds:.0f} s",
        "classes": f"{train.tree.classes:,}",
        **{f"dev {name}": f"{value:.3f}" for name, value in trained.metrics.items()},
    }
