"""The data sets as tasks: Best Buy's games, and the generated shop at any size and with any habits."""

from __future__ import annotations

import csv
import gzip
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.behaviour.task import Task
from model.behaviour.clicks import Clicks, Limits, gather
from model.catalog import Interaction, Rejects, read_products, searchable_text
from model.sample.behaviour import Habits
from model.sample.shop import Shop
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARTS = ("query", "product", "session", "time")


@dataclass(frozen=True, slots=True)
class ShopOf:
    """A generated shop by its size and its shoppers, and the ``seed`` of everything in it."""

    products: int
    sessions: int
    tail: float = 1.0
    noise: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """Short and full: what differs from the default is named, and what makes the catalogue before any dash."""
        habits = [f"{key}{value:g}" for key, value, usual in (("tail", self.tail, 1), ("noise", self.noise, 0))
                  if value != usual]  # fmt: skip
        return "-".join([f"shop{self.products}" + (f"s{self.seed}" if self.seed else ""), *habits])

    def task(self, work: Path) -> Task:
        """The shop's clicks; they are generated once and kept under ``work``."""
        habits = Habits(tail=self.tail, noise=self.noise)
        shop = Shop(self.products, seed=self.seed, sessions=self.sessions, habits=habits)
        products = list(shop.products())
        ids = [product.product_id for product in products]
        kept = work / f"{self.name}-{self.sessions}.npz"
        if kept.exists():
            clicks = _kept(kept)
        else:
            # a cart or a purchase follows a click on the same result: it is the same find
            clicks, _ = gather((event for event in shop.interactions() if event.event == "click"), ids)
            _keep(kept, clicks)
        return Task.split(self.name, ids, [searchable_text(product) for product in products], clicks)


def bestbuy(folder: Path) -> Task:
    """Real clicks on games; all that one user clicked is one session, as the file knows no other.

    Raises:
        CatalogError: ``products.csv.gz`` is missing or cannot be used.
    """
    products = list(read_products(folder / "products.csv.gz", Rejects()))
    ids = [product.product_id for product in products]
    clicks, _ = gather(_bestbuy_rows(folder / "clicks.csv.gz"), ids, Limits(pause_minutes=None))
    return Task.split("bestbuy", ids, [searchable_text(product) for product in products], clicks)


def generator_commit() -> str:
    """The commit that last changed the generated shop."""
    found = subprocess.run(
        ["git", "log", "-1", "--format=%H", "--", "model/sample"], check=True, stdout=subprocess.PIPE, text=True
    )
    return found.stdout.strip()[:12]


def _bestbuy_rows(path: Path) -> Iterator[Interaction]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if words(row["query"]):
                yield Interaction(
                    row["query"], row["product_id"], event="click", user_id=row["user_id"], time=row["click_time"]
                )


def _keep(path: Path, clicks: Clicks) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: getattr(clicks, name) for name in _PARTS}
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, queries=np.array(clicks.queries), **columns)
    partial.rename(path)


def _kept(path: Path) -> Clicks:
    with np.load(path, allow_pickle=False) as found:
        return Clicks(tuple(found["queries"].tolist()), *(found[name] for name in _PARTS))
