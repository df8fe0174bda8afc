"""Learning a snapshot's fusion from judged queries, by the candidates that its searches will have."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from index.channels import Wanted
from index.expression import Conjunction
from index.fusion import Fusion, Judged, learn
from model.catalog import Rejects, fingerprint, read_judgments, split_of
from model.metrics import RELEVANT_GRADE, RETRIEVE_DEPTH, grade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from index.channels import Channels
    from index.documents import Documents
    from index.view import View
    from model.behaviour.vectors import BehaviourVectors

QUERIES = 2000
"""Judged queries to learn from, sampled if there are more."""
_SEED = 20

Grades = dict[str, int]
"""Grade 0 to 6 by product id."""


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


def with_later_clicks(
    judged: Mapping[str, Grades], judgments: Path | None, learnt: BehaviourVectors
) -> Mapping[str, Grades]:
    """What teaches a fusion with a behaviour channel: clicks that it does not know, and ``judged`` queries.

    Where ``judgments`` are the very file that it was trained on, they teach nothing: it knows them by heart.
    """
    if judgments is not None and learnt.manifest.interactions == fingerprint(judgments):
        judged = {}
    clicks = learnt.later_clicks()
    return {**{query: dict.fromkeys(found, RELEVANT_GRADE) for query, found in clicks.items()}, **judged}


def learn_fusion(
    judged: Mapping[str, Grades],
    channels: Channels,
    view: View,
    documents: Documents,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Fusion:
    """The fusion that suits ``judged`` queries best; products that ``documents`` lack teach nothing."""
    queries = list(judged)
    if len(queries) > QUERIES:
        queries = random.Random(_SEED).sample(queries, QUERIES)  # noqa: S311 - a sample, not a secret

    def example(query: str) -> Judged:
        return _example(query, judged[query], channels, view, documents)

    examples: list[Judged] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for found in pool.map(example, queries):
            examples.append(found)
            on_progress(len(examples), len(queries))
    return learn(examples)


def _example(query: str, graded: Grades, channels: Channels, view: View, documents: Documents) -> Judged:
    """The candidates of a hybrid search for ``query``, and the grades of those that were judged."""
    conjunctions = (Conjunction((query,)),)
    (region, intent), words = channels.place(conjunctions), channels.words(conjunctions, view)
    (near,) = channels.near([Wanted(region, view, RETRIEVE_DEPTH)])
    rows = channels.proposed(near, words, intent, view, depth=RETRIEVE_DEPTH)
    places = {documents.row(product_id): found for product_id, found in graded.items()}
    return Judged(
        rows=rows,
        distances=channels.measure(region, rows, view)[0],
        lexical=words.scores[rows],
        grades={row: found for row, found in places.items() if row is not None},
        behaviour=channels.clicks(intent, rows, view, excluded=np.zeros(len(rows), dtype=np.bool_)),
    )
