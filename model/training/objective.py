"""What training minimises: where queries and products lie, and how far a query reaches, learnt together.

Every query of a batch is scored against every product of it by the distance from its centre, which is one matrix
product. What a region adds costs more and is taken on some of the queries, each with its answers, its nearest other
products and some at random: the containment distance, the score that ranks in the end; and membership, so that answers
lie inside and others outside.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from model import lorentz
from model.encoders import MARK_LENGTH, presence_box, presence_point
from model.hyperboloid import containment
from model.losses import listwise, membership
from model.metrics import RELEVANT_GRADE
from model.training.batches import GAINS
from model.training.lengths import by_length

if TYPE_CHECKING:
    from torch import Tensor

    from model.encoders import Anthem, Faces, Terms
    from model.text import TermBatch
    from model.training.batches import Batch, BatchSource

_SHARED_RATE = 1 / 3
"""Learning rate of what every text shares, over that of the embedding table, whose rows are each seen rarely."""

OWN_WEIGHT = 0.2
"""Weight of ranking a judged query's own products, its nearest rivals, over ranking all of the batch."""
CONTAINMENT_WEIGHT = 0.3
MEMBERSHIP_WEIGHT = 0.3
OUTSIDE_WEIGHT = 9.0
"""What keeping products out counts in membership, over what taking answers in does."""

_REGION_QUERIES = 96
_NEAREST = 16
_RANDOM = 20
_IRRELEVANT_GRADE = 2
_ANSWER = float(GAINS[RELEVANT_GRADE])


@dataclass(frozen=True, slots=True)
class _Queries:
    """Encoded queries (Q) but for their limits; ``scale`` (Q, 1) is what their distances are multiplied by."""

    known: Terms
    terms: Tensor
    faces: Faces
    centres: Tensor
    scale: Tensor


class Objective:
    """The loss of batch after batch, and the parameters it trains."""

    def __init__(self, model: Anthem, source: BatchSource, *, rate: float, seed: int) -> None:
        self._model = model
        self._source = source
        self._rate = rate
        self._seed = seed
        self._drawing = ThreadPoolExecutor(max_workers=1)
        self._ahead: tuple[int, Future[Batch] | None] = (0, None)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Two groups for the optimiser: the embedding table, and all else."""
        table = self._model.embedding.table.weight
        shared = [parameter for parameter in self._model.parameters() if parameter is not table]
        return [{"params": [table], "lr": self._rate}, {"params": shared, "lr": self._rate * _SHARED_RATE}]

    def loss(self, number: int) -> Tensor:
        """The loss of batch ``number``."""
        batch = self._draw(number)
        points = self._points(batch.products)
        queries = self._queries(batch.queries)
        distances = lorentz.pairwise_dist(queries.centres, points, c=self._model.config.curvature)
        loss = _ranking(-queries.scale * distances, batch)
        if self._model.config.presence:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + number)
            drawn = torch.randperm(len(distances), generator=generator)[:_REGION_QUERIES]
            columns = _columns(batch, drawn, distances.detach()[drawn], generator)
            loss = loss + self._region_loss(batch, queries, drawn, points[columns], columns)
        self._ahead = number + 1, self._drawing.submit(self._source.batch, number + 1)
        return loss

    def _draw(self, number: int) -> Batch:
        """Batch ``number``, which was drawn while gradients were taken if it is the next."""
        drawn, ahead = self._ahead
        return ahead.result() if drawn == number and ahead else self._source.batch(number)

    def _region_loss(self, batch: Batch, queries: _Queries, drawn: Tensor, points: Tensor, columns: Tensor) -> Tensor:
        """What regions add for the ``drawn`` queries (R) and the ``points`` (R, K, d) in their ``columns`` (R, K)."""
        model = self._model
        (low, high), centres = queries.faces, queries.centres[drawn]
        limits = model.query.limits(centres, queries.known, (low[drawn], high), queries.terms[drawn])
        gains = torch.from_numpy(batch.gains)[drawn].gather(1, columns)
        grades = _grades(batch, drawn).gather(1, columns)
        inside = gains >= _ANSWER
        outside = ~inside & (grades <= _IRRELEVANT_GRADE)
        # a judged query's nearest products may be answers that nobody judged
        doubtful = (drawn < len(batch.grades))[:, None] & (grades < 0)
        outside[:, :-_RANDOM] &= ~doubtful[:, :-_RANDOM]
        distances = containment(points, centres[:, None], limits[:, None], c=model.config.curvature, gamma=model.gamma)
        offsets = (points - centres[:, None]).abs()
        place = model.config.place
        # what lies where is the ranking's to say: on place axes membership moves limits alone
        beyond = offsets[..., :place].detach() - limits[:, None, :place]
        lacking = (offsets[..., place:] - limits[:, None, place:]) / MARK_LENGTH
        excess = torch.cat([beyond, lacking], dim=-1)
        return CONTAINMENT_WEIGHT * listwise(-queries.scale[drawn] * distances, gains) + MEMBERSHIP_WEIGHT * membership(
            excess, inside, outside, outside_weight=OUTSIDE_WEIGHT
        )

    def _queries(self, texts: TermBatch) -> _Queries:
        model = self._model
        known = model.embedding(torch.from_numpy(texts.features))
        terms = torch.from_numpy(texts.terms)
        faces = presence_box(known.marks, terms)
        attention, share = model.query.attend(known.vectors, terms)
        return _Queries(
            known=known,
            terms=terms,
            faces=faces,
            centres=model.query.centres(known.vectors, faces, terms, attention, share),
            scale=model.log_scale.exp() * model.query.sharpness(known.vectors, terms),
        )

    def _points(self, titles: TermBatch) -> Tensor:
        model = self._model
        known = model.embedding(torch.from_numpy(titles.features))
        return by_length(
            lambda terms: model.product(known.vectors, presence_point(known.marks, terms), terms),
            torch.from_numpy(titles.terms),
        )


def _ranking(scores: Tensor, batch: Batch) -> Tensor:
    """Listwise loss of all queries on all products (Q, P), and of judged ones on what was judged for them."""
    gains = torch.from_numpy(batch.gains)
    loss = listwise(scores, gains)
    judged = len(batch.grades)
    if not judged:
        return loss
    own = scores[:judged].masked_fill(torch.from_numpy(batch.grades) < 0, -torch.inf)
    return loss + OWN_WEIGHT * listwise(own, gains[:judged])


def _grades(batch: Batch, drawn: Tensor) -> Tensor:
    """Grades of the ``drawn`` queries (R, P), −1 for what was not judged."""
    grades = torch.full((len(drawn), batch.gains.shape[1]), -1, dtype=torch.int8)
    judged = drawn < len(batch.grades)
    grades[judged] = torch.from_numpy(batch.grades)[drawn[judged]]
    return grades


def _columns(batch: Batch, drawn: Tensor, distances: Tensor, generator: torch.Generator) -> Tensor:
    """For every drawn query (R, K): answers and judged products in any order, then the nearest, then some at random."""
    known = (torch.from_numpy(batch.gains)[drawn] >= _ANSWER) | (_grades(batch, drawn) >= 0)
    first = torch.where(known, torch.rand(known.shape, generator=generator) + distances.max() + 1.0, -distances)
    nearest = first.topk(min(_NEAREST, first.shape[1]), dim=1).indices
    others = torch.randint(0, first.shape[1], (len(drawn), _RANDOM), generator=generator)
    return torch.cat([nearest, others], dim=1)
