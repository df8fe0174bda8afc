from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.alignment import NOTHING, align

laws = settings(max_examples=80, deadline=None)
some_words = st.lists(st.sampled_from(["oak", "door", "saw", "pine", "4"]), max_size=4)
some_pairs = st.lists(st.tuples(some_words, some_words), max_size=6)


def aligned(pairs):
    found = align(pairs)
    return dict(zip(zip(found.typed, found.shown, strict=True), found.times.tolist(), strict=True))


def by_the_book(pairs, rounds=5, same=5.0):
    """IBM Model 1 as its paper writes it; before the first round a word is ``same`` times likelier for itself."""
    likelihood = defaultdict(lambda: 1.0)
    likelihood.update({(word, word): same for typed, _ in pairs for word in typed})
    for _ in range(rounds):
        times = Counter()
        for typed, shown in pairs:
            sources = [NOTHING, *dict.fromkeys(shown)]
            for word in typed:
                total = sum(likelihood[word, source] for source in sources)
                for source in sources:
                    times[word, source] += likelihood[word, source] / total
        totals = Counter()
        for (_, source), share in times.items():
            totals[source] += share
        likelihood = {link: share / totals[link[1]] for link, share in times.items()}
    return dict(times)


@given(pairs=some_pairs)
@laws
def test_an_alignment_is_that_of_the_paper_s_sums(pairs):
    assert aligned(pairs) == pytest.approx(by_the_book(pairs), abs=1e-12)


@given(pairs=some_pairs)
@laws
def test_every_typed_word_is_typed_for_one_word_in_all(pairs):
    assert np.sum(align(pairs).times) == pytest.approx(sum(len(typed) for typed, _ in pairs))


def test_a_word_that_no_title_holds_is_found_to_stand_for_the_one_that_it_goes_with():
    pairs = [
        (["fridge", "white"], ["white", "refrigerator", "ge"]),
        (["fridge"], ["black", "refrigerator", "ge"]),
        (["white", "oven"], ["white", "oven", "ge"]),
        (["black", "lamp"], ["black", "lamp"]),
        (["ge", "oven"], ["black", "oven", "ge"]),
    ]
    found = aligned(pairs)
    others = {shown: times for (typed, shown), times in found.items() if typed == "fridge"}
    assert max(others, key=others.get) == "refrigerator"
    assert others["refrigerator"] > 1.2
    assert found["oven", "oven"] > 1.2
    assert found["oven", "ge"] < 0.3


def test_what_was_typed_for_no_word_of_a_title_goes_to_nothing():
    pairs = [([word, "cheap"], [word]) for word in ("oak", "door", "saw", "pine", "lamp", "rug", "bolt", "tile")]
    assert aligned(pairs)["cheap", NOTHING] > 7.0


@pytest.mark.parametrize("pairs", [[], [([], ["oak"])], [([], [])]])
def test_nothing_typed_aligns_nothing(pairs):
    assert aligned(pairs) == {}
