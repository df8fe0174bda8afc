"""Dev metrics as training goes: the retrieve protocol on held-out queries, exactly scored.

With judged or clicked dev queries those are the measure; on a catalogue alone it is pseudo-queries of the dev split,
answered by every title that holds their words. Large catalogues are cut to a seeded sample around the right answers.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch

from model import lorentz
from model.hyperboloid import containment
from model.metrics import RETRIEVE_DEPTH, measure
from model.text import words
from model.training.examples import MAX_GRADE
from model.training.phrasing import Phrasing
from model.training.pseudo import answers, cut_for_split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from model.encoders import Anthem
    from model.text import Tokenizer
    from model.training.examples import Examples, Grades

MAX_QUERIES = 1000
PSEUDO_QUERIES = 300
MAX_DISTRACTORS = 20_000
CANDIDATES = 500
_ENCODE_BATCH = 512
_QUERY_BATCH = 64


class DevSet:
    """Held-out queries, the products they are looked for among, and the right answers."""

    def __init__(self, examples: Examples, tokenizer: Tokenizer, *, seed: int) -> None:
        rng = random.Random(seed)
        every = range(len(examples.texts))
        pool = rng.sample(every, min(MAX_DISTRACTORS, len(every)))
        graded = examples.dev or _pseudo_dev(examples.texts, pool, rng)
        queries = sorted(graded)
        self.queries = rng.sample(queries, min(MAX_QUERIES, len(queries)))
        rows = sorted({*pool, *(row for query in self.queries for row in graded[query])})
        place = {row: str(i) for i, row in enumerate(rows)}
        self._tokenizer = tokenizer
        self._texts = [examples.texts[row] for row in rows]
        self._qrels = {query: {place[row]: grade for row, grade in graded[query].items()} for query in self.queries}

    def evaluate(self, model: Anthem) -> dict[str, float]:
        """Retrieve metrics of ``model``, ranked by containment distance."""
        model.eval()
        with torch.no_grad():
            points = encode_products(model, self._tokenizer, self._texts)
            run: dict[str, dict[str, float]] = {}
            for start in range(0, len(self.queries), _QUERY_BATCH):
                part = self.queries[start : start + _QUERY_BATCH]
                batch = self._tokenizer.queries(part)
                centres, limits = model.encode_queries(torch.from_numpy(batch.features), torch.from_numpy(batch.terms))
                rows, distances = _nearest(model, centres, limits, points)
                for query, ids, values in zip(part, rows.tolist(), distances.tolist(), strict=True):
                    run[query] = {str(row): -value for row, value in zip(ids, values, strict=True)}
        model.train()
        return measure(run, self._qrels, "retrieve")


def encode_products(model: Anthem, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Points of ``texts`` (N, d), encoded in batches of like lengths; under the caller's gradient mode."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    points = torch.empty(len(texts), model.config.dim)
    for start in range(0, len(texts), _ENCODE_BATCH):
        rows = order[start : start + _ENCODE_BATCH]
        batch = tokenizer.titles([texts[i] for i in rows])
        points[rows] = model.encode_products(torch.from_numpy(batch.features), torch.from_numpy(batch.terms))
    return points


def _nearest(model: Anthem, centres: Tensor, limits: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and distances (B, ≤ ``RETRIEVE_DEPTH``) of the best products of a few queries."""
    c = model.config.curvature
    rows = lorentz.pairwise_dist(centres, points, c=c).topk(min(CANDIDATES, len(points)), dim=1, largest=False).indices
    depth = min(RETRIEVE_DEPTH, len(points))
    distances = containment(points[rows], centres[:, None], limits[:, None], c=c, gamma=model.gamma)
    best, order = distances.topk(depth, dim=1, largest=False)
    return rows.gather(1, order), best


def _pseudo_dev(texts: Sequence[str], pool: Sequence[int], rng: random.Random) -> dict[str, Grades]:
    """Pseudo-queries of the dev split over the ``pool`` of rows, with every row of it that answers them."""
    titles = [words(texts[row]) for row in pool]
    drawn = [query for _, query in cut_for_split(titles, Phrasing(), rng, count=PSEUDO_QUERIES, split="dev")]
    return {
        query.text: {pool[i]: MAX_GRADE for i in found.nonzero()[0].tolist()}
        for query, found in zip(drawn, answers(drawn, titles), strict=True)
    }
