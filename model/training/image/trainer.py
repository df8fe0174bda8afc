"""Training an image network within a budget, from a checkpoint if there is one; the one kept is the best on dev."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from model.image.measure import retrieval
from model.image.network import ImageNetwork, NetworkConfig
from model.image.proxies import HierarchicalProxies, Hierarchy
from model.training import checkpoint
from model.training.image.augmentation import augmented
from model.training.run import Budget, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from model.training.image.examples import Pictures
    from model.training.progress import Progress

DEV_METRIC = "MAP@R"
_ENCODE_BATCH = 256
_WARM_UP = 0.05
_LAST_RATE = 0.01


class Recipe(Budget):
    """Everything that decides a run beside its data; a checkpoint only resumes under the same one."""

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
        made = network or ImageNetwork(recipe.network)
        self.network = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion: Criterion = criterion or HierarchicalProxies(
            recipe.hierarchy, recipe.network.surface, train.tree, seed=recipe.seed
        )
        self._run = Run(
            self, recipe, metric=DEV_METRIC, schedule=_schedule, directory=directory, data=data, report=report
        )
        self.resumed_at = self._run.resumed_at

    def fit(self) -> Trained:
        """Train what the budget leaves to train and return the best network."""
        state = self._run.fit()
        self.network.eval()
        return Trained(self.network, self.criterion, state.metrics or {}, state.step, state.seconds)

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW, with a rate for the network and one for the proxies, which do not decay."""
        recipe = self.recipe
        groups = [
            {"params": list(self.network.parameters()), "lr": recipe.rate, "weight_decay": recipe.weight_decay},
            {"params": list(self.criterion.parameters()), "lr": recipe.proxy_rate, "weight_decay": 0.0},
        ]
        # not fused: that kernel takes moments, which a checkpoint keeps row by row, to lie in memory as the weights do
        return torch.optim.AdamW([group for group in groups if group["params"]])

    def loss(self, number: int) -> Tensor:
        """The loss of batch ``number``."""
        self.criterion.advance(number)
        rows = torch.from_numpy(self.rows(number))
        generator = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + number)
        pixels = self._pixels[rows].permute(0, 3, 1, 2).float() / 255.0
        changed = augmented(pixels, generator).contiguous(memory_format=torch.channels_last)
        return self.criterion(self.network.encode(changed), self._labels[rows])

    def rows(self, number: int) -> NDArray[np.int64]:
        """The rows of batch ``number``."""
        return batch_rows(len(self._labels), self.recipe.batch, number, seed=self.recipe.seed)

    def evaluate(self) -> dict[str, float]:
        """Retrieval on dev."""
        points = points_of(self.network, self._dev.pixels)
        return retrieval(points, self._dev.labels, self.recipe.network.surface)

    def tensors(self) -> dict[str, Tensor]:
        """A copy of the network and of its criterion, as they stand."""
        parts = {"network": self.network.state_dict(), "criterion": self.criterion.state_dict()}
        return {
            f"{part}.{name}": kept.detach().clone() for part, state in parts.items() for name, kept in state.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Make both what a copy of them was."""
        self.network.load_state_dict(checkpoint.under("network.", tensors))
        self.criterion.load_state_dict(checkpoint.under("criterion.", tensors))


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
