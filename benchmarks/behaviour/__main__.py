"""Run the cells that have no record yet, then write what all of them say together.

The folder of data holds ``bestbuy_games/products.csv.gz`` (product_id, title) and ``clicks.csv.gz`` (user_id,
product_id, query, click_time); without it only generated shops are measured. Text encoders and generated clicks are
made once and kept in the folder of work. A run that is stopped goes on with the next cell; delete a cell's record to
have it measured again.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import torch

from benchmarks.behaviour.cells import Bench, Options, every_cell
from benchmarks.behaviour.report import collect


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison."""
    asked = _parser().parse_args(arguments)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    cells = [cell for cell in every_cell(seeds) if fnmatch.fnmatch(cell.name, asked.cells)]
    if not cells:
        sys.exit(f"no cell is called {asked.cells}; there are: {', '.join(cell.name for cell in every_cell(seeds))}")
    torch.set_num_threads(asked.threads)
    options = Options(asked.steps, asked.text_minutes, asked.threads)
    bench = Bench(asked.data, asked.work, asked.out, options, report=lambda line: _say(f"    {line}"))
    for number, cell in enumerate(cells, start=1):
        head = f"[{number}/{len(cells)}] {cell.name}"
        if (reason := bench.lacks(cell)) is not None:
            _say(f"{head}: skipped, {reason}")
            continue
        _say(head)
        began = time.monotonic()
        bench.run(cell)
        _say(f"    {bench.path(cell)}, after {time.monotonic() - began:.0f} s")
    summary = asked.out.with_suffix(".json")
    summary.write_text(json.dumps(collect(asked.out), indent=2) + "\n", encoding="utf-8")
    _say(f"{summary} tells them all")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviour", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with bestbuy_games/")
    parser.add_argument("--work", type=Path, default=Path("var/behaviour"), help="folder for encoders and clicks")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/behaviour.d"), help="folder of the cells' records")
    parser.add_argument("--cells", default="*", help="run only the cells whose name fits: 'bestbuy-*', '*-s0'")
    parser.add_argument("--steps", type=int, default=200, help="most steps of a network")
    parser.add_argument("--text-minutes", type=float, default=2.5, help="training of a text encoder")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--threads", type=int, default=2, help="threads of a cell")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
