"""The files of a snapshot's picture channel.

bundle/            the image bundle, whole
rows.npy           (P,) int32: the rows that have a picture, rising
points.npy         (P, d) float32: where their pictures lie
candidates/        an index of the points
thumbnails.bin     a small JPEG of each, one after the other
thumbnails.npy     (P + 1,) int64: where each begins, and the last ends
"""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from index.candidates import CandidateIndex
from index.root import adopt
from index.shapes import Form, Shape
from index.snapshot import BUNDLE, CANDIDATES
from model.image.bundle import FILES
from model.image.pictures import PictureError, decode, has_picture, picture_of, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.catalog import Product
    from model.image.runtime import ImageEncoder
    from model.image.surface import Surface

ROWS, POINTS = "rows.npy", "points.npy"
THUMBNAILS, ENDS = "thumbnails.bin", "thumbnails.npy"
_SIDE = 160
"""Pixels of a thumbnail's sides."""
_CODES_FROM = 5_000
_LISTED = 20
_AT_ONCE = 256
"""Pictures to hold in memory together."""


class NoPicturesError(ValueError):
    """A catalogue without one picture that can be read."""


@dataclass(slots=True)
class PictureCensus:
    """What became of a catalogue's pictures."""

    read: int = 0
    without: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    """Products with a picture that cannot be read, by reason."""
    examples: list[str] = field(default_factory=list)
    """Some of them by name."""


def form_of(surface: Surface) -> Form:
    """How candidates on this surface are ordered: on the sphere the inner product has the distance's order."""
    return "inner" if surface.kind == "sphere" else "centre"


class PictureWriter:
    """Writes the channel of products that come in row order to ``directory``, which is made."""

    def __init__(self, directory: Path, bundle_dir: Path, encoder: ImageEncoder, root: Path | None) -> None:
        directory.mkdir()
        adopt(bundle_dir, FILES, directory / BUNDLE)
        self.census = PictureCensus()
        self._directory = directory
        self._encoder = encoder
        self._root = root
        self._seen = 0
        self._rows: list[int] = []
        self._points: list[NDArray[np.float32]] = []
        self._ends = [0]

    def append(self, products: Sequence[Product]) -> None:
        """Add ``products``; one whose picture is missing or cannot be read is counted and has none."""
        with (
            ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
            (self._directory / THUMBNAILS).open("ab") as file,
        ):
            for start in range(0, len(products), _AT_ONCE):
                pictures = []
                for row, found in enumerate(pool.map(self._read, products[start : start + _AT_ONCE]), self._seen):
                    if isinstance(found, tuple):
                        pixels, small = found
                        pictures.append(pixels)
                        self._rows.append(row)
                        self._ends.append(self._ends[-1] + file.write(small))
                    else:
                        self._count(products[start + row - self._seen], found)
                self._seen += len(products[start : start + _AT_ONCE])
                if pictures:
                    self._points.append(self._encoder.encode(np.stack(pictures)))
        self.census.read = len(self._rows)

    def save(self) -> None:
        """Write what is left, and the index.

        Raises:
            NoPicturesError: there was no picture.
        """
        if not self._rows:
            raise NoPicturesError(
                f"not one of {self._seen:,} products has a picture that can be read: {self.census.without:,} have none"
                + "".join(f"; {example}" for example in self.census.examples[:1])
            )
        surface, points = self._encoder.manifest.surface, np.concatenate(self._points)
        np.save(self._directory / ROWS, np.array(self._rows, dtype=np.int32), allow_pickle=False)
        np.save(self._directory / POINTS, points, allow_pickle=False)
        np.save(self._directory / ENDS, np.array(self._ends, dtype=np.int64), allow_pickle=False)
        shape = Shape("codes" if len(points) >= _CODES_FROM else "flat", form_of(surface))
        CandidateIndex.build(points, c=surface.curvature, shape=shape).save(self._directory / CANDIDATES)

    def _read(self, product: Product) -> tuple[NDArray[np.uint8], bytes] | PictureError | None:
        if not has_picture(product, self._root):
            return None
        manifest = self._encoder.manifest
        try:
            data = picture_of(product, self._root)
            return decode(data, height=manifest.height, width=manifest.width), thumbnail(data, side=_SIDE)
        except PictureError as error:
            return error

    def _count(self, product: Product, error: PictureError | None) -> None:
        if error is None:
            self.census.without += 1
            return
        self.census.unreadable[str(error).partition(":")[0]] += 1
        if len(self.census.examples) < _LISTED:
            self.census.examples.append(f"{product.product_id}: {error}")
