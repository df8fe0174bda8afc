"""Encoding pictures without torch: ONNX Runtime over an image bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.image import bundle
from model.image.pictures import decode
from model.runtime import sessions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCH = 64


class ImageEncoder:
    """Pictures to points; safe to call from several threads.

    It runs on the GPU of the number ``gpu``, if that is given and ONNX Runtime can use it; else, with a warning, on the
    CPU. ``manifest`` is that of the bundle if whoever asks has just read and checked it.

    Raises:
        bundle.ImageBundleError: the directory is not a sound image bundle.
    """

    def __init__(
        self, directory: Path, *, threads: int = 1, gpu: int | None = None, manifest: bundle.Manifest | None = None
    ) -> None:
        self.manifest = manifest or bundle.load_manifest(directory)
        (self._encoder,) = sessions(directory, (bundle.ENCODER,), threads, gpu)

    def encode(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Points (N, d) float32 of ``pictures`` (N, height, width, 3), which are uint8.

        Raises:
            ValueError: the pictures are of another size than the encoder takes.
        """
        manifest = self.manifest
        if pictures.shape[1:] != (manifest.height, manifest.width, 3):
            raise ValueError(
                f"pictures of {' × '.join(map(str, pictures.shape[1:]))} do not fit bundle {manifest.version}, "
                f"which takes {manifest.height} × {manifest.width} × 3"
            )
        points = np.empty((len(pictures), manifest.surface.dim), dtype=np.float32)
        for start in range(0, len(pictures), BATCH):
            part = slice(start, start + BATCH)
            (points[part],) = self._encoder.run(("point",), {"pictures": pictures[part]})
        return points

    def encode_bytes(self, data: bytes) -> NDArray[np.float32]:
        """The point (d) float32 of one picture as it was sent.

        Raises:
            model.image.pictures.PictureError: it cannot be read.
        """
        picture = decode(data, height=self.manifest.height, width=self.manifest.width)
        point: NDArray[np.float32] = self.encode(picture[None])[0]
        return point
