"""The tables that README and docs quote, made from the JSON beside this file: ``python benchmarks/tables.py``.

Rewrites what stands between ``<!-- table NAME -->`` and ``<!-- end -->`` in each document.
"""

from __future__ import annotations

import json
import re
import statistics
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
    """Quality on the Home Depot test split, by what ranks."""
    report = _report("homedepot")
    alone = report["without_judgments"]["evaluate"]["test"]
    rows = {
        **{mode: report["test"][mode] for mode in ("hybrid", "hyperboloid", "lexical")},
        **{f"{mode}, trained on titles alone": alone[mode] for mode in ("hybrid", "hyperboloid")},
    }
    columns = {
        "R@10": ("retrieve", "R(rel=4)@10"),
        "R@100": ("retrieve", "R(rel=4)@100"),
        "RR@100": ("retrieve", "RR(rel=4)@100"),
        "nDCG@10": ("retrieve", "nDCG@10"),
        "rank: nDCG@3": ("rank", "nDCG@3"),
        "@5": ("rank", "nDCG@5"),
        "@10": ("rank", "nDCG@10"),
        "AP": ("rank", "AP(rel=4)"),
        "RR": ("rank", "RR(rel=4)"),
    }
    lines = [_row("mode", *columns), _row(*["---"] * (1 + len(columns)))]
    for name, metrics in rows.items():
        lines.append(_row(name, *(_spread(metrics[protocol][metric]) for protocol, metric in columns.values())))
    return "\n".join(lines)


def homedepot_regions() -> str:
    """What queries' regions hold."""
    found = _report("homedepot")["regions"]
    shares, auc, top = found["share_of_catalogue"], found["auc"], found["top"]
    conjunction = found["conjunction"]
    rows = {
        "relevant pairs (grade 4 up) contained": _percent(found["contained"]["relevant"]),
        "irrelevant pairs (grade 2 down) contained": _percent(found["contained"]["irrelevant"]),
        "share of the catalogue in a query's box, mean": _percent(shares["mean"], 2),
        "the same, median": _percent(shares["median"], 2),
        "AUC of d_out, relevant against irrelevant pairs of all queries": _spread(auc["d_out"]),
        "AUC of the distance to the centre": _spread(auc["distance_to_centre"]),
        "AUC of the containment distance": _spread(auc["containment"]),
        "the three within queries": " / ".join(_spread(each) for each in found["auc_within_queries"].values()),
        "Spearman of log-volume and titles with all the query's words": _spread(found["generality"]["spearman"]),
        "relevant, of contained hits in a top 20 with both": _percent(top["relevant_of_contained"]),
        "relevant, of the other hits there": _percent(top["relevant_of_others"]),
        "of what A AND B contains, outside A or B": (
            f"{conjunction['not_contained_by_one']['mean']:g} of {conjunction['contained_by_both']['mean']:.0f}"
        ),
    }
    return _listed(rows)


