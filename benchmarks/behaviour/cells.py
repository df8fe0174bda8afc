"""The cells: one system with one seed on one data set, and what running one writes down."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.behaviour.baselines import InnerProducts, ItemKnn, Popularity, TextAlone, Together, train_light_gcn
from benchmarks.behaviour.data import ShopOf, bestbuy, generator_commit
from benchmarks.behaviour.mappers import compare_mappers
from benchmarks.behaviour.score import evaluate, ranks
from benchmarks.behaviour.text import encoder_of
from benchmarks.provenance import commit, machine, versions
from model.behaviour.features import product_features, query_features
from model.behaviour.graphs import build
from model.runtime import TextEncoder
from model.training.behaviour.trainer import Recipe, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.behaviour.score import Ranker
    from benchmarks.behaviour.task import Later, Task
    from model.training.behaviour.trainer import Trained

PRETRAINING_STEPS = 60
DROPPED = 0.5
_DEV_PAIRS = 2000
_FUSION_WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)
PACKAGES = ("torch", "numpy", "saddle")
BASELINES = ("popularity", "item-knn", "text", "light-gcn")
MAIN_SHOP = ShopOf(50_000, 500_000)
CURVES = tuple(ShopOf(10_000, 100_000, tail=tail) for tail in (0.0, 1.0, 2.0, 3.0)) + tuple(
    ShopOf(10_000, 100_000, noise=noise) for noise in (0.25, 0.5, 1.0)
)

CURVED = ("bipartite+dropedge", "two+dropedge", "bipartite+pretraining+dropedge", "two+pretraining+dropedge")

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Network:
    """One of the eight ways: with or without sessions, pre-training and DropEdge."""

    sessions: bool
    pretraining: bool
    drop_edge: bool

    @property
    def name(self) -> str:
        """Such as ``two+pretraining+dropedge``."""
        parts = ["two" if self.sessions else "bipartite"]
        parts += ["pretraining"] * self.pretraining + ["dropedge"] * self.drop_edge
        return "+".join(parts)

    def recipe(self, seed: int, steps: int) -> Recipe:
        """The recipe, the same for all but for what is switched."""
        return Recipe(
            seed=seed,
            steps=steps,
            sessions=self.sessions,
            pretraining_steps=PRETRAINING_STEPS * self.pretraining,
            drop_pairs=DROPPED * self.drop_edge,
        )


NETWORKS = {
    network.name: network
    for network in (Network(*switches) for switches in np.ndindex(2, 2, 2))  # type: ignore[arg-type]
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One system with one seed on one data set."""

    data: str
    system: str
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell and of its file, without ``.json``."""
        return f"{self.data}-{self.system}-s{self.seed}"


@dataclass(frozen=True, slots=True)
class Options:
    """How much a cell may do."""

    steps: int
    text_minutes: float
    threads: int


def every_cell(seeds: Sequence[int]) -> list[Cell]:
    """All cells, in the order in which they are run."""
    cells = []
    for data in ("bestbuy", MAIN_SHOP.name):
        cells += [Cell(data, system, 0) for system in BASELINES[:3]]
        cells += [Cell(data, system, seed) for seed in seeds for system in (BASELINES[3], *reversed(NETWORKS))]
    # a shop at a time: making one ready takes longer than a cell
    cells += [Cell(shop.name, system, seed) for shop in CURVES for seed in seeds for system in CURVED]
    return cells


class Ground:
    """One data set made ready: its task, graphs of the train part, text vectors, and the text's own ranking."""

    def __init__(self, name: str, folder: Path, work: Path, options: Options) -> None:
        shops = {shop.name: shop for shop in (MAIN_SHOP, *CURVES)}
        self.task: Task = shops[name].task(work) if name in shops else bestbuy(folder / "bestbuy_games")
        self.graphs = build(self.task.train, len(self.task.product_ids))
        bundle = encoder_of(
            self.task,
            work,
            minutes=options.text_minutes,
            clicks=name in ("bestbuy", MAIN_SHOP.name),
            threads=options.threads,
        )
        encoder = TextEncoder(bundle, threads=options.threads)
        self.features = (
            torch.from_numpy(query_features(encoder, self.task.train.queries)),
            torch.from_numpy(product_features(encoder, self.task.texts)),
        )
        regions = encoder.encode_queries(list(self.task.train.queries))
        self.text = TextAlone(regions, encoder.encode_products(self.task.texts), encoder.manifest.geometry)
        self._known = self.task.known()

    @cached_property
    def dev(self) -> Later:
        """New dev pairs to choose a state by, a seeded sample where there are many."""
        return self.task.dev.where(self.task.dev.new).some(_DEV_PAIRS)

    def judge(self, ranker: Ranker) -> float:
        """MRR of new dev pairs."""
        return float((1.0 / ranks(ranker, self.dev, known=self._known, masked=True)).mean())


