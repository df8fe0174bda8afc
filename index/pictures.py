"""The picture channel: where products' pictures lie, over the rows of a snapshot and the live ones after them.

A live product has the picture of the one that it replaces; a new one has none before the next build.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from index.algebra import Box
from index.candidates import CandidateIndex
from index.picture_files import ENDS, POINTS, ROWS, THUMBNAILS, form_of
from index.proposals import proposals
from index.snapshot import BUNDLE, CANDIDATES
from model import lorentz
from model.image.runtime import ImageEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from index.view import View
    from model.image.bundle import Manifest

PICTURE_CANDIDATES = 200
"""Products whose pictures are nearest, to be put in order exactly, at least."""


class PictureChannel:
    """Pictures of products, to find those like another picture; safe to use from several threads at once.

    Raises:
        ValueError: ``directory`` does not hold what :class:`index.picture_files.PictureWriter` writes.
    """

    def __init__(self, directory: Path, *, products: int, threads: int = 1, manifest: Manifest | None = None) -> None:
        self._encoder = ImageEncoder(directory / BUNDLE, threads=threads, manifest=manifest)
        self._surface = self._encoder.manifest.surface
        try:
            self._rows = np.asarray(np.load(directory / ROWS, mmap_mode="r", allow_pickle=False))
            self._points = np.asarray(np.load(directory / POINTS, mmap_mode="r", allow_pickle=False))
            self._ends = np.asarray(np.load(directory / ENDS, mmap_mode="r", allow_pickle=False))
            self._thumbnails = np.asarray(np.memmap(directory / THUMBNAILS, dtype=np.uint8, mode="r"))
        except OSError as error:
            raise ValueError(f"{directory} holds no picture channel: {error}") from error
        self._candidates = CandidateIndex.load(
            directory / CANDIDATES, form=form_of(self._surface), c=self._surface.curvature
        )
        if not len(self._rows) == len(self._points) == len(self._ends) - 1 == len(self._candidates):
            raise ValueError(
                f"{directory} has {len(self._rows)} rows, {len(self._points)} points, {len(self._ends) - 1} thumbnails "
                f"and {len(self._candidates)} candidates; there should be one of each for every picture"
            )
        self._places = np.full(products, -1, dtype=np.int32)
        self._places[self._rows] = np.arange(len(self._rows), dtype=np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def encode(self, picture: bytes) -> NDArray[np.float32]:
        """Where a picture lies (d).

        Raises:
            PictureError: it is no picture, or none that is read.
        """
        return self._encoder.encode_bytes(picture)

    def point(self, row: int, view: View) -> NDArray[np.float32] | None:
        """Where the picture of a product lies (d), None if it has none."""
        (place,) = self._of(np.array([row]), view).tolist()
        return None if place < 0 else self._points[place]

    def has(self, rows: NDArray[np.int64], view: View) -> NDArray[np.bool_]:
        """Which of the products in ``rows`` (K) have a picture (K)."""
        return self._of(rows, view) >= 0

    def thumbnail(self, row: int, view: View) -> bytes | None:
        """A small JPEG of a product's picture, None if it has none."""
        (place,) = self._of(np.array([row]), view).tolist()
        return None if place < 0 else self._thumbnails[self._ends[place] : self._ends[place + 1]].tobytes()

    def near(self, point: NDArray[np.float32], view: View, *, depth: int) -> NDArray[np.int64]:
        """At least ``depth`` rows that may be hits, if as many have pictures, of those nearest to ``point`` (d)."""
        box = Box.around(point, np.zeros_like(point))
        return proposals(
            view,
            max(PICTURE_CANDIDATES, 2 * depth),
            total=len(self),
            look=lambda count: self._rows[self._candidates.search((box,), count)].astype(np.int64),
            every=lambda: view.standing(self._rows.astype(np.int64)),
            score=lambda rows: -self.distances(point, rows, view),
        )

    def distances(self, point: NDArray[np.float32], rows: NDArray[np.int64], view: View) -> NDArray[np.float32]:
        """Distances (K) of the pictures of ``rows`` (K) from ``point`` (d), infinite where there is no picture."""
        places = self._of(rows, view)
        distances = np.full(len(rows), np.inf, dtype=np.float32)
        there = places >= 0
        distances[there] = lorentz.dist(point, self._points[places[there]], c=self._surface.curvature)
        return distances

    def _of(self, rows: NDArray[np.int64], view: View) -> NDArray[np.int32]:
        """The place of each of ``rows`` (K) among the pictures, −1 where there is none (K)."""
        if not view.live.count:
            return self._places[rows]
        in_snapshot = rows.copy()
        live = rows >= view.live.base
        in_snapshot[live] = view.live.replaced(rows[live])
        return np.where(in_snapshot >= 0, self._places[in_snapshot], np.int32(-1))
