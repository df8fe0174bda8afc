"""Text vectors as features: what the frozen text encoder says of queries and products.

Its points lie on the Lorentz sheet; :func:`model.lorentz.log_map0` lays them flat at the origin, where sums and linear
maps are what they are in any vector space, and directions and distances from the origin stay. Each kind of text is then
scaled by one number to a mean length of one, since queries lie several times as far out as products.
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
    """Tangent vectors (N, F) of product texts."""
    return _flat(encoder.encode_products(texts), encoder)


def query_features(encoder: TextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Tangent vectors (Q, F) of the centres of queries."""
    features = np.empty((len(texts), encoder.manifest.geometry.dim), dtype=np.float32)
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    for start in range(0, len(texts), _BATCH):
        rows = by_length[start : start + _BATCH]
        features[rows] = _flat(encoder.encode_queries([texts[i] for i in rows]).centres, encoder)
    return features


def mean_length(features: NDArray[np.float32]) -> float:
    """The mean norm of vectors (B, F), or 1 where all are zero."""
    return float(np.linalg.norm(features, axis=1).mean()) or 1.0


def _flat(points: NDArray[np.float32], encoder: TextEncoder) -> NDArray[np.float32]:
    flat: NDArray[np.float32] = lorentz.log_map0(points, c=encoder.manifest.geometry.curvature)
    return flat
