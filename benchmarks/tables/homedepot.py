"""Quality, regions, robustness and speed on Home Depot."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.tables.markdown import Bar, compared, listed, percent, read, spread, table


def homedepot() -> str:
    """Quality on the Home Depot test split, by what ranks."""
    report = read("homedepot")
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
    lines = []
    for name, metrics in rows.items():
        lines.append((name, *(spread(metrics[protocol][metric]) for protocol, metric in columns.values())))
    return table(("mode", *columns), lines)


def homedepot_regions() -> str:
    """What queries' regions hold."""
    found = read("homedepot")["regions"]
    shares, auc, top = found["share_of_catalogue"], found["auc"], found["top"]
    conjunction = found["conjunction"]
    rows = {
        "relevant pairs (grade 4 up) contained": percent(found["contained"]["relevant"]),
        "irrelevant pairs (grade 2 down) contained": percent(found["contained"]["irrelevant"]),
        "share of the catalogue in a query's box, mean": percent(shares["mean"], 2),
        "the same, median": percent(shares["median"], 2),
        "AUC of d_out, relevant against irrelevant pairs of all queries": spread(auc["d_out"]),
        "AUC of the distance to the centre": spread(auc["distance_to_centre"]),
        "AUC of the containment distance": spread(auc["containment"]),
        "the three within queries": " / ".join(spread(each) for each in found["auc_within_queries"].values()),
        "Spearman of log-volume and titles with all the query's words": spread(found["generality"]["spearman"]),
        "relevant, of contained hits in a top 20 with both": percent(top["relevant_of_contained"]),
        "relevant, of the other hits there": percent(top["relevant_of_others"]),
        "of what A AND B contains, outside A or B": (
            f"{conjunction['not_contained_by_one']['mean']:g} of {conjunction['contained_by_both']['mean']:.0f}"
        ),
    }
    return listed(rows)


def homedepot_asked() -> str:
    """What was asked of the figures beforehand, and whether it was reached."""
    report = read("homedepot")
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
        ("milliseconds to encode a query, median", 1.0, read("encoding")["encode_ms"]["median"]),
    ]
    bars = [Bar(what, "≥", bar, value) for what, bar, value in rows]
    return compared([*bars, *(Bar(what, "≤", bar, value) for what, bar, value in at_most)])


def homedepot_robustness() -> str:
    """R@10 lost to odd spelling, of the queries that can be spelt so."""
    found = read("homedepot")["robustness"]
    modes = ("hybrid", "hyperboloid", "lexical")
    kinds = [kind for kind in found["hybrid"] if kind != "clean"]
    lines = []
    for kind in kinds:
        lost = (percent(found[mode][kind]["lost"]) for mode in modes)
        lines.append((kind, f"{found['hybrid'][kind]['queries']['mean']:.0f}", *lost))
    return table(("perturbation", "queries", *modes), lines)


def homedepot_speed() -> str:
    """What training, indexing and searching take."""
    report = read("homedepot")
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
        "encoding a query by itself, median": f"{read('encoding')['encode_ms']['median']:.2f} ms",
        "encoding it within a search, median": f"{latency['hyperboloid']['encode_ms']['median']:.2f} ms",
        **{
            f"a whole {mode} search, median / p99": (
                f"{latency[mode]['search_ms']['median']:.2f} / {latency[mode]['search_ms']['p99']:.2f} ms"
            )
            for mode in ("hybrid", "hyperboloid", "lexical")
        },
        "faithful explanations, which grids by occlusion nearly are by construction": percent(
            report["faithfulness"]["share"]
        ),
    }
    return listed(rows)


def _over(alone: dict[str, Any], metric: str) -> float:
    """Hybrid over lexical."""
    hybrid: float = alone["hybrid"]["retrieve"][metric]
    return hybrid / float(alone["lexical"]["retrieve"][metric])
