"""Online Retail: can product vectors from the hypergraph of baskets tell what else is in a basket?

``python -m benchmarks.behaviour.baskets --help``. Baskets are split by time: 80 % train, 10 % dev, 10 % test. One item
of each later basket is held out, by a fixed seed, and looked for among all products that are not in the rest of the
basket. The network learns to do that on the last eighth of the train baskets, with the others as its hypergraph; its
vectors are then convolved over all train baskets, which are also what item-kNN counts.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.behaviour.baselines import ItemKnn, Popularity
from benchmarks.behaviour.score import bootstrap
from benchmarks.behaviour.task import Later, Task
from benchmarks.behaviour.text import encoder_of
from benchmarks.provenance import commit, machine, versions
from model.behaviour.clicks import Clicks
from model.behaviour.convolutions import Channels
from model.behaviour.features import product_features
from model.behaviour.graphs import build
from model.behaviour.network import Config, Dcah
from model.runtime import TextEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

K = 20
_GRAPH = 7 / 8
_BATCH, _EVERY, _PATIENCE = 256, 25, 6


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


def as_clicks(baskets: list[NDArray[np.int64]]) -> Clicks:
    """Baskets as sessions of clicks, all after one query that says nothing."""
    product = np.concatenate(baskets).astype(np.int32)
    session = np.repeat(np.arange(len(baskets)), [len(items) for items in baskets]).astype(np.int32)
    return Clicks(("",), np.zeros_like(product), product, session, np.arange(len(product), dtype=np.float64))


def held_out(baskets: list[NDArray[np.int64]], *, seed: int) -> list[tuple[NDArray[np.int64], int]]:
    """Each basket without one item, and that item."""
    rng = np.random.default_rng(seed)
    places = [int(rng.integers(len(items))) for items in baskets]
    return [(np.delete(items, place), int(items[place])) for items, place in zip(baskets, places, strict=True)]


def hits(scores: NDArray[np.float32], asked: list[tuple[NDArray[np.int64], int]]) -> NDArray[np.float64]:
    """1 where the held-out item is among the first ``K`` of ``scores`` (B, N), a share of 1 where ties decide."""
    found = np.empty(len(asked))
    for i, (rest, item) in enumerate(asked):
        row = scores[i].copy()
        row[rest] = -np.inf
        better, equal = (row > row[item]).sum(), (row == row[item]).sum()
        found[i] = np.clip((K - better) / equal, 0.0, 1.0)
    return found


class Network:
    """The hypergraph channel alone: no click is an edge, and no query is a member."""

    def __init__(self, baskets: Baskets, features: Tensor, *, seed: int) -> None:
        torch.manual_seed(seed)
        self._features = (torch.zeros(1, features.shape[1]), features)
        products = len(baskets.product_ids)
        train = baskets.part(0.0, 0.8)
        cut = int(_GRAPH * len(train))
        self._targets = [items for items in train[cut:] if len(items) <= 50]
        self._seen, self._whole = (
            Channels(build(as_clicks(part), products, min_count=1 << 60), joined=False).convolutions()
            for part in (train[:cut], train)
        )
        self.network = Dcah(Config(features=features.shape[1]))
        self._log_scale = torch.nn.Parameter(torch.tensor(1.0))
        self._seed = seed

    def fit(self, dev: list[tuple[NDArray[np.int64], int]], *, steps: int, rate: float) -> float:
        """Train, keep the best state on dev, and return its Recall@20 there."""
        parameters = [*self.network.parameters(), self._log_scale]
        optimizer = torch.optim.Adam(parameters, lr=rate)
        best, worse, kept = -1.0, 0, self.network.state_dict()
        rng = np.random.default_rng(self._seed)
        for step in range(1, steps + 1):
            chosen = [self._targets[i] for i in rng.integers(len(self._targets), size=_BATCH)]
            asked = held_out(chosen, seed=step)
            loss = torch.nn.functional.cross_entropy(
                self._log_scale.exp() * self._scores(self._seen, asked), torch.tensor([item for _, item in asked])
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % _EVERY == 0:
                found = float(hits(self.scores(dev), dev).mean())
                worse = 0 if found > best else worse + 1
                if found > best:
                    best = found
                    kept = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
                if worse == _PATIENCE:
                    break
        self.network.load_state_dict(kept)
        return best

    @torch.no_grad()
    def scores(self, asked: list[tuple[NDArray[np.int64], int]]) -> NDArray[np.float32]:
        """Scores (B, N) over all train baskets."""
        return self._scores(self._whole, asked).numpy()

    def _scores(self, graphs: Any, asked: list[tuple[NDArray[np.int64], int]]) -> Tensor:
        z = self.network(*self.network.project(*self._features), graphs).products
        items = torch.from_numpy(np.concatenate([rest for rest, _ in asked]))
        offsets = torch.from_numpy(np.cumsum([0, *(len(rest) for rest, _ in asked[:-1])]))
        contexts = torch.nn.functional.embedding_bag(items, z, offsets, mode="mean")
        scores: Tensor = contexts @ z.T
        return scores


def knn_scores(baskets: Baskets, asked: list[tuple[NDArray[np.int64], int]]) -> NDArray[np.float32]:
    """Item-kNN on co-purchase: cosines of the items' baskets, added up over what is in the basket."""
    train = as_clicks(baskets.part(0.0, 0.8))
    query = np.repeat(np.arange(len(asked)), [len(rest) for rest, _ in asked]).astype(np.int32)
    product = np.concatenate([rest for rest, _ in asked]).astype(np.int32)
    graphs = build(train, len(baskets.product_ids), most_products=1 << 30)
    # what each later basket holds stands for what a query led to
    extra = build(
        Clicks(
            tuple(map(str, range(len(asked)))), query, product, np.full_like(query, -1), np.arange(len(query)) * 1.0
        ),
        len(baskets.product_ids),
    )
    task = _task(baskets, train)
    ranker = ItemKnn(task, graphs, led=extra)
    return ranker.scores(np.arange(len(asked)))


