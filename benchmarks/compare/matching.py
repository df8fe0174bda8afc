"""Interaction models from their papers' definitions: ARC-I, ARC-II, MatchPyramid, KNRM, Conv-KNRM and DUET.

Each takes rows of a lexicon for queries (B, Lq) and titles (B, Lt), 0 where there is no word, and gives scores (B).
Padding changes nothing. Sizes are small enough for two cores. Word embeddings start at random, but those of ARC-I and
ARC-II from the company that words keep: on dev that helps these two, which compare no two words (0.534 and 0.550
against 0.526 and 0.524 after a minute), and harms KNRM (0.639 against 0.676), which takes company for matches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.compare.lexicon import QUERY_WORDS, TITLE_WORDS, TrigramEmbedding, WordEmbedding

if TYPE_CHECKING:
    from benchmarks.compare.lexicon import Lexicon

DIM = 100


def widen(rows: Tensor, width: int) -> Tensor:
    """``rows`` (B, L ≤ width) padded to (B, width)."""
    return functional.pad(rows, (0, width - rows.shape[1]))


def convolve(convolution: nn.Conv1d, vectors: Tensor) -> Tensor:
    """A convolution over places of ``vectors`` (B, L, d) whose windows start there, zeros beyond the end: (B, L, k)."""
    room = convolution.kernel_size[0] - 1
    return convolution(functional.pad(vectors, (0, 0, 0, room)).mT).mT


class ArcI(nn.Module):
    """Each text by convolution and pooling on its own, then a perceptron on the two together (Hu et al. 2014).

    As in the paper, a window of padding gives zero.
    """

    _CHANNELS = 64

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.embedding = WordEmbedding(lexicon, DIM, lexicon.vectors_by_company(DIM))
        self.first = nn.Conv1d(DIM, self._CHANNELS, 3)
        self.second = nn.Conv1d(self._CHANNELS, self._CHANNELS, 3)
        sentence = self._CHANNELS * (QUERY_WORDS // 4 + TITLE_WORDS // 4)
        self.perceptron = nn.Sequential(nn.Linear(sentence, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1))

    def forward(self, queries: Tensor, titles: Tensor) -> Tensor:
        """(B, Lq), (B, Lt) → (B)."""
        both = [self._sentence(queries, QUERY_WORDS), self._sentence(titles, TITLE_WORDS)]
        scores: Tensor = self.perceptron(torch.cat(both, dim=1)).squeeze(1)
        return scores

    def _sentence(self, rows: Tensor, width: int) -> Tensor:
        """(B, L) → (B, channels · width // 4)."""
        rows = widen(rows, width)
        state, there = self.embedding(rows), rows != 0
        for convolution in (self.first, self.second):
            state = functional.relu(convolve(convolution, state)) * there[..., None]
            state = functional.max_pool1d(state.mT, 2).mT
            there = functional.max_pool1d(there.float()[:, None], 2)[:, 0] > 0
        return state.flatten(1)


class ArcII(nn.Module):
    """Every window of the query with every one of the title, then convolutions in two dimensions (Hu et al. 2014)."""

    _CHANNELS = 32

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.embedding = WordEmbedding(lexicon, DIM, lexicon.vectors_by_company(DIM))
        # one layer on two concatenated windows is the sum of one layer on each
        self.query = nn.Conv1d(DIM, self._CHANNELS, 3)
        self.title = nn.Conv1d(DIM, self._CHANNELS, 3, bias=False)
        self.grid = nn.Conv2d(self._CHANNELS, self._CHANNELS, 3, padding=1)
        left = self._CHANNELS * (QUERY_WORDS // 4) * (TITLE_WORDS // 4)
        self.perceptron = nn.Sequential(nn.Linear(left, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1))

    def forward(self, queries: Tensor, titles: Tensor) -> Tensor:
        """(B, Lq), (B, Lt) → (B)."""
        queries, titles = widen(queries, QUERY_WORDS), widen(titles, TITLE_WORDS)
        one = convolve(self.query, self.embedding(queries))[:, :, None]
        other = convolve(self.title, self.embedding(titles))[:, None]
        there = (queries != 0)[:, :, None] & (titles != 0)[:, None]
        grid = (functional.relu(one + other) * there[..., None]).permute(0, 3, 1, 2)
        grid = functional.max_pool2d(grid, 2)
        grid = functional.max_pool2d(functional.relu(self.grid(grid)), 2)
        scores: Tensor = self.perceptron(grid.flatten(1)).squeeze(1)
        return scores


class MatchPyramid(nn.Module):
    """The matrix of word similarities read as a picture: convolutions and dynamic pooling (Pang et al. 2016)."""

    _KERNELS = (8, 16)

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.embedding = WordEmbedding(lexicon, DIM)
        self.first = nn.Conv2d(1, self._KERNELS[0], 3, padding=1)
        self.second = nn.Conv2d(self._KERNELS[0], self._KERNELS[1], 3, padding=1)
        left = self._KERNELS[1] * (QUERY_WORDS // 4) * (TITLE_WORDS // 4)
        self.perceptron = nn.Sequential(nn.Linear(left, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 1))

    def forward(self, queries: Tensor, titles: Tensor) -> Tensor:
        """(B, Lq), (B, Lt) → (B)."""
        similar = cosines(self.embedding(queries), self.embedding(titles))
        picture = functional.relu(self.first(similar[:, None]))
        picture = stretch(picture, (queries != 0).sum(dim=1), (titles != 0).sum(dim=1))
        picture = functional.relu(self.second(functional.max_pool2d(picture, 2)))
        scores: Tensor = self.perceptron(functional.max_pool2d(picture, 2).flatten(1)).squeeze(1)
        return scores


class Knrm(nn.Module):
    """Soft matches counted by Gaussian kernels (Xiong et al. 2017), without the last tanh, which keeps the order."""

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.embedding = WordEmbedding(lexicon, DIM)
        self.kernels = Kernels()
        self.linear = counted(Kernels.COUNT)

    def forward(self, queries: Tensor, titles: Tensor) -> Tensor:
        """(B, Lq), (B, Lt) → (B)."""
        features = self.kernels(self.embedding(queries), self.embedding(titles), queries != 0, titles != 0)
        scores: Tensor = self.linear(features).squeeze(1)
        return scores


class ConvKnrm(nn.Module):
    """KNRM over word n-grams of one to three words, each length against each (Dai et al. 2018)."""

    _FILTERS = 64
    _LENGTHS = (1, 2, 3)

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        self.embedding = WordEmbedding(lexicon, DIM)
        self.ngrams = nn.ModuleList(nn.Conv1d(DIM, self._FILTERS, length) for length in self._LENGTHS)
        self.kernels = Kernels()
        self.linear = counted(Kernels.COUNT * len(self._LENGTHS) ** 2)

    def forward(self, queries: Tensor, titles: Tensor) -> Tensor:
        """(B, Lq), (B, Lt) → (B)."""
        ours, theirs = self._ngrams(queries), self._ngrams(titles)
        features = [self.kernels(one, other, queries != 0, titles != 0) for one in ours for other in theirs]
        scores: Tensor = self.linear(torch.cat(features, dim=1)).squeeze(1)
        return scores

    def _ngrams(self, rows: Tensor) -> list[Tensor]:
        vectors = self.embedding(rows)
        return [functional.relu(convolve(ngram, vectors)) for ngram in self.ngrams]


class Duet(nn.Module):
    """Exact matches by place, and learnt vectors from letter trigrams, added up (Mitra et al. 2017)."""

    _WIDTH = 128
    _POOL = 4

    def __init__(self, lexicon: Lexicon) -> None:
        super().__init__()
        width = self._WIDTH
        self.places = nn.Sequential(nn.Linear(TITLE_WORDS, width), nn.Tanh())
        self.local = nn.Sequential(
            nn.Linear(QUERY_WORDS * width, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1)
        )
        self.embedding = TrigramEmbedding(lexicon, DIM)
        self.query = nn.Conv1d(DIM, width, 3)
        self.title = nn.Conv1d(DIM, width, 3)
        self.query_layer = nn.Linear(width, width)
        self.title_layer = nn.Linear(width, width)
        self.distributed = nn.Sequential(
            nn.Linear(width * (TITLE_WORDS // self._POOL), width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1)
        )

    def forward(self, queries: Tensor, titles: Tensor) -> Tensor:
        """(B, Lq), (B, Lt) → (B)."""
        queries, titles = widen(queries, QUERY_WORDS), widen(titles, TITLE_WORDS)
        there = queries != 0
        matches = ((queries[:, :, None] == titles[:, None]) & there[..., None]).float()
        local = self.local((self.places(matches) * there[..., None]).flatten(1))
        scores: Tensor = (local + self._distributed(queries, titles)).squeeze(1)
        return scores

    def _distributed(self, queries: Tensor, titles: Tensor) -> Tensor:
        ours = torch.tanh(convolve(self.query, self.embedding(queries)))
        ours = torch.where((queries != 0)[..., None], ours, -1.0).amax(dim=1)
        ours = torch.tanh(self.query_layer(ours))
        theirs = torch.tanh(convolve(self.title, self.embedding(titles))) * (titles != 0)[..., None]
        theirs = functional.max_pool1d(theirs.mT, self._POOL).mT
        theirs = torch.tanh(self.title_layer(theirs))
        return self.distributed((ours[:, None] * theirs).flatten(1))


class Kernels(nn.Module):
    """K_k = Σᵢ log Σⱼ exp(−(cosᵢⱼ − μ_k)² / 2σ_k²): one kernel for exact matches and ten between 0.9 and −0.9."""

    COUNT = 11
    _SCALE = 0.1  # logs of counts near zero are large; the paper's is 0.01

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mu", torch.tensor([1.0, *(0.9 - 0.2 * k for k in range(10))]))
        self.register_buffer("sigma", torch.tensor([1e-3] + [0.1] * 10))

    def forward(self, queries: Tensor, titles: Tensor, query_there: Tensor, title_there: Tensor) -> Tensor:
        """(B, Lq, d), (B, Lt, d) and which words are there, (B, Lq), (B, Lt) → (B, ``COUNT``)."""
        there = query_there[:, :, None] & title_there[:, None]
        # only pairs of words that are there: most of a padded batch is not
        similar = cosines(queries, titles)[there][:, None]
        near = torch.exp(-0.5 * ((similar - self.mu) / self.sigma) ** 2)
        word = torch.arange(query_there.numel()).view(query_there.shape)[:, :, None].expand(there.shape)[there]
        counts = near.new_zeros(query_there.numel(), self.COUNT).index_add(0, word, near)
        logs = counts.clamp(min=1e-10).log().view(*query_there.shape, self.COUNT) * self._SCALE
        features: Tensor = (logs * query_there[..., None]).sum(dim=1)
        return features


def counted(features: int) -> nn.Linear:
    """The last layer of a kernel model, from zero: were its first signs wrong, embeddings would learn the reverse."""
    linear = nn.Linear(features, 1)
    nn.init.zeros_(linear.weight)
    return linear


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """(B, L, d), (B, M, d) → (B, L, M); zero for a zero vector."""
    return functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).mT


def stretch(picture: Tensor, heights: Tensor, widths: Tensor) -> Tensor:
    """Blow up each ``picture`` of (B, C, H, W) from its own height and width (B) to ``QUERY_WORDS`` × ``TITLE_WORDS``.

    Rows and columns are repeated, so fixed pooling afterwards is pooling over a grid laid over each picture's own size.
    """
    rows = torch.arange(QUERY_WORDS) * heights.clamp(min=1)[:, None] // QUERY_WORDS
    columns = torch.arange(TITLE_WORDS) * widths.clamp(min=1)[:, None] // TITLE_WORDS
    place = torch.arange(len(picture))[:, None, None]
    return picture[place, :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
