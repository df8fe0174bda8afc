"""``saddle train --channel behaviour``: what shoppers clicked together, on top of a text bundle, into vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from shutil import rmtree
from typing import TYPE_CHECKING, Any, Literal

import typer

from service.commands.bars import training_bar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model.behaviour.bundle import Manifest
    from model.behaviour.graphs import Graphs
    from model.catalog import Rejects
    from model.training.behaviour.lesson import Lesson
    from model.training.behaviour.trainer import Trained, Trainer


MINUTES = 30.0
PAUSE_MINUTES = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line."""

    catalog: Path
    interactions: Path
    text: Path
    out: Path
    checkpoint: Path
    max_reject_share: float
    minutes: float = MINUTES
    steps: int | None = None
    seed: int = 0
    width: int | None = None
    pause_minutes: float = PAUSE_MINUTES
    min_count: int = 1
    all_queries: bool = False
    threads: int | None = None
    rejects: Path | None = None
    others_checkpoint: Literal["refuse", "discard"] = "refuse"
    """What becomes of a checkpoint of other data or of another recipe: where nobody looks on, it must not be in the
    way."""


def train_behaviour(asked: Asked) -> tuple[Manifest, dict[str, str]]:
    """Train and write a behaviour bundle; returns its manifest and what a person wants to read of it."""
    import torch

    from model.behaviour.clicks import Limits
    from model.behaviour.features import product_features, query_features
    from model.behaviour.graphs import build
    from model.catalog import CatalogError, fingerprint
    from model.runtime import TextEncoder
    from model.training.behaviour.dev import mean_reciprocal_rank
    from model.training.behaviour.export import export
    from model.training.behaviour.lesson import read_lesson
    from model.training.behaviour.mapping import choose_mapping
    from model.training.behaviour.trainer import Recipe, Trainer

    encoder = TextEncoder(asked.text, threads=asked.threads or torch.get_num_threads())
    lesson, rejects = read_lesson(
        asked.catalog,
        asked.interactions,
        Limits(pause_minutes=asked.pause_minutes),
        max_reject_share=asked.max_reject_share,
        all_queries=asked.all_queries,
        seed=asked.seed,
    )
    graphs = build(lesson.train, len(lesson.product_ids), min_count=asked.min_count)
    _say_start(lesson, graphs, rejects)
    if asked.rejects is not None:
        _list_rejects(asked.rejects, rejects["interactions"], lesson)
    if not graphs.edge.any():
        raise CatalogError(f"no pair of query and product has {asked.min_count:,} clicks: give a lower --min-count")
    features = (
        torch.from_numpy(query_features(encoder, lesson.train.queries)),
        torch.from_numpy(product_features(encoder, lesson.texts)),
    )
    chosen: dict[str, Any] = {
        "steps": asked.steps,
        "width": asked.width,
        "minutes": asked.minutes if asked.steps is None else None,
    }
    recipe = Recipe(seed=asked.seed, **{name: value for name, value in chosen.items() if value is not None})
    sources = {"catalog": fingerprint(asked.catalog), "interactions": fingerprint(asked.interactions)}
    later, wanted = torch.from_numpy(lesson.dev_query), torch.from_numpy(lesson.dev_product)
    with training_bar() as report:
        trainer = partial(
            Trainer,
            graphs,
            features,
            recipe,
            judge=lambda network, z: mean_reciprocal_rank(network, z.queries[later], z.products, wanted),
            report=report,
            directory=asked.checkpoint,
            data={
                **sources,
                "text": encoder.manifest.version,
                "all_queries": str(asked.all_queries),
                "pause": str(asked.pause_minutes),
                "min_count": str(asked.min_count),
            },
        )
        trained = _started(trainer, asked).fit()
    known = graphs.known_queries()
    mapping, tried = choose_mapping(trained, features[0], known, lesson.dev_query, lesson.dev_product)
    manifest = export(
        trained,
        graphs,
        features,
        lesson,
        asked.out,
        mapping=mapping,
        text=encoder.manifest.version,
        **sources,
        training={
            "recipe": recipe.model_dump(),
            "dev_mrr": round(trained.dev, 5),
            "dev_pairs": len(lesson.dev_query),
            "mapping_mrr": tried,
            "step": trained.step,
            "steps": trained.steps,
            "seconds": round(trained.seconds, 1),
            "clicks": len(lesson.train),
            "pairs": len(graphs.query),
            "edges": int(graphs.edge.sum()),
            "min_count": asked.min_count,
            "sessions": graphs.sessions,
            "test_clicks_left_alone": lesson.untouched,
            "remarks": [*lesson.remarks(), *graphs.remarks()],
            "torch": torch.__version__,
        },
    )
    return manifest, _report(manifest, trained, graphs, asked.out)


