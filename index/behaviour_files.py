"""The files of a snapshot's behaviour channel.

bundle/         the behaviour bundle, whole
vectors.npy     (N, d) float32: the vector of each row
places.npy      (N,) int32: each row's place in the bundle, −1 for a product that no click knows
candidates/     an index of the vectors by inner product
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from index.candidates import CandidateIndex
from index.root import adopt
from index.shapes import Shape
from index.snapshot import BUNDLE, CANDIDATES
from model.behaviour.bundle import MANIFEST, BehaviourBundleError, payload
from model.behaviour.features import directions
from model.behaviour.vectors import BehaviourVectors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from index.documents import Documents
    from model.runtime import TextEncoder

VECTORS, PLACES = "vectors.npy", "places.npy"
_CODES_FROM = 5_000
_BLOCK = 8192


def learnt_on(encoder: TextEncoder, bundle_dir: Path) -> BehaviourVectors:
    """The behaviour bundle in ``bundle_dir``, which stands on this encoder.

    Raises:
        BehaviourBundleError: it is none, or stands on another.
    """
    learnt = BehaviourVectors(bundle_dir)
    if learnt.manifest.text != encoder.manifest.version:
        raise BehaviourBundleError(
            f"behaviour bundle {learnt.manifest.version} in {bundle_dir} stands on the text bundle "
            f"{learnt.manifest.text}, and this one is {encoder.manifest.version}: train it again with "
            "`saddle train --channel behaviour`"
        )
    return learnt


def write(
    directory: Path,
    bundle_dir: Path,
    learnt: BehaviourVectors,
    documents: Documents,
    points: NDArray[np.float32],
    *,
    c: float,
) -> int:
    """Write the channel of products whose points are ``points`` (N, F) to ``directory``, which is made.

    Returns how many of them clicks know.

    Raises:
        BehaviourBundleError: that is none of them.
    """
    directory.mkdir()
    adopt(bundle_dir, (MANIFEST, *payload(learnt.manifest)), directory / BUNDLE)
    places = np.full(len(points), -1, dtype=np.int32)
    for place, row in enumerate(documents.rows(learnt.product_ids)):
        if row is not None:
            places[row] = place
    known = places >= 0
    if not known.any():
        raise BehaviourBundleError(
            f"behaviour bundle {learnt.manifest.version} in {bundle_dir} knows {len(learnt.product_ids):,} products, "
            "and the catalogue has none of them: was it trained on another shop's?"
        )
    vectors = np.empty((len(points), learnt.manifest.dim), dtype=np.float32)
    for start in range(0, len(points), _BLOCK):
        part = slice(start, start + _BLOCK)
        vectors[part] = learnt.encode_products(directions(points[part], c=c))
    vectors[known] = learnt.products[places[known]]
    np.save(directory / VECTORS, vectors, allow_pickle=False)
    np.save(directory / PLACES, places, allow_pickle=False)
    shape = Shape("codes" if len(points) >= _CODES_FROM else "flat", "inner")
    CandidateIndex.build(vectors, c=0.0, shape=shape).save(directory / CANDIDATES)
    return int(known.sum())