class Bench:
    """Runs cells on the data sets under one folder, each made ready when it is first needed."""

    def __init__(self, folder: Path, work: Path, out: Path, options: Options, report: Callable[[str], None]) -> None:
        self._folder, self._work, self._out = folder, work, out
        self._options, self._report = options, report
        self._ground: tuple[str, Ground] | None = None
        self._commit = commit()  # before the first record changes the tree

    def lacks(self, cell: Cell) -> str | None:
        """Why ``cell`` is not run, or None if it can be."""
        if self.path(cell).exists():
            return f"{self.path(cell)} is there already"
        if cell.data == "bestbuy" and not (self._folder / "bestbuy_games").is_dir():
            return f"{self._folder} has no folder bestbuy_games"
        return None

    def path(self, cell: Cell) -> Path:
        """The file that holds, or will hold, the record of ``cell``."""
        return self._out / f"{cell.name}.json"

    def run(self, cell: Cell) -> None:
        """Run ``cell`` and write its record, in one rename; test ranks of new pairs stand beside it."""
        ground = self._ready(cell.data)
        began = time.monotonic()
        ranker, told = self._trained(cell, ground)
        seconds = time.monotonic() - began
        dev, _ = evaluate(ranker, ground.task, ground.task.dev)
        test, found = evaluate(ranker, ground.task, ground.task.test)
        record = {
            "data": cell.data,
            "system": cell.system,
            "seed": cell.seed,
            **told,
            "seconds": round(seconds, 1),
            "dev": dev,
            "test": test,
            "fused": None if cell.system in BASELINES[:3] else _fused(ranker, ground),
            "graph": _shape(ground),
            "generator": None if cell.data == "bestbuy" else generator_commit(),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.behaviour --data … --work … --cells {cell.name} --seeds {cell.seed} "
            f"--steps {self._options.steps} --text-minutes {self._options.text_minutes:g} "
            f"--threads {self._options.threads}",
            "threads": self._options.threads,
            "commit": self._commit,
            "machine": machine(),
            "versions": versions(PACKAGES),
        }
        self._out.mkdir(parents=True, exist_ok=True)
        new = ground.task.test
        np.savez(
            self.path(cell).with_suffix(".npz"),
            allow_pickle=False,
            ranks=found,
            query=new.query[new.new],
            product=new.product[new.new],
        )
        partial_file = self.path(cell).with_suffix(".partial")
        partial_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial_file.rename(self.path(cell))

    def _ready(self, name: str) -> Ground:
        if self._ground is None or self._ground[0] != name:
            self._ground = (name, Ground(name, self._folder, self._work, self._options))
        return self._ground[1]

    def _trained(self, cell: Cell, ground: Ground) -> tuple[Ranker, Record]:
        if cell.system == "popularity":
            return Popularity(ground.task), {}
        if cell.system == "item-knn":
            return ItemKnn(ground.task, ground.graphs), {}
        if cell.system == "text":
            return ground.text, {}
        if cell.system == "light-gcn":
            return train_light_gcn(ground.task, ground.graphs, seed=cell.seed, judge=ground.judge), {}
        recipe = NETWORKS[cell.system].recipe(cell.seed, self._options.steps)
        trained = train_network(ground, recipe)
        self._report(f"best on dev, {trained.dev:.4f}, after {trained.step} of {trained.steps} steps")
        return ranker_of(trained), {
            "recipe": recipe.model_dump(),
            "steps": trained.steps,
            "best_step": trained.step,
            "attention": _attention(trained, ground),
            "mappers": compare_mappers(trained, ground.task, ground.features),
        }


def train_network(ground: Ground, recipe: Recipe) -> Trained:
    """One of the eight ways."""
    trainer = Trainer(
        ground.graphs,
        ground.features,
        recipe,
        judge=lambda network, embedded: ground.judge(
            InnerProducts(*network.indexed(embedded.queries, embedded.products))
        ),
        report=lambda _: None,
    )
    return trainer.fit()


@torch.no_grad()
def ranker_of(trained: Trained) -> InnerProducts:
    """A network's vectors as a ranker."""
    return InnerProducts(*trained.network.indexed(trained.embeddings.queries, trained.embeddings.products))


def _fused(ranker: Ranker, ground: Ground) -> Record:
    """Text and this system together, by the weight that is best for new dev pairs, and by the best for dev's clicks."""
    tried = {}
    for weight in _FUSION_WEIGHTS:
        both = Together(ground.text, ranker, weight)
        tried[weight], _ = evaluate(both, ground.task, ground.task.dev.some(_DEV_PAIRS))
    found: Record = {}
    for name in ("new", "clicks"):
        best = max(tried, key=lambda weight: tried[weight][name]["all"]["MRR"])
        measured, _ = evaluate(Together(ground.text, ranker, best), ground.task, ground.task.test)
        found[name] = {"weight": best, **measured[name]}
    return found


def _attention(trained: Trained, ground: Ground) -> Record:
    """How much products lean on their sessions, and how that goes with their number of edges."""
    weight = trained.embeddings.product_weight.numpy()
    degree = np.bincount(ground.graphs.product, minlength=len(weight))
    inside = weight > 0
    if inside.sum() < 3:
        return {"products": 0}
    return {
        "products": int(inside.sum()),
        "mean": round(float(weight[inside].mean()), 4),
        "spearman_with_log_degree": round(spearman(weight[inside], np.log(degree[inside])), 4),
    }


def spearman(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> float:
    """Spearman's rank correlation of (P,) and (P,); equal values share the mean of their ranks."""
    return float(np.corrcoef(_mean_ranks(first), _mean_ranks(second))[0, 1])


def _mean_ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(count)
    found: np.ndarray[Any, Any] = (ends - 0.5 * (count - 1))[place]
    return found


def _shape(ground: Ground) -> Record:
    graphs, task = ground.graphs, ground.task
    return {
        "products": graphs.products,
        "queries": len(np.unique(graphs.query)),
        "train_clicks": len(task.train),
        "pairs": len(graphs.query),
        "sessions": graphs.sessions,
        "members": len(graphs.member_pair),
        "new_dev_pairs": int(task.dev.new.sum()),
        "new_test_pairs": int(task.test.new.sum()),
    }
