"""Run the cells that have no record yet, then write what all of them say together.

The folder of data holds ``bestbuy_games/products.csv.gz`` (product_id, title) and ``clicks.csv.gz`` (user_id,
product_id, query, click_time); without it only generated shops are measured. Text encoders and generated clicks are
made once and kept in the folder of work. A run that is stopped goes on with the next cell; delete a cell's record to
have it measured again.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import torch

from benchmarks.behaviour.cells import Bench, Options, every_cell
from benchmarks.behaviour.report import collect
from benchmarks.behaviour.text import STEPS
from benchmarks.cells import chosen, run, say, summarise


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison."""
    asked = _parser().parse_args(arguments)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    cells = chosen(every_cell(seeds), asked.cells)
    torch.set_num_threads(asked.threads)
    options = Options(asked.steps, asked.text_steps, asked.threads)
    bench = Bench(asked.data, asked.work, asked.out, options, report=lambda line: say(f"    {line}"))
    run(cells, bench)
    summarise(asked.out, collect)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviour", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with bestbuy_games/")
    parser.add_argument("--work", type=Path, default=Path("var/behaviour"), help="folder for encoders and clicks")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/behaviour.d"), help="folder of the cells' records")
    parser.add_argument(
        "--cells", default="*", help="run only the cells whose names fit, in this order: 'bestbuy-*,*-text-s0'"
    )
    parser.add_argument("--steps", type=int, default=200, help="most steps of a network")
    parser.add_argument("--text-steps", type=int, default=STEPS, help="steps of a text encoder")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--threads", type=int, default=2, help="threads of a cell")
    return parser


if __name__ == "__main__":
    main()
