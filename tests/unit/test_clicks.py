from __future__ import annotations

from dataclasses import replace
from time import time

import numpy as np
import pytest

from model.behaviour.clicks import Limits, gather, query_key, seconds
from model.catalog import CatalogError, Interaction, Rejects, read_interactions

IDS = [f"p{i}" for i in range(60)]
START = 1_300_000_000


def click(query="drill", product="p0", *, user="", session="", minute: float | None = 0.0, **more) -> Interaction:
    time = "" if minute is None else str(START + 60 * minute)
    return Interaction(query, product, event="click", user_id=user, session_id=session, time=time, **more)


def sessions_of(clicks) -> list[list[str]]:
    """Products by session, in order of the sessions' first clicks."""
    found: dict[int, list[str]] = {}
    for session, product in zip(clicks.session.tolist(), clicks.product.tolist(), strict=True):
        if session >= 0:
            found.setdefault(session, []).append(IDS[product])
    return list(found.values())


def test_what_differs_in_case_or_punctuation_is_one_query():
    clicks, _ = gather([click("Xbox-360"), click("xbox 360", "p1"), click("wii")], IDS)
    assert clicks.queries == ("xbox 360", "wii") == (query_key("XBOX 360!"), query_key("WII"))
    assert sorted(zip(clicks.query.tolist(), clicks.product.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]


def test_a_session_id_counts_more_than_user_and_pause():
    given = [
        click(product="p0", user="u", session="a", minute=0),
        click(product="p1", user="u", session="a", minute=500),
        click(product="p2", user="u", session="b", minute=501),
    ]
    assert sessions_of(gather(given, IDS)[0]) == [["p0", "p1"], ["p2"]]


def test_without_session_ids_a_pause_ends_a_users_session():
    given = [click(product=f"p{i}", user=user, minute=m) for i, (user, m) in enumerate(
        [("u", 0), ("u", 29), ("v", 30), ("u", 60), ("u", 80), ("", 81)]
    )]  # fmt: skip
    assert sessions_of(gather(given, IDS)[0]) == [["p0", "p1"], ["p2"], ["p3", "p4"]]
    assert sessions_of(gather(given, IDS, Limits(pause_minutes=None))[0]) == [["p0", "p1", "p3", "p4"], ["p2"]]


def test_clocks_out_of_order_are_put_in_order_and_counted():
    given = [click(product=f"p{i}", user="u", minute=m) for i, m in enumerate([70, 0, 10, 65])]
    clicks, census = gather(given, IDS)
    assert sessions_of(clicks) == [["p1", "p2"], ["p3", "p0"]]
    assert (np.diff(clicks.time) >= 0).all()
    assert census.backwards == 1
    assert "1 interactions stand before earlier ones" in " ".join(census.remarks())


def test_unknown_products_are_counted_and_named_and_teach_nothing():
    given = [click(), click(product="p1"), click(product="gone"), click(product="gone"), click(product="p2")]
    clicks, census = gather(given, IDS)
    assert sorted(clicks.product.tolist()) == [0, 1, 2]
    assert census.unknown == {"gone": 2}
    assert census.remarks() == ["2 of 5 interactions name 1 products that the catalogue lacks: gone (2)"]


def test_another_shops_interactions_are_refused():
    with pytest.raises(CatalogError, match="2 of 3 interactions name products that the catalogue lacks, such as x"):
        gather([click(), click(product="x"), click(product="y")], IDS)


def test_a_machine_is_left_out_whole_and_named():
    crawler = [click(product=f"p{i % 50}", user="bot", minute=i) for i in range(11)]
    shoppers = [click(product="p51", user="u"), click(product="p52")]
    clicks, census = gather([*crawler, *shoppers], IDS, Limits(most_events=10))
    assert sorted(clicks.product.tolist()) == [51, 52]
    assert census.machines == {"user bot": 11}
    assert "the busiest, user bot, has 11" in " ".join(census.remarks())
    assert len(gather([*crawler, *shoppers], IDS, Limits(most_events=11))[0]) == 13


def test_a_session_without_a_user_can_be_a_machine_too():
    crawler = [click(product=f"p{i % 50}", session="s", minute=i) for i in range(11)]
    with pytest.raises(CatalogError, match="none of 11 interactions can be learnt from: 1 shoppers with 11"):
        gather(crawler, IDS, Limits(most_events=10))


def test_clicks_without_time_stay_but_join_no_session_cut_by_pauses():
    given = [click(user="u", minute=None), click(product="p1", user="u"), click(product="p2", user="u")]
    clicks, census = gather(given, IDS)
    assert sessions_of(clicks) == [["p1", "p2"]]
    assert len(clicks) == 3
    assert census.untimed == 1


def test_judged_pairs_count_if_relevant():
    given = [click(relevance=3.0), click(product="p1", relevance=1.5), click(product="p2")]
    clicks, census = gather(given, IDS)
    assert sorted(clicks.product.tolist()) == [0, 2]
    assert census.irrelevant == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-04-01", 1711929600.0),
        ("20240401", 1711929600.0),
        ("2024-04-01T22:21:52Z", 1712010112.0),
        ("2024-04-01 22:21:52.25", 1712010112.25),
        ("2024-04-01T23:21:52+01:00", 1712010112.0),
        ("1712010112", 1712010112.0),
        ("1712010112.5", 1712010112.5),
        ("1712010112345", 1712010112.345),
        ("1712010112345678", 1712010112.345678),
        ("1.712010112e9", 1712010112.0),
    ],
)
def test_times_are_read_in_utc_and_numbers_by_their_size(text, value):
    assert seconds(text) == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "inf",
        "nan",
        "12.5",
        "-1712010112",
        "1989-12-31",
        "19891231",
        "4102444800",
        "4102444800000",
        "2300-01-01",
        "9999-12-31T23:59:59Z",
        "20240401120000",
        "2024010112000",
        "1e300",
        "0001-01-01",
    ],
)
def test_what_is_no_time_or_none_of_our_times_is_not_read(text):
    assert np.isnan(seconds(text))


def test_a_clock_may_be_a_day_ahead():
    assert seconds(str(time() + 80_000)) > time()
    assert np.isnan(seconds(str(time() + 90_000)))


def test_times_that_cannot_be_read_are_counted():
    given = [click(), *(replace(click(product="p1"), time=text) for text in ("soon", "4102444800000"))]
    clicks, census = gather(given, IDS)
    assert np.isnan(clicks.time).sum() == census.untimed == 2
    assert census.remarks() == ["2 interactions have no readable time between 1990 and tomorrow"]


def test_an_empty_file_is_refused_in_words(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("", encoding="utf-8")
    with pytest.raises(CatalogError, match="the file is empty"):
        gather(read_interactions(path, Rejects()), IDS)
    path.write_text("query,product_id,time\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="not one row"):
        gather(read_interactions(path, Rejects()), IDS)


def test_a_file_is_read_with_bad_rows_set_aside(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text("query,product_id,time\ndrill,p1,2025-01-06\n,p2,2025-01-06\n", encoding="utf-8")
    rejects = Rejects()
    clicks, census = gather(read_interactions(path, rejects), IDS)
    assert clicks.product.tolist() == [1]
    assert (census.read, rejects.reasons) == (1, {"empty query": 1})
