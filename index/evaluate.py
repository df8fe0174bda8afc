"""Evaluation of a snapshot on judged queries, through the searcher that serves it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from index.search import EmptyTextError
from model.metrics import RETRIEVE_DEPTH, Protocol, grade, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from index.search import Searcher, TextMode
    from model.catalog import Judgment

PROTOCOLS: tuple[Protocol, ...] = ("retrieve", "rank")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one snapshot on one set of judgments, searched in one mode."""

    snapshot: str
    model: str
    mode: TextMode
    queries: int
    judgments: int
    absent: int
    """Judgments on products that the snapshot does not have; they count as not found."""
    metrics: Mapping[Protocol, Mapping[str, float]]


def evaluate(
    searcher: Searcher,
    judgments: Iterable[Judgment],
    *,
    protocols: Sequence[Protocol] = PROTOCOLS,
    mode: TextMode = "hybrid",
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Evaluation:
    """Measure ``searcher`` in ``mode`` under each of ``protocols``; ``on_progress`` hears of queries, done and all.

    Raises:
        ValueError: there is not one judgment.
        ModeError: the mode is ``behaviour``, and the snapshot has no such channel.
        ModuleNotFoundError: ir-measures is not installed.
    """
    qrels: dict[str, dict[str, int]] = defaultdict(dict)
    for judgment in judgments:
        qrels[judgment.query][judgment.product_id] = grade(judgment.relevance)
    if not qrels:
        raise ValueError("there is not one judgment to evaluate on")
    runs: dict[Protocol, dict[str, dict[str, float]]] = {protocol: {} for protocol in PROTOCOLS}
    present = 0
    for done, (query, grades) in enumerate(qrels.items(), start=1):
        runs["rank"][query] = _scored(searcher, query, grades, mode)
        present += len(runs["rank"][query])
        if "retrieve" in protocols:
            runs["retrieve"][query] = _retrieved(searcher, query, mode)
        on_progress(done, len(qrels))
    total = sum(map(len, qrels.values()))
    return Evaluation(
        snapshot=searcher.snapshot_id,
        model=searcher.model_version,
        mode=mode,
        queries=len(qrels),
        judgments=total,
        absent=total - present,
        metrics={protocol: measure(runs[protocol], qrels, protocol) for protocol in protocols},
    )


def _retrieved(searcher: Searcher, query: str, mode: TextMode) -> dict[str, float]:
    """Scores that fall with the rank: products of equal scores are measured in the order served."""
    try:
        result = searcher.search(query, mode=mode, limit=RETRIEVE_DEPTH)
    except EmptyTextError:
        return {}
    return {hit.product.product_id: -float(rank) for rank, hit in enumerate(result.hits)}


def _scored(searcher: Searcher, query: str, product_ids: Iterable[str], mode: TextMode) -> dict[str, float]:
    try:
        return searcher.scores(query, product_ids, mode=mode)
    except EmptyTextError:
        return {}
