from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import unicodedata
import zlib

import numpy as np
import pytest
from fakes import shop_titles
from hypothesis import given, settings
from hypothesis import strategies as st

from model.text import HASH_BUCKETS, MAX_FEATURES, Tokenizer, Vocabulary, normalize, pad, trigrams, words

TITLES = shop_titles(200)
laws = settings(max_examples=150, deadline=None)


def full_width(text: str) -> str:
    """``text`` as an East Asian keyboard types it."""
    return "".join(char if char == " " else chr(ord(char) + 0xFEE0) for char in text)


def nfkd(text: str) -> str:
    """``text`` in letters and marks of their own."""
    return unicodedata.normalize("NFKD", text)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.learn(TITLES))


@pytest.fixture(scope="module")
def trigram_tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.learn(TITLES, terms="trigram"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cordless DRILL", ["cordless", "drill"]),
        ("Crème Brûlée Ñandú", ["creme", "brulee", "nandu"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        (full_width("FULL-width 12"), ["full", "width", "12"]),
        ("ﬁtting", ["fitting"]),
        ("½ in. pipe", ["1/2", "in", "pipe"]),
        ("3/4 in", ["3/4", "in"]),
        ("0.5 gal", ["0.5", "gal"]),
        ('1/2" pvc', ["1/2", "pvc"]),
        ("4x8", ["4", "x", "8"]),
        ("4 x 8", ["4", "x", "8"]),
        ("10ft. 2-in", ["10", "ft", "2", "in"]),
        ("snake_case", ["snake", "case"]),
        ("R-13", ["r", "13"]),
        ("m²", ["m", "2"]),
        ("dish\u00adwasher", ["dishwasher"]),
        ("हथौड़ा लोहे का", [nfkd("हथौड़ा"), nfkd("लोहे"), nfkd("का")]),
        ("कॉर्डलेस ड्रिल १२", [nfkd("कॉर्डलेस"), nfkd("ड्रिल"), "१२"]),
        ("சுத்தியல் হাতুড়ি", [nfkd("சுத்தியல்"), nfkd("হাতুড়ি")]),
        ("สว่าน ไร้สาย", [nfkd("สว่าน"), nfkd("ไร้สาย")]),
        ("パン ハン", [nfkd("パン"), nfkd("ハン")]),
        ("שָׁלוֹם مُحَمَّد", ["שלום", "محمد"]),
        ("\N{ARABIC LETTER MEEM}\N{ZERO WIDTH NON-JOINER}\N{ARABIC LETTER KHAH}", ["مخ"]),
        ("1\ufe0f\u20e3 drill", ["1", "drill"]),
        ("\u0903 drill", ["drill"]),
        ("12.", ["12"]),
        ("???", []),
        ("", []),
    ],
)
def test_a_text_is_read_as(text, expected):
    assert words(text) == expected


def test_a_mixed_number_is_a_whole_and_a_fraction():
    assert words("1½ in. pipe") == words("1 1/2 in. pipe") == ["1", "1/2", "in", "pipe"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Oleum\N{TRADE MARK SIGN}", "oleumtm"), ("\N{NUMERO SIGN}5", "no5"), ("\N{SCRIPT CAPITAL H}", "h")],
)
def test_what_compatibility_forms_bring_back_is_folded_too(text, expected):
    assert normalize(text) == expected


@given(st.text())
@laws
def test_normalising_twice_changes_nothing(text):
    once = normalize(text)
    assert normalize(once) == once


@given(st.text())
@laws
def test_words_survive_being_joined_and_read_again(text):
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(found)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
@laws
def test_case_never_matters(text):
    assert words(text.upper()) == words(text.lower()) == words(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("дрель аккумуляторная", 2), ("δράπανο", 1), ("電動ドリル 12V", 3), ("드릴 세트", 2), ("مثقاب كهربائي", 2)],
)
def test_other_scripts_are_words_too(text, count, tokenizer):
    assert len(words(text)) == count
    assert (tokenizer.queries([text]).terms != 0).sum() == count


def test_accents_of_other_scripts_do_not_matter_either():
    assert words("Δράπανο") == words("δραπανο")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("saw", ["#sa", "saw", "aw#"]), ("ab", ["#ab", "ab#"]), ("a", ["#a#"])],
)
def test_trigrams_mark_where_a_word_ends(word, expected):
    assert trigrams(word) == expected


@given(st.text(alphabet="abcdefgh", min_size=1, max_size=30))
@laws
def test_trigrams_cover_their_word(word):
    found = trigrams(word)
    assert len(found) == len(word)
    assert found[0][0] == found[-1][-1] == "#"
    assert "".join(t[1] for t in found) == word


def test_a_known_word_has_its_own_feature_before_its_trigrams(tokenizer):
    vocabulary = tokenizer.vocabulary
    ids = tokenizer.features("drill")
    assert ids[0] == vocabulary.first_word + vocabulary.words.index("drill")
    assert ids[1:] == [1 + HASH_BUCKETS + vocabulary.trigrams.index(t) for t in trigrams("drill")]


def test_an_unknown_word_has_only_trigrams_and_shares_them_with_its_kind(tokenizer):
    vocabulary = tokenizer.vocabulary
    assert "cordles" not in vocabulary.words
    unknown, known = tokenizer.features("cordles"), tokenizer.features("cordless")
    assert all(0 < feature < vocabulary.first_word for feature in unknown)
    assert len(set(unknown) & set(known)) == 6


