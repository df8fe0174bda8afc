"""The judged shop that systems are compared on, and smaller cuts of it to choose a state by."""

from __future__ import annotations

import random
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

from benchmarks.compare.bm25 import Bm25
from model.catalog import Rejects, read_judgments, read_products, searchable_text, split_of
from model.metrics import grade
from model.training.examples import Examples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model.training.examples import Grades

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


class Shop:
    """Product texts by row, and for each split its queries with their graded rows."""

    def __init__(self, product_ids: list[str], texts: list[str], judged: Mapping[Split, Mapping[str, Grades]]) -> None:
        self.product_ids = product_ids
        self.texts = texts
        self.judged = judged

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``products.csv.gz`` and ``judgments.csv.gz``.

        Raises:
            CatalogError: a file is missing or cannot be used, or has a row that cannot.
        """
        rejects = Rejects()
        products = [(p.product_id, searchable_text(p)) for p in read_products(folder / "products.csv.gz", rejects)]
        rows = {product_id: row for row, (product_id, _) in enumerate(products)}
        judged: dict[Split, dict[str, Grades]] = {split: {} for split in SPLITS}
        for judgment in read_judgments(folder / "judgments.csv.gz", rejects):
            graded = judged[split_of(judgment.query)].setdefault(judgment.query, {})
            graded[rows[judgment.product_id]] = grade(judgment.relevance)
        rejects.check(0.0)
        return cls([product_id for product_id, _ in products], [text for _, text in products], judged)

    def cut(self, *, queries: int, products: int, seed: int) -> Shop:
        """At most ``queries`` dev queries, over a random ``products`` of the catalogue and all that they grade."""
        rng = random.Random(seed)
        graded = self.judged["dev"]
        drawn = rng.sample(sorted(graded), min(queries, len(graded)))
        pool = rng.sample(range(len(self.texts)), min(products, len(self.texts)))
        rows = sorted({*pool, *(row for query in drawn for row in graded[query])})
        place = {row: i for i, row in enumerate(rows)}
        return Shop(
            [self.product_ids[row] for row in rows],
            [self.texts[row] for row in rows],
            {"dev": {query: {place[row]: g for row, g in graded[query].items()} for query in drawn}},
        )

    @property
    def examples(self) -> Examples:
        """What may be learnt from: the catalogue and the queries that are not of the test split."""
        return Examples(self.product_ids, self.texts, train=dict(self.judged["train"]), dev=dict(self.judged["dev"]))

    @cached_property
    def bm25(self) -> Bm25:
        """BM25 over these products: a system of its own, and the candidates of those that re-rank."""
        return Bm25(self.texts)
