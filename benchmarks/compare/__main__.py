"""Run the cells that have no record yet, then write what all of them say together.

The folder holds ``homedepot/products.csv.gz`` (product_id, title), ``homedepot/judgments.csv.gz`` (query, product_id,
relevance) and ``flipkart/products.csv.gz`` (product_id, title, category_path). A run that is stopped goes on with the
next cell; delete a cell's record to have it measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.cells import chosen, run, say, summarise
from benchmarks.compare.cells import Bench, Budget, every_cell
from benchmarks.compare.report import collect


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison."""
    asked = _parser().parse_args(arguments)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    cells = chosen(every_cell(seeds), asked.cells)
    torch.set_num_threads(asked.threads)
    budget = Budget(asked.core_minutes, asked.steps, asked.sweep_steps, asked.flipkart_steps, asked.threads)
    bench = Bench(asked.data, asked.out, budget, report=lambda line: say(f"    {line}"))
    run(cells, bench)
    summarise(asked.out, collect)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with homedepot/ and flipkart/")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/compare.d"), help="folder of the cells' records")
    parser.add_argument(
        "--cells", default="*", help="run only the cells whose names fit, in this order: 'knrm-*,duet-s0'"
    )
    parser.add_argument(
        "--core-minutes", type=float, default=16.0, help="a baseline's budget, dev evaluations included: 8 on two cores"
    )
    parser.add_argument(
        "--steps", type=int, default=1700, help="of ANTHEM and each twin: what its 256 axes take in 16 core-minutes"
    )
    parser.add_argument("--sweep-steps", type=int, default=800, help="the same with fewer axes")
    parser.add_argument("--flipkart-steps", type=int, default=300, help="the same on Flipkart")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--threads", type=int, default=2, help="threads of a cell")
    return parser


if __name__ == "__main__":
    main()
