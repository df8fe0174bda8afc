"""The pictures that docs show, drawn from the JSON beside this file: ``python -m benchmarks.plots``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from benchmarks.compare.anthem import FEW_DIMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "pictures"
_LOOKS = {
    "flat": ("#888888", "o"),
    "codes": ("#d95f02", "s"),
    "cells": ("#1b9e77", "D"),
    "hnsw": ("#7570b3", "^"),
}
_SYSTEMS = {
    "anthem": ("#1b9e77", "D"),
    "anthem-default": ("#66a61e", "v"),
    "e-anthem": ("#d95f02", "s"),
    "hyperbolic-vector": ("#7570b3", "^"),
    "cosine-vector": ("#888888", "o"),
}
_HABITS = {"tail": "tail strength", "noise": "noise in sessions"}
_USUAL = {"tail": 1.0, "noise": 0.0}
_OVER = {"bipartite+pretraining": ("#1b9e77", "D"), "bipartite+dropedge": ("#d95f02", "s")}


def main() -> None:
    """Draw all pictures."""
    mpl.rcParams.update({"svg.hashsalt": "saddle", "svg.fonttype": "none", "font.size": 9})
    report = json.loads((ROOT / "benchmarks" / "scale.json").read_bytes())
    PICTURES.mkdir(exist_ok=True)
    _save(recall(report), "recall.svg")
    _save(growth(report), "growth.svg")
    _save(dims(json.loads((ROOT / "benchmarks" / "compare.json").read_bytes())), "dims.svg")
    behaviour = json.loads((ROOT / "benchmarks" / "behaviour.json").read_bytes())
    if behaviour.get("shops"):
        _save(gains(behaviour), "gains.svg")


def recall(report: dict[str, Any]) -> Figure:
    """Recall of the exact containment top against latency, a panel for each size."""
    sizes = report["sizes"]
    figure = Figure(figsize=(4.2 * len(sizes) / 2, 6.4), layout="constrained")
    for axes, size in zip(figure.subplots(2, (len(sizes) + 1) // 2, squeeze=False).flat, sizes, strict=False):
        for trial in size["trials"]:
            _front(axes, trial)
        axes.axvline(1e3 * size["scans"]["flat_product_seconds"], color="#bbbbbb", linestyle=":", label="IndexFlatIP")
        axes.set(xscale="log", ylim=(0.8, 1.002), title=f"{size['products']:,} products")
        axes.set(xlabel="ms a query, with exact order", ylabel="recall of the exact top 100")
        _plain(axes.xaxis)
        axes.grid(visible=True, alpha=0.3)
    figure.legend(*_labels(figure), loc="outside lower center", ncols=4, frameon=False)
    return figure


def growth(report: dict[str, Any]) -> Figure:
    """Latency at the asked recall against the number of products."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    sizes = report["sizes"]
    for backend, (colour, marker) in _LOOKS.items():
        found = [
            (size["products"], 1e3 * trial["latency_seconds"])
            for size in sizes
            for trial in size["trials"]
            if (trial["backend"], trial["form"]) == (backend, "centre") and trial["recall"] >= report["target_recall"]
        ]
        axes.plot(*zip(*found, strict=True), color=colour, marker=marker, label=backend)
    flat = [(size["products"], 1e3 * size["scans"]["flat_product_seconds"]) for size in sizes]
    axes.plot(*zip(*flat, strict=True), color="#bbbbbb", linestyle=":", label="IndexFlatIP, recall 1")
    axes.set(xscale="log", yscale="log", xlabel="products", ylabel="ms a query, with exact order")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _plain(axes.yaxis)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False)
    return figure


