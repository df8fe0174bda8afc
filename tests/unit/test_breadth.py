from __future__ import annotations

import math

import pytest
import torch
from fakes import shop_titles

from model.encoders import Anthem, EncoderConfig
from model.text import Tokenizer, Vocabulary
from model.training.breadth import set_breadths

TITLES = shop_titles(80)


@pytest.fixture(params=["word", "trigram"])
def started(request):
    tokenizer = Tokenizer(Vocabulary.learn(TITLES, terms=request.param))
    model = Anthem(EncoderConfig(features=tokenizer.vocabulary.size, dim=8, presence=2)).eval()
    set_breadths(model, tokenizer, TITLES)
    return model, tokenizer


def breadths(model, tokenizer, terms) -> list[float]:
    features = [torch.tensor([tokenizer.features(term)]) for term in terms]
    with torch.no_grad():
        return [float(model.embedding(row).breadth) for row in features]


def test_a_known_term_is_as_broad_as_the_titles_that_have_it_are_many(started):
    model, tokenizer = started
    known = [
        t for t in sorted({t for title in TITLES for t in tokenizer.terms(title)}) if len(tokenizer.features(t)) < 24
    ]
    if tokenizer.vocabulary.terms == "word":
        known = [term for term in known if tokenizer.knows(term)]
    assert len(known) > 20
    for term, found in zip(known, breadths(model, tokenizer, known), strict=True):
        titles = sum(term in tokenizer.terms(title) for title in TITLES)
        assert found == pytest.approx(0.09 * math.log((titles + 0.1) / len(TITLES)), abs=1e-5)


def test_a_word_that_no_title_has_is_narrower_than_any_known_one(started):
    model, tokenizer = started
    if tokenizer.vocabulary.terms == "trigram":
        pytest.skip("a trigram that is not known shares its bucket with others")
    known = list(tokenizer.vocabulary.words)
    (strange,) = breadths(model, tokenizer, ["zyzzyva"])
    assert strange < min(breadths(model, tokenizer, known))


def test_padding_has_no_breadth(started):
    model, _ = started
    assert float(model.embedding.breadth[0]) == 0.0
