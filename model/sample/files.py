"""The generated shop as files, in the formats that :mod:`model.catalog` reads, written row by row."""

from __future__ import annotations

import csv
from dataclasses import fields
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from model.catalog import Interaction, Judgment
from model.sample.taxonomy import taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from model.catalog import Product
    from model.rows import Format

_COLUMNS = ("product_id", "title", "description", "brand", "category_path", "price")
_PARQUET_BATCH = 10_000


def write_catalog(path: Path, products: Iterable[Product], *, kind: Format, images: bool = False) -> int:
    """Write a catalogue, one column per attribute and one for ``images``, and return how many products it holds."""
    own = (*_COLUMNS, "image") if images else _COLUMNS
    columns = (*own, *taxonomy().attribute_keys)
    rows = ({**_fields(product, own), **product.attributes} for product in products)
    if kind == "parquet":
        return _write_parquet(path, columns, rows)
    if kind == "jsonl":
        return _write_jsonl(path, rows)
    return _write_csv(path, columns, ([_cell(row.get(column)) for column in columns] for row in rows))


def write_judgments(path: Path, judgments: Iterable[Judgment]) -> int:
    """Write judgments as CSV and return how many there are."""
    columns = tuple(field.name for field in fields(Judgment))
    return _write_csv(path, columns, ([_cell(getattr(j, c)) for c in columns] for j in judgments))


def write_interactions(path: Path, interactions: Iterable[Interaction]) -> int:
    """Write interactions as CSV and return how many there are."""
    columns = tuple(f.name for f in fields(Interaction) if f.name != "relevance")
    return _write_csv(path, columns, ([_cell(getattr(i, c)) for c in columns] for i in interactions))


def _fields(product: Product, columns: tuple[str, ...]) -> dict[str, object]:
    return {column: getattr(product, column) for column in columns}


def _cell(value: object) -> str:
    """Text as CSV holds it: numbers without a needless ``.0``, nothing for None."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return "" if value is None else str(value)


def _write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[list[str]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_jsonl(path: Path, rows: Iterable[dict[str, object]]) -> int:
    count = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _write_parquet(path: Path, columns: tuple[str, ...], rows: Iterator[dict[str, object]]) -> int:
    # imported here: CSV and JSON Lines do without it
    import pyarrow as pa
    import pyarrow.parquet as pq

    numeric = {a.key for subtype in taxonomy().subtypes for a in subtype.attributes if a.unit} | {"price"}
    schema = pa.schema([(c, pa.float64() if c in numeric else pa.string()) for c in columns])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(rows, _PARQUET_BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
            count += len(batch)
    return count
