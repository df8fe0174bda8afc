"""ANTHEM's two towers: queries to hyperboloids, product titles to points, from one table of feature embeddings.

A space has two kinds of axes. On *place* axes a text lies at the attention-weighted midpoint of its terms: that is what
it is about, and what distances tell. On *presence* axes a term has a mark of its own, and a title the largest mark of
its terms; a query term's box reaches from a little below its own mark upwards, so a title that has the term is inside,
whatever else it says. Boxes of this form intersect exactly, by their lower bounds' maximum: a query's box on these axes
is the intersection of its terms' boxes, and a title that lacks what a term asks for lies outside.

Shapes: B texts, T distinct terms in the batch, F features a term, L terms a text, d dimensions, P of them presence axes
(the last ones). Both towers take the arrays of :class:`model.text.TermBatch`; a text without terms has no meaning and
must be refused before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from model import lorentz

MARK_LENGTH = 0.03
"""The length of a mark of 1 in space components: presence decides what is inside, and hardly what is nearest."""

_NEGATIVE = -1e4  # a logit that softmax turns to exactly zero in float32
_QUERY_GAIN = math.sqrt(3.0)  # what a text's terms cancel of each other in a midpoint, the head starts by putting back
_TITLE_GAIN = 3.0
_REACH = 1.5  # how far, as a logarithm, a text's terms may stretch its radius or its temperature
_FIRST_MARK = 1.0  # standard deviation of the first marks; all but a few of a term's are then below a title's largest
_SLACK = 0.3  # if it were learnt it would grow, as the cheapest way to take answers in, until boxes tell little
_FIRST_LIMIT = 2.0  # logarithm of how far past the origin a limit reaches, all words as common as can be
_BREADTH_REACH = 3.0  # how far, as a logarithm, rare words may draw limits in: few products then lie beyond
_MARK = 3.0  # soft bound of a mark, in units of the presence axes' scale
_NO_LIMIT = 1e-6  # a region that is none: containment distance is then distance to the centre
_CEILING = 1.01 * _MARK  # upper face of every box on a presence axis: just above what any mark can be


Faces = tuple[Tensor, Tensor]
"""Lower faces of boxes on the presence axes (B, P), and the one upper face of them all."""


class EncoderConfig(BaseModel):
    """Everything that decides the shape of the two towers."""

    model_config = ConfigDict(frozen=True)

    features: int
    """Rows of the embedding table: ``Vocabulary.size``."""
    dim: int = 256
    presence: int = 64
    """How many of the ``dim`` axes are presence axes; 0 makes a plain vector model."""
    attention_dim: int = 32
    curvature: float = 1.0
    """c of the curvature −c; 0 makes the Euclidean twin."""
    radius: float = 6.0
    """Soft bound of a place's distance from the origin."""
    spherical: bool = False
    """Puts every place at the distance ``radius``; with c = 0, the nearest by distance are the nearest by cosine."""
    max_title_terms: int = 40

    @property
    def place(self) -> int:
        """Number of place axes."""
        return self.dim - self.presence


def look_up(terms: Tensor, table: Tensor) -> Tensor:
    """Rows of ``table`` (T, k) for ``terms`` (B, L) → (B, L, k)."""
    return nn.functional.embedding(terms, table)


class Terms(NamedTuple):
    """What is known of a batch's distinct terms: tangent vectors, marks and breadths."""

    vectors: Tensor
    """(T, d − P), on the place axes."""
    marks: Tensor
    """(T, P), each below ``_MARK`` in size."""
    breadth: Tensor
    """(T, 1), what a term adds to the logarithm of how far its query's limits reach past the origin."""


class TermEmbedding(nn.Module):
    """A term's tangent vector, marks and breadth: the sums of its features' rows over the root of their number.

    Breadths are what the catalogue says (:mod:`model.training.breadth`), and not trained.
    """

    breadth: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.sizes = [config.place, config.presence]
        self.table = nn.Embedding(config.features, config.dim, padding_idx=0)
        self.register_buffer("breadth", torch.zeros(config.features))
        with torch.no_grad():
            vectors, marks = torch.split(self.table.weight, self.sizes, dim=1)
            vectors.normal_(std=1.0 / math.sqrt(config.place))
            marks.normal_(std=_FIRST_MARK)
            self.table.weight[0] = 0.0

    def forward(self, features: Tensor) -> Terms:
        """Describe the terms of (T, F) feature ids."""
        count = (features != 0).sum(dim=-1, keepdim=True).clamp(min=1)
        if self.training:  # no (T, F, d) tensor to make and to go back through
            total = nn.functional.embedding_bag(features, self.table.weight, mode="sum", padding_idx=0)
        else:  # what ONNX Runtime is good at; it runs a bag as a loop over its rows
            total = self.table(features).sum(dim=1)
        vectors, marks = torch.split(total / count.sqrt(), self.sizes, dim=1)
        breadth = self.breadth[features].sum(dim=1, keepdim=True) / count.sqrt()
        return Terms(vectors, _MARK * torch.tanh(marks / _MARK), breadth)


