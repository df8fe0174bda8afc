"""The tables of the behaviour channel."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.tables.markdown import Bar, compared, read, spread, table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SYSTEMS = ("popularity", "item-knn", "light-gcn", "text")
_MEASURES = ("MRR", "Recall@10")
_SEGMENTS = ("head", "torso", "tail", "cold")
_SHOP = "shop50000"
_GAINS = (*_MEASURES, *(f"tail: {name}" for name in _MEASURES))
_NOT_YET = "Not measured yet."


def behaviour_bestbuy() -> str:
    """All systems on the real clicks."""
    return _systems("bestbuy")


def behaviour_shop() -> str:
    """All systems on the generated shop."""
    return _systems(_SHOP)


def behaviour_gains() -> str:
    """What the second channel brings on new test pairs of the real clicks and of the large shop."""
    lines = [
        (gain["data"], gain["than"], gain["seeds"], *_gains(gain))
        for gain in read("behaviour")["gains"]
        if gain["data"] in ("bestbuy", _SHOP)
    ]
    return table(("data", "two channels over", "seeds", *_GAINS), lines)


def behaviour_curves() -> str:
    """The same at every point of the curves over shoppers' habits."""
    report = read("behaviour")
    points = {name: shop for name, shop in report.get("shops", {}).items() if name != _SHOP}
    gains = [gain for gain in report["gains"] if gain["data"] in points]
    lines = [
        (
            *(f"{points[gain['data']][habit]:g}" for habit in ("tail", "noise")),
            gain["than"],
            gain["seeds"],
            gain["pairs"],
            gain["tail"]["pairs"],
            *_gains(gain),
        )
        for gain in gains
    ]
    head = ("tail strength", "noise", "two channels over", "shops", "new pairs", "with tail products", *_GAINS)
    return table(head, sorted(lines, key=lambda line: line[:3])) if lines else _NOT_YET


def behaviour_baskets() -> str:
    """What finds the item that was held out of a basket, and by how much the hypergraph finds it more often."""
    report = read("baskets")
    gains = {(gain["ranker"], gain["than"]): _difference(gain) for gain in report["gains"]}
    rivals = [name for name in report["Recall@20"] if any(than == name for _, than in gains)]
    lines = []
    for name, recall in report["Recall@20"].items():
        runs = report["rankers"][name].get("runs", [])
        figure = {"mean": recall, "std": statistics.stdev(run["test"] for run in runs)} if len(runs) > 1 else recall
        lines.append((name, spread(figure), *(gains.get((name, than), "") for than in rivals)))
    return table(("ranker", "Recall@20", *(f"over {than}" for than in rivals)), lines)


def behaviour_asked() -> str:
    """What was asked of the figures beforehand, and whether it was reached."""
    report, scale, baskets = read("behaviour"), read("behaviour_scale"), read("baskets")
    measured = [data for data in ("bestbuy", _SHOP) if any(row["data"] == data for row in report["systems"])]
    bars = [bar for data in measured for bar in (*_headline(report, data), _leaning(report, data))]
    for data, runs in _searched().items():
        bars += [
            Bar(f"{data}, what the channel adds to RR@100 of fused searches, {name} products' clicks", "≥", 0.0, gain)
            for name in ("tail", "cold", "head")
            if (gain := _mean(run["clicks"].get(f"product {name}", {}).get("gain") for run in runs)) is not None
        ]
        added = statistics.mean(run["milliseconds"]["added"] for run in runs)
        bars.append(Bar(f"{data}, milliseconds that it adds to a search, median", "≤", 1.0, added))
    bars += [
        Bar(f"baskets, Recall@20 of the {gain['ranker']} less that of {gain['than']}", "≥", 0.0, gain["difference"])
        for gain in baskets["gains"]
        if gain["than"] == "item-knn"
    ]
    bars += [
        Bar("edges of the training at scale", "≥", 1e6, scale["edges"], digits=0),
        Bar("its hyperedges", "≥", 5e5, scale["sessions"], digits=0),
        Bar("its peak memory, GiB", "≤", 8.0, scale["peak_gib"], digits=2),
        Bar("its minutes, on two cores", "≤", 30.0, scale["minutes"], digits=1),
    ]
    return compared(bars)


def _headline(report: dict[str, Any], data: str) -> list[Bar]:
    """The seed's claim: what the second channel brings where both are pre-trained."""
    (gain,) = (each for each in report["gains"] if (each["data"], each["system"]) == (data, "two+pretraining"))
    bars = [
        Bar(
            f"{data}, tail: {name} gained by the second channel, both pre-trained",
            "≥",
            least,
            _relative(gain["tail"][name]),
        )
        for name, least in (("MRR", 0.24), ("Recall@10", 0.48))
    ]
    return [*bars, Bar(f"{data}, all new pairs: the same of MRR", "≥", 0.0, _relative(gain["MRR"]))]


def _leaning(report: dict[str, Any], data: str) -> Bar:
    """Of the two channels with both aids, as the seed has them."""
    name = "two+pretraining+dropedge"
    (row,) = (each for each in report["systems"] if (each["data"], each["system"]) == (data, name))
    found = row["attention"]["spearman_with_log_degree"]["mean"]
    return Bar(f"{data}, Spearman of the hypergraph's weight with log-degree, {name}", "≤", 0.0, found)


def _searched() -> dict[str, list[dict[str, Any]]]:
    """Runs of each shop that searches were measured in."""
    return {name: runs for name, runs in read("behaviour_searches").items() if name in ("bestbuy", _SHOP)}


def _mean(figures: Iterable[float | None]) -> float | None:
    there = [figure for figure in figures if figure is not None]
    return statistics.mean(there) if there else None


def _relative(measured: dict[str, Any] | float) -> float:
    """A gain of what there was; reports from before tails had intervals say no more than that."""
    relative: float = measured if isinstance(measured, float) else measured["relative"]
    return relative


def _systems(data: str) -> str:
    rows = {row["system"]: row for row in read("behaviour")["systems"] if row["data"] == data}
    if not rows:
        return _NOT_YET
    named = [name for name in _SYSTEMS if name in rows] + [name for name in rows if name not in _SYSTEMS]
    head = ("system", "new: MRR", "Recall@10", *(f"{name} MRR" for name in _SEGMENTS), "clicks: MRR", "with text")
    return table(head, [(name, *_figures(rows[name])) for name in named])


def _figures(row: dict[str, Any]) -> Sequence[str]:
    new, clicks = row["test"]["new"], row["test"]["clicks"]["all"]
    by_product = [new["products"][name].get("MRR") for name in _SEGMENTS]
    fused = row["fused"]["clicks"]["all"]["MRR"] if row.get("fused") else None
    figures = (new["all"]["MRR"], new["all"]["Recall@10"], *by_product, clicks["MRR"], fused)
    return ["" if figure is None else spread(figure) for figure in figures]


def _gains(gain: dict[str, Any]) -> list[str]:
    """The gains of all new pairs, then those of the tail, where there are any."""
    return [_gain(part[name]) if name in part else "" for part in (gain, gain["tail"]) for name in _MEASURES]


def _gain(measured: dict[str, Any] | float) -> str:
    """Relative, and where there is an interval the difference with it."""
    if isinstance(measured, float):
        return f"{measured:+.1%}"
    difference = _difference(measured)
    return difference if measured["relative"] is None else f"{measured['relative']:+.1%} ({difference})"


def _difference(measured: dict[str, Any]) -> str:
    low, high = measured["95 %"]
    return f"{measured['difference']:+.4f}, 95 %: {low:+.4f} to {high:+.4f}"
