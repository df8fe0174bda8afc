"""The point matrix of a snapshot: a NumPy file written row by row and mapped into memory when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray


class PointsWriter:
    """Appends points to a ``.npy`` file whose final length is not known yet; use as a context manager."""

    def __init__(self, path: Path, *, dim: int) -> None:
        self._file = path.open("wb")
        self._dim = dim
        self._count = 0
        self._write_header()
        self._header_size = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()
            # NumPy pads the header so that a longer first axis still fits; the data begin right behind it.
            if self._file.tell() != self._header_size:
                raise ValueError(f"{self._file.name}: the header grew past {self._header_size} bytes")

    def append(self, points: NDArray[np.float32]) -> None:
        """Add ``points`` (n, d)."""
        self._file.write(np.ascontiguousarray(points, dtype=np.float32).data)
        self._count += len(points)

    def _write_header(self) -> None:
        shape = (self._count, self._dim)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def load_points(path: Path) -> NDArray[np.float32]:
    """Map the points (N, d) float32 in ``path`` into memory, read-only.

    Raises:
        ValueError: the file does not hold such an array.
    """
    points = np.load(path, mmap_mode="r", allow_pickle=False)
    if points.ndim != 2 or points.dtype != np.float32:
        raise ValueError(f"{path} holds {points.dtype} of shape {points.shape}, not float32 of shape (N, d)")
    return np.asarray(points)
