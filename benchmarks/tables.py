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


def _figures(metrics: dict[str, float], *names: str) -> str:
    return " / ".join(f"{metrics[name]:.3f}" for name in names)


def _report(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_bytes())
    return report


TABLES = {"homedepot": homedepot}

if __name__ == "__main__":
    main()
