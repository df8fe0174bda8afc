"""Run the cells that have no record yet, then write what all of them say together.

The folder holds ``fashion/products.parquet`` (product_id, master_category, sub_category, article_type, jpeg). A run
that is stopped goes on where it was, within a cell too; delete a cell's record to have it measured again. ``--stage
tune`` never looks at what is reported: it scores on the dev split and on article types held out for that.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from pathlib import Path

import torch

from benchmarks.image.cells import Bench, Settings, every_cell
from benchmarks.image.report import collect


def main(arguments: list[str] | None = None) -> None:
    """Run the table."""
    asked = _parser().parse_args(arguments)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    cells = [cell for cell in every_cell(seeds) if fnmatch.fnmatch(cell.name, asked.cells)]
    if not cells:
        sys.exit(f"no cell is called {asked.cells}; there are: {', '.join(cell.name for cell in every_cell(seeds))}")
    torch.set_num_threads(asked.threads)
    settings = Settings(asked.data, asked.out, asked.bundles, asked.stage, asked.steps, asked.threads)
    bench = Bench(settings, report=lambda line: _say(f"    {line}"))
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
        prog="python -m benchmarks.image", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with fashion/")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/image.d"), help="folder of the cells' records")
    parser.add_argument("--bundles", type=Path, help="folder to keep what was trained in, for benchmarks.image.plates")
    parser.add_argument("--stage", choices=("tune", "test"), default="test", help="what is held out and scored on")
    parser.add_argument("--cells", default="*", help="run only the cells whose name fits: 'proxy-nca-*', '*-s0'")
    parser.add_argument("--steps", type=int, default=900, help="of every trained cell, 96 pictures each")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--threads", type=int, default=1, help="threads of a cell")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
