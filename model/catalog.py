"""What a shop hands over: products, interactions and judgments, read from files with bad rows set aside.

Files are CSV, JSON Lines or Parquet (:mod:`model.rows`). A row that cannot be used is counted, kept with its
line number and its reason, and the reading goes on; a file that cannot be used raises :class:`CatalogError`.
CSV has no types, so there an attribute that reads as a plain decimal number is a number, and ``true`` and
``false`` are booleans; the other formats say themselves what is text.
"""

from __future__ import annotations

import hashlib
import math
import re
import tempfile
import weakref
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import orjson

from model import rows
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

LEVEL_SEPARATOR = " > "
MAX_ID_LENGTH = 256
MAX_TEXT_LENGTH = 2000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.\d{1,6})?", re.ASCII)
_FIELDS = frozenset({"product_id", "title", "description", "brand", "category_path", "price", "image"})
_SPOOL_BYTES = 1 << 20

T = TypeVar("T")


class CatalogError(ValueError):
    """A file of products, interactions or judgments that cannot be used; the message is one line."""


class _UnusableRowError(ValueError):
    """Why one row is set aside."""


@dataclass(frozen=True, slots=True)
class Product:
    """One product; ``attributes`` holds every further column with a value: text, finite number or boolean."""

    product_id: str
    title: str
    description: str = ""
    brand: str = ""
    category_path: str = ""
    price: float | None = None
    image: str = ""
    attributes: Mapping[str, str | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PicturedProduct(Product):
    """A product whose picture the catalogue holds itself, in a column ``image`` of bytes."""

    picture: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Interaction:
    """What one shopper did with one product after one query; what the shop did not record is empty."""

    query: str
    product_id: str
    relevance: float | None = None
    event: str = ""
    session_id: str = ""
    user_id: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True)
class Judgment:
    """How relevant one product is to one query, on the judge's own scale."""

    query: str
    product_id: str
    relevance: float


class Rejects:
    """The rows that were set aside while reading one file.

    Every row is kept, in a temporary file once there is more than a megabyte of them, so memory is bounded. A
    reason reads ``kind`` or ``kind: detail``, and ``reasons`` counts the kinds.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.reasons: Counter[str] = Counter()
        self._rows = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with this object
        weakref.finalize(self, self._rows.close)

    @property
    def count(self) -> int:
        """How many rows were set aside."""
        return self.reasons.total()

    def add(self, line: int, reason: str, row: object) -> None:
        """Set aside ``row``, which starts at ``line`` of its file."""
        self.reasons[reason.partition(":")[0]] += 1
        entry = {"line": line, "reason": reason, "row": row}
        self._rows.write(orjson.dumps(entry, default=_told, option=orjson.OPT_APPEND_NEWLINE))

    def write(self, path: Path) -> None:
        """Write the rows to ``path`` as JSON Lines: ``line``, ``reason`` and ``row``, in the file's order."""
        self._rows.seek(0)
        with path.open("wb") as file:
            for line in self._rows:
                file.write(line)

    def check(self, max_share: float) -> None:
        """Stop a run that lost too much.

        Raises:
            CatalogError: more than ``max_share`` (0 to 1) of the rows read were set aside.
        """
        total = self.count + self.accepted
        if self.count <= max_share * total:
            return
        reason, times = self.reasons.most_common(1)[0]
        raise CatalogError(
            f"{self.count:,} of {total:,} rows rejected ({self.count / total:.1%}), more than the "
            f"{max_share:.1%} allowed; the commonest reason, {times:,} times: {reason}"
        )


def searchable_text(product: Product) -> str:
    """What the encoder sees: the title, then the words of the brand and last category level that it lacks."""
    present = dict.fromkeys(words(product.title))
    last_level = product.category_path.rpartition(LEVEL_SEPARATOR.strip())[2]
    lacking = [word for word in dict.fromkeys(words(f"{product.brand} {last_level}")) if word not in present]
    return " ".join([product.title, *lacking])


