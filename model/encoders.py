"""ANTHEM's two towers: queries to hyperboloids, product titles to points, from one table of feature embeddings.

Shapes: B texts, T distinct terms in the batch, F features a term, L terms a text, d dimensions. Both towers take the
arrays of :class:`model.text.TermBatch`; a text without terms has no meaning and must be refused before.
"""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from model import lorentz

_NEGATIVE = -1e4  # a logit that softmax turns to exactly zero in float32
_HEAD_GAIN = 3.0  # a midpoint of many terms lies near the origin: the head starts by moving it out again


class EncoderConfig(BaseModel):
    """Everything that decides the shape of the two towers."""

    model_config = ConfigDict(frozen=True)

    features: int
    """Rows of the embedding table: ``Vocabulary.size``."""
    dim: int = 128
    attention_dim: int = 32
    curvature: float = 1.0
    """c of the curvature −c; 0 makes the Euclidean twin."""
    radius: float = 4.0
    """Soft bound of a point's distance from the origin."""
    max_title_terms: int = 40


def look_up(terms: Tensor, table: Tensor) -> Tensor:
    """Rows of ``table`` (T, k) for ``terms`` (B, L) → (B, L, k)."""
    return nn.functional.embedding(terms, table)


class TermEmbedding(nn.Module):
    """A term's tangent vector: the sum of its features' embeddings over the root of their number."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.features, config.dim, padding_idx=0)
        nn.init.normal_(self.table.weight, std=1.0 / math.sqrt(config.dim))
        with torch.no_grad():
            self.table.weight[0] = 0.0

    def forward(self, features: Tensor) -> Tensor:
        """(T, F) feature ids → (T, d)."""
        count = (features != 0).sum(dim=-1, keepdim=True).clamp(min=1)
        total: Tensor = self.table(features).sum(dim=-2)  # the padding row is zero and never learns
        return total / count.sqrt()


class PointHead(nn.Module):
    """From a midpoint of terms to a place on the sheet: one linear map in the tangent space, softly bounded."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.dim, config.dim, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(_HEAD_GAIN * torch.eye(config.dim))

    def forward(self, midpoint: Tensor) -> Tensor:
        """(B, d) → (B, d)."""
        c = self.config.curvature
        tangent = self.linear(lorentz.log_map0(midpoint, c=c))
        placed: Tensor = lorentz.exp_map0(lorentz.bound(tangent, limit=self.config.radius), c=c)
        return placed


class QueryEncoder(nn.Module):
    """Terms → a hyperboloid per term → intersections of all pairs → attention over both → the query's hyperboloid.

    A pair's centre is the attention-weighted midpoint of the two, its limit their elementwise minimum. Midpoints of
    midpoints are weighted sums of term points, so only limits ever need the (L, L, d) tensor. What depends on one term
    alone is computed once per distinct term and then looked up.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.own = nn.Linear(config.dim, 1)
        self.share = nn.Linear(config.dim, 1)
        self.pair = nn.Linear(config.dim, config.attention_dim, bias=False)
        self.limit = nn.Linear(config.dim, config.dim)
        self.head = PointHead(config)
        nn.init.zeros_(self.own.weight)
        nn.init.zeros_(self.share.weight)
        nn.init.normal_(self.limit.weight, std=0.02)
        nn.init.constant_(self.limit.bias, math.log(0.05))

    def forward(self, vectors: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        """Term vectors (T, d) and term rows (B, L) → centres and limits (B, d)."""
        attention, share = self.attend(vectors, terms)
        return self.centre(vectors, terms, attention, share), self.limits(vectors, terms, attention)

    def attend(self, vectors: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        """Attention over pairs (B, L, L), and term i's share in the pair (i, j) (B, L, L).

        Entry (i, j), i ≤ j, stands for the intersection of terms i and j, the diagonal for the terms themselves. Its
        logit is each term's own weight plus a symmetric form of the two, so a query means the same in any word order.
        """
        own = look_up(terms, self.own(vectors)).squeeze(-1)
        pair = look_up(terms, self.pair(vectors))
        logits = 0.5 * (own[:, :, None] + own[:, None, :]) + pair @ pair.mT / math.sqrt(pair.shape[-1])
        mask = terms != 0
        place = torch.arange(terms.shape[1], device=terms.device)
        valid = mask[:, :, None] & mask[:, None, :] & (place[:, None] <= place[None, :])
        attention = torch.where(valid, logits, _NEGATIVE).flatten(1).softmax(dim=-1).view_as(logits)
        share = look_up(terms, self.share(vectors)).squeeze(-1)
        return attention, torch.sigmoid(share[:, :, None] - share[:, None, :])

    def centre(self, vectors: Tensor, terms: Tensor, attention: Tensor, share: Tensor) -> Tensor:
        """The attention-weighted midpoint of all pairs' midpoints, placed by the head: (B, d)."""
        c, radius = self.config.curvature, self.config.radius
        tangent = look_up(terms, vectors)
        weight = attention / self._pair_norm(tangent, share)
        # i's weight in all pairs in which it comes first, and in all in which it comes second
        total = (weight * share).sum(dim=2) + (weight * (1.0 - share)).sum(dim=1)
        centre: Tensor = self.head(lorentz.exp_midpoint0(tangent, total, limit=radius, c=c))
        return centre

    def limits(self, vectors: Tensor, terms: Tensor, attention: Tensor) -> Tensor:
        """The attention-weighted geometric mean of all pairs' limits: (B, d)."""
        logs = look_up(terms, self.limit(vectors))  # logarithms: their minimum is that of the limits
        smallest = torch.minimum(logs[:, :, None, :], logs[:, None, :, :])
        return (attention[..., None] * smallest).sum(dim=(1, 2)).exp()

    def _pair_norm(self, tangent: Tensor, share: Tensor) -> Tensor:
        """√c times the Lorentz norm of share·xᵢ + (1 − share)·xⱼ: what a pair's midpoint is divided by."""
        c = self.config.curvature
        if c == 0:
            return torch.ones_like(share)
        points = lorentz.exp_map0(lorentz.bound(tangent, limit=self.config.radius), c=c)
        time = lorentz.time(points, c=c)
        gram = c * (time[:, :, None] * time[:, None, :] - points @ points.mT)
        other = 1.0 - share
        norm: Tensor = (share * share + other * other + 2.0 * share * other * gram.clamp(min=1.0)).sqrt()
        return norm


