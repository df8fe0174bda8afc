"""The channel in the product: the same searches with it and without, by ``python -m benchmarks.behaviour.searches``.

Clicks are split by time. From the first nine tenths ``saddle train`` makes a text bundle and a behaviour bundle, and
``saddle reindex`` a snapshot; the last tenth of the clicks is then searched for, in the mode ``hybrid``. Without the
channel the fusion of what is left is learnt on the same later clicks. Both searches of a query are timed one after the
other, on one thread.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.behaviour.cells import CURVES, MAIN_SHOP, taught
from benchmarks.behaviour.data import bestbuy
from benchmarks.behaviour.score import bootstrap
from benchmarks.behaviour.task import SEGMENTS
from benchmarks.behaviour.text import STEPS, encoder_of, write_catalog
from benchmarks.provenance import record
from index.build import build
from index.learning import learn_fusion, with_later_clicks
from index.live import nothing
from index.search import EmptyTextError, Searcher
from index.view import View
from model.behaviour.vectors import BehaviourVectors
from service.commands.computing import prepare
from service.commands.train_behaviour import Asked, train_behaviour

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.behaviour.task import Later, Task

PACKAGES = ("saddle", "faiss-cpu", "onnxruntime", "numpy", "torch", "bm25s")
DEPTH = 100
_MOST_QUERIES = 2000
_TIMED = 300
_SHOPS = {shop.name: shop for shop in (*CURVES, MAIN_SHOP)}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with bestbuy_games/, if that is among the shops")
    parser.add_argument("--shops", default="bestbuy,shop10000,shop50000", help=f"of bestbuy, {', '.join(_SHOPS)}")
    parser.add_argument("--work", type=Path, default=Path("var/behaviour"), help="folder for models and indexes")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--text-steps", type=int, default=STEPS, help="steps of a text bundle")
    parser.add_argument("--minutes", type=float, default=10.0, help="training of a behaviour bundle, at most")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of the behaviour bundle, with commas between")
    asked = parser.parse_args(arguments)
    prepare()
    found = {}
    for name in asked.shops.split(","):
        task = bestbuy(asked.data / "bestbuy_games") if name == "bestbuy" else _SHOPS[name].task(asked.work)
        found[name] = [_measured(task, asked, seed) for seed in map(int, asked.seeds.split(","))]
    record(
        asked.out,
        "behaviour_searches",
        f"python -m benchmarks.behaviour.searches --data … --work … --shops {asked.shops} "
        f"--text-steps {asked.text_steps} --minutes {asked.minutes:g} --seeds {asked.seeds}",
        PACKAGES,
        found,
    )
    print(json.dumps(found, indent=2))


def _measured(task: Task, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    folder = asked.work / f"{task.name}-searches"
    text = encoder_of(task, asked.work, steps=asked.text_steps, clicks=taught(task.name), threads=2)
    folder.mkdir(parents=True, exist_ok=True)
    catalog, clicks = write_catalog(task, folder), _write_clicks(task, folder)
    learnt = folder / f"behaviour-{seed}"
    if not learnt.exists():
        train_behaviour(
            Asked(
                catalog,
                clicks,
                text,
                learnt,
                checkpoint=folder / f"checkpoint-{seed}",
                max_reject_share=0.0,
                minutes=asked.minutes,
                seed=seed,
                all_queries=True,
            )
        )
    root = folder / f"index-{seed}"
    report = build(bundle_dir=text, catalog=catalog, root=root, behaviour=learnt, allow_foreign=True)
    with_channel = Searcher.open(report.directory)
    without = _without_channel(with_channel, BehaviourVectors(learnt))
    later = _some(task.test)
    try:
        ranks = {"with": _ranks(with_channel, task, later), "without": _ranks(without, task, later)}
        return {
            "seed": seed,
            "products": report.products,
            "queries": len(np.unique(later.query)),
            "fusion": {name: one.snapshot.manifest.fusion.model_dump() for name, one in
                       (("with", with_channel), ("without", without))},
            "clicks": _figures(task, later, ranks, later.count.astype(float)),
            "new": _figures(task, later, ranks, later.new.astype(float)),
            "milliseconds": _timed(with_channel, without, task, later),
        }  # fmt: skip
    finally:
        with_channel.close()


def _write_clicks(task: Task, folder: Path) -> Path:
    """The clicks before the test's, as a shop would have them: one that was clicked twice is there twice."""
    path = folder / "clicks.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "product_id", "event", "session_id", "time"))
        before = task.before_test
        columns = (before.query, before.product, before.session, before.time)
        for query, product, session, moment in zip(*(column.tolist() for column in columns), strict=True):
            named = "" if session < 0 else f"s{session}"
            writer.writerow((before.queries[query], task.product_ids[product], "click", named, moment))
    return path


