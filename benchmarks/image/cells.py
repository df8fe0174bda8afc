"""The cells of the table, and what running one writes down."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.image.data import Photographs, Task
from benchmarks.image.systems import HIERARCHICAL, PLAIN, SURFACES, points, principal_components, recipe, trainer
from benchmarks.provenance import commit, machine, versions
from model import lorentz
from model.image.export import export
from model.image.measure import mistakes, retrieval
from model.image.proxies import HierarchicalProxies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.image.data import Stage
    from model.image.surface import Surface
    from model.training.image.examples import Pictures
    from model.training.image.trainer import Recipe, Trained

PACKAGES = ("torch", "numpy", "pillow", "pytorch-metric-learning", "saddle")
_SAMPLES = 16

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One system on one surface with one seed."""

    system: str
    surface: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell and of its file, without ``.json``."""
        return f"{self.system}-{self.surface}-s{self.seed}"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the photographs are, where records and bundles go, and what every cell may use."""

    data: Path
    out: Path
    bundles: Path | None
    stage: Stage
    steps: int
    threads: int


def every_cell(seeds: Sequence[int]) -> list[Cell]:
    """All cells, a seed at a time, so that a run that is stopped has whole rounds; pixels need no seed."""
    cells = [Cell("pixels-pca", "sphere", 0)]
    for seed in seeds:
        cells += [Cell(system, surface, seed) for surface in SURFACES for system in HIERARCHICAL]
        cells += [Cell(system, "sphere", seed) for system in PLAIN if system != "pixels-pca"]
    return cells


class Bench:
    """Runs cells, each from the checkpoint that it may have left."""

    def __init__(self, settings: Settings, report: Callable[[str], None]) -> None:
        self._settings = settings
        self._report = report
        self._commit = commit()  # before the first record changes the tree

    def lacks(self, cell: Cell) -> str | None:
        """Why ``cell`` is not run, or None if it can be."""
        if self.path(cell).exists():
            return f"{self.path(cell)} is there already"
        if cell.system == "triplet" and find_spec("pytorch_metric_learning") is None:
            return "it needs the package pytorch-metric-learning, which is not installed"
        return None

    def path(self, cell: Cell) -> Path:
        """The file that holds, or will hold, the record of ``cell``."""
        return self._settings.out / f"{cell.name}.json"

    def run(self, cell: Cell) -> None:
        """Run ``cell`` and write its record, in one rename."""
        settings, spent = self._settings, time.process_time()
        if cell.system == "pixels-pca":
            projected = principal_components(self._task.train)
            found = {"dim": projected(self._task.dev).shape[1], **scores(self._task, projected, SURFACES["sphere"])}
        else:
            found = self._trained(cell)
        record = {
            "system": cell.system,
            "surface": cell.surface,
            "seed": cell.seed,
            "stage": settings.stage,
            "pictures": {part: len(getattr(self._task, part)) for part in ("train", "dev", "seen", "unseen")},
            **found,
            "core_seconds": round(time.process_time() - spent, 1),
            "threads": settings.threads,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.image --data … --stage {settings.stage} --cells {cell.name} "
            f"--seeds {cell.seed} --steps {settings.steps} --threads {settings.threads}",
            "commit": self._commit,
            "machine": machine(),
            "versions": versions(PACKAGES),
        }
        settings.out.mkdir(parents=True, exist_ok=True)
        partial_file = self.path(cell).with_suffix(".partial")
        partial_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial_file.rename(self.path(cell))
        shutil.rmtree(self._checkpoint(cell), ignore_errors=True)

    @cached_property
    def _task(self) -> Task:
        return Task(Photographs.read(self._settings.data / "fashion" / "products.parquet"), self._settings.stage)

    def _checkpoint(self, cell: Cell) -> Path:
        return self._settings.out / "checkpoints" / cell.name

    def _trained(self, cell: Cell) -> Record:
        asked = recipe(cell.system, cell.surface, seed=cell.seed, steps=self._settings.steps)
        run = trainer(cell.system, asked, self._task, directory=self._checkpoint(cell), report=self._report)
        if run.resumed_at is not None:
            self._report(f"resumed at step {run.resumed_at}")
        done = run.fit()
        if self._settings.bundles is not None and isinstance(done.criterion, HierarchicalProxies):
            self._keep(done, asked, self._settings.bundles / cell.name)
        return {
            "parameters": sum(parameter.numel() for parameter in done.network.parameters()),
            "steps": done.steps,
            "seconds": round(done.seconds, 1),
            "recipe": asked.model_dump(mode="json"),
            "dev": done.metrics,
            **scores(self._task, lambda pictures: points(done, pictures), asked.network.surface),
        }

    def _keep(self, done: Trained, asked: Recipe, out: Path) -> None:
        """Export what was trained, to look at."""
        assert isinstance(done.criterion, HierarchicalProxies)
        shutil.rmtree(out, ignore_errors=True)
        training = {"recipe": asked.model_dump(mode="json"), "dev_metrics": done.metrics, "steps": done.steps}
        tree, samples = self._task.train.tree, self._task.dev.pixels[:_SAMPLES]
        export(done.network, done.criterion, tree, out, catalog="fashion", training=training, samples=samples)


def scores(task: Task, place: Callable[[Pictures], NDArray[np.float32]], surface: Surface) -> Record:
    """Retrieval and mistakes among new pictures of known classes, and among those of unknown ones."""
    found: Record = {}
    with torch.no_grad():
        for part, pictures in (("seen", task.seen), ("unseen", task.unseen)):
            placed = place(pictures)
            nodes = [level[pictures.labels] for level in pictures.tree.nodes]
            far = lorentz.radius(placed.astype(np.float64), c=surface.curvature)
            found[part] = {
                **retrieval(placed, pictures.labels, surface),
                "mistakes": mistakes(placed, pictures.labels, nodes, surface),
                "radius": {f"p{share}": float(np.percentile(far, share)) for share in (5, 50, 95)},
            }
    return found
