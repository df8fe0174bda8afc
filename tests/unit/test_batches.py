from __future__ import annotations

import random
from dataclasses import fields, replace

import numpy as np
import pytest
from fakes import shop_titles

from model.text import Tokenizer, Vocabulary, words
from model.training.batches import GAINS, BatchShape, BatchSource
from model.training.examples import Examples

TITLES = shop_titles(120)


def shape_of(*, words_left_out: float = 0.0, terms_left_out: float = 0.0, **given: int) -> BatchShape:
    """A shape that leaves out no more than it is told to, whatever the kinds of text are called."""
    shares = {field.name: terms_left_out for field in fields(BatchShape) if field.name.endswith("_dropout")}
    return BatchShape(**(shares | {"word_dropout": words_left_out} | given))


SHAPE = shape_of(judged=8, pseudo=24, products_per_query=100)


def judged_queries() -> dict[str, dict[int, int]]:
    """Twenty queries of words too short to be misspelt with ten products each, of all grades."""
    chance = random.Random(7)
    made = {}
    for i in range(20):
        rows = chance.sample(range(len(TITLES)), 10)
        made[f"{i} oak 4 saw"] = {row: chance.randint(0, 6) for row in rows}
    return made


@pytest.fixture(scope="module")
def examples() -> Examples:
    return Examples(product_ids=[f"p{i}" for i in range(len(TITLES))], texts=TITLES, train=judged_queries())


@pytest.fixture(scope="module")
def tokenizer(examples) -> Tokenizer:
    return Tokenizer(Vocabulary.learn([*TITLES, *examples.train]))


def source(examples, tokenizer, shape=SHAPE, *, seed=0) -> BatchSource:
    return BatchSource(examples, tokenizer, shape, seed=seed)


def read_back(batch) -> list[tuple[tuple[int, ...], ...]]:
    """Texts of a :class:`TermBatch` as their terms' feature ids, without padding."""
    return [
        tuple(tuple(f for f in batch.features[term].tolist() if f) for term in row if term)
        for row in batch.terms.tolist()
    ]


def described(tokenizer, text) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tokenizer.features(term)) for term in tokenizer.terms(text))


def columns_of(batch, tokenizer) -> list[int]:
    """The product row behind every column of a batch that drops no words."""
    rows = {described(tokenizer, title): row for row, title in enumerate(TITLES)}
    return [rows[text] for text in read_back(batch.products)]


def same(first, second) -> bool:
    pairs = [
        *((getattr(first, name), getattr(second, name)) for name in ("gains", "grades")),
        *((getattr(a, name), getattr(b, name)) for name in ("features", "terms") for a, b in
          ((first.queries, second.queries), (first.products, second.products))),
    ]  # fmt: skip
    return all(a.shape == b.shape and (a == b).all() for a, b in pairs)


def test_a_batch_is_a_function_of_seed_and_number_alone(examples, tokenizer):
    shape = BatchShape(judged=8, pseudo=24)
    forwards = source(examples, tokenizer, shape)
    drawn = [forwards.batch(number) for number in range(4)]
    backwards = source(examples, tokenizer, shape)
    for number in reversed(range(4)):
        assert same(backwards.batch(number), drawn[number])
    assert not same(drawn[0], drawn[1])
    assert not same(source(examples, tokenizer, shape, seed=1).batch(0), drawn[0])


def test_gains_of_judged_queries_are_those_of_their_grades(examples, tokenizer):
    batch = source(examples, tokenizer).batch(3)
    columns = columns_of(batch, tokenizer)
    by_features = {described(tokenizer, query): query for query in examples.train}
    seen = read_back(batch.queries)[: SHAPE.judged]
    assert len({by_features[query] for query in seen}) == SHAPE.judged
    for i, features in enumerate(seen):
        graded = examples.train[by_features[features]]
        expected = [GAINS[graded.get(row, 0)] for row in columns]
        np.testing.assert_array_equal(batch.gains[i], expected)


def test_grades_are_the_judges_and_nothing_else(examples, tokenizer):
    batch = source(examples, tokenizer).batch(3)
    columns = columns_of(batch, tokenizer)
    by_features = {described(tokenizer, query): query for query in examples.train}
    assert batch.grades.shape == (SHAPE.judged, len(columns))
    for features, grades in zip(read_back(batch.queries), batch.grades, strict=False):
        graded = examples.train[by_features[features]]
        np.testing.assert_array_equal(grades, [graded.get(row, -1) for row in columns])


def test_an_answer_that_another_query_brought_along_is_no_rival(examples, tokenizer):
    few = shape_of(judged=20, pseudo=24, products_per_query=2)
    batch = source(examples, tokenizer, few).batch(3)
    columns = columns_of(batch, tokenizer)
    by_features = {described(tokenizer, query): query for query in examples.train}
    brought_along = 0
    for features, grades, gains in zip(read_back(batch.queries), batch.grades, batch.gains, strict=False):
        graded = examples.train[by_features[features]]
        np.testing.assert_array_equal(grades, [graded.get(row, -1) for row in columns])
        np.testing.assert_array_equal(gains, [GAINS[graded.get(row, 0)] for row in columns])
        brought_along += (grades >= 0).sum() - few.products_per_query
    assert brought_along > 0


def test_all_judged_products_are_among_the_columns_and_each_product_once(examples, tokenizer):
    batch = source(examples, tokenizer).batch(4)
    columns = columns_of(batch, tokenizer)
    assert len(set(columns)) == len(columns)
    by_features = {described(tokenizer, query): query for query in examples.train}
    for features in read_back(batch.queries)[: SHAPE.judged]:
        assert set(examples.train[by_features[features]]) <= set(columns)