def homedepot_asked() -> str:
    """What was asked of the figures beforehand, and whether it was reached."""
    report = _report("homedepot")
    test, found, alone = report["test"], report["regions"], report["without_judgments"]["evaluate"]["test"]
    held = found["contained"]
    metrics = {"R@10": "R(rel=4)@10", "R@100": "R(rel=4)@100", "RR@100": "RR(rel=4)@100"}
    asked = {
        "hyperboloid": {"R@10": 0.44, "R@100": 0.80, "RR@100": 0.46},
        "hybrid": {"R@10": 0.48, "R@100": 0.84, "RR@100": 0.50},
    }
    rows = [
        (f"{mode}, {name}", least, test[mode]["retrieve"][metrics[name]]["mean"])
        for mode, bars in asked.items()
        for name, least in bars.items()
    ]
    rows += [
        ("hyperboloid, rank nDCG@10", 0.942, test["hyperboloid"]["rank"]["nDCG@10"]["mean"]),
        ("relevant pairs contained", 0.40, held["relevant"]["mean"]),
        ("relevant over irrelevant pairs contained", 2.0, held["relevant"]["mean"] / held["irrelevant"]["mean"]),
        ("AUC of d_out", 0.65, found["auc"]["d_out"]["mean"]),
        ("Spearman of log-volume and matching titles", 0.50, found["generality"]["spearman"]["mean"]),
        ("faithful explanations", 0.80, report["faithfulness"]["share"]["mean"]),
        *(
            (f"hybrid from titles alone, {name}, over BM25", 1.0, _over(alone, metrics[name]))
            for name in ("R@10", "R@100")
        ),
    ]
    at_most = [
        ("share of the catalogue in a box, mean", 0.01, found["share_of_catalogue"]["mean"]["mean"]),
        *(
            (f"{mode}, R@10 lost to one edit", 0.15, report["robustness"][mode]["edit"]["lost"]["mean"])
            for mode in ("hybrid", "hyperboloid")
        ),
        ("milliseconds to encode a query, median", 1.0, _report("encoding")["encode_ms"]["median"]),
    ]
    lines = [_row("what", "asked", "measured", ""), _row(*["---"] * 4)]
    lines += [_row(what, f"≥ {bar:g}", f"{value:.3f}", _verdict(value >= bar)) for what, bar, value in rows]
    lines += [_row(what, f"≤ {bar:g}", f"{value:.3f}", _verdict(value <= bar)) for what, bar, value in at_most]
    return "\n".join(lines)


def homedepot_robustness() -> str:
    """R@10 lost to odd spelling, of the queries that can be spelt so."""
    found = _report("homedepot")["robustness"]
    modes = ("hybrid", "hyperboloid", "lexical")
    kinds = [kind for kind in found["hybrid"] if kind != "clean"]
    lines = [_row("perturbation", "queries", *modes), _row(*["---"] * (2 + len(modes)))]
    for kind in kinds:
        lost = (_percent(found[mode][kind]["lost"]) for mode in modes)
        lines.append(_row(kind, f"{found['hybrid'][kind]['queries']['mean']:.0f}", *lost))
    return "\n".join(lines)


def homedepot_speed() -> str:
    """What training, indexing and searching take."""
    report = _report("homedepot")
    latency, runs = report["latency"], report["runs"]
    trained = [run["train"] for run in runs]
    minutes = statistics.mean(each["seconds_whole_command"] for each in trained) / 60
    rows = {
        "training, whole command": f"{minutes:.1f} minutes",
        "training steps": f"{statistics.mean(each['bundle']['training']['steps'] for each in trained):,.0f}",
        "reindex": f"{statistics.mean(run['reindex']['products_per_second'] for run in runs):,.0f} products a second",
        "candidates' recall of the exact containment top 100": (
            f"{statistics.mean(run['reindex']['candidates']['recall'] for run in runs):.3f}"
        ),
        "encoding a query by itself, median": f"{_report('encoding')['encode_ms']['median']:.2f} ms",
        "encoding it within a search, median": f"{latency['hyperboloid']['encode_ms']['median']:.2f} ms",
        **{
            f"a whole {mode} search, median / p99": (
                f"{latency[mode]['search_ms']['median']:.2f} / {latency[mode]['search_ms']['p99']:.2f} ms"
            )
            for mode in ("hybrid", "hyperboloid", "lexical")
        },
        "explanations that are faithful": _percent(report["faithfulness"]["share"]),
    }
    return _listed(rows)


