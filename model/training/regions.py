"""The second stage: how far a query reaches.

Points and centres are fixed now, so the exact nearest products of every query are known, and they become its
candidates. Limits and γ are learnt on them by listwise cross-entropy on the containment distance, the very score that
ranks. They start small, where containment distance is hardly more than distance to the centre, and grow where that
pays.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from model import lorentz
from model.hyperboloid import containment
from model.losses import listwise
from model.metrics import RELEVANT_GRADE
from model.text import words
from model.training.batches import GAINS
from model.training.dev import encode_products
from model.training.examples import MAX_GRADE
from model.training.pseudo import answers, cut_for_split

if TYPE_CHECKING:
    from torch import Tensor

    from model.encoders import Anthem
    from model.text import Tokenizer
    from model.training.examples import Examples, Grades

MAX_PRODUCTS = 100_000
PSEUDO_QUERIES = 8_000
CANDIDATES = 64
MAX_ANSWERS = 32
_BATCH = 128
_CHUNK = 256
_SAMPLE = 2_000
_RATE = 3e-3
_LIMIT_START = 0.1
"""First limits, over the median distance of an answer from the centre along each axis."""


@dataclass(frozen=True, slots=True)
class _Mined:
    """Q queries and their K candidates: term rows, product rows (Q, K) and grades (Q, K)."""

    terms: Tensor
    rows: Tensor
    grades: Tensor


class RegionStage:
    """Limits and γ, on mined candidates of fixed centres and points."""

    name = "regions"
    learns_regions = True

    def __init__(self, model: Anthem, examples: Examples, tokenizer: Tokenizer, *, seed: int) -> None:
        self._model = model
        self._seed = seed
        rng = random.Random(seed)
        pool = _pool(examples, rng)
        graded = _with_pseudo(examples, pool, rng)
        with torch.no_grad():
            batch = tokenizer.queries(list(graded))
            self._vectors = model.embedding(torch.from_numpy(batch.features))
            self._points = encode_products(model, tokenizer, [examples.texts[row] for row in pool])
            self._mined = self._mine(torch.from_numpy(batch.terms), list(graded.values()), rng)

    def begin(self) -> None:
        """Set the first limits by how far answers lie from their query's centre, axis by axis."""
        some = slice(None, None, max(1, len(self._mined.rows) // _SAMPLE))
        with torch.no_grad():
            centres = self._centres(self._mined.terms[some])
            offsets = (self._points[self._mined.rows[some]] - centres[:, None]).abs()
            typical = offsets[self._mined.grades[some] >= RELEVANT_GRADE].median(dim=0).values
            self._model.query.limit.bias.copy_((_LIMIT_START * typical).log())

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Limits, γ, and the temperature that goes with them."""
        model = self._model
        return [{"params": [*model.query.limit.parameters(), model.gamma_logit, model.log_scale], "lr": _RATE}]

    def loss(self, number: int) -> Tensor:
        """The loss of a batch drawn for step ``number``."""
        mined = self._mined
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
        drawn = torch.randint(len(mined.rows), (_BATCH,), generator=generator)
        terms, rows, grades = mined.terms[drawn], mined.rows[drawn], mined.grades[drawn]
        longest = int((terms != 0).sum(dim=1).max())
        centres, limits = self._model.query(self._vectors, terms[:, :longest])
        distances = containment(
            self._points[rows],
            centres[:, None],
            limits[:, None],
            c=self._model.config.curvature,
            gamma=self._model.gamma,
        )
        return listwise(-self._model.log_scale.exp() * distances, torch.from_numpy(GAINS)[grades])

    def _centres(self, terms: Tensor) -> Tensor:
        """Centres alone (B, d): limits of many queries at once would need a (B, L, L, d) tensor."""
        query = self._model.query
        attention, share = query.attend(self._vectors, terms)
        return query.centre(self._vectors, terms, attention, share)

    def _mine(self, terms: Tensor, graded: list[Grades], rng: random.Random) -> _Mined:
        """For every query its graded products, filled up with the nearest ungraded ones."""
        model, count = self._model, min(CANDIDATES, len(self._points))
        rows = torch.empty(len(graded), count, dtype=torch.int64)
        grades = torch.zeros(len(graded), count, dtype=torch.int64)
        for start in range(0, len(graded), _CHUNK):
            centres = self._centres(terms[start : start + _CHUNK])
            distances = lorentz.pairwise_dist(centres, self._points, c=model.config.curvature)
            nearest = distances.topk(count, dim=1, largest=False).indices.tolist()
            for i, near in enumerate(nearest, start):
                known = list(graded[i].items())
                known = rng.sample(known, min(len(known), MAX_ANSWERS, count))
                filling = [row for row in near if row not in graded[i]][: count - len(known)]
                chosen = [row for row, _ in known] + filling
                # a query with more answers than candidates may run short: its nearest answer is repeated
                chosen += [chosen[0]] * (count - len(chosen))
                rows[i] = torch.tensor(chosen)
                grades[i] = torch.tensor([graded[i].get(row, 0) for row in chosen])
        return _Mined(terms=terms, rows=rows, grades=grades)


def _pool(examples: Examples, rng: random.Random) -> list[int]:
    """Rows of the products to mine in: every graded one, and others up to ``MAX_PRODUCTS``."""
    graded = {row for answers_of in examples.train.values() for row in answers_of}
    others = [row for row in range(len(examples.texts)) if row not in graded]
    return sorted(graded) + sorted(rng.sample(others, max(0, min(MAX_PRODUCTS - len(graded), len(others)))))


def _with_pseudo(examples: Examples, pool: list[int], rng: random.Random) -> dict[str, Grades]:
    """The train queries and pseudo-queries with their graded products, as places in ``pool``."""
    place = {row: i for i, row in enumerate(pool)}
    graded = {query: {place[row]: g for row, g in rows.items()} for query, rows in examples.train.items()}
    titles = [words(examples.texts[row]) for row in pool]
    drawn = [query for _, query in cut_for_split(titles, rng, count=PSEUDO_QUERIES, split="train")]
    for start in range(0, len(drawn), _CHUNK):
        part = drawn[start : start + _CHUNK]
        for query, found in zip(part, answers(part, titles), strict=True):
            # a judge's grades for the same text are not overruled
            graded.setdefault(query.text, dict.fromkeys(found.nonzero()[0].tolist(), MAX_GRADE))
    return graded
