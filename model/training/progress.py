"""What a training tells while it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Stage = Literal["pretraining", "training"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; ``metrics`` only right after a dev evaluation."""

    step: int
    fraction: float
    """Of the stage, 0 to 1."""
    loss: float
    metrics: Mapping[str, float] | None = None
    stage: Stage = "training"
