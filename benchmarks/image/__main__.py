"""Run the cells that have no record yet, then write what all of them say together.

The folder holds ``fashion/products.parquet`` (product_id, master_category, sub_category, article_type, jpeg). A run
that is stopped goes on where it was, within a cell too; delete a cell's record to have it measured again. ``--stage
tune`` never looks at what is reported: it scores on the dev split and on article types held out for that.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.cells import chosen, run, say, summarise
from benchmarks.image.cells import Bench, Settings, every_cell
from benchmarks.image.report import collect


def main(arguments: list[str] | None = None) -> None:
    """Run the table."""
    asked = _parser().parse_args(arguments)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    cells = chosen(every_cell(seeds), asked.cells)
    torch.set_num_threads(asked.threads)
    settings = Settings(asked.data, asked.out, asked.bundles, asked.stage, asked.steps, asked.threads)
    bench = Bench(settings, report=lambda line: say(f"    {line}"))
    run(cells, bench)
    summarise(asked.out, collect)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.image", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion/")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/image.d"), help="folder of the cells' records")
    parser.add_argument("--bundles", type=Path, help="folder to keep what was trained in, for benchmarks.image.plates")
    parser.add_argument("--stage", choices=("tune", "test"), default="test", help="what is held out and scored on")
    parser.add_argument(
        "--cells", default="*", help="run only the cells whose names fit, in this order: 'proxy-nca-*,softmax-*'"
    )
    parser.add_argument("--steps", type=int, default=600, help="of every trained cell, 96 pictures each")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--threads", type=int, default=1, help="threads of a cell")
    return parser


if __name__ == "__main__":
    main()