def _started(trainer: Callable[[], Trainer], asked: Asked) -> Trainer:
    """A run that goes on from the checkpoint that is there, or from the start; says which."""
    from model.training.checkpoint import ResumeError

    try:
        started = trainer()
    except ResumeError:
        if asked.others_checkpoint == "refuse":
            raise
        typer.echo(
            f"The checkpoint in {asked.checkpoint} is of other data or of another recipe: starting afresh", err=True
        )
        rmtree(asked.checkpoint)
        started = trainer()
    if started.resumed_at is not None:
        stage, step = started.resumed_at
        typer.echo(f"Resuming {stage} at step {step:,} from {asked.checkpoint}", err=True)
    return started


def _say_start(lesson: Lesson, graphs: Graphs, rejects: dict[str, Rejects]) -> None:
    lines = [
        f"{graphs.products:,} products, {len(lesson.train):,} clicks on {len(graphs.query):,} pairs of query and "
        f"product, {graphs.sessions:,} sessions of 2 products or more, {len(lesson.dev_query):,} pairs to choose by"
    ]
    if lesson.untouched:
        lines.append(
            f"{lesson.untouched:,} clicks of queries that `saddle evaluate` tests on are left alone; --all-queries "
            "takes them too"
        )
    lines += [*lesson.remarks(), *graphs.remarks()]
    for name, rejected in rejects.items():
        if rejected.count:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.reasons.most_common())
            lines.append(f"{rejected.count:,} rows of the {name} set aside: {reasons}")
    for line in lines:
        typer.echo(line, err=True)


def _list_rejects(path: Path, rejects: Rejects, lesson: Lesson) -> None:
    """Bad rows, then unknown products and machines with their numbers of interactions, as JSON Lines."""
    import orjson

    path.parent.mkdir(parents=True, exist_ok=True)
    rejects.write(path)
    with path.open("ab") as file:
        for product_id, count in lesson.census.unknown.most_common():
            entry = {"reason": "unknown product_id", "product_id": product_id, "interactions": count}
            file.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        for name, count in lesson.census.machines.items():
            entry = {"reason": "taken for a machine", "shopper": name, "interactions": count}
            file.write(orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))


def _report(manifest: Manifest, trained: Trained, graphs: Graphs, out: Path) -> dict[str, str]:
    inside = trained.embeddings.product_weight > 0
    leaning = float(trained.embeddings.product_weight[inside].mean()) if inside.any() else 0.0
    return {
        "model": manifest.version,
        "bundle": str(out),
        "trained": f"{trained.steps:,} steps in {trained.seconds:.0f} s, best after {trained.step:,}",
        "known queries": f"{manifest.queries:,}",
        "in sessions": f"{int(inside.sum()):,} of {graphs.products:,} products, {leaning:.0%} of their vectors by them",
        "other queries": "by their text"
        + (f", {manifest.mapping.share:.0%} by queries like them" if manifest.mapping.share else ""),
        "learnt until": manifest.until or "no times",
        "dev MRR": f"{trained.dev:.3f}",
    }
