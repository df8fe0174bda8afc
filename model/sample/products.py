"""The generated products: first what each one is, then how the shop presents it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from model.catalog import Product
from model.sample import wording
from model.sample.draws import Draws, cumulative, steady, stream
from model.sample.taxonomy import taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from model.sample.taxonomy import Attribute, Brand, Subtype, Value

_SERIES = ("Pro", "Max", "Classic", "Select", "Signature", "Core", "Summit", "Essentials", "Heritage",
           "Prime", "Flex", "Ridge", "Harbor", "Metro", "Nova", "Plus", "Studio", "Active")  # fmt: skip
_MODEL_ENDINGS = ("", "", "", "B", "K", "X", "-2", "S")
# in titles these follow the noun; the others stand before it
_TRAILING = frozenset({"color", "size", "kit", "package", "scent", "age", "pack_count", "capacity_person"})
_PHRASES = ("Set of", "Pack of", "for ", "with ")
_MENTIONED = 0.88
_QUANTITY_POWER = 0.4
_PRICE_SPREAD = 0.2


@dataclass(frozen=True, slots=True)
class Stock:
    """What every product is, by its row: N products, A attribute slots, a few bytes each.

    ``subtype`` (N,), ``brand`` (N,) into the subtype's brands, ``values`` (N, A) into each attribute's
    values, ``popularity`` (N,) > 0. ``rows`` holds, for each subtype, the rows of its products.
    """

    seed: int
    subtype: NDArray[np.int16]
    brand: NDArray[np.int8]
    values: NDArray[np.int8]
    popularity: NDArray[np.float64]
    rows: tuple[NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.subtype)

    def kind(self, row: int) -> Subtype:
        """The subtype of a product."""
        return taxonomy().subtypes[int(self.subtype[row])]

    def maker(self, row: int) -> Brand:
        """The brand of a product."""
        return self.kind(row).brands[int(self.brand[row])]

    def specs(self, row: int) -> list[tuple[Attribute, Value]]:
        """The attributes of a product, each with its value."""
        attributes = self.kind(row).attributes
        return [(attribute, attribute.values[int(self.values[row, i])]) for i, attribute in enumerate(attributes)]


def product_id(row: int) -> str:
    """The id of the product in a row."""
    return f"P{row + 1:07d}"


def stock(count: int, *, seed: int) -> Stock:
    """Decide what ``count`` products are."""
    subtypes = taxonomy().subtypes
    generator = stream(seed, "stock")
    totals = np.array(cumulative(0.25 + steady("range", s.name) for s in subtypes))
    subtype = np.searchsorted(totals, generator.random(count), side="right").clip(max=len(subtypes) - 1)
    order = np.argsort(subtype, kind="stable")
    rows = tuple(np.split(order, np.searchsorted(subtype[order], np.arange(1, len(subtypes)))))
    chosen = generator.random((count, 1 + max(len(s.attributes) for s in subtypes)))
    brand = np.zeros(count, dtype=np.int8)
    values = np.zeros((count, chosen.shape[1] - 1), dtype=np.int8)
    for kind, mine in zip(subtypes, rows, strict=True):
        last = len(kind.brands) - 1
        brand[mine] = np.searchsorted(kind.brand_totals, chosen[mine, 0], side="right").clip(max=last)
        for i, attribute in enumerate(kind.attributes):
            values[mine, i] = (chosen[mine, 1 + i] * len(attribute.values)).astype(np.int8)
    rank = np.argsort(generator.random(count), kind="stable")
    return Stock(
        seed=seed,
        subtype=subtype.astype(np.int16),
        brand=brand,
        values=values,
        popularity=(1.0 / (rank + 3.0)).astype(np.float64),
        rows=rows,
    )


def products(items: Stock) -> Iterator[Product]:
    """Present every product of the stock, in order."""
    draws = Draws(items.seed, "products")
    for row in range(len(items)):
        kind, maker, specs = items.kind(row), items.maker(row), items.specs(row)
        noun = draws.usual(kind.names, 0.65)
        features = draws.shuffled(kind.features)[:2]
        yield Product(
            product_id=product_id(row),
            title=_title(kind, maker, noun, features, specs, draws),
            description=_description(kind, maker, noun, features, specs, draws),
            brand=maker.name,
            category_path=kind.category_path,
            price=_price(kind, maker, specs, draws),
            attributes={attribute.key: value for attribute, value in specs},
        )


def _title(
    kind: Subtype,
    maker: Brand,
    noun: str,
    features: list[str],
    specs: list[tuple[Attribute, Value]],
    draws: Draws,
) -> str:
    before, after = _mentions(maker, specs, draws)
    name = wording.titled(wording.plural(noun, kind.name) if draws.chance(0.06) else noun)
    series = _series(maker, kind, draws)
    feature = draws.pick(features)
    thing = wording.is_thing(feature, taxonomy())
    style = draws.below(10) if draws.chance(0.3) else int(10 * steady("title", maker.name))
    match style:
        case 0 | 1 | 2:
            described = [*before, name, "with", feature] if thing else [feature, *before, name]
            title = " ".join([maker.name, *series, *described]) + _tail(after, draws)
        case 3 | 4:
            title = " ".join([maker.name, *series, name]) + _listed([*before, *after, feature])
        case 5 | 6:
            title = " ".join([maker.name, *before, name, *series]) + _tail(after, draws)
        case 7:
            title = " ".join([*before, name]) + f" by {maker.name}" + _listed([feature, *after])
        case 8:
            title = f"{' '.join([maker.name, *series, name])} - {' '.join([*after, *before])}".rstrip(" -")
        case _:
            title = f"{name} {' '.join(before)}".rstrip() + _listed([*after, feature, *series, maker.name])
    return wording.misspelt(title, taxonomy(), draws) if draws.chance(0.02) else title


def _mentions(maker: Brand, specs: list[tuple[Attribute, Value]], draws: Draws) -> tuple[list[str], list[str]]:
    """The attributes a title names, in words before and after the noun; each brand has its way with units."""
    before: list[str] = []
    after: list[str] = []
    for attribute, value in draws.shuffled(specs):
        written = wording.forms(taxonomy(), attribute, value)
        if not written or not draws.chance(_MENTIONED):
            continue
        if attribute.unit:
            habit = int(steady("unit", maker.name) * len(written))
            words = written[habit] if draws.chance(0.8) else draws.pick(written)
        else:
            words = draws.usual(written, 0.85)
        trailing = attribute.key in _TRAILING or words.startswith(_PHRASES) or words.endswith(" Set")
        if attribute.key == "color" and draws.chance(0.25):
            trailing = False
        (after if trailing else before).append(words)
    return before, after


def _series(maker: Brand, kind: Subtype, draws: Draws) -> list[str]:
    """Sometimes the line a product belongs to, sometimes its model number."""
    drawn = draws.uniform()
    if drawn < 0.25:
        own = int(steady("series", maker.name) * (len(_SERIES) - 3))
        return [_SERIES[own + draws.below(3)]]
    if drawn < 0.5:
        letters = "".join(char for char in maker.name.upper() if char.isalpha())
        number = 100 * (1 + kind.index % 9) + draws.below(100)
        return [f"{letters[0]}{letters[2]}{number}{draws.pick(_MODEL_ENDINGS)}"]
    return []


def _tail(words: list[str], draws: Draws) -> str:
    """What follows the noun: ``, Large, Black``, ``in Black`` or ``(6-Pack)``."""
    if len(words) == 1 and words[0][0].isalpha() and draws.chance(0.3):
        return f" ({words[0]})" if draws.chance(0.5) else f" - {words[0]}"
    return "".join(f" ({word})" if word[0].isdigit() else f", {word}" for word in words)


def _listed(words: list[str]) -> str:
    return "".join(f", {word}" for word in words)


def _description(
    kind: Subtype,
    maker: Brand,
    noun: str,
    features: list[str],
    specs: list[tuple[Attribute, Value]],
    draws: Draws,
) -> str:
    article = "an" if noun[0].lower() in "aeiou" else "a"
    use = draws.pick(kind.uses)
    one = noun if noun.endswith("s") else f"{article} {noun}"
    opening = draws.pick(
        (
            f"Made for {use}: {one} from {maker.name}.",
            f"{one[0].upper()}{one[1:]} for {use}.",
            f"{maker.name} made this with {use} in mind.",
            f"When it comes to {use}, count on {maker.name}.",
        )
    )
    first, second = (wording.plain(feature) for feature in features)
    if all(wording.is_thing(feature, taxonomy()) for feature in features):
        middle = draws.pick((f"Comes with {first} and {second}.", f"You get {first} and {second}."))
    else:
        middle = f"Highlights: {first}, {second}."
    told = ", ".join(wording.spec(attribute, value) for attribute, value in specs)
    return f"{opening} {middle} Details: {told}."


def _price(kind: Subtype, maker: Brand, specs: list[tuple[Attribute, Value]], draws: Draws) -> float:
    """Log-normal about the subtype's median, dearer with the brand's tier and with more of each quantity."""
    price = kind.price * maker.tier * math.exp(_PRICE_SPREAD * draws.normal())
    for attribute, value in specs:
        if attribute.unit:
            usual = attribute.values[len(attribute.values) // 2]
            price *= (float(value) / float(usual)) ** _QUANTITY_POWER
    if price >= 150:
        return 10.0 * round(price / 10) - 1.0
    return round(max(math.floor(price), 2) + draws.pick((0.99, 0.99, 0.49, 0.95)), 2)
