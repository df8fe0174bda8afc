"""A behaviour bundle in memory: vectors of products and of queries, known or not, by NumPy alone."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from model.behaviour import bundle
from model.behaviour.clicks import query_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


_BLOCK = 64


class BehaviourVectors:
    """Vectors whose inner products say how likely a query leads to a product; safe to call from several threads.

    ``products`` (N, d) and ``leanings`` (N,) float32 are mapped into memory, in the order of ``product_ids``.

    Raises:
        bundle.BehaviourBundleError: the directory is not a sound bundle, or its files do not agree.
    """

    def __init__(self, directory: Path, *, manifest: bundle.Manifest | None = None) -> None:
        self.manifest = manifest or bundle.load_manifest(directory)
        self._directory = directory
        said = self.manifest
        self.products = _array(directory / bundle.PRODUCTS, (said.products, said.dim))
        self.leanings = _array(directory / bundle.LEANINGS, (said.products,))
        self._texts = _lines(directory / bundle.QUERIES, said.queries)
        self._rows = {text: row for row, text in enumerate(self._texts)}
        self._queries = _array(directory / bundle.QUERY_VECTORS, (said.queries, said.dim))
        projections = (bundle.QUERY_PROJECTION, bundle.PRODUCT_PROJECTION)
        self._of_queries, self._of_products = (
            np.asarray(_array(directory / name, (said.features + 1, said.dim))) for name in projections
        )
        self._companions = _array(directory / bundle.COMPANIONS, (said.products, None))
        self._askings = _array(directory / bundle.ASKINGS, (said.products, None))
        self._compared = None
        if said.mapping.share > 0:
            path = directory / bundle.QUERY_FEATURES
            features = _array(path, (None, said.features))
            if len(features) > said.queries:
                raise bundle.BehaviourBundleError(
                    f"{path} has {len(features):,} rows, for {said.queries:,} known queries"
                )
            self._compared = features, self._queries[: len(features)]

    @cached_property
    def product_ids(self) -> list[str]:
        """The products' ids; read when they are first asked for, as no search needs them."""
        return _lines(self._directory / bundle.PRODUCT_IDS, self.manifest.products)

    def knows(self, query: str) -> bool:
        """Whether shoppers were seen to ask for ``query``."""
        return query_key(query) in self._rows

    def encode_queries(self, queries: Sequence[str], features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (B, d) float32 of ``queries``: what was learnt for known ones, a mapping of their text for others.

        Args:
            queries: texts as they were typed.
            features: their text vectors (B, F), by :func:`model.behaviour.features.directions`.
        """
        found = project(features, self._of_queries)
        rows = [self._rows.get(query_key(query), -1) for query in queries]
        known = np.array([row >= 0 for row in rows], dtype=np.bool_)
        if self._compared is not None and not known.all() and len(self._texts):
            found[~known] = mixed(features[~known], found[~known], *self._compared, self.manifest.mapping)
        found[known] = self._queries[[row for row in rows if row >= 0]]
        return found

    def encode_products(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors (B, d) float32 of products that no click knows, by their text vectors (B, F)."""
        return project(features, self._of_products)

    def later_clicks(self) -> dict[str, list[str]]:
        """The products that later clicks, which no vector knows, went to, by query."""
        queries = (self._directory / bundle.LATER_QUERIES).read_text(encoding="utf-8").split("\n")[:-1]
        found: dict[str, list[str]] = {}
        for query, product in _array(self._directory / bundle.LATER, (None, 2)).tolist():
            found.setdefault(queries[int(query)], []).append(self.product_ids[int(product)])
        return found

    def clicked(self) -> NDArray[np.bool_]:
        """Which products (N,) any query led to; the vectors of the others are told by their text alone."""
        found: NDArray[np.bool_] = np.asarray(self._askings[:, 0]) >= 0  # they are listed from the left
        return found

    def companions(self, row: int) -> list[int]:
        """Rows of the products that most share sessions with a product."""
        return [other for other in self._companions[row].tolist() if other >= 0]

    def askings(self, row: int) -> list[str]:
        """The queries that most led to a product."""
        return [self._texts[query] for query in self._askings[row].tolist() if query >= 0]


def project(features: NDArray[np.float32], projection: NDArray[np.float32]) -> NDArray[np.float32]:
    """Text vectors (B, F) → vectors (B, d); the last row of ``projection`` (F + 1, d) is the constant's."""
    projected: NDArray[np.float32] = features @ projection[:-1] + projection[-1]
    return projected


def mixed(
    features: NDArray[np.float32],
    projected: NDArray[np.float32],
    known_features: NDArray[np.float32],
    known_vectors: NDArray[np.float32],
    mapping: bundle.Mapping,
) -> NDArray[np.float32]:
    """Vectors (B, d) of unknown queries: part projection, part the mean of the known queries nearest in text.

    The mean is weighted by the softmax of cosine times ``sharpness``. Memory is a few numbers for each of the known
    (K) and ``_BLOCK`` of the unknown.
    """
    found = np.empty_like(projected)
    for start in range(0, len(features), _BLOCK):
        part = slice(start, start + _BLOCK)
        mean = _neighbours(features[part], known_features, known_vectors, mapping)
        found[part] = (1.0 - mapping.share) * projected[part] + mapping.share * mean
    return found


def _neighbours(
    features: NDArray[np.float32],
    known_features: NDArray[np.float32],
    known_vectors: NDArray[np.float32],
    mapping: bundle.Mapping,
) -> NDArray[np.float32]:
    """The means (B, d) of the known queries nearest in text to those of ``features`` (B, F)."""
    cosines = features @ known_features.T
    count = min(mapping.neighbours, cosines.shape[1])
    near = np.argpartition(cosines, -count, axis=1)[:, -count:]
    logits = mapping.sharpness * np.take_along_axis(cosines, near, axis=1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    mean: NDArray[np.float32] = np.einsum("bk,bkd->bd", weights, known_vectors[near])
    return mean


def _lines(path: Path, count: int) -> list[str]:
    found = path.read_text(encoding="utf-8").split("\n")[:-1]
    if len(found) != count:
        raise bundle.BehaviourBundleError(f"{path} has {len(found):,} lines, and the manifest says {count:,}")
    return found


def _array(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        raise bundle.BehaviourBundleError(f"{path} has the shape {array.shape}, not {shape}")
    return array