def test_an_unknown_trigram_falls_into_a_fixed_bucket(tokenizer):
    assert "qxz" not in tokenizer.vocabulary.trigrams
    bucket = tokenizer.features("qxz")[1]
    assert bucket == 1 + zlib.crc32(b"qxz") % HASH_BUCKETS
    assert 1 <= bucket <= HASH_BUCKETS


@given(st.text(min_size=1, max_size=60))
@laws
def test_every_term_of_every_text_has_features_in_range(text):
    for terms in ("word", "trigram"):
        tokenizer = Tokenizer(Vocabulary.learn(TITLES[:20], terms=terms))
        for term in tokenizer.terms(text):
            features = tokenizer.features(term)
            assert 1 <= len(features) <= MAX_FEATURES
            assert all(0 < feature < tokenizer.vocabulary.size for feature in features)


def test_a_batch_describes_each_term_once_and_pads_with_row_zero(tokenizer):
    batch = tokenizer.queries(["oak door", "Door oak door", "saw"])
    assert batch.features.shape[0] == 1 + 3
    assert not batch.features[0].any()
    np.testing.assert_array_equal(batch.terms, [[1, 2, 0], [2, 1, 2], [3, 0, 0]])
    for row, term in enumerate(["oak", "door", "saw"], start=1):
        ids = tokenizer.features(term)
        np.testing.assert_array_equal(batch.features[row, : len(ids)], ids)
        assert not batch.features[row, len(ids) :].any()
    assert batch.features.dtype == batch.terms.dtype == np.int64


def test_texts_are_cut_to_the_most_terms_of_their_kind():
    tokenizer = Tokenizer(Vocabulary.learn(TITLES, max_query_terms=3, max_title_terms=5))
    text = "one two three four five six seven"
    assert tokenizer.queries([text]).terms.shape == (1, 3)
    assert tokenizer.titles([text]).terms.shape == (1, 5)
    assert tokenizer.queries([text]).features.shape[0] == 1 + 3


def test_the_two_kinds_of_terms_have_their_own_lengths():
    word, trigram = (Vocabulary.learn(TITLES, terms=terms) for terms in ("word", "trigram"))
    assert (word.max_query_terms, word.max_title_terms) == (16, 40)
    assert (trigram.max_query_terms, trigram.max_title_terms) == (48, 160)


def test_a_text_without_terms_is_a_row_of_padding(tokenizer):
    batch = tokenizer.queries(["!!!", "saw"])
    np.testing.assert_array_equal(batch.terms, [[0], [1]])
    assert tokenizer.queries([]).terms.shape[0] == 0


def test_with_trigram_terms_every_trigram_is_a_term_with_one_feature(trigram_tokenizer):
    assert trigram_tokenizer.terms("oak saw") == ["#oa", "oak", "ak#", "#sa", "saw", "aw#"]
    batch = trigram_tokenizer.queries(["oak oak"])
    assert batch.features.shape == (1 + 3, 1)
    np.testing.assert_array_equal(batch.terms, [[1, 2, 3, 1, 2, 3]])
    assert trigram_tokenizer.vocabulary.words == ()


def test_the_vocabulary_keeps_what_is_seen_often_enough_the_commonest_first():
    vocabulary = Vocabulary.learn(["saw saw oak", "saw oak pine"], min_count=2)
    assert vocabulary.words == ("saw", "oak")
    assert "#pi" not in vocabulary.trigrams
    assert vocabulary.trigrams[:3] == ("#sa", "aw#", "saw")
    assert vocabulary.size == 1 + HASH_BUCKETS + len(vocabulary.trigrams) + 2


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts():
    shuffled = TITLES.copy()
    random.Random(5).shuffle(shuffled)
    assert Vocabulary.learn(shuffled) == Vocabulary.learn(TITLES)


def test_the_vocabulary_does_not_depend_on_the_hash_seed():
    program = (
        "import json, sys; from model.text import Vocabulary;"
        "print(Vocabulary.learn(json.load(sys.stdin), min_count=1).model_dump_json())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(TITLES[:50]),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {Vocabulary.learn(TITLES[:50], min_count=1).model_dump_json() + "\n"}


def test_a_tokenizer_reads_alike_after_a_trip_through_its_file(tmp_path):
    original = Tokenizer(Vocabulary.learn([*TITLES, "δράπανο δράπανο"], terms="word"))
    path = tmp_path / "tokenizer.json"
    path.write_text(original.vocabulary.model_dump_json(), encoding="utf-8")
    loaded = Tokenizer.load(path)
    assert loaded.vocabulary == original.vocabulary
    texts = ["acme drill", "unseen wrd 4x8", "δράπανο"]
    np.testing.assert_array_equal(loaded.titles(texts).features, original.titles(texts).features)


def test_a_file_that_is_no_vocabulary_is_refused(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text('{"terms": "syllable"}')
    with pytest.raises(ValueError, match="word"):
        Tokenizer.load(path)


@given(st.lists(st.lists(st.integers(1, 9), max_size=5), max_size=6))
@laws
def test_padding_keeps_every_row_and_adds_only_zeros(rows):
    padded = pad(rows)
    assert padded.shape == (len(rows), max([1, *map(len, rows)]))
    for row, original in zip(padded.tolist(), rows, strict=True):
        assert row == original + [0] * (len(row) - len(original))
