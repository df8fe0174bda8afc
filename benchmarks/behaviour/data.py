"""The data sets as tasks: Best Buy's games, and the generated shop at any size."""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING

from benchmarks.behaviour.task import Task
from model.behaviour.clicks import Limits, gather
from model.catalog import Interaction, Rejects, read_products, searchable_text
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def bestbuy(folder: Path) -> Task:
    """Real clicks on games; all that one user clicked is one session, as the file knows no other.

    Raises:
        CatalogError: ``products.csv.gz`` is missing or cannot be used.
    """
    products = list(read_products(folder / "products.csv.gz", Rejects()))
    ids = [product.product_id for product in products]
    clicks, _ = gather(_bestbuy_rows(folder / "clicks.csv.gz"), ids, Limits(pause_minutes=None))
    return Task.split("bestbuy", ids, [searchable_text(product) for product in products], clicks)


def _bestbuy_rows(path: Path) -> Iterator[Interaction]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not words(row["query"]):
                continue
            yield Interaction(
                row["query"], row["product_id"], event="click", user_id=row["user_id"], time=row["click_time"]
            )
