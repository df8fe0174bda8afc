"""What does odd spelling cost? Perturb judged queries, one way at a time, and search again.

Every kind of perturbation is measured on the queries that it can change: R@10 of those as they are and perturbed, and
the share of it lost. ``edit`` is one random insertion, deletion, substitution or swap of neighbours in the query's
longest word; the four are also measured one by one.

    python -m benchmarks.robustness --data folder --index var/index --split test
"""

from __future__ import annotations

import argparse
import json
import random
import re
import string
import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from index.root import current
from index.search import EmptyTextError, Searcher
from model.catalog import Rejects, read_judgments, split_of
from model.metrics import RETRIEVE_DEPTH, grade, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from index.search import TextMode
    from model.catalog import Judgment

METRIC = "R(rel=4)@10"
MODES: tuple[TextMode, ...] = ("hyperboloid", "lexical", "hybrid")
_RUN = re.compile(r"[^\W_]+")
_LETTERS = string.ascii_lowercase + string.digits
_UNITS = {
    "inch": ("in.", "in", "inch", "inches", '"'),
    "foot": ("ft.", "ft", "foot", "feet", "'"),
}
_NUMBER = r"(?:\d+[ -])?\d+/\d+|\d*\.\d+|\d+"
_MEASURE = re.compile(rf"(?<![\w./])({_NUMBER})[\s-]*(in\.|inches|inch|in|\"|ft\.|feet|foot|ft|')(?!\w)", re.IGNORECASE)
_ACCENTS = {"a": "á", "e": "é", "i": "í", "o": "ö", "u": "ü", "n": "ñ", "c": "ç"}
_CODE = re.compile(r"(?<![\w./-])(?=[\w-]*\d)[a-z\d]+(?:-[a-z\d]+)*(?![\w./-])", re.IGNORECASE)
_INNER = re.compile(r"(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", re.IGNORECASE)
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
"""Printable ASCII as keyboards of East Asia may write it."""
_RULER = frozenset({2, 4, 8, 16})
"""Denominators that lengths are written with."""
_MIN_PART = 3


def main() -> None:
    """Measure one index and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    parser.add_argument("--mode", choices=MODES, action="append", help="again for more; by default all")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    judged = read_judgments(asked.data / "judgments.csv.gz", Rejects())
    judgments = [judgment for judgment in judged if split_of(judgment.query) == asked.split]
    searcher = Searcher.open(current(asked.index))
    try:
        report = robustness(searcher, judgments, modes=asked.mode or MODES, seed=asked.seed)
    finally:
        searcher.close()
    print(json.dumps({"split": asked.split, **report}, indent=2))


def robustness(
    searcher: Searcher, judgments: Iterable[Judgment], *, modes: Sequence[TextMode] = MODES, seed: int = 0
) -> dict[str, Any]:
    """R@10 by mode: of all queries as they are, then by kind of perturbation on the queries it changes."""
    qrels: dict[str, dict[str, int]] = {}
    for judgment in judgments:
        qrels.setdefault(judgment.query, {})[judgment.product_id] = grade(judgment.relevance)
    known = searcher.channels.encoder.tokenizer.vocabulary.words
    perturbed = perturbations(sorted(qrels), seed=seed, words=frozenset(known))
    report: dict[str, Any] = {
        "snapshot": searcher.snapshot_id,
        "model": searcher.model_version,
        "seed": seed,
        "metric": METRIC,
        "queries": len(qrels),
    }
    for mode in modes:
        clean = {query: _found(searcher, query, mode) for query in qrels}
        report[mode] = {"clean": _recall(clean, qrels)}
        for kind, texts in perturbed.items():
            changed = {query: qrels[query] for query in texts}
            if changed:
                run = {query: _found(searcher, text, mode) for query, text in texts.items()}
                report[mode][kind] = _compared(_recall(clean, changed), _recall(run, changed), len(changed))
    return report


def perturbations(queries: Sequence[str], *, seed: int, words: Collection[str]) -> dict[str, dict[str, str]]:
    """By kind, the queries it changes and what they become; ``words`` are those that may come of a split word."""
    kinds: dict[str, Callable[[str, random.Random], str]] = {
        "edit": lambda query, chance: edited(query, chance, chance.choice(sorted(EDITS))),
        **{kind: lambda query, chance, kind=kind: edited(query, chance, kind) for kind in EDITS},
        "plural": lambda query, _: other_number(query),
        "joined": joined,
        "split": lambda query, _: split(query, words),
        "units": other_units,
        "code": lambda query, _: recoded(query),
        "accents": lambda query, _: accented(query),
        "upper": lambda query, _: query.upper(),
        "wide": lambda query, _: query.translate(_WIDE),
    }
    found: dict[str, dict[str, str]] = {}
    for kind, perturb in kinds.items():
        pairs = ((query, perturb(query, random.Random(f"{seed} {kind} {query}"))) for query in queries)
        found[kind] = {query: text for query, text in pairs if text != query}
    return found


def edited(query: str, chance: random.Random, kind: str) -> str:
    """``query`` with one edit in its longest word; a word that a swap or deletion cannot serve gets a substitution."""
    start, end = _longest(query)
    word = query[start:end]
    if not word:
        return query
    changed = EDITS[kind](word, chance)
    return query[:start] + (changed or _substituted(word, chance)) + query[end:]


def _inserted(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word) + 1)
    return word[:place] + chance.choice(_LETTERS) + word[place:]


def _deleted(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word))
    return word[:place] + word[place + 1 :]


def _substituted(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word))
    return word[:place] + chance.choice(_LETTERS.replace(word[place].lower(), "")) + word[place + 1 :]


def _swapped(word: str, chance: random.Random) -> str:
    places = [place for place in range(len(word) - 1) if word[place] != word[place + 1]]
    if not places:
        return ""
    place = chance.choice(places)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


EDITS: Mapping[str, Callable[[str, random.Random], str]] = {
    "insertion": _inserted,
    "deletion": _deleted,
    "substitution": _substituted,
    "swap": _swapped,
}


def other_number(query: str) -> str:
    """``query`` with its longest word in the plural, or in the singular if it was a plural."""
    start, end = _longest(query)
    word = query[start:end]
    if not word.isalpha() or len(word) < _MIN_PART:
        return query
    return query[:start] + _other_number(word) + query[end:]


def _other_number(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    if word.endswith("s"):
        return word + "es" if word.endswith("ss") else word[:-1]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("ch", "sh", "x")) else "s")


def joined(query: str, chance: random.Random) -> str:
    """``query`` without the space between two neighbouring words of letters."""
    gaps = [gap.start() for gap in re.finditer(r"(?<=[^\W\d_]{2}) (?=[^\W\d_]{2})", query)]
    if not gaps:
        return query
    gap = chance.choice(gaps)
    return query[:gap] + query[gap + 1 :]


def split(query: str, words: Collection[str]) -> str:
    """``query`` with the first word that is two of ``words`` written as two."""
    for run in _RUN.finditer(query):
        word = run.group()
        for place in range(_MIN_PART, len(word) - _MIN_PART + 1):
            if word[:place].lower() in words and word[place:].lower() in words:
                return query[: run.start() + place] + " " + query[run.start() + place :]
    return query


def other_units(query: str, chance: random.Random) -> str:
    """``query`` with every length in other notation: ``3/4 in.`` may become ``0.75 inch`` or ``3/4"``."""

    def rewritten(match: re.Match[str]) -> str:
        number, unit = match.group(1), match.group(2).lower()
        notations = next(known for known in _UNITS.values() if unit in known)
        other = chance.choice([notation for notation in notations if notation != unit])
        return f"{_other_notation(number)}{'' if other in {chr(34), chr(39)} else ' '}{other}"

    return _MEASURE.sub(rewritten, query)


