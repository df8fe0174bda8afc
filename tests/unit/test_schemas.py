from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model.text import words
from service.schemas import MAX_WINDOW, SearchParams, SearchRequest


def fields_of(caught) -> list[str]:
    return [".".join(map(str, error["loc"])) for error in caught.value.errors()]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "\n\t",
        "x" * 513,
        "x" * 10_000,
        "drill\x00",
        "\x1b[31mdrill",
        "a\x7fb",
        "a\x85b",
        "🔨🔧",
        "!?-_*",
        None,
        7,
        ["drill"],
        True,
    ],
)
def test_a_query_that_cannot_be_searched_is_refused_by_name(query):
    with pytest.raises(ValidationError) as caught:
        SearchRequest(query=query)
    assert fields_of(caught) == ["query"]


@pytest.mark.parametrize(
    "query",
    [
        '1/2" pvc pipe',
        "[(drill",
        "a AND NOT (b",
        "o'brien's",
        "🔨 hammer",
        "дрель",
        "電動ドリル",
        "x" * 512,
        "½",
        "5",
    ],
)
def test_odd_queries_are_fine_and_kept_as_they_are(query):
    assert SearchRequest(query=query).query == query


def test_line_breaks_and_tabs_are_spaces_and_the_ends_are_trimmed():
    assert SearchRequest(query="\t cordless\r\ndrill\n").query == "cordless  drill"


@given(st.text())
def test_an_accepted_query_always_has_a_word_to_encode(text):
    try:
        query = SearchRequest(query=text).query
    except ValidationError:
        return
    assert words(query)
    assert 1 <= len(query) <= 512


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**9, "10", "abc", 1.5, True, None])
def test_a_limit_in_a_body_is_a_whole_number_from_1_to_1000(limit):
    with pytest.raises(ValidationError) as caught:
        SearchRequest(query="drill", limit=limit)
    assert fields_of(caught) == ["limit"]


@pytest.mark.parametrize("offset", [-1, 9_991, 10**9])
def test_limit_and_offset_stay_inside_the_window(offset):
    with pytest.raises(ValidationError) as caught:
        SearchRequest(query="drill", limit=10, offset=offset)
    assert fields_of(caught) == ["offset"]


def test_the_last_page_of_the_window_is_allowed():
    assert SearchRequest(query="drill", limit=1000, offset=MAX_WINDOW - 1000).offset == 9000


def test_a_field_nobody_knows_is_refused_by_name():
    with pytest.raises(ValidationError) as caught:
        SearchRequest(query="drill", size=3)
    assert fields_of(caught) == ["size"]


def test_parameters_of_a_url_are_texts_and_follow_the_same_rules():
    params = SearchParams(q=" drill ", limit="20", offset="5")
    assert (params.q, params.limit, params.offset) == ("drill", 20, 5)
    with pytest.raises(ValidationError) as caught:
        SearchParams(q="", limit="abc", offset="-1")
    assert fields_of(caught) == ["q", "limit", "offset"]
