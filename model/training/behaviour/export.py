"""From a trained behaviour network to a behaviour bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from model.behaviour import bundle
from model.behaviour.graphs import by_rows
from model.manifests import appearing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from model.behaviour.bundle import Manifest, Mapping
    from model.behaviour.graphs import Graphs
    from model.training.behaviour.lesson import Lesson
    from model.training.behaviour.trainer import Trained

TOLD = 5
"""Companions and askings of a product, at most."""
_CHUNK = 4096


def export(
    trained: Trained,
    graphs: Graphs,
    features: tuple[Tensor, Tensor],
    lesson: Lesson,
    out: Path,
    *,
    mapping: Mapping,
    text: str,
    catalog: str,
    interactions: str,
    training: dict[str, object],
) -> Manifest:
    """Write a behaviour bundle at ``out``, which must not exist, in one rename.

    Raises:
        FileExistsError: there is something at ``out``.
        ValueError: the network does not score by plain inner products.
    """
    if trained.network.config.curvature != 0:
        raise ValueError(f"a bundle holds plain vectors, not those of curvature −{trained.network.config.curvature:g}")
    with appearing(out) as directory:
        known, later = graphs.known_queries(), np.unique(lesson.dev_query)
        _write_lines(directory / bundle.PRODUCT_IDS, lesson.product_ids)
        for name, queries in ((bundle.QUERIES, known), (bundle.LATER_QUERIES, later)):
            _write_lines(directory / name, [lesson.train.queries[query] for query in queries.tolist()])
        place = np.full(graphs.queries, -1, dtype=np.int32)
        place[known] = np.arange(len(known), dtype=np.int32)
        pairs = (np.searchsorted(later, lesson.dev_query), lesson.dev_product)
        arrays = {
            bundle.PRODUCTS: trained.embeddings.products.numpy(),
            bundle.QUERY_VECTORS: trained.embeddings.queries.numpy()[known],
            bundle.QUERY_PROJECTION: _projection(trained.network.query),
            bundle.PRODUCT_PROJECTION: _projection(trained.network.product),
            bundle.LEANINGS: trained.embeddings.product_weight.numpy(),
            bundle.COMPANIONS: companions(graphs),
            bundle.ASKINGS: np.where((asked := askings(graphs)) >= 0, place[asked], -1),
            bundle.LATER: np.stack(pairs, axis=1).astype(np.int32),
        }
        if mapping.share > 0:
            arrays[bundle.QUERY_FEATURES] = features[0].numpy()[known[: bundle.COMPARED]]
        for name, array in arrays.items():
            np.save(directory / name, array, allow_pickle=False)
        return bundle.seal(
            directory,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            text=text,
            catalog=catalog,
            interactions=interactions,
            until=lesson.until,
            dim=trained.network.config.width,
            features=trained.network.config.features,
            products=graphs.products,
            queries=len(known),
            mapping=mapping,
            training=training,
        )


def companions(graphs: Graphs) -> NDArray[np.int32]:
    """For each product the rows of those that it shares most sessions with (N, ``TOLD``) int32, −1 where few.

    A few thousand products at a time, so that memory stays linear.
    """
    members = np.unique(np.stack([graphs.product[graphs.member_pair], graphs.member_session]), axis=1)
    by_product = by_rows(members[0], members[1], graphs.products)
    by_session = by_rows(members[1], members[0], max(1, graphs.sessions))
    found = np.full((graphs.products, TOLD), -1, dtype=np.int32)
    for start in range(0, graphs.products, _CHUNK):
        end = min(start + _CHUNK, graphs.products)
        part = slice(by_product.starts[start], by_product.starts[end])
        sessions = by_product.columns[part]
        own = np.repeat(np.arange(start, end), np.diff(by_product.starts[start : end + 1]))
        sizes = np.diff(by_session.starts)[sessions]
        first = np.repeat(by_session.starts[sessions] - np.cumsum(sizes) + sizes, sizes)
        others = by_session.columns[first + np.arange(int(sizes.sum()))].astype(np.int64)
        own = np.repeat(own, sizes)
        keys, shared = np.unique((own * graphs.products + others)[own != others], return_counts=True)
        _most(found, *np.divmod(keys, graphs.products), shared)
    return found


def askings(graphs: Graphs) -> NDArray[np.int32]:
    """For each product the known queries that most led to it (N, ``TOLD``) int32, −1 where there are fewer."""
    found, telling = np.full((graphs.products, TOLD), -1, dtype=np.int32), graphs.telling
    _most(found, graphs.product[telling], graphs.query[telling], graphs.count[telling])
    return found


def _most(found: NDArray[np.int32], rows: NDArray[Any], values: NDArray[Any], counts: NDArray[np.int64]) -> None:
    """Fill rows of ``found`` with the values of the highest counts; equal counts go by value."""
    order = np.lexsort((values, -counts, rows))
    rows, values = rows[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < found.shape[1]
    found[rows[kept], place[kept]] = values[kept]


def _projection(linear: nn.Linear) -> NDArray[np.float32]:
    """Weights and, below them, the constant (F + 1, d)."""
    matrix: NDArray[np.float32] = np.vstack([linear.weight.detach().numpy().T, linear.bias.detach().numpy()])
    return matrix


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
