"""A million edges and half a million sessions through ``saddle train --channel behaviour``, from files to the bundle.

``python -m benchmarks.behaviour.scale --help``. Products are those of the generated shop; clicks are random, with
popular products and queries as shops have them, since only time and memory are measured. Files and the text bundle,
which does not have to be a good one, are made once by a process of their own and kept in the folder of work.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.behaviour.stages import Stages
from benchmarks.provenance import commit, record
from model.behaviour.clicks import Clicks
from model.catalog import searchable_text
from model.sample.shop import Shop
from service.commands.computing import prepare
from service.commands.train import train
from service.commands.train_behaviour import MINUTES, Asked, train_behaviour

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("torch", "numpy", "onnxruntime", "saddle")
# a tenth of the clicks chooses the network; what is left has more than was asked for
QUERIES, PRODUCTS, SESSIONS, EVENTS = 200_000, 200_000, 680_000, 2_200_000


def clicks_of(seed: int, share: float = 1.0) -> Clicks:
    """Clicks of sessions of some three events each; a session asks few queries. ``share`` of them, and of all else."""
    queries, products, sessions, events = (round(share * size) for size in (QUERIES, PRODUCTS, SESSIONS, EVENTS))
    rng = np.random.default_rng(seed)
    query = (queries * rng.random(events) ** 2).astype(np.int32)
    # each query leads to products of its own neighbourhood, the first of them most
    near = (40 * rng.random(events) ** 2).astype(np.int64)
    product = (_home(query.astype(np.int64), products) + near * near * 31) % products
    session = np.sort(rng.integers(0, sessions, events)).astype(np.int32)
    texts = tuple(map(str, range(queries)))
    return Clicks(texts, query, product.astype(np.int32), session, np.arange(events, dtype=np.float64))


def make_files(folder: Path, share: float, text_minutes: float, threads: int) -> None:
    """Write the catalogue, the clicks and the text bundle."""
    clicks = clicks_of(0, share)
    products = list(Shop(round(share * PRODUCTS)).products())
    ids = [product.product_id for product in products]
    titles = [searchable_text(product) for product in products]
    # a query is made of words of what it leads to first, and of its number
    homes = _home(np.arange(len(clicks.queries)), len(products)).tolist()
    texts = [f"{' '.join(titles[home].split()[-3:])} {query}" for query, home in enumerate(homes)]
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "catalogue.csv", ("product_id", "title"), (ids, titles))
    _write(
        folder / "clicks.csv",
        ("query", "product_id", "event", "session_id", "time"),
        (
            [texts[query] for query in clicks.query.tolist()],
            [ids[product] for product in clicks.product.tolist()],
            ["click"] * len(clicks),
            [f"s{session}" for session in clicks.session.tolist()],
            clicks.time.tolist(),
        ),
    )
    train(catalog=folder / "catalogue.csv", out=folder / "text", minutes=text_minutes, threads=threads)


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviour.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, default=Path("var/behaviour"), help="folder for files and bundles")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/behaviour_scale.json"))
    parser.add_argument("--share", type=float, default=1.0, help="of products, queries, sessions and clicks; to try it")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="steps of training, at most")
    parser.add_argument("--text-minutes", type=float, default=1.0, help="training of the text bundle")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    measured = commit()
    folder = asked.work / f"scale-{asked.share:g}"
    if not (folder / "text").exists():
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
            other.submit(make_files, folder, asked.share, asked.text_minutes, asked.threads).result()
    for left in ("behaviour", "checkpoint"):
        shutil.rmtree(folder / left, ignore_errors=True)
    prepare(asked.threads)
    wall, core = time.monotonic(), time.process_time()
    with Stages(train_behaviour) as stages:
        manifest, told = train_behaviour(
            Asked(
                folder / "catalogue.csv",
                folder / "clicks.csv",
                folder / "text",
                folder / "behaviour",
                checkpoint=folder / "checkpoint",
                max_reject_share=0.0,
                minutes=asked.minutes,
                all_queries=True,
                threads=asked.threads,
            )
        )
    wall, core = time.monotonic() - wall, time.process_time() - core
    by_stage = stages.told()
    found = {
        "edges": manifest.training["pairs"],
        "sessions": manifest.training["sessions"],
        "clicks": manifest.training["clicks"],
        "queries": manifest.queries,
        "products": manifest.products,
        "steps": manifest.training["steps"],
        "trained": told["trained"],
        "minutes": round(wall / 60, 2),
        "core_minutes": round(core / 60, 2),
        "peak_gib": max(stage["peak_gib"] for stage in by_stage.values()),
        "stages": by_stage,
        "threads": asked.threads,
    }
    record(
        asked.out,
        "behaviour_scale",
        f"python -m benchmarks.behaviour.scale --share {asked.share:g} --minutes {asked.minutes:g} "
        f"--text-minutes {asked.text_minutes:g} --threads {asked.threads}",
        PACKAGES,
        found,
        at=measured,
    )
    print(json.dumps(found, indent=2))


def _home(
    query: np.ndarray[tuple[int], np.dtype[np.int64]], products: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The product that each query leads to first."""
    return query * 7919 % products


def _write(path: Path, head: tuple[str, ...], columns: Sequence[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(zip(*columns, strict=True))


if __name__ == "__main__":
    main()
