"""A million edges and half a million sessions: what a step of training takes, and how much memory.

``python -m benchmarks.behaviour.scale --help``. The clicks are random, with popular products and queries as shops have
them; only time and memory are measured, so what they mean does not matter.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.provenance import commit, machine, versions
from model.behaviour.clicks import Clicks
from model.behaviour.graphs import build
from model.training.behaviour.dev import mean_reciprocal_rank
from model.training.behaviour.trainer import Recipe, Trainer

if TYPE_CHECKING:
    from model.training.progress import Progress

_PRETRAINING = 60
QUERIES, PRODUCTS, SESSIONS, EVENTS = 200_000, 200_000, 560_000, 1_900_000


def clicks_of(seed: int) -> Clicks:
    """Clicks of sessions of some three events each; a session asks few queries."""
    rng = np.random.default_rng(seed)
    query = (QUERIES * rng.random(EVENTS) ** 2).astype(np.int32)
    # each query leads to products of its own neighbourhood, the first of them most
    near = (40 * rng.random(EVENTS) ** 2).astype(np.int64)
    product = ((query.astype(np.int64) * 7919 + near * near * 31) % PRODUCTS).astype(np.int32)
    session = np.sort(rng.integers(0, SESSIONS, EVENTS)).astype(np.int32)
    return Clicks(tuple(map(str, range(QUERIES))), query, product, session, np.arange(EVENTS, dtype=np.float64))


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behaviour.scale", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/behaviour_scale.json"))
    parser.add_argument("--steps", type=int, default=20, help="of ranking")
    parser.add_argument("--pretraining-steps", type=int, default=5)
    parser.add_argument("--features", type=int, default=256, help="axes of the text vectors")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(arguments)
    measured = commit()
    torch.set_num_threads(asked.threads)
    clicks = clicks_of(0)
    began = time.monotonic()
    graphs = build(clicks, PRODUCTS)
    built = time.monotonic() - began
    generator = torch.Generator().manual_seed(0)
    features = tuple(
        torch.nn.functional.normalize(torch.randn(count, asked.features, generator=generator), dim=1)
        for count in (QUERIES, PRODUCTS)
    )
    wanted = torch.from_numpy(graphs.product[:2000].astype(np.int64))
    query = torch.from_numpy(graphs.query[:2000].astype(np.int64))
    spent: dict[str, list[tuple[float, float]]] = {"pretraining": [], "training": [], "evaluation": []}

    def told(progress: Progress) -> None:
        wall, core = time.monotonic(), time.process_time()
        kind = "evaluation" if progress.metrics is not None else progress.stage
        spent[kind].append((wall - clock[0], core - clock[1]))
        clock[:] = wall, core

    recipe = Recipe(
        steps=asked.steps,
        pretraining_steps=asked.pretraining_steps,
        drop_pairs=0.5,
        evaluate_every=asked.steps,
    )
    trainer = Trainer(
        graphs,
        features,
        recipe,
        judge=lambda network, z: mean_reciprocal_rank(network, z.queries[query], z.products, wanted),
        report=told,
    )
    clock = [time.monotonic(), time.process_time()]
    trainer.fit()
    usual = Recipe()
    wall, core = (
        {kind: float(np.median([both[i] for both in stamps])) for kind, stamps in spent.items() if stamps}
        for i in range(2)
    )
    times = {"training": usual.steps, "pretraining": _PRETRAINING, "evaluation": usual.steps / usual.evaluate_every}
    report = {
        "benchmark": "behaviour_scale",
        "command": f"python -m benchmarks.behaviour.scale --steps {asked.steps} --pretraining-steps "
        f"{asked.pretraining_steps} --features {asked.features} --threads {asked.threads}",
        "edges": len(graphs.query),
        "sessions": graphs.sessions,
        "members": len(graphs.member_pair),
        "queries": QUERIES,
        "products": PRODUCTS,
        "features": asked.features,
        "building_seconds": round(built, 1),
        "seconds_a_step": {kind: round(seconds, 2) for kind, seconds in wall.items()},
        "core_seconds_a_step": {kind: round(seconds, 2) for kind, seconds in core.items()},
        "core_minutes_of_a_training": round(sum(core.get(kind, 0.0) * count for kind, count in times.items()) / 60, 1),
        "training_steps": times,
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "threads": asked.threads,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": measured,
        "machine": machine(),
        "versions": versions(("torch", "numpy", "saddle")),
    }
    asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
