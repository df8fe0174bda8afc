"""Words as the interaction models read them: stems, each with a row of an embedding table and its letter trigrams."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import Stemmer
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from model.encoders import look_up
from model.text import Tokenizer, Vocabulary, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.compare.data import Shop

QUERY_WORDS = 10
TITLE_WORDS = 24
"""Words read of a query and of a title; 99 % of Home Depot's are no longer."""
_BUCKETS = 256


class Lexicon:
    """The distinct stems of a shop's titles and queries, one row each; row 0 is padding.

    Two words match exactly if their rows are equal, whether or not training has seen them. ``word`` (T) is the
    embedding of each row: its own for a stem that titles and train queries have at least twice, else a shared bucket's.
    ``trigrams`` (T, F) holds its letter trigrams, padded with 0.
    """

    def __init__(self, shop: Shop) -> None:
        stemmer = Stemmer.Stemmer("english")
        queries = [query for graded in shop.judged.values() for query in graded]
        every = list(dict.fromkeys([*shop.texts, *queries]))
        stemmed = {text: " ".join(stemmer.stemWords(words(text))) for text in every}
        learnt = [stemmed[text] for text in [*shop.texts, *shop.judged["train"]]]
        tokenizer = Tokenizer(Vocabulary.learn(learnt))
        batch = tokenizer.batch(list(stemmed.values()), max_terms=TITLE_WORDS)
        features, first = torch.from_numpy(batch.features), tokenizer.vocabulary.first_word
        known = features[:, 0] >= first
        bucket = 1 + torch.arange(len(features)) % _BUCKETS
        self.word = torch.where(known, features[:, 0] - first + 1 + _BUCKETS, bucket)
        self.word[0] = 0
        self.words = 1 + _BUCKETS + len(tokenizer.vocabulary.words)
        self.trigrams = torch.where(features < first, features, 0)
        self.trigram_count = first
        self._terms = torch.from_numpy(batch.terms)
        self._titles = len(set(shop.texts))
        self._place = {text: i for i, text in enumerate(every)}

    def queries(self, texts: Sequence[str]) -> Tensor:
        """Rows of the queries' words, (B, ``QUERY_WORDS``)."""
        return self.titles(texts)[:, :QUERY_WORDS]

    def titles(self, texts: Sequence[str]) -> Tensor:
        """Rows of the titles' words, (B, ``TITLE_WORDS``)."""
        return self._terms[[self._place[text] for text in texts]]

    def vectors_by_company(self, dim: int) -> Tensor:
        """Vectors (words, dim) of about unit length by the company words keep in titles, random where they keep none.

        A truncated SVD of positive pointwise mutual information, which is what word2vec factorises (Levy & Goldberg
        2014): the papers start from word2vec, and a shop's titles know a shop's words.
        """
        columns = self.word[self._terms[: self._titles]].numpy()
        rows = np.repeat(np.arange(len(columns)), columns.shape[1])
        holds = sparse.csr_array((np.ones(columns.size), (rows, columns.ravel())), shape=(len(columns), self.words))
        holds.data[:] = 1.0  # twice in a title is once
        holds = holds[:, 1 + _BUCKETS :]
        pairs = (holds.T @ holds).tocoo()
        alone = np.asarray(holds.sum(axis=0)).ravel()
        information = np.log(pairs.data * len(columns) / (alone[pairs.row] * alone[pairs.col]))
        kept = (information > 0) & (pairs.row != pairs.col)
        places = torch.from_numpy(np.stack([pairs.row[kept], pairs.col[kept]]))
        kept_values = torch.from_numpy(information[kept]).float()
        positive = torch.sparse_coo_tensor(places, kept_values, pairs.shape, check_invariants=True)
        left, values, _ = torch.svd_lowrank(positive.coalesce(), q=min(dim, len(alone)))
        found = functional.normalize(left * values.sqrt(), dim=1)
        vectors = torch.randn(self.words, dim) / math.sqrt(dim)
        known = torch.from_numpy(alone > 0)
        vectors[1 + _BUCKETS :, : found.shape[1]][known] = found[known]
        return vectors


class WordEmbedding(nn.Module):
    """Embeddings of words by their rows in a lexicon; padding is zero and stays so.

    They start at random, or from ``start`` (words, dim).
    """

    def __init__(self, lexicon: Lexicon, dim: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("word", lexicon.word, persistent=False)
        self.table = nn.Embedding(lexicon.words, dim, padding_idx=0)
        nn.init.normal_(self.table.weight, std=1.0 / math.sqrt(dim))
        with torch.no_grad():
            if start is not None:
                self.table.weight.copy_(start)
            self.table.weight[0] = 0.0

    def forward(self, rows: Tensor) -> Tensor:
        """(B, L) → (B, L, d)."""
        vectors: Tensor = self.table(self.word[rows])
        return vectors


class TrigramEmbedding(nn.Module):
    """Σ of the embeddings of a word's letter trigrams: a dense layer on its vector of trigram counts."""

    def __init__(self, lexicon: Lexicon, dim: int) -> None:
        super().__init__()
        self.register_buffer("trigrams", lexicon.trigrams, persistent=False)
        self.table = nn.EmbeddingBag(lexicon.trigram_count, dim, mode="sum", padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[0] = 0.0

    def forward(self, rows: Tensor) -> Tensor:
        """(B, L) → (B, L, d)."""
        distinct, places = rows.unique(return_inverse=True)
        return look_up(places, self.table(self.trigrams[distinct]))
