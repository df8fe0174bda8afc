"""What the losses are set by: trials of the ``tune`` stage, which never looks at what the table reports.

A trial is a system, and what is changed of its recipe or of its hierarchy: ``proxy-nca-flat,scale=16``. A run that is
stopped goes on with the next trial.

    python -m benchmarks.image.tuning --data … --out benchmarks/image_tuning.json
    python -m benchmarks.image.tuning --data … --out … --trials proxy-anchor-given,coarse_weight=1
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks import trials
from benchmarks.cells import say
from benchmarks.image.cells import PACKAGES, scores
from benchmarks.image.data import Photographs, Task
from benchmarks.image.systems import HIERARCHICAL, points, recipe, trainer

_SCALED = {"proxy-nca": ",scale=4", "proxy-anchor": ""}
TRIALS = (
    *(
        f"{base},rate={rate}"
        for rate in (0.003, 0.001, 0.01)
        for base in ("proxy-nca-flat,scale=8", "proxy-anchor-flat")
    ),
    *(f"proxy-nca-flat,scale={scale}" for scale in (4, 16, 32)),
    *(f"{base},proxy_rate={rate}" for rate in (0.01, 0.1) for base in ("proxy-nca-flat,scale=8", "proxy-anchor-flat")),
    *(
        f"{base}-{tree}{scale},coarse_weight={weight}"
        for weight in (0.3, 1, 0.1)
        for tree in ("given", "learnt")
        for base, scale in _SCALED.items()
    ),
    "proxy-nca-given,scale=8,coarse_weight=0.3",
    "proxy-nca-learnt,scale=4,coarse_weight=0.1,sizes=[14]",
    "proxy-nca-given,scale=4,coarse_weight=0.3,interval=100",
    "proxy-nca-learnt,scale=4,coarse_weight=0.1,sizes=[27]",
    "proxy-nca-given,scale=4,coarse_weight=0.3,warm_up=200",
    "proxy-nca-learnt,scale=4,coarse_weight=0.1,interval=100",
    "proxy-nca-given,scale=4,coarse_weight=0.2",
)
"""The base losses first: what their hierarchies are set by is tried with what these are set by."""


def main(arguments: list[str] | None = None) -> None:
    """Run the trials that the file lacks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion/")
    parser.add_argument("--out", type=Path, required=True, help="JSON file that the trials are added to")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--surface", choices=("sphere", "sheet"), default="sphere")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--trials", nargs="+", default=TRIALS, metavar="SYSTEM[,NAME=VALUE…]", help="instead of ours")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    task = Task(Photographs.read(asked.data / "fashion" / "products.parquet"), "tune")
    settings = [parsed(text) for text in asked.trials]
    trials.run(
        asked.out,
        (
            {"system": system, "surface": asked.surface, "changes": changes, "steps": asked.steps}
            for system, changes in settings
        ),
        lambda trial: _run(task, trial),
        benchmark="image_tuning",
        command="python -m benchmarks.image.tuning --data … (all else as the trials say)",
        packages=PACKAGES,
    )


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """``proxy-nca-flat,scale=16`` → the system, and what is changed.

    Raises:
        SystemExit: there is no such system.
    """
    system, *changes = text.split(",")
    if system not in HIERARCHICAL:
        raise SystemExit(f"{system} is none of {', '.join(HIERARCHICAL)}")
    return system, {name: json.loads(value) for name, value in (change.split("=") for change in changes)}


def _run(task: Task, trial: dict[str, Any]) -> dict[str, Any]:
    """What a trial scores on dev pictures of known types and on pictures of types held out for this."""
    asked = recipe(trial["system"], trial["surface"], seed=0, steps=trial["steps"], changes=trial["changes"])
    with tempfile.TemporaryDirectory() as directory:
        run = trainer(trial["system"], asked, task, directory=Path(directory), report=lambda _line: None)
        done = run.fit()
    found = scores(task, lambda pictures: points(done, pictures), asked.network.surface)
    told = "; ".join(f"{part}: R@1 {found[part]['R@1']:.4f}, MAP@R {found[part]['MAP@R']:.4f}" for part in found)
    say(f"{trial['system']}, {trial['surface']}, {trial['changes']}: {told}")
    return found


if __name__ == "__main__":
    main()
