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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import say
from benchmarks.image.cells import PACKAGES, scores
from benchmarks.image.data import Photographs, Task
from benchmarks.image.systems import HIERARCHICAL, points, recipe, trainer
from benchmarks.provenance import commit, machine, versions

TRIALS = (
    *(f"{base}-flat,rate={rate}" for rate in (0.003, 0.001, 0.01) for base in ("proxy-nca", "proxy-anchor")),
    *(f"proxy-nca-flat,scale={scale}" for scale in (4, 16, 32)),
    *(f"{base}-flat,proxy_rate={rate}" for rate in (0.01, 0.1) for base in ("proxy-nca", "proxy-anchor")),
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
    at = commit()  # before the file changes the tree
    task = Task(Photographs.read(asked.data / "fashion" / "products.parquet"), "tune")
    done: list[dict[str, Any]] = json.loads(asked.out.read_bytes())["trials"] if asked.out.exists() else []
    for text in asked.trials:
        system, changes = parsed(text)
        trial = {"system": system, "surface": asked.surface, "changes": changes, "steps": asked.steps}
        if any(trial.items() <= made.items() for made in done):
            continue
        done.append({**trial, **_run(task, trial), "commit": at})
        unseen, seen = done[-1]["unseen"], done[-1]["seen"]
        say(f"{text}: MAP@R {seen['MAP@R']:.4f} seen, {unseen['MAP@R']:.4f} unseen; R@1 {unseen['R@1']:.4f}")
        report = {
            "benchmark": "image_tuning",
            "command": "python -m benchmarks.image.tuning --data … (all else as the trials say)",
            "measured": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "versions": versions(PACKAGES),
            "seed": 0,
            "trials": done,
        }
        asked.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


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
    return scores(task, lambda pictures: points(done, pictures), asked.network.surface)


if __name__ == "__main__":
    main()
