"""Training an image network within a budget, from a checkpoint if there is one; the one kept is the best on dev."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from model.image.measure import retrieval
from model.image.network import ImageNetwork, NetworkConfig
from model.image.proxies import HierarchicalProxies, Hierarchy
from model.training import checkpoint
from model.training.image.augmentation import augmented
from model.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from model.training.image.examples import Pictures

DEV_METRIC = "MAP@R"
EVALUATIONS = 6
CHECKPOINT_SECONDS = 30.0
_ENCODE_BATCH = 256
_WARM_UP = 0.05
_LAST_RATE = 0.01


class Recipe(BaseModel):
    """Everything that decides a run beside its data; a checkpoint only resumes under the same one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = 10.0
    """Wall-clock budget, dev evaluations included."""
    steps: int | None = None
    """Steps instead of minutes: the same result on any machine of one kind."""
    seed: int = 0
    batch: int = 96
    rate: float = 3e-3
    proxy_rate: float = 3e-2
    weight_decay: float = 1e-2
    network: NetworkConfig = NetworkConfig()
    hierarchy: Hierarchy = Hierarchy()
    trunk: str = "small"
    """What the trunk is: ``small``, or a backbone and the fingerprint of its weights."""


class Criterion(Protocol):
    """A loss with parameters of its own, such as :class:`model.image.proxies.HierarchicalProxies`."""

    def __call__(self, points: Tensor, labels: Tensor) -> Tensor:
        """The loss of ``points`` (N, d) of the classes ``labels`` (N)."""

    def advance(self, step: int) -> None:
        """What is due before ``step``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What it learns."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> object:
        """Take up what a checkpoint kept."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The best network on dev with its criterion, their dev metrics, and what it took."""

    network: ImageNetwork
    criterion: Criterion
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
    """One training run; ``data`` names what it learns from by fingerprints.

    ``network`` and ``criterion`` are made of the recipe unless they are given.

    Raises:
        ResumeError: ``directory`` holds a checkpoint of another recipe or other data.
    """

    def __init__(
        self,
        train: Pictures,
        dev: Pictures,
        recipe: Recipe,
        *,
        directory: Path,
        data: Mapping[str, str],
        report: Callable[[Progress], None],
        network: ImageNetwork | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self._pixels = torch.from_numpy(train.pixels)
        self._labels = torch.from_numpy(train.labels)
        self._dev = dev
        self._directory = directory
        self._data = dict(data)
        self._report = report
        made = network or ImageNetwork(recipe.network)
        self.network = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion: Criterion = criterion or HierarchicalProxies(
            recipe.hierarchy, recipe.network.surface, train.tree, seed=recipe.seed
        )
        self._state = _State()
        self._best = self._tensors()
        self._moments: dict[str, Tensor] = {}
        self.resumed_at = self._resume()

    def fit(self) -> Trained:
        """Train what the budget leaves to train and return the best network."""
        if self._fraction() < 1.0:
            self._train()
            self._save(None)
        self._load(self._best)
        self.network.eval()
        state = self._state
        return Trained(self.network, self.criterion, state.metrics or {}, state.step, state.seconds)

    def _train(self) -> None:
        state = self._state
        clock = saved = time.monotonic()
        optimizer = self._optimizer()
        checkpoint.restore(optimizer, self._moments)
        rates = [group["lr"] for group in optimizer.param_groups]
        smooth = math.nan
        self.network.train()
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
            loss = self._loss(state.step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            state.step += 1
            smooth = loss.item() if math.isnan(smooth) else 0.98 * smooth + 0.02 * loss.item()
            self._report(Progress(state.step, fraction, smooth))

    def _loss(self, number: int) -> Tensor:
        """The loss of batch ``number``, which is a function of the seed and the number alone."""
        self.criterion.advance(number)
        rows = torch.from_numpy(self.rows(number))
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        pixels = self._pixels[rows].permute(0, 3, 1, 2).float() / 255.0
        changed = augmented(pixels, generator).contiguous(memory_format=torch.channels_last)
        return self.criterion(self.network.encode(changed), self._labels[rows])

    def rows(self, number: int) -> NDArray[np.int64]:
        """The rows of batch ``number``."""
        return batch_rows(len(self._labels), self.recipe.batch, number, seed=self.recipe.seed)

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        groups = [
            {"params": list(self.network.parameters()), "lr": recipe.rate, "weight_decay": recipe.weight_decay},
            {"params": list(self.criterion.parameters()), "lr": recipe.proxy_rate, "weight_decay": 0.0},
        ]
        # not fused: that kernel takes moments, which a checkpoint keeps row by row, to lie in memory as the weights do
        return torch.optim.AdamW([group for group in groups if group["params"]])

    def _fraction(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        if self.recipe.steps is not None:
            return min(1.0, self._state.step / self.recipe.steps)
        return min(1.0, self._state.seconds / (self.recipe.minutes * 60.0))

    def _evaluate(self, loss: float) -> None:
        state = self._state
        state.evaluated += 1
        points = points_of(self.network, self._dev.pixels)
        metrics = retrieval(points, self._dev.labels, self.recipe.network.surface)
        if metrics[DEV_METRIC] > state.best:
            state.best, state.metrics = metrics[DEV_METRIC], metrics
            self._best = self._tensors()
        self._report(Progress(state.step, self._fraction(), loss, metrics))

    def _tensors(self) -> dict[str, Tensor]:
        """A copy of the network and of its criterion, as they stand."""
        parts = {"network": self.network.state_dict(), "criterion": self.criterion.state_dict()}
        return {
            f"{part}.{name}": kept.detach().clone() for part, state in parts.items() for name, kept in state.items()
        }

    def _load(self, tensors: Mapping[str, Tensor]) -> None:
        self.network.load_state_dict(checkpoint.under("network.", tensors))
        self.criterion.load_state_dict(checkpoint.under("criterion.", tensors))

    def _save(self, optimizer: torch.optim.Optimizer | None) -> None:
        tensors = {f"now.{name}": tensor for name, tensor in self._tensors().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self._best.items()}
        tensors |= checkpoint.moments(optimizer) if optimizer else {}
        state = {name: getattr(self._state, name) for name in _State.__slots__}
        checkpoint.save(self._directory, tensors, state | self._identity())

    def _identity(self) -> dict[str, dict[str, Any]]:
        return {"recipe": self.recipe.model_dump(mode="json"), "data": self._data}

    def _resume(self) -> int | None:
        """Take up the checkpoint of this very run, if there is one; returns its step."""
        loaded = checkpoint.load(self._directory)
        if loaded is None:
            return None
        tensors, state = loaded
        checkpoint.check(self._identity(), state, directory=self._directory)
        self._load(checkpoint.under("now.", tensors))
        self._best = checkpoint.under("best.", tensors)
        self._moments = checkpoint.under("adam.", tensors)
        self._state = _State(**{name: state[name] for name in _State.__slots__})
        return self._state.step


def points_of(network: ImageNetwork, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Points (N, d) of pictures (N, H, W, 3), with the network left as it was."""
    was_training = network.training
    network.eval()
    found = np.empty((len(pictures), network.config.surface.dim), dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(pictures), _ENCODE_BATCH):
            part = slice(start, start + _ENCODE_BATCH)
            found[part] = network(torch.from_numpy(pictures[part])).numpy()
    network.train(was_training)
    return found


def batch_rows(count: int, size: int, number: int, *, seed: int) -> NDArray[np.int64]:
    """The rows of batch ``number``: ``size`` of ``count`` rows, all of which are seen once before any is seen again."""
    size = min(size, count)
    each = count // size
    epoch, place = divmod(number, each)
    order = np.random.default_rng((seed, epoch)).permutation(count)
    return order[place * size : (place + 1) * size]


def _schedule(fraction: float) -> float:
    """Learning rate over its peak: a short warm-up, then a cosine down."""
    if fraction < _WARM_UP:
        return (fraction + 1e-3) / (_WARM_UP + 1e-3)
    angle = math.pi * (fraction - _WARM_UP) / (1.0 - _WARM_UP)
    return max(_LAST_RATE, 0.5 * (1.0 + math.cos(angle)))
