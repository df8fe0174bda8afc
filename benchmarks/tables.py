"""The tables that README and docs quote, made from the JSON beside this file: ``python benchmarks/tables.py``.

Rewrites what stands between ``<!-- table NAME -->`` and ``<!-- end -->`` in each document.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "benchmarks.md")


def main() -> None:
    """Bring every table up to date."""
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(encoding="utf-8")), encoding="utf-8")


def filled(text: str) -> str:
    """``text`` with every marked table made anew."""
    return re.sub(
        r"<!-- table (\w+) -->\n.*?<!-- end -->",
        lambda match: f"<!-- table {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->",
        text,
        flags=re.DOTALL,
    )


def homedepot() -> str:
    """Quality and speed on the Home Depot test split."""
    report = _report("homedepot")
    test = report["evaluate"]["test"]["metrics"]
    retrieve, rank = test["retrieve"], test["rank"]
    latency, reindex = report["latency"], report["reindex"]
    rows = {
        "training, whole command": f"{report['train']['seconds_whole_command'] / 60:.1f} minutes, export included",
        "retrieve: R@10 / R@100 / RR@100 / nDCG@10": _figures(
            retrieve, "R(rel=4)@10", "R(rel=4)@100", "RR(rel=4)@100", "nDCG@10"
        ),
        "rank: nDCG@3 / @5 / @10": _figures(rank, "nDCG@3", "nDCG@5", "nDCG@10"),
        "rank: AP / RR": _figures(rank, "AP(rel=4)", "RR(rel=4)"),
        "candidates' recall of the exact containment top 100": f"{reindex['candidates']['recall']:.3f}",
        "reindex": f"{reindex['products_per_second']:,.0f} products a second",
        "encoding a query, one thread, median": f"{latency['encode_ms']['median']:.2f} ms",
        "a whole search, one thread, median / p99": (
            f"{latency['search_ms']['median']:.2f} / {latency['search_ms']['p99']:.2f} ms"
        ),
    }
    lines = ["| what | measured |", "| --- | --- |", *(f"| {what} | {value} |" for what, value in rows.items())]
    return "\n".join(lines)


def compare_rank() -> str:
    """All systems in the rank protocol."""
    columns = {
        "nDCG@3": "nDCG@3",
        "nDCG@5": "nDCG@5",
        "nDCG@10": "nDCG@10",
        "MAP": "AP(rel=4)",
        "MRR": "RR(rel=4)",
        "parameters": "parameters",
        "core-minutes": "core_seconds",
    }
    return _compared("rank", columns)


def compare_retrieve() -> str:
    """All systems in the retrieve protocol."""
    columns = {
        "R@10": "R(rel=4)@10",
        "R@100": "R(rel=4)@100",
        "RR@100": "RR(rel=4)@100",
        "nDCG@10": "nDCG@10",
        "re-ranks": "re_ranks",
    }
    return _compared("retrieve", columns)


def compare_dims() -> str:
    """ANTHEM and its twins in few dimensions and in many."""
    systems = [row for row in _report("compare")["systems"] if row["data"] == "homedepot" and row["dim"]]
    metrics = {"R@10": ("retrieve", "R(rel=4)@10"), "nDCG@10, rank": ("rank", "nDCG@10")}
    dims = sorted({row["dim"] for row in systems})
    lines = [_row("metric", "system", *(f"d = {dim}" for dim in dims)), _row(*["---"] * (2 + len(dims)))]
    for title, (protocol, metric) in metrics.items():
        for system in dict.fromkeys(row["system"] for row in systems):
            found = {row["dim"]: row["test"][protocol][metric] for row in systems if row["system"] == system}
            lines.append(_row(title, system, *(_spread(found[dim]) if dim in found else "" for dim in dims)))
    return "\n".join(lines)


def compare_flipkart() -> str:
    """Hierarchy in Flipkart's category tree: what a radius and a volume tell of the depth, and what names find."""
    columns = {
        "radius, products": "depth_radius_products",
        "radius, paths": "depth_radius_paths",
        "radius, names": "depth_radius_names",
        "log-volume, paths": "depth_volume_paths",
        "log-volume, names": "depth_volume_names",
        "found@10": "found@10",
        "found@100": "found@100",
    }
    lines = [_row("system", "d", *columns), _row(*["---"] * (2 + len(columns)))]
    for row in _report("compare")["systems"]:
        if row["data"] == "flipkart":
            figures = (_spread(row["measures"][name]) for name in columns.values())
            lines.append(_row(row["system"], row["dim"], *figures))
    return "\n".join(lines)


def _compared(protocol: str, columns: dict[str, str]) -> str:
    """One line a system, best first by the last nDCG@10; of swept systems the largest dimension."""
    rows: dict[str, dict[str, Any]] = {}
    for row in _report("compare")["systems"]:
        if row["data"] == "homedepot" and (row["dim"] or 0) >= (rows.get(row["system"], row)["dim"] or 0):
            rows[row["system"]] = row
    best_first = sorted(rows.values(), key=lambda row: -row["test"][protocol]["nDCG@10"]["mean"])
    lines = [_row("system", *columns), _row(*["---"] * (1 + len(columns)))]
    lines += [_row(row["system"], *(_cell(row, protocol, name) for name in columns.values())) for row in best_first]
    return "\n".join(lines)


def _cell(row: dict[str, Any], protocol: str, name: str) -> str:
    if name == "parameters":
        return f"{row[name] / 1e6:.1f} M" if row[name] else ""
    if name == "core_seconds":
        return f"{row[name]['mean'] / 60:.1f}" if row[name]["mean"] else ""
    return (row[name] or "") if name == "re_ranks" else _spread(row["test"][protocol][name])


def _spread(figure: dict[str, float | None]) -> str:
    """Mean and standard deviation over seeds, or the one figure there is."""
    if figure["std"] is None:
        return f"{figure['mean']:.3f}"
    return f"{figure['mean']:.3f} ± {figure['std']:.3f}"


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _figures(metrics: dict[str, float], *names: str) -> str:
    return " / ".join(f"{metrics[name]:.3f}" for name in names)


def _report(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_bytes())
    return report


TABLES = {
    "homedepot": homedepot,
    "compare_rank": compare_rank,
    "compare_retrieve": compare_retrieve,
    "compare_dims": compare_dims,
    "compare_flipkart": compare_flipkart,
}

if __name__ == "__main__":
    main()