def read_products(path: Path, rejects: Rejects) -> Iterator[Product]:
    """Stream the products of a catalogue; of rows with one ``product_id`` the first counts.

    Raises:
        CatalogError: a file that is missing, empty, unreadable, of an unknown kind, or short of a column.
    """
    first_lines: dict[str, int] = {}

    def parse(row: rows.Row) -> Product:
        product = _product(row.values, typed=not path.name.lower().endswith((".csv", ".csv.gz")))
        _claim(first_lines, product.product_id, row.line, what="product_id")
        return product

    return _read(path, ("product_id", "title"), rejects, parse)


def product_of(values: Mapping[str, object]) -> Product:
    """The product that a JSON object describes, by the rules of the catalogue's rows.

    Raises:
        CatalogError: it is none that could be searched for; the message says why.
    """
    try:
        return _product(values, typed=True)
    except _UnusableRowError as error:
        raise CatalogError(str(error)) from error


def product_id_of(values: Mapping[str, object]) -> str:
    """The ``product_id`` of a JSON object.

    Raises:
        CatalogError: it has none that could be one.
    """
    try:
        return _product_id(values)
    except _UnusableRowError as error:
        raise CatalogError(str(error)) from error


def read_interactions(path: Path, rejects: Rejects) -> Iterator[Interaction]:
    """Stream the interactions of a file with at least ``query`` and ``product_id``.

    Raises:
        CatalogError: as :func:`read_products`.
    """

    def parse(row: rows.Row) -> Interaction:
        values = row.values
        return Interaction(
            query=_words_of(values, "query"),
            product_id=_product_id(values),
            relevance=_number(values, "relevance"),
            event=_text(values, "event"),
            session_id=_text(values, "session_id"),
            user_id=_text(values, "user_id"),
            time=_text(values, "time"),
        )

    return _read(path, ("query", "product_id"), rejects, parse)


def read_judgments(path: Path, rejects: Rejects) -> Iterator[Judgment]:
    """Stream the judgments of a file; of two judgments on one query and product the first counts.

    Raises:
        CatalogError: as :func:`read_products`.
    """
    first_lines: dict[tuple[str, str], int] = {}

    def parse(row: rows.Row) -> Judgment:
        query, product_id = _words_of(row.values, "query"), _product_id(row.values)
        relevance = _number(row.values, "relevance")
        if relevance is None:
            raise _UnusableRowError("no relevance")
        _claim(first_lines, (query, product_id), row.line, what="query and product_id")
        return Judgment(query, product_id, relevance)

    return _read(path, ("query", "product_id", "relevance"), rejects, parse)


def split_of(query: str) -> Literal["train", "dev", "test"]:
    """The part of the data that a query belongs to, by its hash: 72 % train, 8 % dev, 20 % test."""
    digest = hashlib.md5(query.strip().encode(), usedforsecurity=False).hexdigest()
    bucket = int(digest, 16) % 100
    if bucket < 72:
        return "train"
    return "dev" if bucket < 80 else "test"


def fingerprint(path: Path) -> str:
    """``sha256:`` and the first 12 hex digits of the SHA-256 of a file's bytes.

    Raises:
        CatalogError: there is no such file.
    """
    _check_exists(path)
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"


def _read(path: Path, required: tuple[str, ...], rejects: Rejects, parse: Callable[[rows.Row], T]) -> Iterator[T]:
    for row in _rows(path, required):
        if isinstance(row, rows.Broken):
            rejects.add(row.line, row.reason, row.text)
            continue
        try:
            parsed = parse(row)
        except _UnusableRowError as error:
            rejects.add(row.line, str(error), row.values)
            continue
        rejects.accepted += 1
        yield parsed


