"""The service at more than it can answer."""

from __future__ import annotations

from benchmarks.tables.markdown import Bar, compared, read, table


def overload() -> str:
    """Searches at half of the capacity, at all of it, beyond it and after."""
    report = read("overload")
    phases = {"half of it": "half", "all of it": "full", "three times the peak": "over", "half, after": "after"}
    columns = ("searches", "answered", "refused", "failed", "goodput", "median_ms", "p99_ms")
    refused = ("refused_median_ms", "refused_p99_ms")
    lines = [
        (title, *(report[phase][name] for name in columns), *(report[phase].get(name, "") for name in refused))
        for title, phase in phases.items()
    ]
    return table(("capacity", *(name.replace("_", " ") for name in (*columns, *refused))), lines)


def overload_asked() -> str:
    """What was asked of the overload, and whether it was reached."""
    report = read("overload")
    over = report["over"]
    return compared(
        (
            Bar("p99 of accepted searches over that at capacity", "≤", 2, report["p99_over_full"], 2),
            Bar("share of refusals within 20 ms", "≥", 0.99, over["refused_within_20_ms"], 4),
            Bar("searches neither answered nor refused", "=", 0, over["failed"], 0),
            Bar("goodput over its peak", "≥", 0.7, report["goodput_of_peak"], 2),
            Bar("growth of resident memory", "≤", 0.02, over["resident_grown"], 4),
            Bar("seconds until all is as before", "≤", 5, report["recovery_seconds"], 0),
        )
    )