def scale_sizes() -> str:
    """The index chosen at every size, beside scans and a graph."""
    report = _report("scale")
    head = ("products", "index", "candidates", "recall", "ms", "HNSW ms", "exact scan ms", "IndexFlatIP ms", "of it")
    lines = [_row(*head), _row(*["---"] * len(head))]
    for size in report["sizes"]:
        reached = [trial for trial in size["trials"] if trial["recall"] >= report["target_recall"]]
        best = min(reached, key=lambda trial: trial["latency_seconds"])
        graph = [trial for trial in reached if trial["backend"] == "hnsw"]
        flat = size["scans"]["flat_product_seconds"]
        lines.append(
            _row(
                f"{size['products']:,}",
                best["backend"] + (", region-aware" if best["form"] == "region" else ""),
                best["count"],
                f"{best['recall']:.3f}",
                _ms(best["latency_seconds"]),
                _ms(graph[0]["latency_seconds"]) if graph else "not built",
                _ms(size["scans"]["exact_containment_seconds"]),
                _ms(flat),
                f"1/{flat / best['latency_seconds']:.0f}",
            )
        )
    return "\n".join(lines)


def scale_rivals() -> str:
    """Ours and others for the nearest to a point."""
    found = _report("scale")["rivals"]
    lines = [_row(f"{found['products']:,} products", "recall", "ms", "build s"), _row(*["---"] * 4)]
    for system in found["systems"]:
        last = system["curve"][-1]
        row = (system["name"], f"{last['recall']:.3f}", _ms(last["latency_seconds"]), f"{system['build_seconds']:.0f}")
        lines.append(_row(*row))
    return "\n".join(lines)


def scale_filters() -> str:
    """Recall and latency by the share of products that pass a filter."""
    found = _report("scale")["filters"]
    lines = [_row("pass", "products", "recall of the top 100", "ms"), _row(*["---"] * 4)]
    for rate in found["rates"]:
        share = f"{100 * rate['share']:g} %" if rate["share"] < 1 else "no filter"
        lines.append(_row(share, f"{rate['passing']:,}", f"{rate['recall']:.3f}", _ms(rate["latency_seconds"])))
    return "\n".join(lines)


def scale_whole() -> str:
    """A whole index: its making, opening, weight and speed."""
    found = _report("scale")["whole"]
    products, weights = found["products"], found["bytes"]
    vectors = weights["points.npy"] + sum(size for name, size in weights.items() if name.startswith("candidates/"))
    rows = {
        "products": f"{products:,}",
        "`saddle reindex`": f"{found['reindex_seconds']:.0f} s",
        "opening": f"{found['open_seconds']:.1f} s",
        "points and candidates, bytes a product": f"{vectors / products:.0f}",
        "all files, bytes a product": f"{sum(weights.values()) / products:.0f}",
        **{
            f"search, {mode}, median / 99th percentile": (
                f"{_ms(found[mode]['median_seconds'])} / {_ms(found[mode]['p99_seconds'])} ms"
            )
            for mode in ("hyperboloid", "lexical", "hybrid")
        },
    }
    return _listed(rows)


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


def live() -> str:
    """Searches while products change and snapshots are swapped."""
    report = _report("live")
    phases = {
        "before changes": "before_upserts",
        "during changes": "during_upserts",
        "after changes": "after_upserts",
        "before swaps": "before_swaps",
        "during swaps": "during_swaps",
    }
    columns = ("searches", "failed", "median_ms", "p95_ms", "p99_ms", "service_cores", "load_cores", "other_cores")
    lines = [_row("phase", *(name.replace("_", " ") for name in columns)), _row(*["---"] * (1 + len(columns)))]
    for title, phase in phases.items():
        lines.append(_row(title, *(report[phase][name] for name in columns)))
    return "\n".join(lines)