def _other_notation(number: str) -> str:
    """A fraction as a decimal number and the other way round; other numbers stay."""
    whole, _, part = number.replace("-", " ").rpartition(" ")
    if "/" in part:
        return number if part.endswith("/0") else f"{float(int(whole or 0) + Fraction(part)):.4g}"
    value = Fraction(part)
    if value.denominator not in _RULER:
        return number
    rest = value - int(value)
    return f"{int(value)} {rest}" if value > 1 else str(rest)


def recoded(query: str) -> str:
    """``query`` with every code without its hyphens, or with some where it had none: ``dcd771`` and ``dcd-771``."""

    def rewritten(match: re.Match[str]) -> str:
        code = match.group()
        return code.replace("-", "") if "-" in code else _INNER.sub("-", code)

    return _CODE.sub(rewritten, query)


def accented(query: str) -> str:
    """``query`` with accents on what letters of its longest word may bear one, written as one character or as two."""
    start, end = _longest(query)
    composed = "".join(_ACCENTS.get(char, char) for char in query[start:end])
    return query[:start] + unicodedata.normalize("NFD" if (end - start) % 2 else "NFC", composed) + query[end:]


def _longest(query: str) -> tuple[int, int]:
    """Where the longest run of letters and digits begins and ends, the first of several."""
    return max((run.span() for run in _RUN.finditer(query)), key=lambda span: span[1] - span[0], default=(0, 0))


def _found(searcher: Searcher, query: str, mode: TextMode) -> dict[str, float]:
    """Scores that fall with the rank; none for a text with nothing to search by."""
    try:
        hits = searcher.search(query, mode=mode, limit=RETRIEVE_DEPTH).hits
    except EmptyTextError:
        return {}
    return {hit.product.product_id: -float(rank) for rank, hit in enumerate(hits)}


def _recall(run: Mapping[str, Mapping[str, float]], qrels: Mapping[str, Mapping[str, int]]) -> float:
    return measure({query: run[query] for query in qrels}, qrels, "retrieve")[METRIC]


def _compared(clean: float, perturbed: float, queries: int) -> dict[str, float | int]:
    return {
        "queries": queries,
        "clean": clean,
        "perturbed": perturbed,
        "lost": 1.0 - perturbed / clean if clean > 0 else 0.0,
    }


if __name__ == "__main__":
    main()
