"""Training ANTHEM within a budget, from a checkpoint if there is one; the model kept is the best on the dev queries."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict

from model.encoders import Anthem, EncoderConfig
from model.text import Terms, Tokenizer, Vocabulary
from model.training import checkpoint
from model.training.batches import BatchShape, BatchSource
from model.training.breadth import set_breadths
from model.training.dev import DevSet
from model.training.objective import Objective
from model.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from model.training.examples import Examples

DEV_METRIC = "R(rel=4)@10"
EVALUATIONS = 6
CHECKPOINT_SECONDS = 30.0
_WARM_UP = 0.02
_FLAT_UNTIL = 0.3
_LAST_RATE = 0.02


class Recipe(BaseModel):
    """Everything that decides a run beside its data; a checkpoint only resumes under the same one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = 10.0
    """Wall-clock budget, dev evaluations included."""
    steps: int | None = None
    """Steps instead of minutes: the same result on any machine of one kind."""
    seed: int = 0
    dim: int = 256
    regions: bool = True
    """A quarter of the axes are presence axes; without regions it is a plain vector model."""
    curvature: float = 1.0
    radius: float = 6.0
    spherical: bool = False
    """All places at the distance ``radius``; with curvature 0, a cosine model."""
    terms: Terms = "word"
    rate: float = 0.008
    judged_per_batch: int = 192
    pseudo_per_batch: int = 384


@dataclass(frozen=True, slots=True)
class Trained:
    """The best model on dev, its tokeniser, its dev metrics, and what it took."""

    model: Anthem
    tokenizer: Tokenizer
    metrics: dict[str, float]
    steps: int
    seconds: float


@dataclass(slots=True)
class _State:
    """What a checkpoint remembers beside tensors."""

    step: int = 0
    seconds: float = 0.0
    evaluated: int = 0
    best: float = -1.0
    metrics: dict[str, float] | None = None


class Trainer:
    """One training run; ``data`` names the files it learns from by their fingerprints.

    Raises:
        ResumeError: ``directory`` holds a checkpoint of another recipe or other data.
    """

    def __init__(
        self,
        examples: Examples,
        recipe: Recipe,
        *,
        directory: Path,
        data: Mapping[str, str],
        report: Callable[[Progress], None],
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self._examples = examples
        self._directory = directory
        self._data = dict(data)
        self._report = report
        vocabulary = Vocabulary.learn([*examples.texts, *examples.train], terms=recipe.terms)
        self.tokenizer = Tokenizer(vocabulary)
        self.model = Anthem(
            EncoderConfig(
                features=vocabulary.size,
                dim=recipe.dim,
                presence=max(1, recipe.dim // 4) if recipe.regions else 0,
                curvature=recipe.curvature,
                radius=recipe.radius,
                spherical=recipe.spherical,
                max_title_terms=vocabulary.max_title_terms,
            )
        )
        set_breadths(self.model, self.tokenizer, examples.texts)
        self._dev = DevSet(examples, self.tokenizer, seed=recipe.seed)
        self._state = _State()
        self._best: dict[str, Tensor] = _copy(self.model)
        self._moments: dict[str, Tensor] = {}
        self.resumed_at = self._resume()

    def fit(self) -> Trained:
        """Train what the budget leaves to train and return the best model."""
        if self._fraction() < 1.0:
            self._train()
            self._save(None)
        self.model.load_state_dict(self._best)
        return Trained(
            model=self.model,
            tokenizer=self.tokenizer,
            metrics=self._state.metrics or {},
            steps=self._state.step,
            seconds=self._state.seconds,
        )

    def _train(self) -> None:
        state, recipe = self._state, self.recipe
        clock = saved = time.monotonic()
        shape = BatchShape(judged=recipe.judged_per_batch, pseudo=recipe.pseudo_per_batch)
        source = BatchSource(self._examples, self.tokenizer, shape, seed=recipe.seed)
        objective = Objective(self.model, source, rate=recipe.rate, seed=recipe.seed)
        groups = objective.parameter_groups()
        rates = [group["lr"] for group in groups]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98), fused=True)
        checkpoint.restore(optimizer, self._moments)
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
                group["lr"] = rate * _schedule(fraction)
            loss = objective.loss(state.step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            state.step += 1
            smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
            self._report(Progress(state.step, fraction, smooth))

    def _fraction(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        if self.recipe.steps is not None:
            return min(1.0, self._state.step / self.recipe.steps)
        return min(1.0, self._state.seconds / (self.recipe.minutes * 60.0))

    def _evaluate(self, loss: float) -> None:
        state = self._state
        state.evaluated += 1
        metrics = self._dev.evaluate(self.model)
        if metrics[DEV_METRIC] > state.best:
            state.best, state.metrics = metrics[DEV_METRIC], metrics
            self._best = _copy(self.model)
        self._report(Progress(state.step, self._fraction(), loss, metrics))

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= checkpoint.moments(optimizer) if optimizer else {}
        state = {name: getattr(self._state, name) for name in _State.__slots__}
        checkpoint.save(self._directory, tensors, state | self._identity())

    def _identity(self) -> dict[str, dict[str, Any]]:
        return {"recipe": self.recipe.model_dump(), "data": self._data}

    def _resume(self) -> int | None:
        """Take up the checkpoint of this very run, if there is one; returns its step."""
        loaded = checkpoint.load(self._directory)
        if loaded is None:
            return None
        tensors, state = loaded
        checkpoint.check(self._identity(), state, directory=self._directory)
        self.model.load_state_dict(checkpoint.under("model.", tensors))
        self._best = checkpoint.under("best.", tensors)
        self._moments = checkpoint.under("adam.", tensors)
        self._state = _State(**{name: state[name] for name in _State.__slots__})
        return self._state.step


def _copy(model: Anthem) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _schedule(fraction: float) -> float:
    """Learning rate over its peak: a short warm-up, flat, then a cosine down."""
    if fraction < _FLAT_UNTIL:
        return min(1.0, (fraction + 1e-3) / _WARM_UP)
    angle = math.pi * (fraction - _FLAT_UNTIL) / (1.0 - _FLAT_UNTIL)
    return max(_LAST_RATE, 0.5 * (1.0 + math.cos(angle)))