def _without_channel(searcher: Searcher, learnt: BehaviourVectors) -> Searcher:
    """The same searcher as if clicks had taught it nothing but how words and distances are fused."""
    channels = replace(searcher.channels, behaviour=None)
    snapshot = searcher.snapshot
    view = View(snapshot.points, nothing(len(snapshot.points), dim=snapshot.points.shape[1]))
    teaching = with_later_clicks({}, None, learnt, channels.encoder.manifest)
    fusion = learn_fusion(teaching, channels, view, snapshot.documents)
    return Searcher(replace(snapshot, manifest=snapshot.manifest.model_copy(update={"fusion": fusion})), channels)


def _some(later: Later) -> Later:
    """The pairs of at most so many queries, drawn by a fixed seed."""
    queries = np.unique(later.query)
    if len(queries) <= _MOST_QUERIES:
        return later
    drawn = np.random.default_rng(0).choice(queries, _MOST_QUERIES, replace=False)
    return later.where(np.isin(later.query, drawn))


def _ranks(searcher: Searcher, task: Task, later: Later) -> NDArray[np.float64]:
    """The place of each pair's product among the first hundred hits, infinite beyond (P,)."""
    places = np.full(len(later.query), np.inf)
    for query in np.unique(later.query).tolist():
        try:
            hits = searcher.search(task.train.queries[query], limit=DEPTH).hits
        except EmptyTextError:
            continue
        found = {hit.product.product_id: place for place, hit in enumerate(hits, start=1)}
        for pair in np.flatnonzero(later.query == query).tolist():
            places[pair] = found.get(task.product_ids[int(later.product[pair])], np.inf)
    return places


def _figures(
    task: Task, later: Later, ranks: dict[str, NDArray[np.float64]], weights: NDArray[np.float64]
) -> dict[str, Any]:
    """RR and recall with the channel and without, apart by how often products and queries were clicked before.

    ``gain`` is what the channel adds to the RR, and ``between`` the middle 95 % of that when queries are drawn anew.
    """
    groups = {"all": np.ones(len(later.query), dtype=np.bool_)}
    for kind, places in (("product", later.product), ("query", later.query)):
        segment = task.segments(kind)[places]  # type: ignore[arg-type]
        groups |= {f"{kind} {name}": segment == i for i, name in enumerate(SEGMENTS)}
    found = {}
    for name, group in groups.items():
        kept = group & (weights > 0)
        if not kept.any():
            continue
        weight = weights[kept]
        reciprocal = {one: 1.0 / places[kept] for one, places in ranks.items()}
        gains = np.repeat(reciprocal["with"] - reciprocal["without"], weight.astype(int))
        low, high = bootstrap(gains, np.repeat(later.query[kept], weight.astype(int)))
        found[name] = {
            "pairs": int(kept.sum()),
            **{
                one: {
                    "RR@100": round(float(np.average(reciprocal[one], weights=weight)), 4),
                    "Recall@10": round(float(np.average(places[kept] <= 10, weights=weight)), 4),
                }
                for one, places in ranks.items()
            },
            "gain": round(float(gains.mean()), 4),
            "between": [round(low, 4), round(high, 4)],
        }
    return found


def _timed(with_channel: Searcher, without: Searcher, task: Task, later: Later) -> dict[str, float]:
    """Median milliseconds of a search of ten hits, and of what the channel adds to the same query."""
    taken: dict[str, list[float]] = {"with": [], "without": []}
    searchers = (("with", with_channel), ("without", without))
    for turn, query in enumerate(np.unique(later.query)[:_TIMED].tolist()):
        for name, searcher in searchers if turn % 2 else reversed(searchers):
            started = time.perf_counter()
            try:
                searcher.search(task.train.queries[query])
            except EmptyTextError:
                continue
            taken[name].append(1e3 * (time.perf_counter() - started))
    medians = {name: round(statistics.median(times), 3) for name, times in taken.items()}
    added = [one - other for one, other in zip(taken["with"], taken["without"], strict=True)]
    return {**medians, "added": round(statistics.median(added), 3)}


if __name__ == "__main__":
    main()
