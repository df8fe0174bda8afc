"""The folder of a benchmark's data: a catalogue of titles, and judged queries."""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING, Literal

from model.catalog import split_of

if TYPE_CHECKING:
    from pathlib import Path

PRODUCTS, JUDGMENTS = "products.csv.gz", "judgments.csv.gz"


def products_of(folder: Path) -> list[dict[str, str]]:
    """Every product, as the file has it."""
    with gzip.open(folder / PRODUCTS, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def queries_of(folder: Path, split: Literal["train", "dev", "test"]) -> list[str]:
    """The queries of one split, sorted."""
    with gzip.open(folder / JUDGMENTS, "rt", encoding="utf-8") as file:
        return sorted({row["query"] for row in csv.DictReader(file) if split_of(row["query"]) == split})
