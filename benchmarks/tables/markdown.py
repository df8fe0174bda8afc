"""What all tables are made with: reports, lines and figures in Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Bar(NamedTuple):
    """What was asked of a figure beforehand, and what it is."""

    what: str
    sense: Literal["≥", "≤", "="]
    asked: float
    measured: float
    digits: int = 3


def read(name: str) -> dict[str, Any]:
    """The JSON of a benchmark."""
    report: dict[str, Any] = json.loads((Path(__file__).parents[1] / f"{name}.json").read_bytes())
    return report


def table(head: Sequence[object], lines: Iterable[Sequence[object]]) -> str:
    """Lines of cells under a head."""
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in (head, ["---"] * len(head), *lines))


def listed(figures: Mapping[str, str]) -> str:
    """Figures by what they are of."""
    return table(("what", "measured"), figures.items())


def compared(bars: Iterable[Bar]) -> str:
    """Bars, and which of them were missed."""
    lines = []
    for bar in bars:
        reached = {"≥": bar.measured >= bar.asked, "≤": bar.measured <= bar.asked, "=": bar.measured == bar.asked}
        verdict = "" if reached[bar.sense] else "**missed**"
        lines.append((bar.what, f"{bar.sense} {bar.asked:,.10g}", f"{bar.measured:,.{bar.digits}f}", verdict))
    return table(("what", "asked", "measured", ""), lines)


def spread(figure: Any) -> str:
    """Mean and standard deviation over seeds, or the one figure there is."""
    if isinstance(figure, float):
        return f"{figure:.3f}"
    if figure["std"] is None:
        return f"{figure['mean']:.3f}"
    return f"{figure['mean']:.3f} ± {figure['std']:.3f}"


def percent(figure: Mapping[str, float], digits: int = 1) -> str:
    """The same of a share."""
    return f"{figure['mean']:.{digits}%} ± {figure['std']:.{digits}%}".replace("%", " %")


def milliseconds(seconds: float) -> str:
    """As many digits as matter."""
    return f"{1e3 * seconds:.2f}" if seconds < 0.01 else f"{1e3 * seconds:.0f}"
