"""What the generated shop sells: ``shop.toml`` as departments, types, subtypes and the attributes of each."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from model.sample.draws import cumulative, steady

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Value = str | float


@dataclass(frozen=True, slots=True)
class Brand:
    """An invented maker and its price tier: 1 is the usual price."""

    name: str
    tier: float


@dataclass(frozen=True, slots=True)
class Attribute:
    """A catalogue column, the values it may have, and for numbers their unit."""

    key: str
    unit: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Subtype:
    """A kind of product: the leaf of the taxonomy."""

    index: int
    type_index: int
    department: str
    type_name: str
    name: str
    names: tuple[str, ...]
    price: float
    features: tuple[str, ...]
    uses: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    brands: tuple[Brand, ...]
    brand_totals: tuple[float, ...]

    @property
    def category_path(self) -> str:
        """Department, type and subtype, as a catalogue writes them."""
        return f"{self.department} > {self.type_name} > {self.name}"

    def slot(self, key: str) -> int | None:
        """The place of the attribute ``key`` among this subtype's attributes."""
        return next((i for i, attribute in enumerate(self.attributes) if attribute.key == key), None)


@dataclass(frozen=True, slots=True)
class Type:
    """A group of sibling subtypes and the broad words for all of them."""

    name: str
    nouns: tuple[str, ...]
    subtypes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The whole range, with the words for it. ``projects`` name subtypes by index, the most needed first."""

    types: tuple[Type, ...]
    subtypes: tuple[Subtype, ...]
    projects: tuple[tuple[int, ...], ...]
    units: Mapping[str, tuple[str, ...]]
    wordings: Mapping[str, tuple[str, ...]]
    misspellings: Mapping[str, str]
    things: frozenset[str]

    @property
    def attribute_keys(self) -> tuple[str, ...]:
        """Every attribute's column, in a fixed order."""
        return tuple(sorted({a.key for subtype in self.subtypes for a in subtype.attributes}))


@cache
def taxonomy() -> Taxonomy:
    """The taxonomy, read once."""
    text = (resources.files("model.sample") / "shop.toml").read_text(encoding="utf-8")
    shop = tomllib.loads(text)
    types: list[Type] = []
    subtypes: list[Subtype] = []
    for department in shop["departments"]:
        for kind in department["types"]:
            first = len(subtypes)
            subtypes.extend(_subtypes(shop, department, kind, first=first, type_index=len(types)))
            types.append(Type(kind["name"], tuple(kind["nouns"]), tuple(range(first, len(subtypes)))))
    by_name = {subtype.name: subtype.index for subtype in subtypes}
    return Taxonomy(
        types=tuple(types),
        subtypes=tuple(subtypes),
        projects=tuple(tuple(by_name[name] for name in needs) for needs in shop["projects"].values()),
        units={unit: tuple(forms) for unit, forms in shop["units"].items()},
        wordings={value: tuple(words) for value, words in shop["wordings"].items()},
        misspellings=shop["misspellings"],
        things=frozenset(shop["things"]),
    )


def _subtypes(
    shop: dict[str, Any], department: dict[str, Any], kind: dict[str, Any], *, first: int, type_index: int
) -> Iterator[Subtype]:
    brands = tuple(_brand(text) for text in department["brands"])
    # a brand's popularity falls with its rank; each type has its own favourites among the brands
    weights = [(0.1 + steady(brand.name, kind["name"])) ** 2 / (rank + 1) for rank, brand in enumerate(brands)]
    for index, entry in enumerate(kind["subtypes"], start=first):
        values = kind["attributes"] | entry.get("attributes", {})
        yield Subtype(
            index=index,
            type_index=type_index,
            department=department["name"],
            type_name=kind["name"],
            name=entry["name"],
            names=tuple(entry["names"]),
            price=float(entry["price"]),
            features=(*kind["features"], *entry.get("features", ())),
            uses=tuple(kind["uses"]),
            attributes=tuple(_attribute(shop, key, items) for key, items in values.items() if items),
            brands=brands,
            brand_totals=cumulative(weights),
        )


def _brand(text: str) -> Brand:
    name, _, tier = text.rpartition(" ")
    return Brand(name, float(tier))


def _attribute(shop: dict[str, Any], key: str, values: list[Value]) -> Attribute:
    unit = key.rpartition("_")[2]
    if unit in shop["units"]:
        return Attribute(key, unit, tuple(float(value) for value in values))
    return Attribute(key, "", tuple(values))
