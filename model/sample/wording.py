"""How the shop and its shoppers put things: other words, units, plurals and slips of the finger."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.sample.draws import Draws
    from model.sample.taxonomy import Attribute, Taxonomy, Value

_COUNTS = frozenset({"count", "pieces"})
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def forms(taxonomy: Taxonomy, attribute: Attribute, value: Value) -> tuple[str, ...]:
    """The ways to write a value, the usual one first; none for a pack of one, which goes without saying."""
    if isinstance(value, str):
        return (value, *taxonomy.wordings.get(value, ()))
    if attribute.unit in _COUNTS and value == 1:
        return ()
    return tuple(form.format(_number(value, attribute.unit)) for form in taxonomy.units[attribute.unit])


def spec(attribute: Attribute, value: Value) -> str:
    """A value as a line of specifications: ``voltage 18 v``, ``color black``."""
    label = attribute.key.removesuffix(f"_{attribute.unit}").replace("_", " ")
    if isinstance(value, str):
        return f"{label} {plain(value)}"
    return f"{label} {value:g}" if attribute.unit in ("count", attribute.key) else f"{label} {value:g} {attribute.unit}"


def is_thing(feature: str, taxonomy: Taxonomy) -> bool:
    """Whether a product comes *with* the feature, as with a handle, or *is* it, as it is waterproof."""
    return feature.split()[-1] in taxonomy.things


def titled(text: str) -> str:
    """``text`` with a capital on every word that has none: ``usb hub`` stays short of ``USB``."""
    return " ".join(word if word != word.lower() else word[:1].upper() + word[1:] for word in text.split())


def plain(text: str) -> str:
    """``text`` in the small letters of running prose; words such as ``LED`` or ``4K`` keep theirs."""
    return " ".join(word if _is_abbreviation(word) else word.lower() for word in text.split())


def plural(noun: str, category: str) -> str:
    """The plural of ``noun``, whose subtype's category is called ``category``; mass words keep their form."""
    if category.lower().split()[-1] == noun.lower().split()[-1]:
        return noun
    if noun.endswith("s"):
        return noun
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    if noun.endswith(("ch", "sh", "x")):
        return f"{noun}es"
    if noun.endswith("knife"):
        return f"{noun[:-2]}ves"
    if noun.endswith("mouse"):
        return f"{noun[:-5]}mice"
    return f"{noun}s"


def misspelt(text: str, taxonomy: Taxonomy, draws: Draws) -> str:
    """``text`` with one slip: a usual misspelling if there is one, otherwise in one of the longer words."""
    found = text.split()
    usual = [i for i, word in enumerate(found) if word in taxonomy.misspellings]
    long = [i for i, word in enumerate(found) if len(word) > 4 and word.isascii() and word.isalpha()]
    if usual:
        i = draws.pick(usual)
        found[i] = taxonomy.misspellings[found[i]]
    elif long:
        i = draws.pick(long)
        found[i] = _slip(found[i], draws)
    return " ".join(found)


def _is_abbreviation(word: str) -> bool:
    return any(part[1:] != part[1:].lower() for part in word.split("-"))


def _slip(word: str, draws: Draws) -> str:
    at = 1 + draws.below(len(word) - 2)
    kind = draws.below(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + draws.pick(_LETTERS) + word[at + 1 :]


def _number(value: float, unit: str) -> str:
    """Inches are written in fractions, ``1-5/8``; everything else in decimals."""
    if unit != "in" or value.is_integer():
        return f"{value:g}"
    whole, rest = int(value), Fraction(value) - int(value)
    return f"{whole}-{rest}" if whole else str(rest)
