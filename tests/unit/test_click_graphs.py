from __future__ import annotations

import tracemalloc
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.behaviour.clicks import Clicks
from model.behaviour.graphs import build, by_rows

PRODUCTS = 7
events = st.lists(st.tuples(st.integers(0, 3), st.integers(0, PRODUCTS - 1), st.integers(-1, 4)), max_size=40)


def clicks_of(found) -> Clicks:
    columns = np.array(found, dtype=np.int32).reshape(-1, 3)
    return Clicks(tuple("abcd"), *columns.T, time=np.arange(len(columns), dtype=np.float64))


@given(events, st.integers(1, 3), st.integers(2, 4))
def test_graphs_are_what_counting_by_hand_gives(found, min_count, most):
    graphs = build(clicks_of(found), PRODUCTS, min_count=min_count, most_products=most)
    counts: dict[tuple[int, int], int] = defaultdict(int)
    sessions: dict[int, set[tuple[int, int]]] = defaultdict(set)
    for query, product, session in found:
        counts[query, product] += 1
        if session >= 0:
            sessions[session].add((query, product))
    pairs = list(zip(graphs.query.tolist(), graphs.product.tolist(), strict=True))
    assert dict(zip(pairs, graphs.count.tolist(), strict=True)) == counts
    assert {pair for pair, edge in zip(pairs, graphs.edge, strict=True) if edge} == {
        pair for pair, count in counts.items() if count >= min_count
    }
    members = defaultdict(set)
    for pair, session in zip(graphs.member_pair.tolist(), graphs.member_session.tolist(), strict=True):
        members[session].add(pairs[pair])
    sizes = [len({product for _, product in s}) for s in sessions.values()]
    wanted = [s for s, size in zip(sessions.values(), sizes, strict=True) if 2 <= size <= most]
    assert sorted(map(sorted, members.values())) == sorted(map(sorted, wanted))
    assert graphs.sessions == len(wanted)
    assert (graphs.alone, graphs.crowded) == (sizes.count(1), sum(size > most for size in sizes))


@given(events)
def test_the_most_clicked_queries_come_first(found):
    counts = Counter(query for query, _, _ in found)
    known = build(clicks_of(found), PRODUCTS).known_queries().tolist()
    assert known == sorted(counts, key=lambda query: (-counts[query], query))


def test_a_session_of_rare_products_weighs_more_than_one_of_bestsellers():
    found = [(0, 0, session) for session in range(5)] + [(0, 1, session) for session in range(4)] + [(0, 2, 4)]
    weights = build(clicks_of(found), PRODUCTS).session_weight
    assert weights[4] > weights[0] == weights[3]
    assert weights[0] == pytest.approx((1 / np.sqrt(5) + 1 / np.sqrt(4)) / 2)


def test_a_session_of_ten_thousand_products_is_no_hyperedge_and_its_clicks_stay_edges():
    graphs = build(clicks_of([(0, product, 0) for product in range(10_000)]), 10_000)
    assert (graphs.sessions, graphs.crowded, len(graphs.query)) == (0, 1, 10_000)
    assert len(graphs.remarks()) == 2
    assert "from clicks alone" in graphs.remarks()[0]


def test_memory_is_linear_in_pairs_and_members_while_graphs_are_built_too():
    def peak(count):
        rng = np.random.default_rng(0)
        queries, products, sessions = count // 10, count // 10, count // 4
        columns = [rng.integers(0, most, count).astype(np.int32) for most in (queries, products, sessions)]
        clicks = Clicks(tuple(map(str, range(queries))), *columns, time=np.arange(count, dtype=np.float64))
        tracemalloc.start()
        try:
            graphs = build(clicks, products)
            return tracemalloc.get_traced_memory()[1] / (len(graphs.query) + len(graphs.member_pair) + graphs.sessions)
        finally:
            tracemalloc.stop()

    peak(4_000)  # what is allocated once
    assert peak(80_000) <= 1.1 * peak(8_000) <= 60


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), max_size=30))
def test_rows_hold_their_entries_in_order_of_columns(places):
    rows, columns = np.array(places, dtype=np.int32).reshape(-1, 2).T
    matrix = by_rows(rows, columns, 5)
    for row in range(5):
        part = slice(matrix.starts[row], matrix.starts[row + 1])
        assert matrix.columns[part].tolist() == sorted(columns[rows == row].tolist())
        assert (rows[matrix.entry[part]] == row).all()
        assert (columns[matrix.entry[part]] == matrix.columns[part]).all()
    assert sorted(matrix.entry.tolist()) == list(range(len(places)))
