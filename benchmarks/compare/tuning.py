"""Which learning rate and which radius suit ANTHEM and each of its twins, on dev: what ``FAMILY`` is to be set by.

Each is varied alone, the other staying as it is by default, for few steps; ``--settings`` tries some together, of
another curvature too, for as many as the comparison has. A run that is stopped goes on with the next trial.

    python -m benchmarks.compare.tuning --data … --out benchmarks/tuning.json --dim 128
    python -m benchmarks.compare.tuning --data … --out benchmarks/tuning.json --steps 1700 --settings anthem,0.008,3
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import trials
from benchmarks.compare import anthem
from benchmarks.compare.data import Shop
from benchmarks.compare.fit import dev_metric
from benchmarks.compare.score import evaluate
from model.training.trainer import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

GRID = {"rate": (0.004, 0.008, 0.016), "radius": (3.0, 4.5, 6.0, 7.5)}
"""A much larger radius is more than float32 can tell apart."""
TUNED = tuple(system for system in anthem.FAMILY if system != anthem.DEFAULT)
PACKAGES = ("torch", "numpy", "ir-measures", "saddle")


def main(arguments: list[str] | None = None) -> None:
    """Run the trials that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with homedepot/")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that the trials are added to")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--dim", type=int, default=Recipe().dim)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--settings",
        nargs="+",
        type=_setting,
        default=[],
        metavar="SYSTEM,RATE,RADIUS[,C]",
        help="these instead of the grid",
    )
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    shop = Shop.read(asked.data / "homedepot")
    trials.run(
        asked.out,
        ({**setting, "steps": asked.steps, "dim": asked.dim} for setting in asked.settings or grid()),
        lambda trial: run(shop, trial),
        benchmark="tuning",
        command="python -m benchmarks.compare.tuning --data … (steps, dim and settings as the trials say)",
        packages=PACKAGES,
    )


def grid() -> Iterator[dict[str, Any]]:
    """Every system with every value of the grid, the defaults first and once."""
    usual = {name: getattr(Recipe(), name) for name in GRID}
    varied = [{**usual, name: value} for name, values in GRID.items() for value in values if value != usual[name]]
    for settings in (usual, *varied):
        for system in TUNED:
            yield {"system": system, **settings, "curvature": _curvature(system)}


def _setting(text: str) -> dict[str, Any]:
    system, rate, radius, *curvature = text.split(",")
    if system not in TUNED:
        raise argparse.ArgumentTypeError(f"{system} is none of {', '.join(TUNED)}")
    c = float(curvature[0]) if curvature else _curvature(system)
    return {"system": system, "rate": float(rate), "radius": float(radius), "curvature": c}


def _curvature(system: str) -> float:
    found: float = anthem.FAMILY[system].get("curvature", Recipe().curvature)
    return found


def run(shop: Shop, trial: dict[str, Any]) -> dict[str, Any]:
    """The dev metrics of one trial, and what states are chosen by everywhere."""
    overrides = {name: trial[name] for name in (*GRID, "curvature")}
    done = anthem.train(
        shop.examples,
        trial["system"],
        dim=trial["dim"],
        seed=0,
        steps=trial["steps"],
        report=lambda _line: None,
        overrides=overrides,
    )
    with torch.no_grad():
        metrics = evaluate(anthem.AnthemRanker(done, trial["system"], shop.texts), shop, "dev")
    return {"dev_metric": dev_metric(metrics), "dev": metrics}


if __name__ == "__main__":
    main()
