"""Online Retail: can product vectors from the hypergraph of baskets tell what else is in a basket?

``python -m benchmarks.behaviour.baskets --help``. Baskets are split by time: 80 % train, 10 % dev, 10 % test. One item
of each later basket is held out, by a fixed seed, and looked for among all products that are not in the rest of the
basket. All that is chosen, of rivals too, is chosen on dev.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.behaviour.basket_rankers import Network, Training, as_clicks, cosines, ease, together
from benchmarks.behaviour.score import bootstrap
from benchmarks.behaviour.task import Later, Task
from benchmarks.behaviour.text import STEPS, encoder_of
from benchmarks.provenance import commit, record
from model.behaviour.features import product_features
from model.runtime import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

K = 20
NETWORKS = {
    "hypergraph": (False, Training(steps=250, rate=0.03, patience=10)),
    "hypergraph, own vectors": (True, Training(steps=200, rate=0.002)),
}
"""Whether products have vectors of their own, and the training that dev liked."""
_SHRINKS, _POWERS, _PENALTIES = (0.0, 10.0, 50.0), (1.0, 1.5, 2.0, 3.0), (20.0, 50.0, 100.0, 200.0)


@dataclass(frozen=True, slots=True)
class Baskets:
    """Baskets in order of time, each a set of product rows, and what products are called."""

    product_ids: list[str]
    texts: list[str]
    members: list[NDArray[np.int64]]

    @classmethod
    def read(cls, path: Path) -> Baskets:
        """Read ``basket_id, time, product_id, title``; the first title of a product counts."""
        rows: dict[str, int] = {}
        titles: list[str] = []
        found: dict[tuple[str, str], set[int]] = {}
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                row = rows.setdefault(line["product_id"], len(rows))
                if row == len(titles):
                    titles.append(line["title"])
                found.setdefault((line["time"], line["basket_id"]), set()).add(row)
        baskets = [np.array(sorted(items)) for _, items in sorted(found.items()) if len(items) > 1]
        return cls(list(rows), titles, baskets)

    def part(self, start: float, end: float) -> list[NDArray[np.int64]]:
        """The baskets between two shares of all."""
        return self.members[int(start * len(self.members)) : int(end * len(self.members))]


class Asked:
    """Each of some baskets without one item, and that item."""

    def __init__(self, baskets: Sequence[NDArray[np.int64]], *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        places = [int(rng.integers(len(items))) for items in baskets]
        self.rests = [np.delete(items, place) for items, place in zip(baskets, places, strict=True)]
        self.items = [int(items[place]) for items, place in zip(baskets, places, strict=True)]

    def __len__(self) -> int:
        return len(self.items)

    def hits(self, speaks: Tensor) -> NDArray[np.float64]:
        """1 where the held-out item is among the first ``K`` by ``speaks`` (N, N), a share of 1 where ties decide."""
        offsets = torch.from_numpy(np.cumsum([0, *(len(rest) for rest in self.rests[:-1])]))
        members = torch.from_numpy(np.concatenate(self.rests))
        scores = torch.nn.functional.embedding_bag(members, speaks, offsets, mode="sum").numpy()
        found = np.empty(len(self))
        for row, rest, item, i in zip(scores, self.rests, self.items, range(len(self)), strict=True):
            row[rest] = -np.inf
            better, equal = (row > row[item]).sum(), (row == row[item]).sum()
            found[i] = np.clip((K - better) / equal, 0.0, 1.0)
        return found

    def recall(self, speaks: Tensor) -> float:
        """The mean of the hits."""
        return float(self.hits(speaks).mean())


def best(rankers: Iterable[tuple[dict[str, Any], Tensor]], dev: Asked) -> tuple[dict[str, Any], Tensor]:
    """The ranker with the highest recall on ``dev``, after what it was made with; the first of equals."""
    recall, chosen, kept = -1.0, {}, torch.empty(0)
    for options, speaks in rankers:
        if (found := dev.recall(speaks)) > recall:
            recall, chosen, kept = found, {**options, "dev": round(found, 5)}, speaks
    return chosen, kept


def rivals(baskets: Baskets, features: Tensor, dev: Asked) -> dict[str, tuple[dict[str, Any], Tensor]]:
    """What needs no network, each with what it was made with."""
    shared = together(baskets.part(0.0, 0.8), len(baskets.product_ids))
    plain, *tuned = (
        {"shrink": shrink, "power": power, "shares": shares}
        for shrink, power, shares in product(_SHRINKS, _POWERS, (False, True))
    )
    return {
        "popularity": ({}, shared.diagonal().expand_as(shared).contiguous()),
        "text": ({}, features @ features.T),
        "item-knn": best([(plain, cosines(shared, **plain))], dev),
        "item-knn, tuned": best(((options, cosines(shared, **options)) for options in (plain, *tuned)), dev),
        "ease": best((({"penalty": penalty}, ease(shared, penalty=penalty)) for penalty in _PENALTIES), dev),
    }


def text_features(baskets: Baskets, work: Path, *, steps: int, threads: int) -> Tensor:
    """Text vectors (N, F) of an encoder that knows the titles alone."""
    train = as_clicks(baskets.part(0.0, 0.8))
    empty = np.empty(0, dtype=np.int64)
    nothing = Later(empty, empty, empty, empty.astype(np.bool_))
    task = Task("retail", baskets.product_ids, baskets.texts, train, train, nothing, nothing)
    encoder = TextEncoder(encoder_of(task, work, steps=steps, clicks=False, threads=threads))
    return torch.from_numpy(product_features(encoder, baskets.texts))


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the report."""
    asked = _parser().parse_args(arguments)
    measured = commit()
    torch.set_num_threads(asked.threads)
    baskets = Baskets.read(asked.data / "online_retail" / "baskets.csv.gz")
    features = text_features(baskets, asked.work, steps=asked.text_steps, threads=asked.threads)
    dev, test = (Asked(baskets.part(*ends), seed=0) for ends in ((0.8, 0.9), (0.9, 1.0)))
    found, told = {}, {}
    for name, (options, speaks) in rivals(baskets, features, dev).items():
        found[name], told[name] = test.hits(speaks), options
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    for name, (own, training) in NETWORKS.items():
        runs, hits = [], []
        for seed in seeds:
            network = Network(baskets.part(0.0, 0.8), features, own=own, seed=seed)
            dev_recall = network.fit(dev.recall, training)
            hits.append(test.hits(network.speaks()))
            runs.append({"seed": seed, "dev": round(dev_recall, 5), "test": round(float(hits[-1].mean()), 5)})
            print(name, runs[-1], flush=True)
        found[name], told[name] = np.mean(hits, axis=0), {**training._asdict(), "runs": runs}
    recall = {name: round(float(values.mean()), 5) for name, values in found.items()}
    record(
        asked.out,
        "baskets",
        f"python -m benchmarks.behaviour.baskets --data … --work … --seeds {asked.seeds} "
        f"--text-steps {asked.text_steps} --threads {asked.threads}",
        ("torch", "numpy", "saddle"),
        {
            "baskets": len(baskets.members),
            "products": len(baskets.product_ids),
            "asked": len(test),
            f"Recall@{K}": recall,
            "rankers": told,
            "gains": [
                _gain(found, name, than) for name in NETWORKS for than in ("item-knn", "item-knn, tuned", "ease")
            ],
        },
        at=measured,
    )
    print(json.dumps(recall))


def _gain(found: dict[str, NDArray[np.float64]], name: str, than: str) -> dict[str, Any]:
    difference = found[name] - found[than]
    low, high = bootstrap(difference, np.arange(len(difference)))
    return {
        "ranker": name,
        "than": than,
        "difference": round(float(difference.mean()), 5),
        "95 %": [round(low, 5), round(high, 5)],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviour.baskets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with online_retail/baskets.csv.gz")
    parser.add_argument("--work", type=Path, default=Path("var/behaviour"), help="folder for the encoder")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/baskets.json"))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--text-steps", type=int, default=STEPS, help="steps of the text encoder")
    parser.add_argument("--threads", type=int, default=2)
    return parser


if __name__ == "__main__":
    main()
