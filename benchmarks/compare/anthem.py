"""ANTHEM and its twins: one trainer, one set of towers, and what each twin does without."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from model import lorentz
from model.hyperboloid import containment
from model.metrics import RETRIEVE_DEPTH
from model.training.dev import encode_products
from model.training.trainer import Recipe, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from model.training.examples import Examples
    from model.training.progress import Progress
    from model.training.trainer import Trained

DEFAULT = "anthem-default"
"""ANTHEM as ``saddle train`` makes it: strongly curved, and not set by the comparison's dev figures."""
FAMILY: Mapping[str, Mapping[str, Any]] = {
    "anthem": {"rate": 0.016, "radius": 3.0, "curvature": 0.1},
    "e-anthem": {"curvature": 0.0, "rate": 0.016, "radius": 3.0},
    "hyperbolic-vector": {"regions": False, "radius": 3.0, "curvature": 0.1},
    "cosine-vector": {"regions": False, "curvature": 0.0, "spherical": True, "rate": 0.016},
    DEFAULT: {},
}
"""What each system's recipe has beside seed, dimension and steps.

Rates, radii and curvatures are those that were best on dev (``benchmarks/tuning.json``), the rest are defaults.
"""
FEW_DIMS = (8, 16, 32, 64, 128)
_CANDIDATES = 1000
"""Products nearest to the centre that are ranked by containment: a quarter of a minute instead of five."""


def train(
    examples: Examples,
    system: str,
    *,
    dim: int | None,
    seed: int,
    steps: int,
    report: Callable[[str], None],
    overrides: Mapping[str, Any] | None = None,
) -> Trained:
    """Train ``system`` on ``examples``, with as many axes as a shop gets where no ``dim`` is given.

    A killed cell starts again, so its checkpoint is thrown away.
    """
    axes = {} if dim is None else {"dim": dim}
    recipe = Recipe(**{"steps": steps, "seed": seed, **axes, **FAMILY[system], **(overrides or {})})
    with tempfile.TemporaryDirectory() as directory:
        trainer = Trainer(examples, recipe, directory=Path(directory), data={}, report=_lines(report))
        return trainer.fit()


class AnthemRanker:
    """A :class:`~benchmarks.compare.score.Ranker`: containment distance, or distance to the centre without regions."""

    def __init__(self, trained: Trained, system: str, texts: Sequence[str]) -> None:
        self._model = trained.model.eval()
        self._tokenizer = trained.tokenizer
        self._regions = FAMILY[system].get("regions", True)
        self.curvature = self._model.config.curvature
        with torch.no_grad():
            self.points = encode_products(self._model, self._tokenizer, texts)

    def nearest(self, queries: Sequence[str]) -> list[list[int]]:
        """The nearest products."""
        centres, limits = self.encode(queries)
        depth = min(_CANDIDATES if self._regions else RETRIEVE_DEPTH, len(self.points))
        rows = lorentz.pairwise_dist(centres, self.points, c=self.curvature).topk(depth, dim=1, largest=False).indices
        if self._regions:
            # one query at a time: its candidates' points fit in the cache
            distances = [self._distances(*each) for each in zip(rows, centres, limits, strict=True)]
            order = torch.stack(distances).topk(min(RETRIEVE_DEPTH, depth), dim=1, largest=False).indices
            rows = rows.gather(1, order)
        found: list[list[int]] = rows.tolist()
        return found

    def scores(self, queries: Sequence[str], rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Distances, negated."""
        every = zip(rows, *self.encode(queries), strict=True)
        return [(-self._distances(torch.tensor(row), centre, limit)).tolist() for row, centre, limit in every]

    def encode(self, queries: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Centres and limits of ``queries``, (B, d) each."""
        batch = self._tokenizer.queries(queries)
        features, terms = torch.from_numpy(batch.features), torch.from_numpy(batch.terms)
        with torch.no_grad():
            centres, limits = self._model.encode_queries(features, terms)
        return centres, limits

    def _distances(self, rows: Tensor, centre: Tensor, limit: Tensor) -> Tensor:
        c, gamma = self.curvature, float(self._model.gamma.detach())
        points = self.points[rows]
        if not self._regions:
            return lorentz.dist(points, centre, c=c)
        return containment(points, centre, limit, c=c, gamma=gamma)


def _lines(report: Callable[[str], None]) -> Callable[[Progress], None]:
    """One line for each dev evaluation."""

    def told(progress: Progress) -> None:
        if progress.metrics is not None:
            found = progress.metrics["R(rel=4)@10"]
            report(f"step {progress.step:,}, {progress.fraction:.0%} of the time: dev R@10 {found:.3f}")

    return told
