"""What all cells say together: mean and spread over seeds, and how sure the difference of two systems is."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.behaviour.score import bootstrap
from benchmarks.behaviour.task import SEGMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.behaviour.cells import Record

MEASURED = ("dev", "test", "fused", "attention", "mappers")
_SECOND_CHANNEL = (
    ("two", "bipartite"),
    ("two+pretraining", "bipartite+pretraining"),
    ("two+dropedge", "bipartite+dropedge"),
    ("two+pretraining+dropedge", "bipartite+pretraining+dropedge"),
)

_MEASURES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float64]]] = {
    "MRR": lambda ranks: 1.0 / ranks.astype(np.float64),
    "Recall@10": lambda ranks: (ranks <= 10).astype(np.float64),
}


def collect(folder: Path) -> dict[str, Any]:
    """The records in ``folder``, a row for each system on each data set."""
    records = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["data"], record["system"]), []).append(record)
    return {
        "benchmark": "behaviour",
        "command": "python -m benchmarks.behaviour --data … --work …",
        "cells": len(records),
        "measured": max((record["measured"] for record in records), default=None),
        **{
            plural: _distinct(records, name)
            for plural, name in (
                ("commits", "commit"),
                ("generators", "generator"),
                ("machines", "machine"),
                ("versions", "versions"),
                ("threads", "threads"),
            )
        },
        "graphs": {data: merged(list(graphs.values())) for data, graphs in _by_shop(records, "graph").items()},
        "shops": {
            data: {**next(iter(shops.values())), "seed": list(shops)}
            for data, shops in _by_shop(records, "shop").items()
            if None not in shops
        },
        "systems": [_row(group) for _, group in sorted(groups.items())],
        "gains": [
            gain
            for data in dict.fromkeys(data for data, _ in sorted(groups))
            for better, than in _SECOND_CHANNEL
            if (gain := _gain(folder, groups, data, better, than)) is not None
        ],
    }


def _by_shop(records: Sequence[Record], name: str) -> dict[str, dict[int | None, Any]]:
    """A field that tells of the data: by the name of the data, and by the seed of the shop, None for real clicks."""
    found: dict[str, dict[int | None, Any]] = {}
    for record in records:
        found.setdefault(record["data"], {})[_shop_seed(record)] = record[name]
    return found


def _shop_seed(record: Record) -> int | None:
    return None if record["shop"] is None else record["shop"]["seed"]


def _row(records: Sequence[Record]) -> Record:
    """One system's records, one for each seed, as one."""
    first = records[0]
    return {
        "data": first["data"],
        "system": first["system"],
        "seeds": sorted(record["seed"] for record in records),
        "seconds": merged([record["seconds"] for record in records]),
        **{part: merged([record[part] for record in records]) for part in MEASURED if first.get(part)},
    }


def merged(parts: Sequence[Any]) -> Any:
    """Nested figures, each replaced by its mean and spread; counts that agree stay what they are.

    A figure that some parts lack, as those of a segment without pairs, is of the parts that have it.
    """
    if isinstance(parts[0], dict):
        keys = dict.fromkeys(key for part in parts for key in part)
        return {key: merged([part[key] for part in parts if key in part]) for key in keys}
    if isinstance(parts[0], int) and len(set(parts)) == 1:
        return parts[0]
    return {"mean": statistics.fmean(parts), "std": statistics.stdev(parts) if len(parts) > 1 else None}


def _gain(
    folder: Path, groups: dict[tuple[str, str], list[Record]], data: str, better: str, than: str
) -> Record | None:
    """What the second channel brings on new test pairs, those of all seeds together, and on those with tail products.

    Seeds share the pairs of one shop, and are averaged; where each has a shop of its own, there are more pairs. The
    bootstrap draws queries, each with all that it has in its shop.

    Raises:
        ValueError: the two systems were not measured on the same pairs.
    """
    mine, theirs = ({record["seed"]: record for record in groups.get((data, name), ())} for name in (better, than))
    seeds = sorted(mine.keys() & theirs.keys())
    if not seeds:
        return None
    found = [[np.load(folder / f"{data}-{name}-s{seed}.npz") for seed in seeds] for name in (better, than)]
    for one, other in zip(*found, strict=True):
        if any(not np.array_equal(one[name], other[name]) for name in ("query", "product", "segment")):
            raise ValueError(f"{data}: {better} and {than} were measured on different pairs; measure both anew")
    ranks = [np.concatenate([part["ranks"] for part in parts]) for parts in found]
    shops = [_shop_seed(mine[seed]) or 0 for seed in seeds]
    # a query's place is below 2³²: with the shop before it, it is one of that shop's
    query = np.concatenate(
        [(shop << 32) + part["query"].astype(np.int64) for shop, part in zip(shops, found[0], strict=True)]
    )
    segment = np.concatenate([part["segment"] for part in found[0]])
    tail = segment == SEGMENTS.index("tail")
    once = len(set(shops)) / len(shops)
    return {
        "data": data,
        "system": better,
        "than": than,
        "seeds": len(seeds),
        "pairs": round(once * len(query)),
        **_differences(*ranks, query),
        "tail": {"pairs": round(once * tail.sum()), **_differences(*(part[tail] for part in ranks), query[tail])},
    }


def _differences(mine: NDArray[np.float32], theirs: NDArray[np.float32], query: NDArray[np.int64]) -> Record:
    """By how much ranks ``mine`` (P,) of the pairs of ``query`` (P,) are better than ``theirs`` (P,); of none, nothing.

    There is no relative gain over nothing.
    """
    if not len(query):
        return {}
    told = {}
    for name, measured in _MEASURES.items():
        ours, others = measured(mine), measured(theirs)
        told[name] = {
            "relative": float(ours.mean() / others.mean() - 1.0) if others.any() else None,
            "difference": float((ours - others).mean()),
            "95 %": list(bootstrap(ours - others, query)),
        }
    return told


def _distinct(records: Sequence[Record], name: str) -> list[Any]:
    found: list[Any] = []
    for record in records:
        if record[name] not in found:
            found.append(record[name])
    return found
