"""What a search by photograph takes."""

from __future__ import annotations

from benchmarks.tables.markdown import Bar, compared, read, table


def photographs() -> str:
    """Photographs of several sizes and kinds over HTTP, on one core."""
    lines = [
        (row["photograph"], f"{row['bytes'] / 1e6:.1f}", row["median_ms"], row["p95_ms"])
        for row in read("photographs")["photographs"]
    ]
    return table(("photograph", "MB", "median ms", "p95 ms"), lines)


def photographs_asked() -> str:
    """What was asked of that, and whether it was reached."""
    found = {row["photograph"]: row["median_ms"] for row in read("photographs")["photographs"]}
    small = max(took for name, took in found.items() if "1 megapixel" in name or "0.3" in name)
    return compared(
        (
            Bar("median up to 1 megapixel, the slowest kind, ms", "≤", 40, small, 1),
            Bar("median of a JPEG of 12 megapixels, ms", "≤", 80, found["JPEG, 12 megapixels"], 1),
        )
    )
