from __future__ import annotations

import random
import signal

import numpy as np
import pytest
from fakes import shop_titles
from hypothesis import given, settings
from hypothesis import strategies as st

from model.catalog import split_of
from model.text import words
from model.training.phrasing import Phrasing, Ways
from model.training.pseudo import PseudoQuery, answers, cut, cut_for_split, misspell

TITLES = [words(title) for title in shop_titles(80)]
laws = settings(max_examples=80, deadline=None)
few_words = st.lists(st.sampled_from(["oak", "door", "saw", "pine", "4"]), min_size=1, max_size=5)


@pytest.fixture
def patience():
    """Two seconds, after which a loop without an end is broken with an error."""

    def stop(signum, frame):
        raise TimeoutError("still going after two seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@given(asked=st.lists(few_words, max_size=6), titles=st.lists(few_words, max_size=8))
@laws
def test_the_answers_are_those_of_a_loop_over_all_pairs(asked, titles):
    queries = [PseudoQuery(words=tuple(query), text=" ".join(query)) for query in asked]
    found = answers(queries, titles)
    assert found.shape == (len(queries), len(titles))
    for i, query in enumerate(queries):
        for j, title in enumerate(titles):
            assert found[i, j] == all(word in title for word in query.words)


@given(seed=st.integers(0, 10**6), row=st.integers(0, len(TITLES) - 1))
@laws
def test_a_pseudo_query_is_one_to_five_words_of_its_title_in_their_order(seed, row):
    query = cut(TITLES[row], Phrasing(), random.Random(seed))
    assert 1 <= len(query.words) <= 5
    remaining = iter(TITLES[row])
    assert all(word in remaining for word in query.words)
    assert len(query.text.split()) == len(query.words)


def test_what_is_typed_is_now_and_then_misspelt_and_otherwise_the_words_themselves():
    rng = random.Random(1)
    title = ["cordless", "hammer", "ladder", "outdoor", "compact"]
    cuts = [cut(title, Phrasing(), rng) for _ in range(2000)]
    pairs = [pair for query in cuts for pair in zip(query.words, query.text.split(), strict=True)]
    misspelt = sum(word != typed for word, typed in pairs) / len(pairs)
    assert 0.05 < misspelt < 0.12
    assert {len(query.words) for query in cuts} == {1, 2, 3, 4, 5}


def test_a_pseudo_query_is_put_as_people_put_it_and_answered_by_what_the_title_says():
    phrasing = Phrasing(rates={"in": 1e-9}, ways={"light": Ways(["lights"], [1.0])})
    cuts = {cut(["in", "light", "in"], phrasing, random.Random(seed)) for seed in range(50)}
    assert PseudoQuery(words=("light",), text="lights") in cuts
    assert PseudoQuery(words=("in",), text="in") not in cuts


def test_a_title_shorter_than_the_cut_is_taken_whole():
    assert {cut(["saw"], Phrasing(), random.Random(seed)).words for seed in range(20)} == {("saw",)}


@given(word=st.text(alphabet="abcdefgh", min_size=4, max_size=12), seed=st.integers(0, 10**6))
@laws
def test_a_misspelt_word_is_one_edit_away(word, seed):
    typed = misspell(word, random.Random(seed))
    swaps = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
    if len(typed) == len(word):
        assert typed in swaps or sum(a != b for a, b in zip(typed, word, strict=True)) <= 1
    else:
        assert abs(len(typed) - len(word)) == 1
        longer, shorter = sorted((typed, word), key=len, reverse=True)
        assert shorter in {longer[:i] + longer[i + 1 :] for i in range(len(longer))}


@pytest.mark.parametrize("word", ["saw", "3/4", "12345", "0.50"])
def test_short_words_and_numbers_are_never_misspelt(word):
    assert {misspell(word, random.Random(seed)) for seed in range(50)} == {word}


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_pseudo_queries_keep_to_their_split(split):
    found = cut_for_split(TITLES, Phrasing(), random.Random(2), count=60, split=split)
    assert len(found) == 60
    assert {split_of(query.text) for _, query in found} == {split}


def test_a_pseudo_query_is_answered_by_the_title_it_was_cut_from():
    found = cut_for_split(TITLES, Phrasing(), random.Random(3), count=200, split="train")
    table = answers([query for _, query in found], TITLES)
    assert all(table[i, row] for i, (row, _) in enumerate(found))


def test_the_same_seed_cuts_the_same_queries():
    first, again, other = (
        cut_for_split(TITLES, Phrasing(), random.Random(s), count=50, split="train") for s in (4, 4, 5)
    )
    assert first == again
    assert first != other


def test_no_queries_and_no_titles_are_an_empty_table():
    assert answers([], TITLES).shape == (0, len(TITLES))
    np.testing.assert_array_equal(answers([PseudoQuery(("oak",), "oak")], []), np.empty((1, 0), dtype=bool))


def test_titles_of_which_no_cut_falls_into_the_split_do_not_hang(patience):
    # "12" can be neither cut nor misspelt into anything but itself
    other = "dev" if split_of("12") != "dev" else "test"
    try:
        found = cut_for_split([["12"]], Phrasing(), random.Random(0), count=10, split=other)
    except ValueError:
        return
    assert all(split_of(query.text) == other for _, query in found)
