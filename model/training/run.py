"""One training run: batch after batch until the budget is spent, dev evaluations on the way, the best state in the end.

What learns is behind :class:`Learner`. A run that was stopped goes on from its checkpoint, if it is asked for the same
again.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from model.training import checkpoint
from model.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor
    from torch.optim import Optimizer

EVALUATIONS = 6
"""Dev evaluations of a run, evenly over its budget; the last one ends it."""
CHECKPOINT_SECONDS = 30.0


class Budget(BaseModel):
    """The part of a recipe that says when a run ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = 10.0
    """Wall-clock budget, dev evaluations included."""
    steps: int | None = None
    """Steps instead of minutes: the same result on any machine of one kind."""


class Learner(Protocol):
    """What a run trains."""

    def optimizer(self) -> Optimizer:
        """A new optimiser of all that is learnt, its groups at their peak rates."""

    def loss(self, number: int) -> Tensor:
        """The loss of batch ``number``, which is a function of the seed and the number alone."""

    def evaluate(self) -> dict[str, float]:
        """Metrics on dev."""

    def tensors(self) -> dict[str, Tensor]:
        """A copy of all that is learnt, as it stands."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up such a copy."""


@dataclass(slots=True)
class State:
    """Where a run stands: its steps and seconds, its dev evaluations, and the best of them."""

    step: int = 0
    seconds: float = 0.0
    evaluated: int = 0
    best: float = -1.0
    metrics: dict[str, float] | None = None


class Run:
    """Trains ``learner`` as ``recipe`` says; ``data`` names what it learns from by fingerprints.

    ``metric`` is the one on dev that decides, larger is better; ``schedule`` gives the rate over its peak for the
    fraction of the budget that is spent.

    Raises:
        ResumeError: ``directory`` holds a checkpoint of another recipe, other data or an earlier version.
    """

    def __init__(
        self,
        learner: Learner,
        recipe: Budget,
        *,
        metric: str,
        schedule: Callable[[float], float],
        directory: Path,
        data: Mapping[str, str],
        report: Callable[[Progress], None],
    ) -> None:
        self._learner, self._budget = learner, recipe
        self._metric, self._schedule = metric, schedule
        self._directory, self._report = directory, report
        self._identity: dict[str, dict[str, Any]] = {"recipe": recipe.model_dump(mode="json"), "data": dict(data)}
        self._best = learner.tensors()
        self._moments: dict[str, Tensor] = {}
        self.state = State()
        self.resumed_at = self._resume()

    def fit(self) -> State:
        """Train what the budget leaves to train, and leave the learner in its best state."""
        if self._fraction() < 1.0:
            self._train()
            self._save(None)
        self._learner.load(self._best)
        return self.state

    def _train(self) -> None:
        state = self.state
        clock = saved = time.monotonic()
        optimizer = self._learner.optimizer()
        checkpoint.restore(optimizer, self._moments)
        rates = [group["lr"] for group in optimizer.param_groups]
        smooth = math.nan
        while True:
            now = time.monotonic()
            state.seconds += now - clock
            clock = now
            fraction = self._fraction()
            if fraction >= (state.evaluated + 1) / EVALUATIONS:
                self._evaluate(smooth)
                if fraction >= 1.0:
                    return
            if now - saved > CHECKPOINT_SECONDS:
                self._save(optimizer)
                saved = time.monotonic()
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * self._schedule(fraction)
            loss = self._learner.loss(state.step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            state.step += 1
            smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
            self._report(Progress(state.step, fraction, smooth))

    def _fraction(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        if self._budget.steps is not None:
            return min(1.0, self.state.step / self._budget.steps)
        return min(1.0, self.state.seconds / (self._budget.minutes * 60.0))

    def _evaluate(self, loss: float) -> None:
        state = self.state
        state.evaluated += 1
        metrics = self._learner.evaluate()
        if metrics[self._metric] > state.best:
            state.best, state.metrics = metrics[self._metric], metrics
            self._best = self._learner.tensors()
        self._report(Progress(state.step, self._fraction(), loss, metrics))

    def _save(self, optimizer: Optimizer | None) -> None:
        tensors = {f"now.{name}": tensor for name, tensor in self._learner.tensors().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= checkpoint.moments(optimizer) if optimizer else {}
        state = {name: getattr(self.state, name) for name in State.__slots__}
        checkpoint.save(self._directory, tensors, state | self._identity)

    def _resume(self) -> int | None:
        """Take up the checkpoint of this very run, if there is one; returns its step."""
        loaded = checkpoint.load(self._directory)
        if loaded is None:
            return None
        tensors, state = loaded
        checkpoint.check(self._identity, state, directory=self._directory)
        now = checkpoint.under("now.", tensors)
        if not now:
            raise checkpoint.ResumeError(
                f"the checkpoint in {self._directory} was written by an earlier version, with other names: start afresh"
            )
        self._learner.load(now)
        self._best = checkpoint.under("best.", tensors)
        self._moments = checkpoint.under("adam.", tensors)
        self.state = State(**{name: state[name] for name in State.__slots__})
        return self.state.step
