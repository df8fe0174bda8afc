"""The systems: HPL and its base losses by our own trainer, and three plainer ways beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.image.data import HEIGHT, WIDTH
from model.image.network import ImageNetwork, NetworkConfig
from model.image.proxies import Hierarchy
from model.image.surface import Surface
from model.training.image.trainer import Recipe, Trainer, points_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.image.data import Task
    from model.training.image.examples import Pictures
    from model.training.image.trainer import Criterion, Trained

BASES = ("proxy-nca", "proxy-anchor")
TREES = ("flat", "given", "learnt")
HIERARCHICAL = {f"{base}-{tree}": (base, tree) for base in BASES for tree in TREES}
COARSE_WEIGHTS = {"proxy-nca-learnt": 0.1, "proxy-anchor-given": 0.1, "proxy-anchor-learnt": 0.1}
"""Where the tuning stage wants another weight of coarse levels than it is by default."""
PLAIN = ("softmax", "triplet", "pixels-pca")
SURFACES = {"sphere": Surface(), "sheet": Surface(kind="sheet", curvature=1.0, radius=2.0)}
_MARGIN = 0.2
_PER_CLASS = 4
_COMPONENTS = 128


def recipe(system: str, surface: str, *, seed: int, steps: int, changes: Mapping[str, Any] | None = None) -> Recipe:
    """What a trained system is trained with; ``changes`` are fields of the recipe or of its hierarchy."""
    base, tree = HIERARCHICAL.get(system, (BASES[0], "flat"))
    # the same share of every budget is warm-up
    options: dict[str, Any] = {"base": base, "tree": tree, "warm_up": steps // 9}
    if system in COARSE_WEIGHTS:
        options["coarse_weight"] = COARSE_WEIGHTS[system]
    options |= changes or {}
    network = NetworkConfig(surface=SURFACES[surface], height=HEIGHT, width=WIDTH)
    hierarchy = Hierarchy(**{name: value for name, value in options.items() if name in Hierarchy.model_fields})
    others = {name: value for name, value in options.items() if name not in Hierarchy.model_fields}
    return Recipe(steps=steps, seed=seed, network=network, hierarchy=hierarchy, **others)


def trainer(system: str, asked: Recipe, task: Task, *, directory: Path, report: Callable[[str], None]) -> Trainer:
    """A trainer of ``system``, resumed if ``directory`` holds its checkpoint."""
    kind: type[Trainer] = _Balanced if system == "triplet" else Trainer
    torch.manual_seed(asked.seed)
    network: ImageNetwork | None = None
    criterion: Criterion | None = None
    if system == "softmax":
        network, criterion = _Unplaced(asked.network), _Softmax(asked.network.surface.dim, task.train.tree.classes)
    elif system == "triplet":
        criterion = _Triplet()
    return kind(
        task.train,
        task.dev,
        asked,
        directory=directory,
        data={"data": "fashion", "stage": task.stage, "system": system},
        report=lambda progress: (
            progress.metrics and report(f"step {progress.step}, loss {progress.loss:.3f}: " + _line(progress.metrics))
        ),
        network=network,
        criterion=criterion,
    )


def points(trained: Trained, pictures: Pictures) -> NDArray[np.float32]:
    """Where a trained system puts pictures."""
    return points_of(trained.network, pictures.pixels)


def principal_components(train: Pictures) -> Callable[[Pictures], NDArray[np.float32]]:
    """The pixels of pictures at a quarter of their scale, projected on what varies most among the training ones."""

    def flat(pictures: Pictures) -> NDArray[np.float32]:
        count, height, width, _ = pictures.pixels.shape
        blocks = pictures.pixels.reshape(count, height // 4, 4, width // 4, 4, 3)
        return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(count, -1) / 255.0

    fitted = flat(train)
    mean = fitted.mean(axis=0)
    _, axes = np.linalg.eigh(np.cov(fitted - mean, rowvar=False))
    strongest = axes[:, ::-1][:, :_COMPONENTS].astype(np.float32)
    return lambda pictures: (flat(pictures) - mean) @ strongest


class _Unplaced(ImageNetwork):
    """What its loss sees are vectors of any length; compared they are on the surface as all others."""

    def encode(self, pixels: Tensor) -> Tensor:
        return self.vectors(pixels)


class _Softmax(nn.Module):
    """A plain classifier on top, which is then thrown away."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.classify = nn.Linear(dim, classes)

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(self.classify(torch.relu(points)), labels)

    def advance(self, step: int) -> None:
        """Nothing is ever due."""


class _Triplet(nn.Module):
    """Triplet margin loss on semi-hard triplets, by pytorch-metric-learning."""

    def __init__(self) -> None:
        super().__init__()
        from pytorch_metric_learning import losses, miners

        self._loss = losses.TripletMarginLoss(margin=_MARGIN)
        self._miner = miners.TripletMarginMiner(margin=_MARGIN, type_of_triplets="semihard")

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self._loss(points, labels, self._miner(points, labels))
        return loss

    def advance(self, step: int) -> None:
        """Nothing is ever due."""


class _Balanced(Trainer):
    """Batches of a few pictures each of some classes, as triplets need them."""

    def rows(self, number: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.recipe.seed, number))
        labels = self._labels.numpy()
        classes = rng.permutation(np.unique(labels))[: self.recipe.batch // _PER_CLASS]
        return np.concatenate([rng.choice(np.flatnonzero(labels == label), _PER_CLASS) for label in classes])


def _line(metrics: dict[str, float]) -> str:
    return "dev " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())
