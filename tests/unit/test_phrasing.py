from __future__ import annotations

import random
from collections import Counter

import pytest
from fakes import shop_titles
from hypothesis import given, settings
from hypothesis import strategies as st

from model.text import words
from model.training import phrasing
from model.training.alignment import NOTHING, align
from model.training.phrasing import Phrasing, Ways

TITLES = [words(title) for title in shop_titles(80)]
COLOURS = [3 * letter for letter in "abcdefghijklmnopqrst"]
laws = settings(max_examples=80, deadline=None)


def shares(drawn):
    return {word: n / len(drawn) for word, n in Counter(drawn).items()}


def test_words_that_queries_hold_of_their_answers_are_typed_more_often_than_others():
    titles = [["oak", "door", "in", "white"], ["pine", "door", "in", "white"], ["oak", "lamp", "in", "white"]]
    graded = {"oak door": {0: 6, 1: 4, 2: 3}, "white pine door": {1: 6}}
    rates = Phrasing.learn(titles, graded).rates
    assert rates["door"] > rates["oak"] > rates["in"]
    assert rates["door"] > rates["white"] > rates["in"]
    assert "lamp" not in rates, "its title was no answer"


def fridges(count):
    """Refrigerators that people call fridges, each of a colour of its own."""
    colours = COLOURS[:count]
    return [["refrigerator", colour, "ge"] for colour in colours], {
        f"fridge {colour}": {row: 6} for row, colour in enumerate(colours)
    }


def test_a_rate_is_how_often_the_word_was_typed_in_some_way_with_five_sightings_of_the_mean():
    titles, graded = fridges(20)
    learnt = Phrasing.learn(titles, graded)
    aligned = align([(words(query), titles[row]) for query, grades in graded.items() for row in grades])
    times = Counter()
    for typed, shown, n in zip(*aligned, strict=True):
        times[shown] += n if typed == shown or n >= 3 else 0.0
    assert times["refrigerator"] > 5
    usual = (times.total() - times[NOTHING]) / 60
    assert learnt.usual == pytest.approx(usual)
    assert learnt.rates == pytest.approx(
        {
            "refrigerator": (times["refrigerator"] + 5 * usual) / 25,
            "ge": (times["ge"] + 5 * usual) / 25,
            **{colour: (times[colour] + 5 * usual) / 6 for colour in COLOURS},
        }
    )


def test_what_people_type_for_another_word_is_learnt_where_it_is_seen_often_enough():
    learnt = Phrasing.learn(*fridges(20))
    titles, graded = fridges(20)
    aligned = align([(words(query), titles[row]) for query, grades in graded.items() for row in grades])
    (fridge,) = (n for typed, shown, n in zip(*aligned, strict=True) if (typed, shown) == ("fridge", "refrigerator"))
    assert learnt.ways["refrigerator"].words == ["refrigerator", "fridge"]
    assert learnt.ways["refrigerator"].weights == pytest.approx([3.0, 3.0 + fridge])
    assert not learnt.ways.keys() & set(COLOURS)
    assert Phrasing.learn(*fridges(4)).ways == {}


@pytest.mark.parametrize("graded", [{}, {"oak": {}}, {"oak": {0: 3}}, {"": {0: 6}}])
def test_without_answers_to_what_was_typed_nothing_is_known(graded):
    assert Phrasing.learn(TITLES, graded) == Phrasing()


@given(seed=st.integers(0, 10**6), row=st.integers(0, len(TITLES) - 1), count=st.integers(1, 6))
@laws
def test_chosen_words_are_of_the_title_and_in_its_order_whatever_the_rates(seed, row, count):
    rng = random.Random(seed)
    learnt = Phrasing({word: rng.choice([1e-4, 0.1, 1.0]) for word in TITLES[row][::2]}, usual=0.3)
    chosen = learnt.choose(TITLES[row], count, rng)
    assert len(chosen) == min(count, len(TITLES[row]))
    remaining = iter(TITLES[row])
    assert all(word in remaining for word in chosen)


def test_one_word_of_a_title_is_drawn_in_proportion_to_its_rate():
    rng = random.Random(5)
    learnt = Phrasing({"door": 0.6, "in": 0.1}, usual=0.3)
    drawn = [word for _ in range(20_000) for word in learnt.choose(["door", "in", "teak"], 1, rng)]
    assert shares(drawn) == pytest.approx({"door": 0.6, "in": 0.1, "teak": 0.3}, abs=0.015)


def test_a_word_is_said_in_its_ways_by_their_weights_and_others_as_they_are():
    rng = random.Random(6)
    learnt = Phrasing(ways={"bulb": Ways(["bulb", "bulbs", "lamp"], [5.0, 8.0, 10.0])})
    assert shares([learnt.say("bulb", rng) for _ in range(20_000)]) == pytest.approx(
        {"bulb": 0.5, "bulbs": 0.3, "lamp": 0.2}, abs=0.015
    )
    assert {learnt.say("door", rng) for _ in range(20)} == {"door"}


def test_of_more_pairs_than_are_learnt_from_the_same_sample_is_taken_each_time(monkeypatch):
    graded = {" ".join(title[:2]): {row: 6} for row, title in enumerate(TITLES)}
    monkeypatch.setattr(phrasing, "_MOST_PAIRS", 10)
    learnt = Phrasing.learn(TITLES, graded)
    assert 10 <= len(learnt.rates) <= 10 * max(map(len, TITLES))
    assert learnt.rates.keys() < {word for title in TITLES for word in title}
    assert learnt == Phrasing.learn(TITLES, graded)
