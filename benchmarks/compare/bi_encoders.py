"""Bi-encoders over letter trigrams: DSSM and CDSSM, each one tower for queries and titles.

They learn from ANTHEM's own batches (:class:`model.training.batches.BatchSource`): judged queries and pseudo-queries,
every product of a batch a candidate of every query. The papers draw four random negatives for each clicked product
instead, for want of grades and of memory.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.compare.score import VectorRanker
from model.encoders import look_up
from model.losses import listwise
from model.text import Tokenizer, Vocabulary
from model.training.batches import BatchShape, BatchSource
from model.training.lengths import by_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.compare.data import Shop
    from model.text import TermBatch

DIM = 128
_HIDDEN = 300
_SCALE = 10.0
_LOWEST = -1e4  # below anything that a maximum is taken of
_BATCH = 1024
_DEV_QUERIES, _DEV_PRODUCTS = 1000, 20_000


class TrigramSum(nn.Module):
    """Σ of the embeddings of a term's trigrams: a dense layer on the paper's vector of trigram counts."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(features, width, mode="sum", padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[0] = 0.0

    def forward(self, features: Tensor) -> Tensor:
        """(T, F) feature ids → (T, width); the padding term is zero."""
        total: Tensor = self.table(features)
        return total


class Dssm(nn.Module):
    """Letter trigrams of the whole text as one bag → three tanh layers → cosine (Huang et al. 2013)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.trigrams = TrigramSum(features, _HIDDEN)
        self.bias = nn.Parameter(torch.zeros(_HIDDEN))
        self.layers = nn.Sequential(
            nn.Tanh(), nn.Linear(_HIDDEN, _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, DIM), nn.Tanh()
        )

    def forward(self, features: Tensor, terms: Tensor) -> Tensor:
        """(T, F), (B, L) → unit vectors (B, d)."""
        bag = functional.embedding_bag(terms, self.trigrams(features), mode="sum", padding_idx=0)
        return functional.normalize(self.layers(bag + self.bias), dim=1)


class Cdssm(nn.Module):
    """Windows of three words' letter trigrams → convolution → max over places → tanh → cosine (Shen et al. 2014)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.trigrams = TrigramSum(features, 3 * _HIDDEN)
        self.bias = nn.Parameter(torch.zeros(_HIDDEN))
        self.semantic = nn.Linear(_HIDDEN, DIM)

    def forward(self, features: Tensor, terms: Tensor) -> Tensor:
        """(T, F), (B, L) → unit vectors (B, d)."""
        return by_length(partial(self._vectors, self.trigrams(features)), terms)

    def _vectors(self, described: Tensor, terms: Tensor) -> Tensor:
        """What terms say before a window's middle, in it and after it (T, 3·width), and rows (B, L) → (B, d)."""
        before, here, after = look_up(terms, described).chunk(3, dim=-1)
        window = here.clone()
        window[:, 1:] += before[:, :-1]
        window[:, :-1] += after[:, 1:]
        # the maximum of tanh is tanh of the maximum
        pooled = torch.where((terms != 0)[..., None], window, _LOWEST).amax(dim=1)
        return functional.normalize(torch.tanh(self.semantic(torch.tanh(pooled + self.bias))), dim=1)


class BiEncoder:
    """One of the towers above as a :class:`~benchmarks.compare.fit.System`."""

    def __init__(self, tower: type[Dssm | Cdssm], shop: Shop, *, seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.rate = rate
        self.dev = shop.cut(queries=_DEV_QUERIES, products=_DEV_PRODUCTS, seed=seed)
        learnt = Vocabulary.learn([*shop.texts, *shop.judged["train"]])
        self._tokenizer = Tokenizer(learnt.model_copy(update={"words": ()}))  # letters alone, as in the papers
        self._source = BatchSource(shop.examples, self._tokenizer, BatchShape(), seed=seed)
        self.model = tower(self._tokenizer.vocabulary.size)
        self.model.log_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))

    def loss(self, step: int) -> Tensor:
        """Listwise over all products of the batch."""
        batch = self._source.batch(step)
        cosines = self._encode(batch.queries) @ self._encode(batch.products).T
        return listwise(self.model.log_scale.exp() * cosines, torch.from_numpy(batch.gains))

    def ranker(self, shop: Shop) -> VectorRanker:
        """Cosines with every title."""
        parts = [shop.texts[start : start + _BATCH] for start in range(0, len(shop.texts), _BATCH)]
        titles = torch.cat([self._encode(self._tokenizer.titles(part)) for part in parts])
        return VectorRanker(self._queries, titles)

    def _queries(self, queries: Sequence[str]) -> Tensor:
        return self._encode(self._tokenizer.queries(queries))

    def _encode(self, batch: TermBatch) -> Tensor:
        vectors: Tensor = self.model(torch.from_numpy(batch.features), torch.from_numpy(batch.terms))
        return vectors
