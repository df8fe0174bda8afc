"""Text and another system together, by weights that are chosen on dev."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.behaviour.baselines import Together
from benchmarks.behaviour.score import evaluate

if TYPE_CHECKING:
    from benchmarks.behaviour.baselines import TextAlone
    from benchmarks.behaviour.dev import Dev
    from benchmarks.behaviour.score import Ranker
    from benchmarks.behaviour.task import Task

WEIGHTS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0)


def fused(text: TextAlone, ranker: Ranker, task: Task, dev: Dev) -> dict[str, Any]:
    """Test figures by the weight that is best for new dev pairs, and by the one that is best for dev's clicks."""
    together = {weight: Together(text, ranker, weight) for weight in WEIGHTS}
    chosen = {
        "new": max(WEIGHTS, key=lambda weight: dev.new(together[weight])),
        "clicks": max(WEIGHTS, key=lambda weight: dev.clicks(together[weight])),
    }
    measured = {weight: evaluate(together[weight], task, task.test)[0] for weight in set(chosen.values())}
    return {name: {"weight": weight, **measured[weight][name]} for name, weight in chosen.items()}
