"""Training ANTHEM: points first, then regions, within a budget, from a checkpoint if there is one.

The first stage learns where queries and products lie (:mod:`model.training.points`), the second how far a query
reaches (:mod:`model.training.regions`); learnt together from the start, regions only hurt. The model kept is the one
that was best on the dev queries.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict

from model.encoders import Anthem, EncoderConfig
from model.text import Terms, Tokenizer, Vocabulary
from model.training import checkpoint
from model.training.batches import BatchShape, BatchSource
from model.training.dev import DevSet
from model.training.points import PointStage
from model.training.regions import RegionStage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from model.training.examples import Examples

DEV_METRIC = "R(rel=4)@10"
STAGE_SHARES = (0.9, 0.1)
EVALUATIONS = (5, 1)
CHECKPOINT_SECONDS = 30.0
_WARM_UP = 0.02
_FLAT_UNTIL = 0.3
_LAST_RATE = 0.02


class ResumeError(ValueError):
    """A checkpoint of another run than the one asked for."""


class Recipe(BaseModel):
    """Everything that decides a run beside its data; a checkpoint only resumes under the same one."""

    model_config = ConfigDict(frozen=True)

    minutes: float = 10.0
    """Wall-clock budget of both stages, dev evaluations included."""
    steps: int | None = None
    """Steps of both stages, instead of minutes: the same result on any machine of one kind."""
    seed: int = 0
    dim: int = 128
    curvature: float = 1.0
    radius: float = 4.0
    terms: Terms = "word"
    rate: float = 0.008
    judged_per_batch: int = 192
    pseudo_per_batch: int = 384


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run tells while it goes; ``metrics`` only right after a dev evaluation."""

    stage: str
    step: int
    fraction: float
    loss: float
    metrics: dict[str, float] | None = None


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
    """What a checkpoint remembers beside tensors; ``step`` and ``seconds`` count both stages."""

    stage: int = 0
    step: int = 0
    stage_step: int = 0
    seconds: float = 0.0
    stage_seconds: float = 0.0
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
                curvature=recipe.curvature,
                radius=recipe.radius,
                max_title_terms=vocabulary.max_title_terms,
            )
        )
        self._dev = DevSet(examples, self.tokenizer, seed=recipe.seed)
        self._state = _State()
        self._best: dict[str, Tensor] = _copy(self.model)
        self._moments: dict[str, Tensor] = {}
        self.resumed_at = self._resume()

    def fit(self) -> Trained:
        """Train what the budget leaves to train and return the best model."""
        while self._state.stage < len(STAGE_SHARES):
            self._run_stage()
            self.model.load_state_dict(self._best)
            self._state.stage += 1
            self._state.stage_step = self._state.evaluated = 0
            self._state.stage_seconds, self._state.best = 0.0, -1.0
            self._moments = {}
            self._save(None)
        return Trained(
            model=self.model,
            tokenizer=self.tokenizer,
            metrics=self._state.metrics or {},
            steps=self._state.step,
            seconds=self._state.seconds,
        )

    def _run_stage(self) -> None:
        state = self._state
        clock = time.monotonic()
        stage = self._make_stage()
        groups = stage.parameter_groups()
        rates = [group["lr"] for group in groups]
        optimizer = torch.optim.Adam(groups, betas=(0.9, 0.98), fused=True)
        _restore(optimizer, self._moments)
        saved = time.monotonic()
        smooth = math.nan
        while True:
            now = time.monotonic()
            state.seconds += now - clock
            state.stage_seconds += now - clock
            clock = now
            fraction = self._fraction()
            if fraction >= (state.evaluated + 1) / EVALUATIONS[state.stage]:
                self._evaluate(stage, smooth)
                if fraction >= 1.0:
                    return
            if now - saved > CHECKPOINT_SECONDS:
                self._save(optimizer)
                saved = time.monotonic()
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * _schedule(fraction)
            loss = stage.loss(state.step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            state.step, state.stage_step = state.step + 1, state.stage_step + 1
            smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
            self._report(Progress(stage.name, state.step, self._overall(fraction), smooth))

    def _make_stage(self) -> PointStage | RegionStage:
        recipe = self.recipe
        if self._state.stage == 0:
            shape = BatchShape(judged=recipe.judged_per_batch, pseudo=recipe.pseudo_per_batch)
            source = BatchSource(self._examples, self.tokenizer, shape, seed=recipe.seed)
            return PointStage(self.model, source, rate=recipe.rate)
        stage = RegionStage(self.model, self._examples, self.tokenizer, seed=recipe.seed)
        if self._state.stage_step == 0:
            stage.begin()
        return stage

    def _fraction(self) -> float:
        """How much of this stage's budget is spent, 0 to 1."""
        share = STAGE_SHARES[self._state.stage]
        if self.recipe.steps is not None:
            return min(1.0, self._state.stage_step / max(1, round(self.recipe.steps * share)))
        return min(1.0, self._state.stage_seconds / (self.recipe.minutes * 60.0 * share))

    def _overall(self, fraction: float) -> float:
        stage = self._state.stage
        return sum(STAGE_SHARES[:stage]) + fraction * STAGE_SHARES[stage]

    def _evaluate(self, stage: PointStage | RegionStage, loss: float) -> None:
        state = self._state
        state.evaluated += 1
        metrics = self._dev.evaluate(self.model, regions=stage.learns_regions)
        if metrics[DEV_METRIC] > state.best:
            state.best, state.metrics = metrics[DEV_METRIC], metrics
            self._best = _copy(self.model)
        self._report(Progress(stage.name, state.step, self._overall(self._fraction()), loss, metrics))

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        for index, moments in (optimizer.state_dict()["state"] if optimizer else {}).items():
            tensors |= {f"adam.{index}.{name}": tensor for name, tensor in moments.items()}
        state = {name: getattr(self._state, name) for name in _State.__slots__}
        identity = {"recipe": self.recipe.model_dump(), "data": self._data}
        checkpoint.save(self._directory, tensors, state | identity)

    def _resume(self) -> int | None:
        """Take up the checkpoint of this very run, if there is one; returns its step."""
        loaded = checkpoint.load(self._directory)
        if loaded is None:
            return None
        tensors, state = loaded
        asked = {**self._data, **self.recipe.model_dump()}
        found = {**state["data"], **state["recipe"]}
        differing = [
            f"{key} {found.get(key)!r}, not {value!r}" for key, value in asked.items() if found.get(key) != value
        ]
        if differing:
            raise ResumeError(
                f"the checkpoint in {self._directory} is of another run: its {'; its '.join(differing)}. "
                "Ask for the same again to resume it, or start afresh"
            )
        self.model.load_state_dict(_under("model.", tensors))
        self._best = _under("best.", tensors)
        self._moments = _under("adam.", tensors)
        self._state = _State(**{name: state[name] for name in _State.__slots__})
        return self._state.step


def _copy(model: Anthem) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _restore(optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    """Give an optimiser the moments that a checkpoint holds as ``<parameter>.<name>``."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _schedule(fraction: float) -> float:
    """Learning rate over its peak: a short warm-up, flat, then a cosine down."""
    if fraction < _FLAT_UNTIL:
        return min(1.0, (fraction + 1e-3) / _WARM_UP)
    angle = math.pi * (fraction - _FLAT_UNTIL) / (1.0 - _FLAT_UNTIL)
    return max(_LAST_RATE, 0.5 * (1.0 + math.cos(angle)))
