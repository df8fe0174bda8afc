"""Texts of like lengths together: padding would otherwise be half of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

_GROUPS = 4


def by_length(encode: Callable[[Tensor], Tensor], terms: Tensor) -> Tensor:
    """What ``encode`` makes of term rows (B, L), padded at the end with 0, a group of like lengths at a time: (B, …).

    Every group is cut to its longest text, so what is made of a text must not depend on its padding.
    """
    lengths = (terms != 0).sum(dim=1)
    order = lengths.argsort(stable=True)
    groups = [rows for rows in order.tensor_split(_GROUPS) if len(rows)]
    encoded = torch.cat([encode(terms[rows, : max(1, int(lengths[rows].max()))]) for rows in groups])
    return encoded[order.argsort()]
