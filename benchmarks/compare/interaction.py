"""Training and ranking with interaction models: they read a query and a title together, so they re-rank BM25's top 100.

A batch is a list of products for each query, some that were judged and some at random, with one listwise loss over
them. Unjudged products that BM25 ranks high are no good as negatives: many would be relevant, and all match many words,
so a model learns that matches are bad (KNRM on dev: R@10 0.35 with a third of them, 0.41 without).
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import torch

from benchmarks.compare.lexicon import Lexicon
from model.losses import listwise
from model.training.batches import GAINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from benchmarks.compare.data import Shop
    from model.training.examples import Grades

_QUERIES = 32
_JUDGED, _LISTED = 6, 12
"""Products of a query's list that were judged, at most, and all of them."""
_PAIRS = 2048
_DEV_QUERIES = 250


class Interaction:
    """A model of :mod:`benchmarks.compare.matching` as a :class:`~benchmarks.compare.fit.System`."""

    def __init__(self, matching: type[nn.Module], shop: Shop, *, seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.rate = rate
        self.dev = shop.cut(queries=_DEV_QUERIES, products=len(shop.texts), seed=seed)
        self._seed = seed
        self._shop = shop
        self._lexicon = Lexicon(shop)
        self._graded = list(shop.judged["train"].items())
        self.model = matching(self._lexicon)

    def loss(self, step: int) -> Tensor:
        """Listwise over each query's own list."""
        rng = random.Random(f"{self._seed}/{step}")
        drawn = rng.sample(self._graded, min(_QUERIES, len(self._graded)))
        lists = [self._list(graded, rng) for _, graded in drawn]
        grades = torch.tensor(
            [[graded.get(row, 0) for row in rows] for (_, graded), rows in zip(drawn, lists, strict=True)]
        )
        scores = self._scores([query for query, _ in drawn], self._shop, lists)
        return listwise(scores.view(grades.shape), torch.from_numpy(GAINS)[grades])

    def ranker(self, shop: Shop) -> ReRanker:
        """BM25's candidates in ``shop``, put in order by the model."""
        return ReRanker(self, shop)

    def scores(self, shop: Shop, queries: Sequence[str], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """The model's score of each listed row of ``shop`` for its query."""
        flat = self._scores(queries, shop, rows).tolist()
        ends = [0]
        for listed in rows:
            ends.append(ends[-1] + len(listed))
        return [flat[start:end] for start, end in itertools.pairwise(ends)]

    def _list(self, graded: Grades, rng: random.Random) -> list[int]:
        rows = rng.sample(list(graded), min(_JUDGED, len(graded)))
        return rows + rng.choices(range(len(self._shop.texts)), k=_LISTED - len(rows))

    def _scores(self, queries: Sequence[str], shop: Shop, rows: Sequence[Sequence[int]]) -> Tensor:
        """Scores of all pairs of a query and one of its rows, one after the other."""
        lengths = torch.tensor([len(listed) for listed in rows])
        ours = self._lexicon.queries(queries).repeat_interleave(lengths, dim=0)
        theirs = self._lexicon.titles([shop.texts[row] for listed in rows for row in listed])
        pairs = zip(ours.split(_PAIRS), theirs.split(_PAIRS), strict=True)
        return torch.cat([self.model(_trimmed(query), _trimmed(title)) for query, title in pairs])


class ReRanker:
    """A :class:`~benchmarks.compare.score.Ranker` that re-ranks BM25's top 100."""

    def __init__(self, system: Interaction, shop: Shop) -> None:
        self._system = system
        self._shop = shop

    def nearest(self, queries: Sequence[str]) -> list[list[int]]:
        """BM25's candidates by falling score."""
        candidates = self._shop.bm25.nearest(queries)
        scores = self.scores(queries, candidates)
        return [
            [row for _, row in sorted(zip(values, rows, strict=True), key=lambda pair: -pair[0])]
            for values, rows in zip(scores, candidates, strict=True)
        ]

    def scores(self, queries: Sequence[str], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """The model's score of each listed row for its query."""
        return self._system.scores(self._shop, queries, rows)


def _trimmed(rows: Tensor) -> Tensor:
    """``rows`` (B, L) without columns in which no text has a word; at least one is left."""
    return rows[:, : max(1, int((rows != 0).sum(dim=1).max()))]