def _task(baskets: Baskets, train: Clicks) -> Task:
    empty = np.empty(0, dtype=np.int64)
    nothing = Later(empty, empty, empty, empty.astype(np.bool_))
    return Task("retail", baskets.product_ids, baskets.texts, train, train, nothing, nothing)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviour.baskets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with online_retail/baskets.csv.gz")
    parser.add_argument("--work", type=Path, default=Path("var/behaviour"), help="folder for the encoder")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/baskets.json"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--text-minutes", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    measured = commit()
    torch.set_num_threads(asked.threads)
    baskets = Baskets.read(asked.data / "online_retail" / "baskets.csv.gz")
    task = _task(baskets, as_clicks(baskets.part(0.0, 0.8)))
    encoder = TextEncoder(encoder_of(task, asked.work, minutes=asked.text_minutes, clicks=False, threads=asked.threads))
    features = torch.from_numpy(product_features(encoder, baskets.texts))
    dev, test = (held_out(baskets.part(*ends), seed=0) for ends in ((0.8, 0.9), (0.9, 1.0)))
    popular = Popularity(task).scores(np.zeros(1, dtype=np.int64))
    text = np.stack([features[rest].mean(0) @ features.T for rest, _ in test])
    found = {
        "popularity": hits(np.repeat(popular, len(test), 0), test),
        "text": hits(text, test),
        "item-knn": hits(knn_scores(baskets, test), test),
    }
    runs = []
    for seed in map(int, asked.seeds.split(",")):
        network = Network(baskets, features, seed=seed)
        dev_recall = network.fit(dev, steps=asked.steps, rate=asked.rate)
        ours = hits(network.scores(test), test)
        runs.append({"seed": seed, "dev": round(dev_recall, 5), "test": round(float(ours.mean()), 5)})
        print(runs[-1], flush=True)
        found.setdefault("hypergraph", np.zeros(len(test)))
        found["hypergraph"] += ours / len(asked.seeds.split(","))
    difference = found["hypergraph"] - found["item-knn"]
    report = {
        "benchmark": "baskets",
        "command": "python -m benchmarks.behaviour.baskets --data … --work …",
        "baskets": len(baskets.members),
        "products": len(baskets.product_ids),
        "asked": len(test),
        f"Recall@{K}": {name: round(float(values.mean()), 5) for name, values in found.items()},
        "hypergraph": runs,
        "hypergraph over item-knn": {
            "difference": round(float(difference.mean()), 5),
            "95 %": bootstrap(difference, np.arange(len(test))),
        },
        "options": {"steps": asked.steps, "rate": asked.rate, "text_minutes": asked.text_minutes},
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": measured,
        "machine": machine(),
        "versions": versions(("torch", "numpy", "saddle")),
    }
    asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report[f"Recall@{K}"]))


if __name__ == "__main__":
    main()