def live_asked() -> str:
    """What was asked of changes and swaps, and whether it was reached."""
    report = _report("live")
    stored, failed = report["during_upserts"]["upserts_a_second"], report["during_swaps"]["failed"]
    during, swaps = report["p99_during_upserts_over_before"], report["p99_during_swaps_over_before"]
    lines = [_row("what", "asked", "measured", ""), _row(*["---"] * 4)]
    lines.append(_row("products stored a second", "≥ 500", f"{stored:.1f}", _verdict(stored >= 500)))
    lines.append(_row("p99 during changes over before", "≤ 2", f"{during:.2f}", _verdict(during <= 2)))
    lines.append(_row(f"searches failed in {report['during_swaps']['swaps']} swaps", "0", failed, _verdict(not failed)))
    lines.append(_row("p99 during swaps over before", "≤ 2", f"{swaps:.2f}", _verdict(swaps <= 2)))
    return "\n".join(lines)


def survival() -> str:
    """What became of a service that was killed again and again."""
    report = _report("survival")
    counts = report["counts"]
    rows = {name: f"{counts[name]:,}" for name in ("rounds", "acknowledged", "activations", "builds finished")}
    rows["unanswered changes, there or not"] = f"{counts['unanswered, there']:,} / {counts['unanswered, not there']:,}"
    return _listed({**rows, "changes lost, or there and never asked for": f"{report['lost']}"})


def _compared(protocol: str, columns: dict[str, str]) -> str:
    """One line a system, best first by the last nDCG@10; of swept systems the largest dimension."""
    rows: dict[str, dict[str, Any]] = {}
    for row in _report("compare")["systems"]:
        if row["data"] == "homedepot" and (row["dim"] or 0) >= (rows.get(row["system"], row)["dim"] or 0):
            rows[row["system"]] = row
    compared = [*rows.values(), *_full_budget()]
    best_first = sorted(compared, key=lambda row: -row["test"][protocol]["nDCG@10"]["mean"])
    lines = [_row("system", *columns), _row(*["---"] * (1 + len(columns)))]
    lines += [_row(row["system"], *(_cell(row, protocol, name) for name in columns.values())) for row in best_first]
    return "\n".join(lines)


def _full_budget() -> list[dict[str, Any]]:
    """What ANTHEM reaches with all the time that it is given, alone and beside BM25, as rows of the comparison."""
    report = _report("homedepot")
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
    return (row[name] or "") if name == "re_ranks" else _spread(row["test"][protocol][name])


def _spread(figure: Any) -> str:
    """Mean and standard deviation over seeds, or the one figure there is."""
    if isinstance(figure, float):
        return f"{figure:.3f}"
    if figure["std"] is None:
        return f"{figure['mean']:.3f}"
    return f"{figure['mean']:.3f} ± {figure['std']:.3f}"


def _percent(figure: dict[str, float], digits: int = 1) -> str:
    """The same of a share."""
    return f"{figure['mean']:.{digits}%} ± {figure['std']:.{digits}%}".replace("%", " %")


def _over(alone: dict[str, Any], metric: str) -> float:
    """Hybrid over lexical."""
    hybrid: float = alone["hybrid"]["retrieve"][metric]
    return hybrid / float(alone["lexical"]["retrieve"][metric])


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f}" if seconds < 0.01 else f"{1e3 * seconds:.0f}"


def _verdict(reached: bool) -> str:
    return "" if reached else "**missed**"


def _listed(rows: dict[str, str]) -> str:
    return "\n".join([_row("what", "measured"), _row("---", "---"), *(_row(*row) for row in rows.items())])


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _report(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_bytes())
    return report


TABLES = {
    "homedepot": homedepot,
    "homedepot_asked": homedepot_asked,
    "homedepot_regions": homedepot_regions,
    "homedepot_robustness": homedepot_robustness,
    "homedepot_speed": homedepot_speed,
    "scale_sizes": scale_sizes,
    "scale_rivals": scale_rivals,
    "scale_filters": scale_filters,
    "scale_whole": scale_whole,
    "compare_rank": compare_rank,
    "compare_retrieve": compare_retrieve,
    "compare_dims": compare_dims,
    "compare_flipkart": compare_flipkart,
    "live": live,
    "live_asked": live_asked,
    "survival": survival,
}

if __name__ == "__main__":
    main()
