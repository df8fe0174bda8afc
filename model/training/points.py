"""The first stage: where queries and products lie.

Every query of a batch is scored against every product of it by the distance from its centre, which is one matrix
product; limits play no part yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from model import lorentz
from model.losses import listwise

if TYPE_CHECKING:
    from torch import Tensor

    from model.encoders import Anthem
    from model.text import TermBatch
    from model.training.batches import BatchSource

_LENGTH_GROUPS = 4
"""Titles are encoded in this many groups of like lengths: padding would otherwise be half of the work."""


class PointStage:
    """Full in-batch softmax on the distance to the centre."""

    name = "points"
    learns_regions = False

    def __init__(self, model: Anthem, source: BatchSource, *, rate: float) -> None:
        self._model = model
        self._source = source
        self._rate = rate

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The embedding table, whose rows are each seen rarely, learns faster than what every text shares."""
        model = self._model
        table = model.embedding.table.weight
        left_out: set[Tensor] = {table, model.gamma_logit, *model.query.limit.parameters()}
        shared = [parameter for parameter in model.parameters() if parameter not in left_out]
        return [{"params": [table], "lr": self._rate}, {"params": shared, "lr": self._rate / 3}]

    def loss(self, number: int) -> Tensor:
        """The loss of batch ``number``."""
        batch = self._source.batch(number)
        points = self._points(batch.products)
        centres = self._centres(batch.queries)
        distances = lorentz.pairwise_dist(centres, points, c=self._model.config.curvature)
        return listwise(-self._model.log_scale.exp() * distances, torch.from_numpy(batch.gains))

    def _points(self, titles: TermBatch) -> Tensor:
        vectors = self._model.embedding(torch.from_numpy(titles.features))
        lengths = (titles.terms != 0).sum(axis=1)
        order = np.argsort(lengths, kind="stable")
        groups = [
            self._model.product(vectors, torch.from_numpy(titles.terms[rows, : lengths[rows].max()]))
            for rows in np.array_split(order, _LENGTH_GROUPS)
            if len(rows)
        ]
        return torch.cat(groups)[torch.from_numpy(np.argsort(order))]

    def _centres(self, queries: TermBatch) -> Tensor:
        model = self._model
        vectors = model.embedding(torch.from_numpy(queries.features))
        terms = torch.from_numpy(queries.terms)
        attention, share = model.query.attend(vectors, terms)
        return model.query.centre(vectors, terms, attention, share)
