"""The fashion photographs, split by the hash of their product, with whole article types held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow.parquet as pq

from model.catalog import LEVEL_SEPARATOR, split_of
from model.image.pictures import decode
from model.image.tree import read_paths
from model.training.image.examples import Pictures

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEIGHT, WIDTH = 80, 60
_FOLDS = 5

Stage = Literal["tune", "test"]


@dataclass(frozen=True, slots=True)
class Photographs:
    """All of them: pixels (N, H, W, 3), the category path of each, its split, and the fold of its article type."""

    ids: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    paths: NDArray[np.str_]
    splits: NDArray[np.str_]
    folds: NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Photographs:
        """Decode ``products.parquet``."""
        table = pq.read_table(path).to_pydict()
        levels = ("master_category", "sub_category", "article_type")
        paths = [LEVEL_SEPARATOR.join(parts) for parts in zip(*(table[level] for level in levels), strict=True)]
        return cls(
            ids=np.array(table["product_id"], dtype=np.int64),
            pixels=np.stack([decode(data, height=HEIGHT, width=WIDTH) for data in table["jpeg"]]),
            paths=np.array(paths),
            splits=np.array([split_of(str(product_id)) for product_id in table["product_id"]]),
            folds=np.array([_fold(name) for name in table["article_type"]], dtype=np.int64),
        )


@dataclass(frozen=True)
class Task:
    """What a stage trains on, chooses by and is scored on.

    The ``test`` stage holds out the article types of fold 0 and scores the test split of the others. ``tune`` never
    looks at either: it holds out fold 1 as well, and scores on that and on the dev split of what is left.
    """

    photographs: Photographs
    stage: Stage

    @cached_property
    def train(self) -> Pictures:
        """The train split of the article types that are not held out."""
        return self._pictures(self._known & (self.photographs.splits == "train"))

    @cached_property
    def dev(self) -> Pictures:
        """The dev split of those."""
        return self._pictures(self._known & (self.photographs.splits == "dev"))

    @cached_property
    def seen(self) -> Pictures:
        """New photographs of the article types that were learnt."""
        return self._pictures(self._known & (self.photographs.splits == ("dev" if self.stage == "tune" else "test")))

    @cached_property
    def unseen(self) -> Pictures:
        """All photographs of article types that nothing was trained on."""
        return self._pictures(self.photographs.folds == (1 if self.stage == "tune" else 0))

    @property
    def _known(self) -> NDArray[np.bool_]:
        held_out = (0, 1) if self.stage == "tune" else (0,)
        return ~np.isin(self.photographs.folds, held_out)

    def _pictures(self, which: NDArray[np.bool_]) -> Pictures:
        rows = np.flatnonzero(which)
        # one tree for what is trained on and what is chosen by, whatever a split lacks
        everything = self._known if self._known[rows].all() else which
        tree, labels = read_paths(self.photographs.paths[everything].tolist())
        place = np.cumsum(everything) - 1
        return Pictures(self.photographs.pixels[rows], labels[place[rows]], tree)


def _fold(article_type: str) -> int:
    return int(hashlib.md5(article_type.encode(), usedforsecurity=False).hexdigest(), 16) % _FOLDS
