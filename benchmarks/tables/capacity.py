"""What one core answers in a second, and whatever it is sent."""

from __future__ import annotations

from benchmarks.tables.markdown import Bar, compared, listed, read, table

_MODES = ("hyperboloid", "hybrid")


def capacity() -> str:
    """What was answered on one core, beside the stack that most people would write."""
    report = read("capacity")
    rows = {"an empty FastAPI route": report["empty_route"], **{f"Saddle, {mode}": report[mode] for mode in _MODES}}
    rows["FastAPI + MiniLM + HNSW"] = report["other_stack"]
    columns = ("a_second", "cpu_us", "median_ms", "p99_ms")
    lines = [(title, *(row[name] for name in columns), row.get("mean_batch", "")) for title, row in rows.items()]
    return table(
        ("with 32 callers", "answers a second", "CPU µs each", "median ms", "p99 ms", "searches a batch"), lines
    )


def capacity_shares() -> str:
    """What a search costs without HTTP, alone and among others, and which stage takes how much of it."""
    report = read("capacity")["searcher"]
    stages = tuple(report[_MODES[0]]["1"]["shares"])
    lines = [
        (mode, size, row["cpu_us"], *(f"{row['shares'][stage]:.0%}".replace("%", " %") for stage in stages))
        for mode in _MODES
        for size, row in report[mode].items()
    ]
    return table(("mode", "searches a batch", "CPU µs each", *stages), lines)


def capacity_asked() -> str:
    """What was asked of the capacity, and whether it was reached."""
    report = read("capacity")
    ratios, half = report["ratios"]["hyperboloid"], report["hyperboloid"]["at_half"]
    return compared(
        (
            Bar("share of what an empty route and a batched search allow", "≥", 0.7, ratios["of_what_is_allowed"], 2),
            Bar("searches a second over FastAPI + MiniLM + HNSW", "≥", 5, ratios["over_other_stack"], 1),
            Bar("p99 over the median at half of the capacity", "≤", 3, half["p99_over_median"], 2),
        )
    )


def soak() -> str:
    """An hour of everything at once."""
    report = read("soak")
    lines = [
        (kind, row["answered"], *(row[name] for name in ("median_ms", "p99_ms", "p999_ms")))
        for kind, row in report["kinds"].items()
    ]
    return table((f"{report['minutes']:g} minutes", "answered", "median ms", "p99 ms", "p99.9 ms"), lines)


def soak_asked() -> str:
    """What was asked of that hour, and whether it was reached."""
    report = read("soak")
    return compared(
        (
            Bar(
                f"failed of {report['answers']:,} requests, {report['snapshots_taken_up']} snapshots taken up",
                "=",
                0,
                report["failed"],
                0,
            ),
            Bar("growth of resident memory after a third of the time", "≤", 0.02, report["resident_grown"], 4),
        )
    )


def fuzz() -> str:
    """Nonsense, and how it was answered."""
    report = read("fuzz")
    lines = [
        (kind, sum(found.values()), ", ".join(f"{status}: {count:,}" for status, count in found.items()))
        for kind, found in sorted(report["statuses"].items())
    ]
    return table(("kind of request", "sent", "statuses"), lines)


def fuzz_told() -> str:
    """What became of it."""
    report = read("fuzz")
    return listed(
        {
            "requests": f"{report['requests']:,}",
            "answered 5xx, not at all, or after more than ten seconds": str(report["failed"]),
            "slowest answer": f"{report['slowest_ms']:,.0f} ms",
        }
    )
