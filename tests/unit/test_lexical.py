from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import bm25

from index.lexical import FILES, LexicalIndex, LexicalWriter, best, terms_of

nfkd = partial(unicodedata.normalize, "NFKD")

TEXTS = [
    "Acme 3/4 in. PVC Pipe",
    "Acme 18-Volt Cordless Drill Drills",
    "White Dishwasher 24 in.",
    "Cordless Hammer Drill, 20-Volt",
    "Молоток столярный 500 кг",
    "Pipe Hanger for 3/4 in. pipe",
    "Steel Hammer",
    "錆びない ネジ M6",
    "Café table in white",
]
# the stems of the words of each, as a reader would write them down
TERMS = [
    ["acm", "3/4", "in", "pvc", "pipe"],
    ["acm", "18", "volt", "cordless", "drill", "drill"],
    ["white", "dishwash", "24", "in"],
    ["cordless", "hammer", "drill", "20", "volt"],
    ["молоток", "столярныи", "500", "кг"],
    ["pipe", "hanger", "for", "3/4", "in", "pipe"],
    ["steel", "hammer"],
    [nfkd("錆びない"), nfkd("ネジ"), "m", "6"],
    ["cafe", "tabl", "in", "white"],
]


def index_of(directory, texts):
    writer = LexicalWriter()
    writer.append(texts[:4])
    writer.append(texts[4:])
    writer.save(directory)
    return LexicalIndex.load(directory)


@pytest.fixture(scope="module")
def lexical(tmp_path_factory):
    return index_of(tmp_path_factory.mktemp("lexical"), TEXTS)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("hammer drills", ["hammer", "drill"]),
        ("3/4 in. pipe", ["3/4", "in", "pipe"]),
        ("drill drill", ["drill", "drill"]),
        ("white", ["white"]),
        ("МОЛОТОК", ["молоток"]),
        ("ネジ", [nfkd("ネジ")]),
        ("table café", ["tabl", "cafe"]),
    ],
)
def test_scores_are_bm25_by_its_definition(lexical, query, terms):
    scores = lexical.scores(query)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, bm25(TERMS, terms, k1=0.6, b=0.75), rtol=1e-5)
    assert scores.any()


def test_nothing_shared_is_a_score_of_zero_and_no_row(lexical):
    for query in ("zzz", "9999", ""):
        assert not lexical.scores(query).any()
        assert lexical.scores(query).shape == (len(TEXTS),)
        assert len(lexical.search(query, 5)) == 0


def test_every_row_counts_once(lexical):
    assert len(lexical) == len(TEXTS)


def test_search_gives_the_rows_that_share_a_word_best_first(lexical):
    scores = lexical.scores("cordless drill")
    rows = lexical.search("cordless drill", 10)
    assert set(rows) == set(np.flatnonzero(scores)) == {1, 3}
    assert list(scores[rows]) == sorted(scores[rows], reverse=True)
    assert list(lexical.search("cordless drill", 1)) == [rows[0]]


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("cordles dril", "cordless drill"),
        ("hamemr", "hammer"),
        ("hammerdrill", "hammer drill"),
        ("dish washer", "dishwasher"),
        ("моллоток", "молоток"),
        ("pipes", "pipes"),
        ("3/5 in pip", "3/5 in pip"),
    ],
)
def test_what_the_catalogue_does_not_write_so_scores_as_what_it_does(lexical, query, meant):
    assert lexical.corrected(query) == meant
    np.testing.assert_array_equal(lexical.scores(query), lexical.scores(meant))


def test_a_text_with_nothing_to_correct_is_left_as_it_is(lexical):
    for text in ('White 24" DISHWASHER!', "  café  ", "…", ""):
        assert lexical.corrected(text) == text


def test_known_words_that_the_catalogue_also_joins_count_both_ways(tmp_path):
    index = index_of(tmp_path, ["dish rack", "washer", "dishwasher", "lamp"])
    assert index.corrected("dish washer") == "dish washer"
    assert set(index.search("dish washer", 4)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("cordless drill", [1, 3]),
        ("hammer drill", [3]),
        ("hammerdrill", [3]),
        ("cordles dril", [1, 3]),
        ("drill drill", [1, 3]),
        ("white dish washer", [2]),
        ("in white", [2, 8]),
        ("pipes 3/4", [0, 5]),
        ("white zzz", []),
        ("…", []),
    ],
)
def test_a_row_holds_a_text_that_has_all_its_words_as_they_are_meant(lexical, text, rows):
    assert lexical.holding(text).tolist() == rows


