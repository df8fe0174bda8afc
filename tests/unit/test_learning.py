from __future__ import annotations

from types import SimpleNamespace

import pytest

from index.fusion import FEWEST_QUERIES
from index.learning import with_later_clicks
from model.catalog import fingerprint, split_of
from model.metrics import RELEVANT_GRADE

CLICKED = "sha256:1"
EARLY, UNTIL, LATE = (f"2026-04-{day}T00:00:00+00:00" for day in (10, 20, 30))
MANY = [f"want {i}" for i in range(200)]
FEW = MANY[:30]


def learnt(queries, *, until=UNTIL, interactions=CLICKED):
    """A behaviour channel whose later clicks are one on each of ``queries``."""
    manifest = SimpleNamespace(interactions=interactions, until=until)
    return SimpleNamespace(manifest=manifest, later_clicks=lambda: {query: ["p1"] for query in queries})


def text(*, interactions=None, until=None):
    return SimpleNamespace(interactions=interactions, until=until)


def not_trained_on(queries):
    return {query for query in queries if split_of(query) != "train"}


@pytest.mark.parametrize("other", [text(), text(interactions="sha256:2"), text(interactions="sha256:2", until=EARLY)])
def test_all_later_clicks_teach_where_the_text_was_not_trained_on_them(other):
    teaching = with_later_clicks({}, None, learnt(MANY), other)
    assert teaching.grades == {query: {"p1": RELEVANT_GRADE} for query in MANY}
    assert not teaching.optimistic


@pytest.mark.parametrize(
    "same",
    [
        text(interactions=CLICKED),  # the very file
        text(interactions="sha256:2", until=LATE),  # one that went on to after the later clicks' first
    ],
)
def test_of_later_clicks_that_the_text_was_trained_on_those_teach_whose_queries_were_not(same):
    teaching = with_later_clicks({}, None, learnt(MANY), same)
    assert FEWEST_QUERIES <= len(teaching.grades) < len(MANY)
    assert teaching.grades.keys() == not_trained_on(MANY)
    assert not teaching.optimistic


def test_where_too_few_queries_are_left_all_teach_and_it_is_said():
    assert len(not_trained_on(FEW)) < FEWEST_QUERIES
    teaching = with_later_clicks({}, None, learnt(FEW), text(interactions=CLICKED))
    assert teaching.grades.keys() == set(FEW)
    assert teaching.optimistic


def test_judged_queries_were_never_trained_on_and_make_up_for_few_clicked_ones():
    judged = {f"judged {i}": {"p2": 6} for i in range(FEWEST_QUERIES)}
    teaching = with_later_clicks(judged, None, learnt(FEW), text(interactions=CLICKED))
    assert teaching.grades.keys() == not_trained_on(FEW) | judged.keys()
    assert not teaching.optimistic


def test_judgments_that_the_channel_was_trained_on_teach_nothing(tmp_path):
    path = tmp_path / "judgments.csv"
    path.write_text("query,product_id,relevance\n", encoding="utf-8")
    judged = {"judged": {"p2": 6}}
    for interactions, kept in ((fingerprint(path), False), (CLICKED, True)):
        found = with_later_clicks(judged, path, learnt(MANY, interactions=interactions), text())
        assert ("judged" in found.grades) == kept