def presence_point(marks: Tensor, terms: Tensor) -> Tensor:
    """What titles show on the presence axes, (B, P): the largest ``marks`` (T, P) of their terms (B, L)."""
    return MARK_LENGTH * largest(terms, marks)


def presence_box(marks: Tensor, terms: Tensor) -> Faces:
    """The faces of queries' boxes on the presence axes: their terms' boxes intersected.

    A term's box begins below its own mark by a slack, so what has the term is inside.
    """
    asked = (largest(terms, marks) - _SLACK).clamp(min=-_MARK)
    return MARK_LENGTH * asked, MARK_LENGTH * asked.new_tensor(_CEILING)


def largest(terms: Tensor, marks: Tensor) -> Tensor:
    """The largest of a text's ``marks`` (T, P), axis by axis: (B, P)."""
    found = look_up(terms, marks)
    return torch.where((terms != 0)[:, :, None], found, -_MARK).amax(dim=1)


class PlaceHead(nn.Module):
    """From a midpoint of terms to a place on the sheet: one linear map in the tangent space, softly bounded."""

    def __init__(self, config: EncoderConfig, *, gain: float) -> None:
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.place, config.place, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(gain * torch.eye(config.place))

    def forward(self, midpoint: Tensor, stretch: Tensor) -> Tensor:
        """Midpoints (B, d − P), and factors of their distance from the origin (B, 1) → (B, d − P)."""
        c, radius = self.config.curvature, self.config.radius
        tangent = self.linear(lorentz.log_map0(midpoint, c=c)) * stretch
        bounded = lorentz.at_radius(tangent, radius) if self.config.spherical else lorentz.bound(tangent, limit=radius)
        placed: Tensor = lorentz.exp_map0(bounded, c=c)
        return placed


class Stretch(nn.Module):
    """A factor for a text that its terms add up to, each as much as it has learnt to: 1 to begin with."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.place, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, vectors: Tensor, terms: Tensor) -> Tensor:
        """Term vectors (T, d − P) and term rows (B, L) → (B, 1)."""
        each = look_up(terms, self.linear(vectors)).squeeze(-1)
        total = torch.where(terms != 0, each, 0.0).sum(dim=1, keepdim=True)
        return (_REACH * torch.tanh(total / _REACH)).exp()


class QueryEncoder(nn.Module):
    """Terms → a hyperboloid per term → their intersection, centred by attention over all pairs of them.

    A pair's centre is the attention-weighted midpoint of the two. Midpoints of midpoints are weighted sums of term
    points, so all pairs cost (L, L) numbers. Boxes are intersected exactly: limits by their minimum, faces by their
    maximum. What depends on one term alone is computed once per distinct term and then looked up.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.own = nn.Linear(config.place, 1)
        self.share = nn.Linear(config.place, 1)
        self.pair = nn.Linear(config.place, config.attention_dim, bias=False)
        self.raw_limit = nn.Parameter(torch.full((config.place,), _FIRST_LIMIT))  # its logarithm
        self.sharpness = Stretch(config)
        self.head = PlaceHead(config, gain=_QUERY_GAIN)
        nn.init.zeros_(self.own.weight)
        nn.init.zeros_(self.share.weight)

    def forward(self, known: Terms, faces: Faces, terms: Tensor) -> tuple[Tensor, Tensor]:
        """Known terms, faces on the presence axes and term rows (B, L) → centres and limits (B, d)."""
        attention, share = self.attend(known.vectors, terms)
        centres = self.centres(known.vectors, faces, terms, attention, share)
        return centres, self.limits(centres, known, faces, terms)

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

    def centres(self, vectors: Tensor, faces: Faces, terms: Tensor, attention: Tensor, share: Tensor) -> Tensor:
        """The attention-weighted midpoint of all pairs' midpoints, placed by the head, and the box's middle: (B, d).

        Terms that differ cancel in a midpoint, by about the root of their number, and a query of many words would lie
        nearer to the origin for that alone; so their effective number is put back.
        """
        c, radius = self.config.curvature, self.config.radius
        weight = attention / self._pair_norm(vectors, terms, share)
        # i's weight in all pairs in which it comes first, and in all in which it comes second
        total = (weight * share).sum(dim=2) + (weight * (1.0 - share)).sum(dim=1)
        effective = total.sum(dim=1).square() / total.square().sum(dim=1)
        middle = lorentz.exp_midpoint0(look_up(terms, vectors), total, limit=radius, c=c)
        low, high = faces
        return torch.cat([self.head(middle, effective.sqrt()[:, None]), 0.5 * (high + low)], dim=1)

    def limits(self, centres: Tensor, known: Terms, faces: Faces, terms: Tensor) -> Tensor:
        """From the centre past the origin on the place axes, and half the box on the presence axes: (B, d).

        General things lie near the origin, so that is inside; how far a region reaches past it is learnt for each axis,
        times a breadth that all terms add to, as each word of a query leaves fewer products. Limits do not pull on
        their centre.
        """
        place = self.config.place
        if not self.config.presence:
            return torch.full((len(terms), place), _NO_LIMIT, dtype=known.vectors.dtype)
        breadth = look_up(terms, known.breadth).sum(dim=1)  # the padding term's is zero
        past = (self.raw_limit + _BREADTH_REACH * torch.tanh(breadth / _BREADTH_REACH)).exp()
        low, high = faces
        return torch.cat([centres[:, :place].detach().abs() + past, 0.5 * (high - low)], dim=1)

    def _pair_norm(self, vectors: Tensor, terms: Tensor, share: Tensor) -> Tensor:
        """√c times the Lorentz norm of share·xᵢ + (1 − share)·xⱼ: what a pair's midpoint is divided by."""
        c = self.config.curvature
        if c == 0:
            return torch.ones_like(share)
        points = look_up(terms, lorentz.exp_map0(lorentz.bound(vectors, limit=self.config.radius), c=c))
        time = lorentz.time(points, c=c)
        gram = c * (time[:, :, None] * time[:, None, :] - points @ points.mT)
        other = 1.0 - share
        norm: Tensor = (share * share + other * other + 2.0 * share * other * gram.clamp(min=1.0)).sqrt()
        return norm


