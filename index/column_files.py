"""The columns of a snapshot in an Arrow file: collected while the catalogue streams by, mapped into memory to read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from index.columns import NO_CODE, Column, Columns, NumberColumn, SortedDictionary, TextColumn
from index.filters import type_of
from model.catalog import CatalogError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from index.filters import ColumnType, Value
    from model.catalog import Product

COLUMNS = "columns.arrow"
MAX_COLUMNS = 1_000

_TEXTS = ("product_id", "title", "brand", "category_path", "image")
_CODES = pa.dictionary(pa.int32(), pa.large_string())
_BOOLEAN = {b"holds": b"boolean"}


def values_of(product: Product) -> dict[str, Value]:
    """The values of a product by column, those it has; a description is prose and no column."""
    found: dict[str, Value] = {name: text for name in _TEXTS if (text := getattr(product, name))}
    if product.price is not None:
        found["price"] = product.price
    return {**product.attributes, **found}


class ColumnsWriter:
    """Collects products in row order, then writes their columns.

    A column whose values are of several types is a column of texts.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._collected: dict[str, _Collected] = {name: _Collected() for name in (*_TEXTS, "price")}

    def append(self, products: Sequence[Product]) -> None:
        """Add ``products``, in order.

        Raises:
            CatalogError: there are more than ``MAX_COLUMNS`` columns by now.
        """
        found: dict[str, dict[int, Value]] = defaultdict(dict)
        for offset, product in enumerate(products):
            for name, value in values_of(product).items():
                found[name][offset] = value
        for name, values in found.items():
            self._collected.setdefault(name, _Collected()).append(self._rows, values)
        if len(self._collected) > MAX_COLUMNS:
            raise CatalogError(
                f"the catalogue has {len(self._collected):,} columns by product {self._rows + len(products):,}; "
                f"at most {MAX_COLUMNS:,} can be indexed"
            )
        self._rows += len(products)

    def save(self, path: Path) -> None:
        """Write the columns to ``path``."""
        fields, arrays = [], []
        for name, collected in self._collected.items():
            kind, array = collected.column(self._rows, default="number" if name == "price" else "text")
            fields.append(pa.field(name, array.type, metadata=_BOOLEAN if kind == "boolean" else None))
            arrays.append(array)
        schema = pa.schema(fields)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=schema))


class _Collected:
    """The values of one column so far: rows and values, a pair of arrays for each batch and type."""

    def __init__(self) -> None:
        self._parts: dict[ColumnType, list[tuple[NDArray[np.int64], pa.Array]]] = {}

    def append(self, start: int, values: dict[int, Value]) -> None:
        by_type: dict[ColumnType, dict[int, Value]] = defaultdict(dict)
        for offset, value in values.items():
            by_type[type_of(value)][offset] = value
        for kind, found in by_type.items():
            rows = start + np.fromiter(found, dtype=np.int64, count=len(found))
            self._parts.setdefault(kind, []).append((rows, _array(kind, found.values())))

    def column(self, count: int, *, default: ColumnType) -> tuple[ColumnType, pa.Array]:
        """What the column holds, and its array."""
        kinds = list(self._parts)
        kind = kinds[0] if len(kinds) == 1 else "text" if kinds else default
        parts = [
            (rows, array if held == kind else _array("text", map(as_text, array.to_pylist())))
            for held, pairs in self._parts.items()
            for rows, array in pairs
        ]
        if kind == "text":
            return kind, _coded(parts, count)
        numbers = np.full(count, np.nan)
        for rows, array in parts:
            numbers[rows] = array.to_numpy(zero_copy_only=False)
        return kind, pa.array(numbers)


def as_text(value: Value) -> str:
    """A value as a column of texts holds it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def load_columns(path: Path) -> Columns:
    """Map the columns in ``path`` into memory.

    Raises:
        ValueError: the file is not one that :class:`ColumnsWriter` writes.
    """
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    if reader.num_record_batches != 1:
        raise ValueError(f"{path} holds {reader.num_record_batches} record batches instead of 1")
    batch = reader.get_batch(0)
    return Columns(
        {field.name: _column(field, array) for field, array in zip(batch.schema, batch.columns, strict=True)},
        rows=batch.num_rows,
    )


def _array(kind: ColumnType, values: Iterable[Value]) -> pa.Array:
    return pa.array(list(values), type={"text": pa.large_string(), "number": pa.float64(), "boolean": pa.bool_()}[kind])


def _coded(parts: Sequence[tuple[NDArray[np.int64], pa.Array]], count: int) -> pa.DictionaryArray:
    """A text column: its dictionary sorted, and a code for each of ``count`` rows."""
    codes = np.full(count, NO_CODE, dtype=np.int32)
    if not parts:
        return _with_codes(codes, pa.array([], type=pa.large_string()))
    encoded = pa.chunked_array([array for _, array in parts]).dictionary_encode().unify_dictionaries()
    found = encoded.chunk(0).dictionary
    order = pc.array_sort_indices(found).to_numpy()
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    for (rows, _), chunk in zip(parts, encoded.chunks, strict=True):
        codes[rows] = rank[chunk.indices.to_numpy()]
    return _with_codes(codes, found.take(pa.array(order)))


def _with_codes(codes: NDArray[np.int32], values: pa.Array) -> pa.DictionaryArray:
    # safe=False: NO_CODE is none of Arrow's, which has a bitmap for what is missing
    return pa.DictionaryArray.from_arrays(pa.array(codes), values, safe=False)


def _column(field: pa.Field, array: pa.Array) -> Column:
    if field.type == _CODES:
        return TextColumn(array.indices.to_numpy(), SortedDictionary(_Texts(array.dictionary)))
    if field.type == pa.float64():
        kind: ColumnType = "boolean" if field.metadata == _BOOLEAN else "number"
        return NumberColumn(array.to_numpy(), kind)
    raise ValueError(f"the column {field.name} is of the Arrow type {field.type}")


class _Texts(Sequence[str]):
    """An Arrow array of texts as a sequence, read one by one."""

    def __init__(self, array: pa.Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._array[i].as_py() for i in range(*index.indices(len(self)))]
        text: str = self._array[index].as_py()
        return text
