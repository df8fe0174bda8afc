"""The perturbations that ``benchmarks/robustness.py`` measures with."""

from __future__ import annotations

import importlib.util
import random
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text import words


def _robustness():
    path = Path(__file__).parents[2] / "benchmarks" / "robustness.py"
    spec = importlib.util.spec_from_file_location("robustness", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


robustness = _robustness()
queries = st.lists(st.text("abcs0189", min_size=1, max_size=9), min_size=1, max_size=5).map(" ".join)
seeds = st.integers(0, 10**6)


def distance(a, b):
    """Edits of one character, or swaps of neighbours, between two words (optimal string alignment)."""
    rows = [list(range(len(b) + 1))]
    for i in range(1, len(a) + 1):
        rows.append([i])
        for j in range(1, len(b) + 1):
            best = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 and j > 1 and (a[i - 1], a[i - 2]) == (b[j - 2], b[j - 1]):
                best = min(best, rows[i - 2][j - 2] + 1)
            rows[i].append(best)
    return rows[-1][-1]


@given(queries, seeds, st.sampled_from(sorted(robustness.EDITS)))
def test_an_edit_changes_one_longest_word_by_one_edit(query, seed, kind):
    found = robustness.edited(query, random.Random(seed), kind)
    before, after = query.split(" "), found.split(" ")
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 1
    ((word, other),) = changed
    assert len(word) == max(map(len, before))
    assert distance(word, other) == 1
    assert re.fullmatch(r"[a-z0-9]+", other)


def test_each_kind_of_edit_is_that_kind():
    chance = random.Random(0)
    for _ in range(200):
        assert len(robustness.edited("hammer", chance, "insertion")) == 7
        assert len(robustness.edited("hammer", chance, "deletion")) == 5
        assert len(robustness.edited("hammer", chance, "substitution")) == 6
        swapped = robustness.edited("hammer", chance, "swap")
        assert swapped != "hammer"
        assert Counter(swapped) == Counter("hammer")


def test_the_same_seed_gives_the_same_queries_and_another_gives_others():
    asked = ["cordless drill", "white oak door 36 in."]
    first = robustness.perturbations(asked, seed=0, words=())
    assert robustness.perturbations(asked, seed=0, words=()) == first
    assert robustness.perturbations(asked[::-1], seed=0, words=())["edit"] == first["edit"]
    assert robustness.perturbations(asked, seed=1, words=())["edit"] != first["edit"]


def test_only_queries_that_a_kind_changes_are_measured_by_it():
    found = robustness.perturbations(["drill", "dishwasher 24 in.", "CAFE 7"], seed=0, words={"dish", "washer"})
    assert set(found["edit"]) == set(found["insertion"]) == {"drill", "dishwasher 24 in.", "CAFE 7"}
    assert found["split"] == {"dishwasher 24 in.": "dish washer 24 in."}
    assert set(found["units"]) == {"dishwasher 24 in."}
    assert found["joined"] == {}
    assert found["upper"] == {"drill": "DRILL", "dishwasher 24 in.": "DISHWASHER 24 IN."}
    for kind, texts in found.items():
        for query, text in texts.items():
            assert query != text, kind


@pytest.mark.parametrize(
    ("query", "other"),
    [
        ("cordless drills", "cordlesses drills"),
        ("drill", "drills"),
        ("drills", "drill"),
        ("battery", "batteries"),
        ("batteries", "battery"),
        ("toilet brush", "toilets brush"),
        ("brush", "brushes"),
        ("boxes", "box"),
        ("glass", "glasses"),
        ("glasses", "glass"),
        ("tray", "trays"),
        ("12345", "12345"),
    ],
)
def test_the_longest_word_changes_its_number(query, other):
    assert robustness.other_number(query) == other


@given(queries, seeds)
def test_joining_takes_one_space_from_between_two_words_of_letters(query, seed):
    found = robustness.joined(query, random.Random(seed))
    assert found.replace(" ", "") == query.replace(" ", "")
    assert found.count(" ") >= query.count(" ") - 1


def test_units_are_written_in_another_notation_of_the_same_length():
    inches = {"in", "inch", "inches"}
    for seed in range(50):
        chance = random.Random(seed)
        found = robustness.other_units("3/4 in. x 1-1/2 in. pipe", chance)
        assert "0.75" in found
        assert "1.5" in found
        assert set(words(found)) - {"0.75", "1.5", "x", "pipe"} <= inches
        assert robustness.other_units(".75 inch bolt", chance).startswith("3/4")
        assert robustness.other_units("2.5' board", chance).startswith("2 1/2 f")
    assert robustness.other_units("in 4x8 instant 2/0", random.Random(0)) == "in 4x8 instant 2/0"


@given(st.integers(0, 40), st.sampled_from([(1, 2), (1, 4), (3, 8), (5, 16)]))
def test_a_notation_of_a_number_is_the_same_number(whole, part):
    value = whole + Fraction(*part)
    mixed = f"{whole} {part[0]}/{part[1]}" if whole else f"{part[0]}/{part[1]}"
    decimal = robustness._other_notation(mixed)
    assert float(decimal) == pytest.approx(float(value), rel=1e-3)
    exact = f"{float(value):.4f}"
    pieces = robustness._other_notation(exact).split(" ")
    assert sum(Fraction(piece) for piece in pieces) == value


@pytest.mark.parametrize(
    ("query", "other"),
    [
        ("dewalt dcd771c2 drill", "dewalt dcd-771-c-2 drill"),
        ("2607-20 18v", "260720 18-v"),
        ("DCD-771", "DCD771"),
        ("3/4 in. x 36 oak-door 4'", "3/4 in. x 36 oak-door 4'"),
        ("1-1/2 in pipe", "1-1/2 in pipe"),
    ],
)
def test_codes_are_written_with_other_hyphens(query, other):
    assert robustness.recoded(query) == other


@given(queries)
def test_wide_letters_do_not_change_what_words_a_query_has(query):
    assert words(robustness.perturbations([query], seed=0, words=())["wide"].get(query, query)) == words(query)


@given(queries)
def test_accents_do_not_change_what_words_a_query_has(query):
    assert words(robustness.accented(query)) == words(query)
