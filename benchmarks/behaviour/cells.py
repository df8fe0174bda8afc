"""The cells: one system with one seed on one data set, and what running one writes down."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.behaviour.baselines import InnerProducts, ItemKnn, Popularity, TextAlone, train_light_gcn
from benchmarks.behaviour.data import ShopOf, bestbuy, generator_commit
from benchmarks.behaviour.dev import Dev
from benchmarks.behaviour.fused import fused
from benchmarks.behaviour.mappers import compare_mappers
from benchmarks.behaviour.score import evaluate
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
    from benchmarks.behaviour.task import Task
    from model.training.behaviour.trainer import Trained

PRETRAINING_STEPS = 60
DROPPED = 0.5
PACKAGES = ("torch", "numpy", "saddle")
BASELINES = ("popularity", "item-knn", "text", "light-gcn")
MAIN_SHOP = ShopOf(50_000, 500_000)
# as many sessions as make some 240,000 clicks: shoppers who prefer popular products click less
CURVES = (
    ShopOf(10_000, 60_000, tail=0.0),
    ShopOf(10_000, 100_000),
    ShopOf(10_000, 153_000, tail=2.0),
    ShopOf(10_000, 211_000, tail=3.0),
    ShopOf(10_000, 98_500, noise=0.25),
    ShopOf(10_000, 97_000, noise=0.5),
    ShopOf(10_000, 94_000, noise=1.0),
)
"""Points of the curves. Each seed of a cell has a shop of its own here: one has only some 550 new test pairs."""
CURVED = (*BASELINES[:3], "bipartite+pretraining", "two+pretraining", "bipartite+dropedge", "two+dropedge")
"""What the curves show: the pair of the seed's headline, the pair with what did most for the tail, and what is free."""

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
    text_steps: int
    threads: int


def every_cell(seeds: Sequence[int]) -> list[Cell]:
    """All cells, in the order in which they are run."""
    cells = []
    for data in ("bestbuy", MAIN_SHOP.name):
        cells += [Cell(data, system, 0) for system in BASELINES[:3]]
        cells += [Cell(data, system, seed) for seed in seeds for system in (BASELINES[3], *reversed(NETWORKS))]
    # a shop at a time: making one ready takes longer than most cells
    cells += [Cell(shop.name, system, seed) for shop in CURVES for seed in seeds for system in CURVED]
    return cells


class Ground:
    """One data set made ready: its task, graphs of the train part, text vectors, and the text's own ranking."""

    def __init__(self, shop: ShopOf | None, folder: Path, work: Path, options: Options) -> None:
        self.shop = shop
        self.task: Task = bestbuy(folder / "bestbuy_games") if shop is None else shop.task(work)
        self.dev = Dev(self.task)
        self.graphs = build(self.task.train, len(self.task.product_ids))
        bundle = encoder_of(
            self.task,
            work,
            steps=options.text_steps,
            clicks=taught(self.task.name),
            threads=options.threads,
        )
        encoder = TextEncoder(bundle, threads=options.threads)
        self.features = (
            torch.from_numpy(query_features(encoder, self.task.train.queries)),
            torch.from_numpy(product_features(encoder, self.task.texts)),
        )
        regions = encoder.encode_queries(list(self.task.train.queries))
        self.text = TextAlone(regions, encoder.encode_products(self.task.texts), encoder.manifest.geometry)


def shop_of(cell: Cell) -> ShopOf | None:
    """The generated shop of a cell; None for real clicks."""
    if cell.data == MAIN_SHOP.name:
        return MAIN_SHOP
    points = {shop.name: replace(shop, seed=cell.seed) for shop in CURVES}
    return points.get(cell.data)


def taught(data: str) -> bool:
    """Whether the text encoder learns from clicks too; those of the curves learn from catalogues, and share them."""
    return data in ("bestbuy", MAIN_SHOP.name)


class Bench:
    """Runs cells on the data sets under one folder, each made ready when it is first needed."""

    def __init__(self, folder: Path, work: Path, out: Path, options: Options, report: Callable[[str], None]) -> None:
        self._folder, self._work, self._out = folder, work, out
        self._options, self._report = options, report
        self._ground: tuple[tuple[str, ShopOf | None], Ground] | None = None
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
        ground = self._ready(cell)
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
            "fused": self._fused(cell, ranker, ground),
            "graph": _shape(ground),
            "shop": asdict(ground.shop) if ground.shop else None,
            "generator": None if cell.data == "bestbuy" else generator_commit(),
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python -m benchmarks.behaviour --data … --work … --cells {cell.name} --seeds {cell.seed} "
            f"--steps {self._options.steps} --text-steps {self._options.text_steps} "
            f"--threads {self._options.threads}",
            "threads": self._options.threads,
            "commit": self._commit,
            "machine": machine(),
            "versions": versions(PACKAGES),
        }
        self._out.mkdir(parents=True, exist_ok=True)
        new = ground.task.test.where(ground.task.test.new)
        np.savez_compressed(
            self.path(cell).with_suffix(".npz"),
            allow_pickle=False,
            ranks=found.astype(np.float32),
            query=new.query.astype(np.int32),
            product=new.product.astype(np.int32),
            segment=ground.task.segments("product")[new.product].astype(np.int8),
        )
        partial_file = self.path(cell).with_suffix(".partial")
        partial_file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial_file.rename(self.path(cell))

    def _ready(self, cell: Cell) -> Ground:
        wanted = cell.data, shop_of(cell)
        if self._ground is None or self._ground[0] != wanted:
            self._ground = wanted, Ground(wanted[1], self._folder, self._work, self._options)
        return self._ground[1]

    def _fused(self, cell: Cell, ranker: Ranker, ground: Ground) -> Record | None:
        """Text and a system that has learnt something together; not on the curves, which are of systems alone."""
        if cell.system in BASELINES[:3] or not taught(cell.data):
            return None
        return fused(ground.text, ranker, ground.task, ground.dev)

    def _trained(self, cell: Cell, ground: Ground) -> tuple[Ranker, Record]:
        if cell.system == "popularity":
            return Popularity(ground.task), {}
        if cell.system == "item-knn":
            return ItemKnn(ground.task, ground.graphs), {}
        if cell.system == "text":
            return ground.text, {}
        if cell.system == "light-gcn":
            return train_light_gcn(ground.task, ground.graphs, seed=cell.seed, judge=ground.dev.new), {}
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
        judge=lambda network, embedded: ground.dev.new(
            InnerProducts(*network.indexed(embedded.queries, embedded.products))
        ),
        report=lambda _: None,
    )
    return trainer.fit()


@torch.no_grad()
def ranker_of(trained: Trained) -> InnerProducts:
    """A network's vectors as a ranker."""
    return InnerProducts(*trained.network.indexed(trained.embeddings.queries, trained.embeddings.products))


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