class ProductEncoder(nn.Module):
    """Title terms → self-attention → attention-weighted midpoint → the product's point."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.dim, config.attention_dim, bias=False)
        self.key = nn.Linear(config.dim, config.attention_dim, bias=False)
        self.value = nn.Linear(config.dim, config.dim, bias=False)
        self.own = nn.Linear(config.dim, 1)
        self.position = nn.Parameter(torch.zeros(2, config.max_title_terms))
        self.head = PointHead(config)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.own.weight)

    def forward(self, vectors: Tensor, terms: Tensor) -> Tensor:
        """Term vectors (T, d) and term rows (B, L) → points (B, d)."""
        mask = terms != 0
        logits = look_up(terms, self.query(vectors)) @ look_up(terms, self.key(vectors)).mT
        logits = logits / math.sqrt(self.config.attention_dim)
        attention = torch.where(mask[:, None, :], logits, _NEGATIVE).softmax(dim=-1)
        contextual = look_up(terms, vectors) + attention @ look_up(terms, self.value(vectors))
        own = self.own(contextual).squeeze(-1) + self._place(mask)
        weights = torch.where(mask, own, _NEGATIVE).softmax(dim=-1)
        middle = lorentz.exp_midpoint0(contextual, weights, limit=self.config.radius, c=self.config.curvature)
        point: Tensor = self.head(middle)
        return point

    def _place(self, mask: Tensor) -> Tensor:
        """What a term's logit gains by where it stands, from the title's start and from its end: (B, L)."""
        length = mask.sum(dim=-1, keepdim=True)
        place = torch.arange(mask.shape[1], device=mask.device)[None, :]
        last = self.position.shape[1] - 1
        return self.position[0][place.clamp(max=last)] + self.position[1][(length - 1 - place).clamp(0, last)]


class Anthem(nn.Module):
    """Both towers over one embedding table, with the learnt weight γ of d_in and the softmax temperature."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = TermEmbedding(config)
        self.query = QueryEncoder(config)
        self.product = ProductEncoder(config)
        self.gamma_logit = nn.Parameter(torch.tensor(math.log(0.95 / 0.05)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(8.0)))

    @property
    def gamma(self) -> Tensor:
        """Weight of d_in in the containment distance, in (0, 1)."""
        return torch.sigmoid(self.gamma_logit)

    def encode_queries(self, features: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        """(T, F), (B, L) → centres and limits (B, d)."""
        centre, limit = self.query(self.embedding(features), terms)
        return centre, limit

    def encode_products(self, features: Tensor, terms: Tensor) -> Tensor:
        """(T, F), (B, L) → points (B, d)."""
        point: Tensor = self.product(self.embedding(features), terms)
        return point
