"""Benchmarks that consist of cells: each is run once, records itself, and is passed over when it has a record."""

from __future__ import annotations

import fnmatch
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Named(Protocol):
    """A cell, which has a name."""

    @property
    def name(self) -> str:
        """Which no other cell has."""
        ...


_NAMES = ("data", "system", "surface", "dim")
"""Which of a summary's figures, where it has them, tell one system from another."""
_Cell = TypeVar("_Cell", bound=Named)
_Asked = TypeVar("_Asked", bound=Named, contravariant=True)


class Bench(Protocol[_Asked]):
    """What runs cells."""

    def lacks(self, cell: _Asked) -> str | None:
        """Why ``cell`` is not run, or None if it can be."""

    def path(self, cell: _Asked) -> Path:
        """The file that holds, or will hold, its record."""
        ...

    def run(self, cell: _Asked) -> None:
        """Run it and write its record."""


def chosen(cells: Sequence[_Cell], patterns: str) -> list[_Cell]:
    """The cells whose names fit one of ``patterns``, which commas part, the first pattern's first.

    Where one fits no cell, the program ends and names them all.
    """
    found: dict[str, _Cell] = {}
    for pattern in patterns.split(","):
        fitting = {cell.name: cell for cell in cells if fnmatch.fnmatch(cell.name, pattern)}
        if not fitting:
            sys.exit(f"no cell is called {pattern}; there are: {', '.join(cell.name for cell in cells)}")
        found |= fitting
    return list(found.values())


def run(cells: Sequence[_Cell], bench: Bench[_Cell]) -> None:
    """Run the cells that have no record yet, one after the other, and tell of it."""
    for number, cell in enumerate(cells, start=1):
        head = f"[{number}/{len(cells)}] {cell.name}"
        if (reason := bench.lacks(cell)) is not None:
            say(f"{head}: skipped, {reason}")
            continue
        say(head)
        began = time.monotonic()
        bench.run(cell)
        say(f"    {bench.path(cell)}, after {time.monotonic() - began:.0f} s")


def summarise(out: Path, collect: Callable[[Path], dict[str, Any]]) -> None:
    """Write what the records in ``out`` say together to a file beside it.

    If that file tells of cells that have no record, it stays as it is and the program ends: what only the summary
    remembers would be lost.
    """
    summary = out.with_suffix(".json")
    found = collect(out)
    gone = _cells(json.loads(summary.read_bytes())) - _cells(found) if summary.exists() else set()
    if gone:
        some = ", ".join(sorted(gone)[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        sys.exit(
            f"{out} has no record of {some}, which {summary} tells of: it stays as it is. Measure them again, or "
            "delete it to have them forgotten"
        )
    summary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    say(f"{summary} tells them all")


def _cells(summary: dict[str, Any]) -> set[str]:
    """What a summary tells of: each of its systems with each seed."""
    return {
        "-".join([*(str(row[name]) for name in _NAMES if row.get(name) is not None), f"s{seed}"])
        for row in summary["systems"]
        for seed in row["seeds"]
    }


def say(line: str) -> None:
    """Tell whoever watches."""
    print(line, file=sys.stderr, flush=True)
