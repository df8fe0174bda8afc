"""Dev figures of a behaviour network: mean reciprocal rank over the whole catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from model.behaviour.network import Dcah

_BATCH = 256


@torch.no_grad()
def mean_reciprocal_rank(network: Dcah, asked: Tensor, products: Tensor, wanted: Tensor) -> float:
    """MRR of the ``wanted`` products (B,) for query vectors ``asked`` (B, d) among all ``products`` (N, d).

    Equal scores share the mean of their ranks.
    """
    total = 0.0
    for start in range(0, len(asked), _BATCH):
        part = slice(start, start + _BATCH)
        scores = network.scores(asked[part], products)
        own = scores.gather(1, wanted[part, None])
        better, equal = (scores > own).sum(1), (scores == own).sum(1)
        total += float((1.0 / (1.0 + better + 0.5 * (equal - 1))).sum())
    return total / max(1, len(asked))
