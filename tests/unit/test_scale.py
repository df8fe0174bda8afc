from __future__ import annotations

from itertools import islice

from fakes import shop_titles

from benchmarks.scale.titles import titles

REAL = shop_titles(50)


def test_the_real_titles_come_first_and_changed_ones_after():
    made = list(titles(REAL, 500))
    assert made[:50] == REAL
    assert len(made) == 500
    assert len(set(made)) > 490


def test_a_larger_catalogue_begins_with_the_smaller_one():
    assert list(islice(titles(REAL, 900), 300)) == list(titles(REAL, 300))


def test_changed_titles_have_words_of_real_ones_alone():
    known = {word for title in REAL for word in title.split()}
    assert all(word in known for title in titles(REAL, 400) for word in title.split())
