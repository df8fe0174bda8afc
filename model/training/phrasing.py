"""How people put what a title says: which of its words they type, and which other words they type for them.

Learnt from judged queries and the titles that answer them: people type ``faucet`` and leave out ``in``, and some write
``bulbs`` where a title has ``bulb``, or ``anderson`` for ``andersen``. Pseudo-queries are put so.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Self

from model.metrics import RELEVANT_GRADE
from model.text import words
from model.training.alignment import NOTHING, align

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from model.training.examples import Grades

_PRIOR = 5.0
"""Sightings of a word that count as much as what is known of words on the whole."""
_LEAST = 3.0
"""Times that one word was typed for another, as expected, below which that is taken for chance."""
_ITSELF = 3.0
"""Times that a word is taken to have been typed as it is, beside those that were seen."""
_MOST_PAIRS = 200_000
"""Pairs of a query and an answer that are learnt from; of more, a sample."""


class Ways(NamedTuple):
    """What is typed for a word, itself among it, and the sums of the weights up to each."""

    words: list[str]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Phrasing:
    """What is known of people's words; if nothing is, all of a title's words are as likely and typed as they are.

    ``rates`` says how often a word of a title is typed, in one way or another, by those who look for the title, and
    ``usual`` how often words are on the whole; ``ways`` has the words that are not always typed as they are.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    usual: float = 1.0
    ways: Mapping[str, Ways] = field(default_factory=dict)

    @classmethod
    def learn(cls, titles: Sequence[Sequence[str]], graded: Mapping[str, Grades]) -> Self:
        """What the queries of ``graded`` make of the ``titles``, as words, of the rows that answer them."""
        answered = [
            (query, row) for query, grades in graded.items() for row, grade in grades.items() if grade >= RELEVANT_GRADE
        ]
        if len(answered) > _MOST_PAIRS:
            answered = random.Random(0).sample(answered, _MOST_PAIRS)
        pairs = [(words(query), titles[row]) for query, row in answered]
        typed_for: dict[str, dict[str, float]] = defaultdict(dict)
        for typed, shown, times in zip(*align(pairs), strict=True):
            if shown != NOTHING and (typed == shown or times >= _LEAST):
                typed_for[shown][typed] = float(times)
        if not typed_for:
            return cls()
        seen = Counter(word for _, title in pairs for word in set(title))
        often = {word: sum(typed_for[word].values()) for word in seen}
        usual = sum(often.values()) / seen.total()
        return cls(
            rates={word: (often[word] + _PRIOR * usual) / (n + _PRIOR) for word, n in seen.items()},
            usual=usual,
            ways={word: _ways(word, typed) for word, typed in typed_for.items() if typed.keys() - {word}},
        )

    def choose(self, title: Sequence[str], count: int, rng: random.Random) -> tuple[str, ...]:
        """``count`` words of ``title`` in their order, drawn without replacement in proportion to their rates.

        They are the first to come if each comes at its rate (Efraimidis and Spirakis 2006).
        """
        arrivals = [rng.expovariate(self.rates.get(word, self.usual)) for word in title]
        first = sorted(range(len(title)), key=arrivals.__getitem__)[:count]
        return tuple(title[i] for i in sorted(first))

    def say(self, word: str, rng: random.Random) -> str:
        """What somebody types for a title's ``word``, mostly the word itself."""
        ways = self.ways.get(word)
        return rng.choices(ways.words, cum_weights=ways.weights)[0] if ways else word


def _ways(word: str, typed: Mapping[str, float]) -> Ways:
    weights = {word: 0.0, **typed}
    weights[word] += _ITSELF
    return Ways(list(weights), list(accumulate(weights.values())))
