"""Text vectors as features: what the frozen text encoder says of queries and products.

Its points lie on the Lorentz sheet; :func:`model.lorentz.log_map0` lays them flat at the origin, where sums and linear
maps are what they are in any vector space. Their lengths, how far out a text lies, are dropped: directions alone did
better on dev.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model import lorentz

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.runtime import TextEncoder

_BATCH = 256


def product_features(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors (N, F) of product texts."""
    return directions(encoder.encode_products(texts), c=encoder.manifest.geometry.curvature)


def query_features(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors (Q, F) of the centres of queries."""
    features = np.empty((len(texts), encoder.manifest.geometry.dim), dtype=np.float32)
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), _BATCH):
        rows = by_length[start : start + _BATCH]
        centres = encoder.encode_queries([texts[i] for i in rows]).centres
        features[rows] = directions(centres, c=encoder.manifest.geometry.curvature)
    return features


def directions(points: NDArray[np.float32], *, c: float) -> NDArray[np.float32]:
    """Points on the sheet (B, F) as unit vectors in the tangent space at the origin; the origin itself is zero."""
    flat: NDArray[np.float32] = np.array(lorentz.log_map0(points, c=c))  # at curvature 0 these are the points
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-9)
    return flat
