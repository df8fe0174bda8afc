"""Learning a snapshot's fusion from judged queries, by the candidates that its searches will have."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from index.channels import Wanted
from index.expression import Conjunction
from index.fusion import FEWEST_QUERIES, Fusion, Judged, learn
from model.catalog import Rejects, fingerprint, read_judgments, split_of
from model.metrics import RELEVANT_GRADE, RETRIEVE_DEPTH, grade

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from index.channels import Channels
    from index.documents import Documents
    from index.view import View
    from model.behaviour import bundle as behaviour_bundle
    from model.behaviour.vectors import BehaviourVectors
    from model.bundle import Manifest

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


class Teaching(NamedTuple):
    """What teaches a fusion: judged products by query, ``optimistic`` if the text encoder was trained on some."""

    grades: Mapping[str, Grades]
    optimistic: bool = False


def with_later_clicks(
    judged: Mapping[str, Grades], judgments: Path | None, learnt: BehaviourVectors, text: Manifest
) -> Teaching:
    """What teaches a fusion with a behaviour channel: clicks that it does not know, and ``judged`` queries.

    Where ``judgments`` are the very file that it was trained on, they teach nothing: it knows them by heart. As the
    encoder of the bundle ``text`` knows clicks that it was trained on: then those teach whose queries it was not
    trained on, or all if too few are left.
    """
    if judgments is not None and learnt.manifest.interactions == fingerprint(judgments):
        judged = {}
    clicks = {query: dict.fromkeys(found, RELEVANT_GRADE) for query, found in learnt.later_clicks().items()}
    if not _trained_on_later_clicks(text, learnt.manifest):
        return Teaching({**clicks, **judged})
    unseen = {query: found for query, found in clicks.items() if split_of(query) != "train"}
    if len(unseen.keys() | judged.keys()) >= FEWEST_QUERIES:
        return Teaching({**unseen, **judged})
    return Teaching({**clicks, **judged}, optimistic=unseen != clicks)


def _trained_on_later_clicks(text: Manifest, learnt: behaviour_bundle.Manifest) -> bool:
    """Whether a text encoder was trained on the file of a behaviour channel, or on one that goes on for longer."""
    if text.interactions == learnt.interactions:
        return True
    return text.until is not None and learnt.until is not None and text.until > learnt.until


def learn_fusion(
    teaching: Teaching,
    channels: Channels,
    view: View,
    documents: Documents,
    *,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Fusion:
    """The fusion that suits the judged queries best; products that ``documents`` lack teach nothing."""
    queries = list(teaching.grades)
    if len(queries) > QUERIES:
        queries = random.Random(_SEED).sample(queries, QUERIES)  # noqa: S311 - a sample, not a secret

    def example(query: str) -> Judged:
        return _example(query, teaching.grades[query], channels, view, documents)

    examples: list[Judged] = []
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for found in pool.map(example, queries):
            examples.append(found)
            on_progress(len(examples), len(queries))
    fusion = learn(examples)
    optimistic = teaching.optimistic and fusion.method == "weighted"
    return fusion.model_copy(update={"optimistic": optimistic})


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
