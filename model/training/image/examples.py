"""What a catalogue's pictures teach: pixels, classes and their tree, split before anyone looks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from model.catalog import Rejects, read_products, split_of
from model.image.pictures import PictureError, decode, has_picture, picture_of
from model.image.tree import Tree, read_paths

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_LISTED = 20


class NothingToLearnError(ValueError):
    """A catalogue whose pictures or categories do not suffice to learn from."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """N pictures (N, H, W, 3) uint8, the class of each (N), and the tree of all classes."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    tree: Tree

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, rows: NDArray[np.int64]) -> Pictures:
        """The pictures in ``rows``, under the same tree."""
        return Pictures(self.pixels[rows], self.labels[rows], self.tree)


@dataclass(slots=True)
class Census:
    """What became of a catalogue's products."""

    products: int = 0
    without_picture: int = 0
    without_category: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """Pictures that could not be read, by reason, each naming a product in ``examples``."""
    examples: list[str] = field(default_factory=list)


def read_pictures(
    catalog: Path, root: Path | None, *, size: tuple[int, int], max_reject_share: float
) -> tuple[Pictures, Pictures, Census, Rejects]:
    """The pictures that a catalogue holds, or names below ``root``: those to train on, those to choose by.

    They are split by the hash of their product's id, and a fifth is left alone; ``size`` is (height, width). A product
    without a picture or a category is counted and left out, and so is a picture that cannot be read.

    Raises:
        CatalogError: an unusable file, or more than ``max_reject_share`` of its rows rejected.
        NothingToLearnError: fewer than two classes are left to train on.
    """
    rejects, census = Rejects(), Census()
    pixels: dict[str, list[NDArray[np.uint8]]] = {"train": [], "dev": []}
    paths: dict[str, list[str]] = {"train": [], "dev": []}
    for product in read_products(catalog, rejects):
        census.products += 1
        split = split_of(product.product_id)
        if not has_picture(product, root):
            census.without_picture += 1
        elif not product.category_path.strip():
            census.without_category += 1
        elif split != "test":
            try:
                picture = decode(picture_of(product, root), height=size[0], width=size[1])
            except PictureError as error:
                census.unreadable[str(error).partition(":")[0]] += 1
                if len(census.examples) < _LISTED:
                    census.examples.append(f"{product.product_id}: {error}")
                continue
            pixels[split].append(picture)
            paths[split].append(product.category_path)
    rejects.check(max_reject_share)
    tree, labels = _classes(paths["train"])
    # what the training pictures do not show cannot be told apart by class, so it is not chosen by either
    known = {path: int(label) for path, label in zip(paths["train"], labels, strict=True)}
    kept = [row for row, path in enumerate(paths["dev"]) if path in known]
    dev_labels = np.array([known[paths["dev"][row]] for row in kept], dtype=np.int64)
    train = Pictures(_stacked(pixels["train"], size), labels, tree)
    return train, Pictures(_stacked([pixels["dev"][row] for row in kept], size), dev_labels, tree), census, rejects


def _classes(paths: Sequence[str]) -> tuple[Tree, NDArray[np.int64]]:
    if len(set(paths)) < 2:
        raise NothingToLearnError(
            f"{len(paths):,} pictures of {len(set(paths))} categories are left to train on, and it takes two; "
            "pictures that a catalogue names are looked for below --image-root"
        )
    return read_paths(paths)


def _stacked(pictures: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.stack(pictures) if pictures else np.empty((0, *size, 3), dtype=np.uint8)