def test_two_words_are_held_by_the_one_that_they_make(tmp_path):
    index = index_of(tmp_path, ["white dish rack", "white washer", "white dishwasher", "dish washer, white"])
    assert index.holding("white dish washer").tolist() == [2, 3]
    assert index.holding("dish washer white").tolist() == [2, 3]


def test_what_bm25_says_of_a_row_names_the_words_it_has_and_has_not(lexical):
    found = lexical.wording("cordles hammerdrill in white", 3)
    assert (found.shared, found.missing) == (("cordless", "hammer", "drill"), ("in", "white"))
    assert found.score == lexical.scores("cordless hammer drill in white")[3] > 0
    assert lexical.wording("zzz", 3) == (0.0, (), ("zzz",))


def test_a_word_that_a_row_has_as_one_with_its_neighbour_is_had(tmp_path):
    index = index_of(tmp_path, ["dish rack", "washer", "white dishwasher", "lamp"])
    assert index.wording("white dish washer", 2).shared == ("white", "dish", "washer")
    index.live.extend([terms_of("dishwasher")])
    assert index.wording("white dish washer", 4, live=1)[1:] == (("dish", "washer"), ("white",))


def test_live_rows_hold_texts_too(tmp_path):
    index = index_of(tmp_path, ["dish rack", "washer"])
    index.live.extend([terms_of("white dishwasher"), terms_of("dish washer"), terms_of("washer")])
    assert index.holding("dish washer", live=3).tolist() == [2, 3]
    assert index.holding("dish washer", live=1).tolist() == [2]
    assert index.holding("dish washer").tolist() == []


@given(st.lists(st.sampled_from(["cordless", "drill", "drills", "hammer", "in", "pipe", "white", "acme"]), min_size=1))
def test_what_a_row_holds_is_what_each_word_of_its_own_finds(lexical, found):
    expected = np.flatnonzero(np.all([lexical.scores(word) > 0 for word in found], axis=0))
    assert lexical.holding(" ".join(found)).tolist() == expected.tolist()


@settings(max_examples=10, deadline=None)  # each builds an index
@given(st.permutations(range(len(TEXTS))))
def test_the_order_of_rows_is_no_matter(tmp_path_factory, order):
    mixed = index_of(tmp_path_factory.mktemp("mixed"), [TEXTS[row] for row in order])
    plain = bm25(TERMS, ["cordless", "drill", "in"], k1=0.6, b=0.75)
    np.testing.assert_allclose(mixed.scores("cordless drill in"), plain[list(order)], rtol=1e-5)


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), max_size=20), st.integers(1, 25))
def test_the_best_are_the_first_of_a_full_sort(scores, count):
    rows = sorted((row for row, score in enumerate(scores) if score > 0), key=lambda row: (-scores[row], row))
    assert list(best(np.array(scores, dtype=np.float32), count)) == rows[:count]


def test_threads_get_what_one_alone_gets(lexical):
    queries = ["cordles drill", "hammer", "dish washer", "3/4 in pipe", "white cafe table"] * 20
    alone = [lexical.scores(query) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        for expected, found in zip(alone, pool.map(lexical.scores, queries), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", FILES)
def test_an_index_without_one_of_its_files_is_refused(tmp_path, name):
    index_of(tmp_path, TEXTS)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"{tmp_path} holds no lexical index: .*{name}"):
        LexicalIndex.load(tmp_path)


def test_nothing_is_read_by_pickle(tmp_path):
    index_of(tmp_path, TEXTS)
    np.save(tmp_path / "starts.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"holds no lexical index: .*Python objects"):
        LexicalIndex.load(tmp_path)


def test_the_files_are_those_that_are_promised(tmp_path):
    index_of(tmp_path, TEXTS)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