def _rows(path: Path, required: tuple[str, ...]) -> Iterator[rows.Row | rows.Broken]:
    """The rows of a file that has the required columns, every failure told as a CatalogError."""
    _check_exists(path)
    empty = True
    missing: list[str] = []
    found = ""
    try:
        with rows.open_table(path) as table:
            found = ", ".join(table.columns)
            missing = [column for column in required if column not in table.columns]
            if not missing:
                for row in table.rows:
                    empty = False
                    yield row
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CatalogError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise CatalogError(f"{path} lacks the column{plural} {' and '.join(missing)}; it has: {found}")
    if empty:
        raise CatalogError(f"{path} has the columns {found}, but not one row")


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise CatalogError(f"{path} is a directory, not a file" if path.is_dir() else f"there is no file {path}")
    if path.stat().st_size == 0:
        raise CatalogError(f"cannot read {path}: the file is empty")


def _product(values: Mapping[str, object], *, typed: bool) -> Product:
    price = _number(values, "price")
    if price is not None and price < 0:
        raise _UnusableRowError(f"negative price: {values['price']}")
    attributes = {
        name: attribute
        for name, value in values.items()
        if name not in _FIELDS and (attribute := _attribute(value, typed=typed)) is not None
    }
    described: dict[str, Any] = {
        "product_id": _product_id(values),
        "title": _words_of(values, "title"),
        "description": _text(values, "description"),
        "brand": _text(values, "brand"),
        "category_path": _text(values, "category_path"),
        "price": price,
        "attributes": attributes,
    }
    image = values.get("image")
    if isinstance(image, bytes) and image:
        return PicturedProduct(**described, picture=image)
    return Product(**described, image=_text(values, "image"))


def _product_id(values: Mapping[str, object]) -> str:
    value = values.get("product_id")
    if isinstance(value, str) and _CONTROL.search(value.strip()):
        raise _UnusableRowError("control character in product_id")
    product_id = _text(values, "product_id")
    if not product_id:
        raise _UnusableRowError("empty product_id")
    if len(product_id) > MAX_ID_LENGTH:
        raise _UnusableRowError(f"product_id longer than {MAX_ID_LENGTH} characters: {len(product_id):,}")
    return product_id


def _words_of(values: Mapping[str, object], name: str) -> str:
    """A text that can be searched by: not empty, not too long, with at least one letter or digit."""
    text = _text(values, name)
    if not text:
        raise _UnusableRowError(f"empty {name}")
    if len(text) > MAX_TEXT_LENGTH:
        raise _UnusableRowError(f"{name} longer than {MAX_TEXT_LENGTH:,} characters: {len(text):,}")
    if not words(text):
        raise _UnusableRowError(f"{name} without a letter or digit")
    return text


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    return "" if value is None else _CONTROL.sub(" ", _as_text(value)).strip()


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a table tool that met a missing id made floats of the others
    if isinstance(value, (bool, dict, list)):
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    return str(value)


def _number(values: Mapping[str, object], name: str) -> float | None:
    """A finite number, or None where there is no value."""
    value = values.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(str(value))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _UnusableRowError(f"{name} is not a finite number: {_as_text(value)[:80]}")
    return number


def _attribute(value: object, *, typed: bool) -> str | float | bool | None:
    """An attribute's value as text, number or boolean; None for an empty one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        exact = isinstance(value, float) or abs(value) < 1 << 53
        if exact:
            return float(value) if math.isfinite(value) else None
    text = "" if value is None else _CONTROL.sub(" ", _as_text(value)).strip()
    if not typed and _DECIMAL.fullmatch(text):
        return float(text)
    if not typed and text.lower() in ("true", "false"):
        return text.lower() == "true"
    return text or None


def _told(value: object) -> str:
    """What JSON has no form for, in a list for people."""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)


def _claim(first_lines: dict[T, int], key: T, line: int, *, what: str) -> None:
    """Refuse a key that an earlier line had."""
    first = first_lines.setdefault(key, line)
    if first != line:
        raise _UnusableRowError(f"duplicate {what}: first on line {first}")
