"""Live changes, swaps and kills."""

from __future__ import annotations

from benchmarks.tables.markdown import Bar, compared, listed, read, table


def live() -> str:
    """Searches while products change and snapshots are swapped."""
    report = read("live")
    phases = {
        "before changes": "before_upserts",
        "during changes": "during_upserts",
        "after changes": "after_upserts",
        "before swaps": "before_swaps",
        "during swaps": "during_swaps",
    }
    columns = ("searches", "failed", "median_ms", "p95_ms", "p99_ms", "service_cores", "load_cores", "other_cores")
    lines = [(title, *(report[phase][name] for name in columns)) for title, phase in phases.items()]
    return table(("phase", *(name.replace("_", " ") for name in columns)), lines)


def live_asked() -> str:
    """What was asked of changes and swaps, and whether it was reached."""
    report = read("live")
    swaps = report["during_swaps"]
    return compared(
        (
            Bar("products stored a second", "≥", 500, report["during_upserts"]["upserts_a_second"], 1),
            Bar("p99 during changes over before", "≤", 2, report["p99_during_upserts_over_before"], 2),
            Bar(f"searches failed in {swaps['swaps']} swaps", "=", 0, swaps["failed"], 0),
            Bar("p99 during swaps over before", "≤", 2, report["p99_during_swaps_over_before"], 2),
        )
    )


def survival() -> str:
    """What became of a service that was killed again and again."""
    report = read("survival")
    counts = report["counts"]
    rows = {name: f"{counts[name]:,}" for name in ("rounds", "acknowledged", "activations", "builds finished")}
    rows["unanswered changes, there or not"] = f"{counts['unanswered, there']:,} / {counts['unanswered, not there']:,}"
    return listed({**rows, "changes lost, or there and never asked for": f"{report['lost']}"})
