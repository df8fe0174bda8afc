"""A category tree and nobody's queries: does a radius tell the depth, and does a category's name find its products?

The catalogue is trained on with its categories as queries: the words of a path (``Clothing Women's Clothing Shorts``),
and the bare name of its last level. Categories are split by the hash of their path: of those held out, neither the path
nor the name is ever a training query, though deeper paths may hold the same words.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.compare.anthem import DEFAULT
from model import lorentz
from model.catalog import Rejects, read_products, split_of
from model.hyperboloid import log_volume
from model.text import words
from model.training.examples import MAX_GRADE, Examples

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from benchmarks.compare.anthem import AnthemRanker
    from model.training.examples import Grades

SYSTEMS = ("anthem", "e-anthem", DEFAULT)
MIN_PRODUCTS = 10
"""Smaller categories are mostly products' names."""
DEPTHS = (10, 100)
_SEPARATOR = ">>"
_CUT_SHORT = "..."
_NAME_WORDS = 3

Levels = tuple[str, ...]


class Tree:
    """Titles by row, and the rows below each category path, which is a tuple of levels from the root."""

    def __init__(self, product_ids: list[str], titles: list[str], paths: Sequence[Levels]) -> None:
        self.product_ids = product_ids
        self.titles = titles
        below: dict[Levels, list[int]] = defaultdict(list)
        carrying: dict[str, set[int]] = defaultdict(set)
        for row, path in enumerate(paths):
            for depth, name in enumerate(path, start=1):
                below[path[:depth]].append(row)
                carrying[name].add(row)
        self.below = {path: rows for path, rows in below.items() if len(rows) >= MIN_PRODUCTS}
        self.carrying = carrying
        """Rows of the products that have a level of that name."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a catalogue with ``category_path``, levels apart by ``>>``.

        Raises:
            CatalogError: the file is missing or cannot be used.
        """
        products = list(read_products(file, Rejects()))
        return cls(
            [p.product_id for p in products],
            [p.title for p in products],
            [levels(p.category_path, p.title) for p in products],
        )

    @cached_property
    def held_out(self) -> dict[str, list[str]]:
        """Names of the held-out categories by split; a name of two splits belongs to test, then to dev."""
        names: dict[str, list[str]] = {}
        taken: set[str] = set()
        for split in ("test", "dev"):
            found = dict.fromkeys(path[-1] for path in self.below if split_of(" ".join(path)) == split)
            names[split] = [name for name in found if name not in taken]
            taken |= set(found)
        return names

    @property
    def examples(self) -> Examples:
        """Titles, and the categories as queries: paths and names to learn from, held-out names to choose a state by."""
        examples = Examples(self.product_ids, self.titles)
        held_out = {name for names in self.held_out.values() for name in names}
        for path, rows in self.below.items():
            if split_of(" ".join(path)) == "train":
                examples.train[" ".join(path)] = dict.fromkeys(rows, MAX_GRADE)
                if path[-1] not in held_out:
                    examples.train[path[-1]] = self._carriers(path[-1])
        examples.dev = {name: self._carriers(name) for name in self.held_out["dev"]}
        return examples

    def _carriers(self, name: str) -> Grades:
        return dict.fromkeys(sorted(self.carrying[name]), MAX_GRADE)


def levels(category_path: str, title: str) -> Levels:
    """The levels of a path, without the last where that is the product's own name, whole or cut short."""
    found = tuple(level.strip() for level in category_path.split(_SEPARATOR) if level.strip())
    if not found:
        return found
    last, own = " ".join(words(found[-1])), " ".join(words(title))
    cut = found[-1].endswith(_CUT_SHORT) or (own.startswith(last) and len(last.split()) >= _NAME_WORDS)
    return found[:-1] if cut or last.startswith(own) else found


def measure(ranker: AnthemRanker, tree: Tree) -> dict[str, float]:
    """Spearman's ρ of radius and log-volume with depth over all categories, and how well held-out names find theirs.

    ``found@k`` is how many of the top k products carry the category, over the most that could: k, or all there are.
    """
    paths = list(tree.below)
    depths = [len(path) for path in paths]
    c = ranker.curvature
    whole, wholes = ranker.encode([" ".join(path) for path in paths])
    name, names = ranker.encode([path[-1] for path in paths])
    centroids = torch.stack([_centroid(ranker.points[tree.below[path]], c=c) for path in paths])
    return {
        "categories": len(paths),
        "held_out_names": len(tree.held_out["test"]),
        "depth_radius_products": _spearman(depths, lorentz.radius(centroids, c=c)),
        "depth_radius_paths": _spearman(depths, lorentz.radius(whole, c=c)),
        "depth_radius_names": _spearman(depths, lorentz.radius(name, c=c)),
        "depth_volume_paths": _spearman(depths, log_volume(wholes)),
        "depth_volume_names": _spearman(depths, log_volume(names)),
        **_found(ranker, tree),
    }


def _found(ranker: AnthemRanker, tree: Tree) -> dict[str, float]:
    names = tree.held_out["test"]
    shares: dict[int, list[float]] = {depth: [] for depth in DEPTHS}
    for name, rows in zip(names, ranker.nearest(names), strict=True):
        carrying = tree.carrying[name]
        for depth, found in shares.items():
            found.append(len(carrying.intersection(rows[:depth])) / min(depth, len(carrying)))
    return {f"found@{depth}": float(np.mean(found)) for depth, found in shares.items()}


def _centroid(points: Tensor, *, c: float) -> Tensor:
    centroid: Tensor = lorentz.midpoint(points, torch.ones(len(points)), c=c)
    return centroid


def _spearman(depths: Sequence[int], values: Tensor) -> float:
    return float(spearmanr(depths, values.numpy()).statistic)