def test_no_query_brings_more_products_than_the_shape_allows(examples, tokenizer):
    shape = shape_of(judged=8, pseudo=1, products_per_query=3)
    batch = source(examples, tokenizer, shape).batch(0)
    assert batch.gains.shape[1] <= 8 * 3 + 1


def test_a_pseudo_query_gains_every_title_that_holds_its_words(examples, tokenizer):
    unjudged = replace(examples, train={})  # from judged queries it is learnt to type other words than the title's
    batch = source(unjudged, tokenizer).batch(5)
    held = [set(words(TITLES[row])) for row in columns_of(batch, tokenizer)]
    vocabulary = {word for title in TITLES for word in words(title)}
    by_features = {tuple(tokenizer.features(word)): word for word in vocabulary}
    texts = read_back(batch.queries)
    read = 0
    for text, gains in zip(texts, batch.gains, strict=True):
        asked = {by_features.get(term) for term in text}
        if None in asked:  # misspelt: what was meant cannot be told from the batch
            continue
        read += 1
        np.testing.assert_array_equal(gains, [float(asked <= title) for title in held])
    assert read >= len(texts) / 2


@pytest.mark.parametrize("number", range(3))
def test_every_pseudo_query_has_its_own_title_among_its_answers(examples, tokenizer, number):
    batch = source(examples, tokenizer).batch(number)
    assert (batch.gains[SHAPE.judged :].max(axis=1) == 1.0).all()


def test_a_batch_has_all_its_queries_even_where_fewer_are_judged(examples, tokenizer):
    few = Examples(product_ids=examples.product_ids, texts=TITLES, train=dict(list(examples.train.items())[:3]))
    for given, judged in ((few, 3), (Examples(examples.product_ids, TITLES), 0)):
        batch = source(given, tokenizer).batch(0)
        assert len(batch.gains) == len(batch.queries.terms) == SHAPE.judged + SHAPE.pseudo
        assert (batch.gains[judged:].max(axis=1) == 1.0).all()
        assert batch.grades.shape == (judged, batch.gains.shape[1])


def test_left_out_words_leave_no_term_without_features(examples, tokenizer):
    everything = shape_of(judged=8, pseudo=24, products_per_query=100, words_left_out=1.0)
    batch = source(examples, tokenizer, everything).batch(0)
    for part in (batch.queries, batch.products):
        assert (part.features[1:] > 0).any(axis=1).all()
        assert (part.features < tokenizer.vocabulary.first_word).all()
    kept = source(examples, tokenizer).batch(0)
    assert (kept.products.features >= tokenizer.vocabulary.first_word).any()
    np.testing.assert_array_equal(kept.products.terms, batch.products.terms)


def test_about_the_wanted_share_of_words_is_left_out(examples, tokenizer):
    batches = source(examples, tokenizer, shape_of(judged=8, pseudo=200, words_left_out=0.3))
    whole = source(examples, tokenizer, shape_of(judged=8, pseudo=200))
    first = tokenizer.vocabulary.first_word
    left = known = 0
    for number in range(5):
        left += (batches.batch(number).products.features >= first).sum()
        known += (whole.batch(number).products.features >= first).sum()
    assert 0.2 < 1 - left / known < 0.4


def test_left_out_terms_leave_every_text_at_least_one_and_no_hole(examples, tokenizer):
    most = source(examples, tokenizer, shape_of(judged=8, pseudo=24, terms_left_out=0.95))
    for number in range(3):
        batch = most.batch(number)
        for part in (batch.queries, batch.products):
            present = part.terms != 0
            assert present.any(axis=1).all()
            # a title's places count from both of its ends, and it is cut to its number of terms
            assert (present[:, :-1] >= present[:, 1:]).all()


def test_about_the_wanted_share_of_terms_is_left_out_of_titles_and_judged_queries(examples, tokenizer):
    some = source(examples, tokenizer, shape_of(judged=8, pseudo=200, terms_left_out=0.3))
    whole = source(examples, tokenizer, shape_of(judged=8, pseudo=200))
    for rows_of in (lambda batch: batch.products.terms, lambda batch: batch.queries.terms[:8]):
        left, full = (sum((rows_of(s.batch(number)) != 0).sum() for number in range(8)) for s in (some, whole))
        assert 0.15 < 1 - left / full < 0.45
    for number in range(3):
        first, second = (s.batch(number) for s in (some, whole))
        for name in ("gains", "grades"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert read_back(first.queries)[8:] == read_back(second.queries)[8:]


def test_row_zero_is_the_padding_term_even_where_no_title_is_padded(tokenizer):
    titles = ["oak door white", "oak lamp slim", "brass door matte"]
    alike = Examples(product_ids=["a", "b", "c"], texts=titles, train={"oak": {0: 6, 1: 6, 2: 6}})
    shape = shape_of(judged=1, pseudo=3)
    batch = source(alike, tokenizer, shape).batch(0)
    assert not batch.products.features[0].any()
    assert (batch.products.terms > 0).all()
    assert sorted(read_back(batch.products)) == sorted(described(tokenizer, title) for title in titles)


def test_a_batch_describes_only_the_terms_that_it_uses(examples, tokenizer):
    batch = source(examples, tokenizer, shape_of(judged=1, pseudo=2, products_per_query=2)).batch(0)
    for part in (batch.queries, batch.products):
        assert set(part.terms.ravel().tolist()) - {0} == set(range(1, len(part.features)))
