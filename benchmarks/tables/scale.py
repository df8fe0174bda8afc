"""Candidates and whole indexes at scale."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.tables.markdown import Bar, compared, listed, milliseconds, read, table

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIDDLE = 1_000_000


def scale_sizes() -> str:
    """The index chosen at every size, beside scans and a graph."""
    report = read("scale")
    head = ("products", "index", "candidates", "recall", "ms", "HNSW ms", "exact scan ms", "IndexFlatIP ms", "of it")
    lines = []
    for size in report["sizes"]:
        best, graph = _best(size, report), _graph(size, report)
        flat = size["scans"]["flat_product_seconds"]
        lines.append(
            (
                f"{size['products']:,}",
                best["backend"] + (", region-aware" if best["form"] == "region" else ""),
                best["count"],
                f"{best['recall']:.3f}",
                milliseconds(best["latency_seconds"]),
                milliseconds(graph["latency_seconds"]) if graph else "not built",
                milliseconds(size["scans"]["exact_containment_seconds"]),
                milliseconds(flat),
                f"1/{flat / best['latency_seconds']:.0f}",
            )
        )
    return table(head, lines)


def scale_rivals() -> str:
    """Ours and others for the nearest to a point."""
    found = read("scale")["rivals"]
    lines = []
    for system in found["systems"]:
        last = system["curve"][-1]
        figures = (f"{last['recall']:.3f}", milliseconds(last["latency_seconds"]), f"{system['build_seconds']:.0f}")
        lines.append((system["name"], *figures))
    return table((f"{found['products']:,} products", "recall", "ms", "build s"), lines)


def scale_filters() -> str:
    """Recall and latency by the share of products that pass a filter."""
    found = read("scale")["filters"]
    lines = []
    for rate in found["rates"]:
        share = f"{100 * rate['share']:g} %" if rate["share"] < 1 else "no filter"
        latency = milliseconds(rate["latency_seconds"])
        lines.append((share, f"{rate['passing']:,}", f"{rate['recall']:.3f}", latency))
    return table(("pass", "products", "recall of the top 100", "ms"), lines)


def scale_whole() -> str:
    """A whole index: its making, opening, weight and speed."""
    found = read("scale")["whole"]
    products, weights = found["products"], found["bytes"]
    rows = {
        "products": f"{products:,}",
        "`saddle reindex`": f"{found['reindex_seconds']:.0f} s",
        "opening": f"{found['open_seconds']:.1f} s",
        "points and candidates, bytes a product": f"{_vectors(found):.0f}",
        "all files, bytes a product": f"{sum(weights.values()) / products:.0f}",
        **{
            f"search, {mode}, median / 99th percentile": (
                f"{milliseconds(found[mode]['median_seconds'])} / {milliseconds(found[mode]['p99_seconds'])} ms"
            )
            for mode in ("hyperboloid", "lexical", "hybrid")
        },
    }
    return listed(rows)


def scale_asked() -> str:
    """What was asked of the figures beforehand, and whether it was reached."""
    report = read("scale")
    sizes = {size["products"]: size for size in report["sizes"]}
    latencies = {products: _best(size, report)["latency_seconds"] for products, size in sizes.items()}
    middle, smallest = sizes[_MIDDLE], min(sizes)
    graph = _graph(middle, report)
    assert graph is not None, f"no graph of {_MIDDLE:,} products reached the recall"
    systems = {system["name"]: system["curve"][-1] for system in report["rivals"]["systems"]}
    reached = {
        name: found["latency_seconds"] for name, found in systems.items() if found["recall"] >= report["target_recall"]
    }
    others = [latency for name, latency in reached.items() if not name.startswith("Saddle")]
    whole, filters = report["whole"], report["filters"]["rates"]
    flat, exact = middle["scans"]["flat_product_seconds"], sizes[smallest]["scans"]["exact_containment_seconds"]
    return compared(
        (
            Bar(f"IndexFlatIP over ours, {_MIDDLE:,} products", "≥", 10, flat / latencies[_MIDDLE], 1),
            Bar("HNSW over ours, the same", "≥", 1.7, graph["latency_seconds"] / latencies[_MIDDLE], 1),
            Bar(f"exact scan over ours, {smallest:,} products", "≥", 1, exact / latencies[smallest], 1),
            Bar("fastest other over ours, nearest to a point", "≥", 1, min(others) / reached["Saddle, cells"], 1),
            *(
                Bar(
                    f"times slower at {large:,} than at {small:,} products",
                    "≤",
                    round(2.0 ** math.log10(large / small), 2),
                    latencies[large] / latencies[small],
                    2,
                )
                for small, large in pairwise(sorted(sizes)[1:])
            ),
            Bar("bytes a product, points and candidates", "≤", 600, _vectors(whole), 0),
            Bar("recall of the filtered top 100, least", "≥", 0.97, min(rate["recall"] for rate in filters)),
            Bar("share of hits there when as many pass, least", "=", 1, min(rate["least_full"] for rate in filters)),
            Bar(f"seconds to open {whole['products']:,} products", "≤", 5, whole["open_seconds"], 1),
        )
    )


def _best(size: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """The fastest index that reached the recall."""
    reached = [trial for trial in size["trials"] if trial["recall"] >= report["target_recall"]]
    return min(reached, key=lambda trial: float(trial["latency_seconds"]))


def _graph(size: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any] | None:
    """The graph, if it was built and reached the recall."""
    found = [trial for trial in size["trials"] if trial["backend"] == "hnsw"]
    return found[0] if found and found[0]["recall"] >= report["target_recall"] else None


def _vectors(whole: Mapping[str, Any]) -> float:
    """Bytes a product of points and candidates."""
    weights: Mapping[str, int] = whole["bytes"]
    candidates = sum(size for name, size in weights.items() if name.startswith("candidates/"))
    return (weights["points.npy"] + candidates) / int(whole["products"])
