"""Losses over scores: what pulls a query's products towards it and pushes the others away.

Shapes: Q queries, P products (of the batch, or listed per query).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from torch import Tensor

_SHARPNESS = 25.0
"""How close to the worst axis alone a box's smooth maximum comes, per unit of excess."""
_WIDTH = 0.1
"""How far inside or outside is sure, in units of excess."""


def listwise(scores: Tensor, gains: Tensor) -> Tensor:
    """Cross-entropy between each row's gains, scaled to sum to one, and the softmax of its scores (ListNet).

    Args:
        scores: (Q, P), larger is better; −inf leaves an entry out.
        gains: (Q, P) ≥ 0. A row without any gain has nothing to learn from and does not count.

    Returns:
        The mean over the rows that count; zero when none does.
    """
    total = gains.sum(dim=1)
    counts = (total > 0).to(scores.dtype)
    logs = scores.log_softmax(dim=1)
    cross = -torch.where(gains > 0, gains * logs, torch.zeros_like(logs)).sum(dim=1) / total.clamp(min=1e-9)
    return (cross * counts).sum() / counts.sum().clamp(min=1.0)


def membership(excess: Tensor, inside: Tensor, outside: Tensor, *, outside_weight: float) -> Tensor:
    """Logistic loss of what a box should hold and what it should not, by the axis on which each is furthest out.

    Args:
        excess: (Q, P, d), how far a product is beyond the box on each axis; negative inside.
        inside: (Q, P) of bool, what the box should hold.
        outside: (Q, P) of bool, what it should not; what is neither does not count.
        outside_weight: weight of the second, over that of the first.

    Returns:
        The mean over the boxes of both means.
    """
    depth = -(_SHARPNESS * excess).logsumexp(dim=-1) / (_SHARPNESS * _WIDTH)  # > 0 only inside
    taken_in = _mean(softplus(-depth), inside)
    kept_out = _mean(softplus(depth), outside)
    return (taken_in + outside_weight * kept_out).mean()


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Each row's mean of what is counted, or zero: (Q, P), (Q, P) → (Q)."""
    return torch.where(counted, values, 0.0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
