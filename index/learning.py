"""Learning a snapshot's fusion from judged queries, by the candidates that its searches will have."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from index.fusion import Fusion, Judged, learn, union
from index.lexical import LEXICAL_CANDIDATES, LexicalIndex, best
from index.rerank import rerank
from model.catalog import Rejects, read_judgments, split_of
from model.metrics import grade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from index.candidates import CandidateIndex
    from index.documents import Documents
    from index.snapshot import CandidateSettings
    from model.runtime import TextEncoder

QUERIES = 2000
"""Judged queries to learn from, sampled if there are more."""
_BATCH = 64
_SEED = 20

Grades = dict[str, int]
"""Grade 0 to 6 by product id."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Both channels of a snapshot, and the rows that they share."""

    encoder: TextEncoder
    candidates: CandidateIndex
    settings: CandidateSettings
    points: NDArray[np.float32]
    lexical: LexicalIndex
    documents: Documents


def read_dev_judgments(path: Path, *, max_reject_share: float) -> dict[str, Grades]:
    """The judged products of every query of the dev split in ``path``; the other queries are left alone.

    Raises:
        CatalogError: an unusable file, or more than ``max_reject_share`` of its rows rejected.
    """
    rejects = Rejects()
    judged: dict[str, Grades] = {}
    for judgment in read_judgments(path, rejects):
        if split_of(judgment.query) == "dev":
            judged.setdefault(judgment.query, {})[judgment.product_id] = grade(judgment.relevance)
    rejects.check(max_reject_share)
    return judged


def learn_fusion(
    judged: Mapping[str, Grades],
    channels: Channels,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Fusion:
    """The fusion that suits ``judged`` queries best; products that the snapshot lacks teach nothing."""
    queries = list(judged)
    if len(queries) > QUERIES:
        queries = random.Random(_SEED).sample(queries, QUERIES)  # noqa: S311 - a sample, not a secret
    examples: list[Judged] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(queries), _BATCH):
            examples += _examples(queries[start : start + _BATCH], judged, channels, pool)
            on_progress(len(examples), len(queries))
    return learn(examples)


def _examples(
    queries: Sequence[str], judged: Mapping[str, Grades], channels: Channels, pool: ThreadPoolExecutor
) -> list[Judged]:
    """The candidates of each of ``queries``, found as a hybrid search finds them."""
    regions = channels.encoder.encode_queries(
        [channels.lexical.corrected(query, knows=channels.encoder.tokenizer.knows) for query in queries]
    )
    geometry = channels.encoder.manifest.geometry
    settings = channels.settings

    def example(number: int) -> Judged:
        centre, limit = regions.centres[number], regions.limits[number]
        scores = channels.lexical.scores(queries[number])
        near = channels.candidates.search(centre, settings.count, ef_search=settings.ef_search)
        rows = union(near, best(scores, LEXICAL_CANDIDATES))
        ranking = rerank(channels.points, rows, centre, limit, c=geometry.curvature, gamma=geometry.gamma)
        places = {channels.documents.row(product): found for product, found in judged[queries[number]].items()}
        grades = {row: found for row, found in places.items() if row is not None}
        return Judged(ranking.rows, ranking.distances, scores[ranking.rows], grades)

    return list(pool.map(example, range(len(queries))))
