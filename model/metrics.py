"""Ranking metrics of judged queries, by ir-measures: the protocols that training and evaluation share.

Averages run over *all* judged queries: one without a relevant product, or without a result, counts as zero.
On the public Home Depot test queries, 59 of 917 without a relevant product, this is the convention by which
BM25's reference numbers come out; leaving those queries out would raise its R@10 from 0.408 to 0.437.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Protocol = Literal["retrieve", "rank"]

RETRIEVE_DEPTH = 100
RELEVANT_GRADE = 4
MEASURES: Mapping[Protocol, tuple[str, ...]] = {
    "retrieve": (
        f"R(rel={RELEVANT_GRADE})@10",
        f"R(rel={RELEVANT_GRADE})@{RETRIEVE_DEPTH}",
        f"RR(rel={RELEVANT_GRADE})@{RETRIEVE_DEPTH}",
        "nDCG@10",
    ),
    "rank": ("nDCG@3", "nDCG@5", "nDCG@10", f"AP(rel={RELEVANT_GRADE})", f"RR(rel={RELEVANT_GRADE})"),
}
"""What each protocol measures. *retrieve*: the whole catalogue is ranked, ``RETRIEVE_DEPTH`` deep; unjudged
products are not relevant. *rank*: only the judged products of each query are put in order."""


def grade(relevance: float) -> int:
    """A judge's relevance of 1 to 3 as an integer grade of 0 to 6; from ``RELEVANT_GRADE`` it is relevant."""
    return int(np.rint((relevance - 1.0) * 3.0))


def measure(
    run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]], protocol: Protocol
) -> dict[str, float]:
    """Metrics of ``protocol`` by name, each the mean over the queries of ``qrels``.

    Args:
        run: scores by query and product id, larger is better; equal scores are ordered by product id.
        qrels: integer grades by query and product id.
        protocol: which metrics.

    Raises:
        ModuleNotFoundError: ir-measures is not installed.
    """
    try:
        import ir_measures  # serving does without it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "measuring needs ir-measures, which is not installed: pip install 'saddle[train]'",
            name=error.name,
        ) from error
    measures = {name: ir_measures.parse_measure(name) for name in MEASURES[protocol]}
    values = ir_measures.calc_aggregate(measures.values(), qrels, run)
    return {name: float(values[parsed]) for name, parsed in measures.items()}
