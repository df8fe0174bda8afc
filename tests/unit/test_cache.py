from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from index.asked import Search, Similar
from index.filter_syntax import parse
from index.operators import parse as parse_query
from index.refinement import Refinement
from service.cache import AnswerCache, Version

NOW = Version("s1", 7)


def answer(hits=10):
    return SimpleNamespace(hits=(None,) * hits)


def test_the_same_question_gets_the_same_answer_and_another_none():
    cache, found = AnswerCache(1000), answer()
    asked = Search("drill", "hybrid", 10, 0, Refinement(filter=parse("price < 5")))
    assert cache.get(NOW, asked) is None
    cache.put(NOW, asked, found)
    assert cache.get(NOW, replace(asked, refinement=Refinement(filter=parse("price < 5")))) is found
    for other in (
        replace(asked, query="drills"),
        replace(asked, mode="lexical"),
        replace(asked, limit=11),
        replace(asked, offset=1),
        replace(asked, refinement=Refinement(filter=parse("price < 6"))),
        replace(asked, query=parse_query("drill")),
        Similar("drill"),
    ):
        assert cache.get(NOW, other) is None


def test_where_an_expression_was_written_makes_no_other_of_it():
    cache, found = AnswerCache(1000), answer()
    cache.get(NOW, Search("x"))
    cache.put(NOW, Search(parse_query("a AND b")), found)
    assert cache.get(NOW, Search(parse_query("a  AND   b"))) is found


def test_a_change_or_another_snapshot_leaves_nothing_of_before():
    for later in (Version("s1", 8), Version("s2", 7)):
        cache = AnswerCache(1000)
        cache.get(NOW, Search("drill"))
        cache.put(NOW, Search("drill"), answer())
        assert cache.get(later, Search("drill")) is None
        assert cache.get(NOW, Search("drill")) is None


def test_an_answer_that_took_longer_than_its_version_lasted_is_not_kept():
    cache = AnswerCache(1000)
    cache.get(NOW, Search("drill"))
    cache.get(Version("s1", 8), Search("saw"))
    cache.put(NOW, Search("drill"), answer())
    assert cache.get(NOW, Search("drill")) is None
    assert cache.get(Version("s1", 8), Search("drill")) is None


def test_what_was_not_asked_for_the_longest_goes_first():
    cache = AnswerCache(110)
    asked = [Search(f"q{i}") for i in range(11)]
    cache.get(NOW, asked[0])
    for one in asked[:10]:
        cache.put(NOW, one, answer())
    assert cache.get(NOW, asked[0]) is not None
    cache.put(NOW, asked[10], answer())
    kept = [cache.get(NOW, one) is not None for one in asked]
    assert kept == [True, False, *[True] * 9]


def test_a_page_that_would_push_out_all_others_is_not_kept():
    cache = AnswerCache(1000)
    cache.get(NOW, Search("drill"))
    cache.put(NOW, Search("drill", limit=1000), answer(1000))
    assert cache.get(NOW, Search("drill", limit=1000)) is None


def test_no_room_keeps_nothing():
    cache = AnswerCache(0)
    assert cache.off
    cache.get(NOW, Search("drill"))
    cache.put(NOW, Search("drill"), answer(0))
    assert cache.get(NOW, Search("drill")) is None
