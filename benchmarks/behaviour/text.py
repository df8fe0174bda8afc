"""The text encoder under the behaviour channel: trained on the train part alone, once, and kept."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np

from model.bundle import load_manifest
from service.commands.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.behaviour.task import Task

DIM = 64
STEPS = 1500
"""As many on a busy machine as on a quiet one; some three core-minutes."""


def encoder_of(task: Task, work: Path, *, steps: int, clicks: bool, threads: int) -> Path:
    """The bundle of ``task`` under ``work``, trained if it is not there.

    Without ``clicks`` it learns from the catalogue alone, so that shops of one catalogue can share it.
    """
    folder = work / f"{task.name.partition('-')[0]}-{'clicks' if clicks else 'catalogue'}"
    out = folder / "text"
    if out.exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    interactions = folder / "clicks.csv"
    pairs = np.unique(np.stack([task.train.query, task.train.product]), axis=1).T.tolist()
    rows = ((task.train.queries[query], task.product_ids[product], "click") for query, product in pairs)
    _write(interactions, ("query", "product_id", "event"), rows)
    train(
        catalog=write_catalog(task, folder),
        interactions=interactions if clicks else None,
        out=out,
        steps=steps,
        dim=DIM,
        threads=threads,
    )
    load_manifest(out)
    return out


def write_catalog(task: Task, folder: Path) -> Path:
    """The products of ``task`` as a catalogue in ``folder``."""
    path = folder / "catalogue.csv"
    _write(path, ("product_id", "title"), zip(task.product_ids, task.texts, strict=True))
    return path


def _write(path: Path, head: tuple[str, ...], rows: object) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)  # type: ignore[arg-type]
