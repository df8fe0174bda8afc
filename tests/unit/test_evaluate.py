from __future__ import annotations

import builtins
import math

import pytest

from index.evaluate import evaluate
from index.search import EmptyTextError, Hit, SearchResult, Timings, Total
from model.catalog import Judgment, Product
from model.metrics import MEASURES, grade, measure

JUDGMENTS = [
    Judgment("oak door", "a", 3.0),  # grade 6
    Judgment("oak door", "b", 2.33),  # grade 4
    Judgment("oak door", "c", 1.0),  # grade 0
    Judgment("lamp", "d", 2.0),  # grade 3: nothing relevant
    Judgment("!!", "a", 3.0),  # nothing to search by
    Judgment("saw", "e", 3.0),  # the snapshot lacks its only product
]
SERVED = {"oak door": ["a", "x", "b", "c"], "lamp": ["d", "a"], "saw": ["a", "b"]}
SCORES = {"oak door": {"a": 0.5, "b": 0.8, "c": 0.1}, "lamp": {"d": 0.9}, "saw": {}}


class ListedSearcher:
    """Serves the lists above, whatever is asked of it."""

    snapshot_id = "20261121T093000-abcdef"
    model_version = "anthem-0123456789ab"

    def __init__(self):
        self.modes = set()

    def search(self, query, *, mode, limit=10, offset=0):
        self.modes.add(mode)
        if query not in SERVED:
            raise EmptyTextError(query)
        # equal distances: only the order says which comes first
        hits = tuple(Hit(Product(i, i), score=-1.0, distance=1.0, contained=True) for i in SERVED[query])
        timings = Timings(0, 0, 0, 0)
        return SearchResult(hits[:limit], Total(0, "gte"), (), mode, None, self.snapshot_id, "m", timings, len(hits))

    def scores(self, query, product_ids, *, mode):
        self.modes.add(mode)
        if query not in SCORES:
            raise EmptyTextError(query)
        return {i: score for i, score in SCORES[query].items() if i in set(product_ids)}


def test_both_protocols_give_what_a_hand_computes():
    found = evaluate(ListedSearcher(), JUDGMENTS)
    assert (found.queries, found.judgments, found.absent) == (4, 6, 2)
    assert (found.snapshot, found.model) == (ListedSearcher.snapshot_id, ListedSearcher.model_version)
    ideal = 6 + 4 / math.log2(3)
    served = (6 + 4 / math.log2(4)) / ideal  # a, x, b
    assert found.metrics["retrieve"] == pytest.approx(
        {
            "R(rel=4)@10": 1.0 / 4,
            "R(rel=4)@100": 1.0 / 4,
            "RR(rel=4)@100": 1.0 / 4,
            "nDCG@10": (served + 1.0) / 4,  # "lamp" has no relevant product, but its grade 3 comes first
        }
    )
    ordered = (4 + 6 / math.log2(3)) / ideal  # b, a, c
    assert found.metrics["rank"] == pytest.approx(
        {
            **dict.fromkeys(("nDCG@3", "nDCG@5", "nDCG@10"), (ordered + 1.0) / 4),
            "AP(rel=4)": 1.0 / 4,
            "RR(rel=4)": 1.0 / 4,
        }
    )


@pytest.mark.parametrize("protocol", ["retrieve", "rank"])
def test_only_the_protocol_asked_for_is_measured(protocol):
    found = evaluate(ListedSearcher(), JUDGMENTS, protocols=(protocol,))
    assert list(found.metrics) == [protocol]
    assert list(found.metrics[protocol]) == list(MEASURES[protocol])


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
def test_both_protocols_search_in_the_mode_asked_for(mode):
    searcher = ListedSearcher()
    assert evaluate(searcher, JUDGMENTS, mode=mode).mode == mode
    assert searcher.modes == {mode}


def test_progress_ends_at_the_number_of_queries():
    heard = []
    evaluate(ListedSearcher(), JUDGMENTS, on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(i, 4) for i in (1, 2, 3, 4)]


def test_no_judgments_are_no_evaluation():
    with pytest.raises(ValueError, match="not one judgment"):
        evaluate(ListedSearcher(), [])


@pytest.mark.parametrize(
    ("relevance", "expected"), [(1.0, 0), (1.33, 1), (1.67, 2), (2.0, 3), (2.33, 4), (2.67, 5), (3.0, 6)]
)
def test_mean_ratings_become_integer_grades(relevance, expected):
    assert grade(relevance) == expected


def test_a_query_without_a_result_counts_as_zero():
    qrels = {"a": {"1": 6}, "b": {"2": 6}}
    assert measure({"a": {"1": 1.0}}, qrels, "retrieve")["R(rel=4)@10"] == 0.5


def test_without_ir_measures_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name == "ir_measures":
            raise ModuleNotFoundError("No module named 'ir_measures'", name=name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ModuleNotFoundError, match=r"saddle\[train\]"):
        measure({}, {"a": {"1": 6}}, "rank")
