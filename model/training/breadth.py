"""Breadths: a term is as broad as it is common in the catalogue's titles.

Words taken for independent, the logarithm of how many titles hold all of a query's words is the sum of their
frequencies' logarithms. What was learnt beyond that did not hold for queries that were not trained on.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.encoders import Anthem
    from model.text import Tokenizer

_PER_NAT = 0.09
"""What a nat of frequency adds to the logarithm of a limit: a few words of any query stay within a breadth's reach."""
_UNSEEN = 0.1
"""In how many titles a word that no title has is taken to be."""


def set_breadths(model: Anthem, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Set the breadth of every feature so that each known term has that of its frequency, and others the least."""
    frequencies = Counter(term for text in texts for term in set(tokenizer.terms(text)))
    least = _breadth(0, len(texts))
    with torch.no_grad():
        column = model.embedding.breadth
        column[1:] = least / math.sqrt(_features_of_a_term(tokenizer, frequencies))
        for term, count in frequencies.items():
            own, *others = tokenizer.features(term)
            if tokenizer.vocabulary.terms == "trigram" or tokenizer.knows(term):
                wanted = _breadth(count, len(texts)) * math.sqrt(1 + len(others))
                column[own] = wanted - float(column[others].sum())


def _breadth(count: int, texts: int) -> float:
    return _PER_NAT * math.log((count + _UNSEEN) / texts)


def _features_of_a_term(tokenizer: Tokenizer, frequencies: Counter[str]) -> float:
    """How many features the known terms have on average."""
    return sum(len(tokenizer.features(term)) for term in frequencies) / max(1, len(frequencies))
