"""The tables of the behaviour channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.tables.markdown import read, spread, table

if TYPE_CHECKING:
    from collections.abc import Sequence

_SYSTEMS = ("popularity", "item-knn", "light-gcn", "text")
_MEASURES = ("MRR", "Recall@10")
_SEGMENTS = ("head", "torso", "tail", "cold")


def behaviour_bestbuy() -> str:
    """All systems on the real clicks."""
    return _systems("bestbuy")


def behaviour_shop() -> str:
    """All systems on the generated shop."""
    return _systems("shop50000")


def behaviour_gains() -> str:
    """What the second channel brings on new test pairs."""
    lines = [
        (
            gain["data"],
            gain["than"],
            gain["seeds"],
            *(_gain(gain[name]) for name in _MEASURES),
            *(f"{gain['tail'][name]:+.1%}" if name in gain["tail"] else "" for name in _MEASURES),
        )
        for gain in read("behaviour")["gains"]
    ]
    return table(("data", "two channels over", "seeds", *_MEASURES, *(f"tail: {name}" for name in _MEASURES)), lines)


def _systems(data: str) -> str:
    rows = {row["system"]: row for row in read("behaviour")["systems"] if row["data"] == data}
    named = [name for name in _SYSTEMS if name in rows] + [name for name in rows if name not in _SYSTEMS]
    head = ("system", "new: MRR", "Recall@10", *(f"{name} MRR" for name in _SEGMENTS), "clicks: MRR", "with text")
    return table(head, [(name, *_figures(rows[name])) for name in named])


def _figures(row: dict[str, Any]) -> Sequence[str]:
    new, clicks = row["test"]["new"], row["test"]["clicks"]["all"]
    by_product = [new["products"][name].get("MRR") for name in _SEGMENTS]
    fused = row["fused"]["clicks"]["all"]["MRR"] if row.get("fused") else None
    figures = (new["all"]["MRR"], new["all"]["Recall@10"], *by_product, clicks["MRR"], fused)
    return ["" if figure is None else spread(figure) for figure in figures]


def _gain(measured: dict[str, Any]) -> str:
    low, high = measured["95 %"]
    return f"{measured['relative']:+.1%} ({measured['difference']:+.4f}, 95 %: {low:+.4f} to {high:+.4f})"
