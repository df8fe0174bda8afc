"""ANTHEM, its twins and other systems."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.markdown import read, spread, table

_TRIED = ("rate", "radius", "curvature")


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


def compare_tuning() -> str:
    """What rates and radii of ANTHEM and its twins reach on dev, by system, the longest trials first."""
    trials = read("tuning")["trials"]
    systems = list(dict.fromkeys(trial["system"] for trial in trials))
    trials.sort(key=lambda trial: (systems.index(trial["system"]), -trial["steps"], *(trial[name] for name in _TRIED)))
    lines = [
        (
            *(trial[name] for name in ("system", "steps", "dim", *_TRIED)),
            *(f"{trial['dev']['retrieve'][name]:.3f}" for name in ("R(rel=4)@10", "R(rel=4)@100", "RR(rel=4)@100")),
            f"{trial['dev']['rank']['nDCG@10']:.4f}",
        )
        for trial in trials
    ]
    return table(("system", "steps", "axes", "rate", "radius", "c", "R@10", "R@100", "RR@100", "rank: nDCG@10"), lines)


def compare_dims() -> str:
    """ANTHEM and its twins in few dimensions and in many."""
    systems = [row for row in read("compare")["systems"] if row["data"] == "homedepot" and row["dim"]]
    metrics = {"R@10": ("retrieve", "R(rel=4)@10"), "nDCG@10, rank": ("rank", "nDCG@10")}
    dims = sorted({row["dim"] for row in systems})
    lines = []
    for title, (protocol, metric) in metrics.items():
        for system in dict.fromkeys(row["system"] for row in systems):
            found = {row["dim"]: row["test"][protocol][metric] for row in systems if row["system"] == system}
            lines.append((title, system, *(spread(found[dim]) if dim in found else "" for dim in dims)))
    return table(("metric", "system", *(f"d = {dim}" for dim in dims)), lines)


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
    lines = []
    for row in read("compare")["systems"]:
        if row["data"] == "flipkart":
            figures = (spread(row["measures"][name]) for name in columns.values())
            lines.append((row["system"], row["dim"], *figures))
    return table(("system", "d", *columns), lines)


def _compared(protocol: str, columns: dict[str, str]) -> str:
    """One line a system, best first by nDCG@10; what dimensions are swept for has a table of its own."""
    rows = [row for row in read("compare")["systems"] if row["data"] == "homedepot" and row["dim"] is None]
    compared = [*rows, *_full_budget()]
    best_first = sorted(compared, key=lambda row: -row["test"][protocol]["nDCG@10"]["mean"])
    lines = [(row["system"], *(_cell(row, protocol, name) for name in columns.values())) for row in best_first]
    return table(("system", *columns), lines)


def _full_budget() -> list[dict[str, Any]]:
    """What ANTHEM reaches with all the time that it is given, alone and beside BM25, as rows of the comparison."""
    report = read("homedepot")
    minutes = report["runs"][0]["train"]["options"]["minutes"]
    rows = {f"anthem, {minutes:g} minutes": "hyperboloid", f"anthem, {minutes:g} minutes, and BM25": "hybrid"}
    return [
        {
            "system": name,
            "test": report["test"][mode],
            "parameters": 0,
            "core_seconds": {"mean": 120.0 * minutes},
            "re_ranks": None,
        }
        for name, mode in rows.items()
    ]


def _cell(row: dict[str, Any], protocol: str, name: str) -> str:
    if name == "parameters":
        return f"{row[name] / 1e6:.1f} M" if row[name] else ""
    if name == "core_seconds":
        return f"{row[name]['mean'] / 60:.1f}" if row[name]["mean"] else ""
    return (row[name] or "") if name == "re_ranks" else spread(row["test"][protocol][name])