def dims(report: dict[str, Any]) -> Figure:
    """What ANTHEM and its twins find against their number of dimensions, by data set."""
    panels = {
        "homedepot": ("Home Depot: R@10", lambda row: row["test"]["retrieve"]["R(rel=4)@10"]),
        "flipkart": ("Flipkart: found@100 of held-out categories", lambda row: row["measures"]["found@100"]),
    }
    figure = Figure(figsize=(8.4, 3.6), layout="constrained")
    for axes, (data, (title, measured)) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for system, (colour, marker) in _SYSTEMS.items():
            rows = [row for row in report["systems"] if row["data"] == data and row["system"] == system and row["dim"]]
            found = sorted((row["dim"], measured(row)["mean"], measured(row)["std"] or 0.0) for row in rows)
            if found:
                sizes, means, deviations = zip(*found, strict=True)
                axes.errorbar(sizes, means, deviations, color=colour, marker=marker, capsize=2, label=system)
        axes.set(xscale="log", title=title, xlabel="dimensions")
        axes.set_xticks(FEW_DIMS, map(str, FEW_DIMS))
        axes.minorticks_off()
        axes.grid(visible=True, alpha=0.3)
    figure.legend(*_labels(figure), loc="outside lower center", ncols=len(_SYSTEMS), frameon=False)
    return figure


def gains(report: dict[str, Any]) -> Figure:
    """What the second channel adds on new pairs with tail products against each habit of shoppers, the other as usual.

    Bars are the middle 95 % of a bootstrap over queries.
    """
    figure = Figure(figsize=(8.4, 6.0), layout="constrained")
    panels = figure.subplots(2, len(_HABITS), sharex="col", sharey="row")
    for row, measure in zip(panels, ("MRR", "Recall@10"), strict=True):
        for axes, (habit, title) in zip(row, _HABITS.items(), strict=True):
            for than, (colour, marker) in _OVER.items():
                at, means, lows, highs = np.array(_curve(report, habit, than, measure)).reshape(-1, 4).T
                bars = np.stack([means - lows, highs - means])
                axes.errorbar(at, means, bars, color=colour, marker=marker, capsize=2, label=f"over {than}")
            axes.axhline(0.0, color="#bbbbbb", linestyle=":")
            axes.set(xlabel=title, ylabel=f"{measure} gained on the tail")
            axes.label_outer()
            axes.grid(visible=True, alpha=0.3)
    figure.legend(*_labels(figure), loc="outside lower center", ncols=len(_OVER), frameon=False)
    return figure


def _curve(report: dict[str, Any], habit: str, than: str, measure: str) -> list[tuple[float, float, float, float]]:
    """The habit, the gain and both ends of its interval, for the small shops that differ in this habit alone."""
    small = min(shop["products"] for shop in report["shops"].values())
    points = []
    for gain in report["gains"]:
        shop = report["shops"].get(gain["data"], {"products": None})
        usual = shop["products"] == small and all(shop[one] == _USUAL[one] for one in _USUAL if one != habit)
        if usual and gain["than"] == than and measure in gain["tail"]:
            found = gain["tail"][measure]
            points.append((shop[habit], found["difference"], *found["95 %"]))
    return sorted(points)


def _front(axes: Axes, trial: dict[str, Any]) -> None:
    """The settings of one index that no other of its settings beats."""
    best, kept = 0.0, []
    for point in sorted(trial["curve"], key=lambda point: point["latency_seconds"]):
        if point["recall"] > best:
            best = point["recall"]
            kept.append((1e3 * point["latency_seconds"], best))
    colour, marker = _LOOKS[trial["backend"]]
    lifted = trial["form"] == "region"
    label = trial["backend"] + (", region-aware" if lifted else "")
    axes.plot(
        *zip(*kept, strict=True),
        color=colour,
        marker=marker,
        markersize=3,
        linestyle="--" if lifted else "-",
        label=label,
    )


def _plain(axis: Axis) -> None:
    """Numbers as people write them, on a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _labels(figure: Figure) -> tuple[list[Any], list[str]]:
    """Every label of all panels once."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _save(figure: Figure, name: str) -> None:
    figure.savefig(PICTURES / name, metadata={"Date": None})


if __name__ == "__main__":
    main()
