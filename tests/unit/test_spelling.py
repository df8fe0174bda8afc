from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oracles import edits

from index.spelling import Spelling, _one_edit_apart

COUNTS = {"toilet": 40, "toilets": 9, "outlet": 70, "hammer": 30, "deck": 50, "paint": 60, "dec": 2, "kpaint": 2}
COUNTS |= {"drill": 20, "grill": 30, "3/4": 90, "1/2": 90, "saw": 80}


@pytest.fixture(scope="module")
def spelling():
    return Spelling.learn(COUNTS)


@pytest.mark.parametrize("word", ["toiletx", "toilt", "toilez", "tiolet", "otilet", "xtoilet", "toiket"])
def test_a_letter_more_less_or_other_and_a_swap_are_put_right(spelling, word):
    assert spelling.corrected(word) == ["toilet"]


def test_of_two_words_one_edit_away_the_more_frequent_is_meant(spelling):
    assert spelling.corrected("krill") == ["grill"]


def test_words_written_as_one_are_cut_in_two_where_both_are_frequent(spelling):
    assert spelling.corrected("deckpaint") == ["deck", "paint"]
    assert spelling.corrected("hammerdrill") == ["hammer", "drill"]


@pytest.mark.parametrize("word", ["sow", "3/5", "20", "zzzzzz", "", "sledgehamer", "x" * 30])
def test_what_is_short_a_number_or_like_nothing_stays(spelling, word):
    assert spelling.corrected(word) == [word]


def test_other_scripts_are_corrected_alike():
    spelling = Spelling.learn({"молоток": 3, "дрель": 5})
    assert spelling.corrected("молотк") == ["молоток"]
    assert spelling.corrected("дерль") == ["дрель"]


@settings(deadline=None)  # the oracle takes its time
@given(
    st.dictionaries(st.text("abcd", min_size=3, max_size=6), st.integers(1, 5), min_size=1, max_size=8),
    st.text("abcd", min_size=4, max_size=6),
)
def test_the_correction_is_what_a_comparison_with_every_word_finds(counts, word):
    near = [other for other in counts if edits(word, other) == 1]
    if near:
        expected = min(near, key=lambda other: (-counts[other], other))
        assert Spelling.learn(counts).corrected(word) == [expected]


@settings(deadline=None)
@given(st.text("ab", max_size=5), st.text("ab", max_size=5))
@example("ab", "ba")
@example("abab", "baba")
def test_one_edit_is_what_the_recursion_counts(a, b):
    assert _one_edit_apart(a, b) == (edits(a, b) == 1)


def test_a_saved_dictionary_corrects_as_the_one_it_was(spelling, tmp_path):
    spelling.save(tmp_path)
    loaded = Spelling.load(tmp_path)
    for word in ("toilt", "deckpaint", "zzzz", "krill"):
        assert loaded.corrected(word) == spelling.corrected(word)


def test_a_catalogue_of_numbers_corrects_nothing(tmp_path):
    Spelling.learn({"12": 3, "3/4": 1}).save(tmp_path)
    assert Spelling.load(tmp_path).corrected("hammer") == ["hammer"]
    assert np.load(tmp_path / "deletions.npy", allow_pickle=False).shape == (2, 0)
