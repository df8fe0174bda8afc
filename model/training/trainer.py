"""Training ANTHEM within a budget, from a checkpoint if there is one; the model kept is the best on the dev queries."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from model.encoders import Anthem, EncoderConfig
from model.text import Terms, Tokenizer, Vocabulary
from model.training.batches import BatchShape, BatchSource
from model.training.breadth import set_breadths
from model.training.dev import DevSet
from model.training.objective import Objective
from model.training.run import Budget, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from model.training.examples import Examples
    from model.training.progress import Progress

DEV_METRIC = "R(rel=4)@10"
_WARM_UP = 0.02
_FLAT_UNTIL = 0.3
_LAST_RATE = 0.02


class Recipe(Budget):
    """Everything that decides a run beside its data; a checkpoint only resumes under the same one."""

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
        self._run = Run(
            self, recipe, metric=DEV_METRIC, schedule=_schedule, directory=directory, data=data, report=report
        )
        self.resumed_at = self._run.resumed_at

    def fit(self) -> Trained:
        """Train what the budget leaves to train and return the best model."""
        state = self._run.fit()
        return Trained(self.model, self.tokenizer, state.metrics or {}, state.step, state.seconds)

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam, with a rate for the embedding table and one for all else."""
        return torch.optim.Adam(self._objective.parameter_groups(), betas=(0.9, 0.98), fused=True)

    def loss(self, number: int) -> Tensor:
        """The loss of batch ``number``."""
        return self._objective.loss(number)

    def evaluate(self) -> dict[str, float]:
        """Retrieve metrics on dev."""
        return self._dev.evaluate(self.model)

    def tensors(self) -> dict[str, Tensor]:
        """A copy of the model as it stands."""
        return {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Make the model what a copy of it was."""
        self.model.load_state_dict(tensors)

    @cached_property
    def _objective(self) -> Objective:
        recipe = self.recipe
        shape = BatchShape(judged=recipe.judged_per_batch, pseudo=recipe.pseudo_per_batch)
        source = BatchSource(self._examples, self.tokenizer, shape, seed=recipe.seed)
        return Objective(self.model, source, rate=recipe.rate, seed=recipe.seed)


def _schedule(fraction: float) -> float:
    """Learning rate over its peak: a short warm-up, flat, then a cosine down."""
    if fraction < _FLAT_UNTIL:
        return min(1.0, (fraction + 1e-3) / _WARM_UP)
    angle = math.pi * (fraction - _FLAT_UNTIL) / (1.0 - _FLAT_UNTIL)
    return max(_LAST_RATE, 0.5 * (1.0 + math.cos(angle)))
