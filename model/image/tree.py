"""A tree of classes, as category paths tell it: the finest level first, the broadest last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.catalog import LEVEL_SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tree:
    """C classes and what they belong to on each coarser level.

    ``names`` holds the names of each level's nodes, C on the first; ``nodes`` (levels − 1, C) the node that each class
    belongs to on each coarser level.
    """

    names: tuple[tuple[str, ...], ...]
    nodes: NDArray[np.int64]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.names[0])

    @property
    def levels(self) -> int:
        """How many levels there are, the finest included."""
        return len(self.names)


def read_paths(paths: Sequence[str]) -> tuple[Tree, NDArray[np.int64]]:
    """The tree of category ``paths`` (N), levels separated by `` > ``, and the class of each (N).

    A class is a whole path. A path that ends early belongs to itself on the levels that it lacks, and a level that
    would tell nothing apart, or no less than the one below, is left out.

    Raises:
        ValueError: a path is empty.
    """
    split = [tuple(level.strip() for level in path.split(LEVEL_SEPARATOR.strip())) for path in paths]
    for path, levels in zip(paths, split, strict=True):
        if not any(levels):
            raise ValueError(f"a category path has no level: {path!r}")
    classes = sorted(set(split))
    names: list[tuple[str, ...]] = [tuple(LEVEL_SEPARATOR.join(levels) for levels in classes)]
    nodes: list[NDArray[np.int64]] = []
    for depth in range(max(map(len, classes), default=1) - 1, 0, -1):
        shortened = [LEVEL_SEPARATOR.join(levels[:depth]) for levels in classes]
        level = tuple(sorted(set(shortened)))
        if 1 < len(level) < len(names[-1]):
            place = {name: node for node, name in enumerate(level)}
            nodes.append(np.array([place[name] for name in shortened], dtype=np.int64))
            names.append(level)
    own = {levels: label for label, levels in enumerate(classes)}
    labels = np.array([own[levels] for levels in split], dtype=np.int64)
    return Tree(tuple(names), np.array(nodes, dtype=np.int64).reshape(-1, len(classes))), labels