class ProductEncoder(nn.Module):
    """Title terms → self-attention → attention-weighted midpoint, and the largest marks → the product's point."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.place, config.attention_dim, bias=False)
        self.key = nn.Linear(config.place, config.attention_dim, bias=False)
        self.value = nn.Linear(config.place, config.place, bias=False)
        self.own = nn.Linear(config.place, 1)
        self.position = nn.Parameter(torch.zeros(2, config.max_title_terms))
        self.stretch = Stretch(config)
        self.head = PlaceHead(config, gain=_TITLE_GAIN)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.own.weight)

    def forward(self, vectors: Tensor, shown: Tensor, terms: Tensor) -> Tensor:
        """Term vectors (T, d − P) and term rows (B, L) → points (B, d)."""
        contextual, weights = self.attend(vectors, terms)
        return self.point(contextual, weights, self.stretch(vectors, terms), shown)

    def point(self, contextual: Tensor, weights: Tensor, stretch: Tensor, shown: Tensor) -> Tensor:
        """Where titles lie (B, d) whose terms have these vectors in context (B, L, d − P) and weights (B, L)."""
        middle = lorentz.exp_midpoint0(contextual, weights, limit=self.config.radius, c=self.config.curvature)
        return torch.cat([self.head(middle, stretch), shown], dim=1)

    def attend(self, vectors: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        """Terms after self-attention (B, L, d − P), and the attention over them (B, L)."""
        mask = terms != 0
        logits = look_up(terms, self.query(vectors)) @ look_up(terms, self.key(vectors)).mT
        logits = logits / math.sqrt(self.config.attention_dim)
        attention = torch.where(mask[:, None, :], logits, _NEGATIVE).softmax(dim=-1)
        contextual = look_up(terms, vectors) + attention @ look_up(terms, self.value(vectors))
        own = self.own(contextual).squeeze(-1) + self._place(mask)
        return contextual, torch.where(mask, own, _NEGATIVE).softmax(dim=-1)

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
        self.gamma_logit = nn.Parameter(torch.tensor(math.log(0.9 / 0.1)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(8.0)))

    @property
    def gamma(self) -> Tensor:
        """Weight of d_in in the containment distance, in (0, 1)."""
        return torch.sigmoid(self.gamma_logit)

    def encode_queries(self, features: Tensor, terms: Tensor) -> tuple[Tensor, Tensor]:
        """(T, F), (B, L) → centres and limits (B, d)."""
        known = self.embedding(features)
        centre, limit = self.query(known, presence_box(known.marks, terms), terms)
        return centre, limit

    def encode_products(self, features: Tensor, terms: Tensor) -> Tensor:
        """(T, F), (B, L) → points (B, d)."""
        known = self.embedding(features)
        point: Tensor = self.product(known.vectors, presence_point(known.marks, terms), terms)
        return point
