"""Losses over scores: what pulls a query's products towards it and pushes the others away.

Shapes: Q queries, P products (of the batch, or listed per query).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


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
