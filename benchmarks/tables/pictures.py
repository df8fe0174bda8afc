"""The image channel: the table of losses, what they were set by, and what a search by photograph takes."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import Bar, compared, read, spread, table

_RETRIEVAL = ("R@1", "R@2", "R@4", "R@8", "MAP@R")
_PARTS = {"seen": "types that were learnt", "unseen": "types never seen"}


def image_seen() -> str:
    """All systems among new photographs of the article types that they learnt."""
    return _systems("seen")


def image_unseen() -> str:
    """All systems among photographs of article types that they never saw."""
    return _systems("unseen")


def image_gains() -> str:
    """What the hierarchy brings over its base loss, seed by seed."""
    lines = []
    for gain in read("image")["gains"]:
        for part, title in _PARTS.items():
            figures = (f"{gain[part][name]['mean']:+.3f}{_spread(gain[part][name])}" for name in gain[part])
            lines.append((gain["base"], gain["tree"], gain["surface"], title, *figures))
    names = ("R@1", "MAP@R", "mistakes in the right sub-category", "in the right master category")
    return table(("base loss", "tree", "surface", "among", *names), lines)


def image_tuning() -> str:
    """What changes of the recipe and of the hierarchy reach in the tuning stage."""
    lines = [
        (
            trial["system"],
            trial["surface"],
            trial["steps"],
            ", ".join(f"{name} {value}" for name, value in trial["changes"].items()) or "none",
            *(f"{trial[part][name]:.3f}" for part in _PARTS for name in ("R@1", "MAP@R")),
        )
        for trial in sorted(read("image_tuning")["trials"], key=lambda trial: (trial["system"], trial["surface"]))
    ]
    measures = (f"{part}: {name}" for part in _PARTS for name in ("R@1", "MAP@R"))
    return table(("system", "surface", "steps", "changed", *measures), lines)


def photographs() -> str:
    """Photographs of several sizes and kinds over HTTP, on one core."""
    lines = [
        (row["photograph"], f"{row['bytes'] / 1e6:.1f}", row["median_ms"], row["p95_ms"])
        for row in read("photographs")["photographs"]
    ]
    return table(("photograph", "MB", "median ms", "p95 ms"), lines)


def photographs_asked() -> str:
    """What was asked of that, and whether it was reached."""
    report = read("photographs")
    found = {row["photograph"]: row["median_ms"] for row in report["photographs"]}
    small = max(took for name, took in found.items() if "1 megapixel" in name or "0.3" in name)
    return compared(
        (
            Bar("median up to 1 megapixel, the slowest kind, ms", "≤", 40, small, 1),
            Bar("median of a JPEG of 12 megapixels, ms", "≤", 80, found["JPEG, 12 megapixels"], 1),
            Bar("the same of a progressive one, ms", "≤", 80, found["progressive JPEG, 12 megapixels"], 1),
            Bar("median to encode a decoded picture, ms", "≤", 15, report["encoding_median_ms"], 1),
        )
    )


def _systems(part: str) -> str:
    """One line a system and surface, best first by MAP@R, with how reasonable its mistakes are."""
    rows = sorted(read("image")["systems"], key=lambda row: -row[part]["MAP@R"]["mean"])
    lines = [
        (
            row["system"],
            row["surface"],
            *(spread(row[part][name]) for name in _RETRIEVAL),
            *(spread(row[part]["mistakes"][level]) for level in ("level1", "level2")),
        )
        for row in rows
    ]
    mistakes = ("mistakes in the right sub-category", "in the right master category")
    return table(("system", "surface", *_RETRIEVAL, *mistakes), lines)


def _spread(figure: dict[str, Any]) -> str:
    return "" if figure["std"] is None else f" ± {figure['std']:.3f}"
