"""Files of rows, streamed: CSV, JSON Lines and Parquet, each row with the line it starts on.

A row that cannot be read is handed on as :class:`Broken`, and the reading goes on behind it. After a quote
that is never closed, only the line that opened it is broken: the lines it swallowed are read again.
"""

from __future__ import annotations

import csv
import gzip
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Literal

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedIOBase
    from pathlib import Path

Format = Literal["csv", "jsonl", "parquet"]

_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".ndjson.gz": "jsonl",
    ".parquet": "parquet",
}
_JSON_HEAD = 100
_PARQUET_BATCH = 1024
_PICTURES = "image"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it starts on (Parquet: its number, from 1) and its values by column."""

    line: int
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that could not be read, as it stands in the file."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A file's columns and its rows, to be read once. JSON Lines: the columns seen in the first 100 lines."""

    columns: tuple[str, ...]
    rows: Iterator[Row | Broken]


def format_of(path: Path) -> Format:
    """The format that a file's name promises.

    Raises:
        ValueError: it ends like none of the known formats.
    """
    for ending, name in _FORMATS.items():
        if path.name.lower().endswith(ending):
            return name
    raise ValueError(f"unknown kind of file; its name should end in one of {', '.join(_FORMATS)}")


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """Open ``path`` for reading row by row, in bounded memory.

    Raises:
        OSError: the file cannot be opened, or is not gzip under its name.
        ValueError: unknown kind of file, no header, or not of the kind that its name says. Reading the rows
            may also raise ``EOFError`` or ``zlib.error``, if compressed data are cut off or damaged.
    """
    kind = format_of(path)
    if kind == "parquet":
        with _open_parquet(path) as table:
            yield table
        return
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        if file.peek(len(_BOM)).startswith(_BOM):
            file.read(len(_BOM))
        yield _csv_table(file) if kind == "csv" else _jsonl_table(file)


class _Lines:
    """The decoded lines of a file, for :func:`csv.reader`, which may be handed back to be read again."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self._taken: list[str] = []
        self.start = 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._returned:
            line = self._returned.popleft()
        else:
            raw = self._file.readline()
            if not raw:
                raise StopIteration
            line = raw.decode("utf-8", "surrogateescape")
        self._taken.append(line)
        return line

    def begin(self) -> None:
        """A new record starts at the next line."""
        self.start += len(self._taken)
        self._taken.clear()

    def give_back(self) -> None:
        """Hand back every line of this record but its first."""
        self._returned.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]

    @property
    def text(self) -> str:
        """The record as it stands in the file."""
        return _readable("".join(self._taken))

    @property
    def is_utf8(self) -> bool:
        return all(line.isascii() or not _undecoded(line) for line in self._taken)


def _csv_table(file: BufferedIOBase) -> Table:
    lines = _Lines(file)
    records = _csv_records(lines)
    header = next(records, None)
    if header is None:
        raise ValueError("the file is empty")
    if isinstance(header, Broken) or any("\0" in name for name in header):
        raise ValueError("its first line is not a CSV header in UTF-8")
    columns = tuple(name.strip() for name in header)
    named = [name for name in columns if name]
    if len(set(named)) < len(named):
        raise ValueError(f"a column's name occurs twice in its header: {', '.join(columns)}")
    return Table(tuple(named), _csv_rows(records, lines, columns))


def _csv_records(lines: _Lines) -> Iterator[list[str] | Broken]:
    """Records as lists of fields; blank lines are passed over."""
    # strict: a lenient reader would take the rows between two stray quotes for one field
    reader = csv.reader(lines, strict=True)
    while True:
        lines.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            yield Broken(lines.start, f"broken CSV row: {error}", lines.text)
            continue
        if not lines.is_utf8:
            yield Broken(lines.start, "not UTF-8", lines.text)
        elif fields:
            yield fields


def _csv_rows(records: Iterator[list[str] | Broken], lines: _Lines, columns: tuple[str, ...]) -> Iterator[Row | Broken]:
    for fields in records:
        if isinstance(fields, Broken):
            yield fields
        elif len(fields) != len(columns):
            reason = f"wrong number of fields: {len(fields)}, the header has {len(columns)}"
            yield Broken(lines.start, reason, lines.text)
        else:
            values = dict(zip(columns, fields, strict=True))
            values.pop("", None)
            yield Row(lines.start, values)


def _jsonl_table(file: BufferedIOBase) -> Table:
    rows = _jsonl_rows(file)
    head = list(islice(rows, _JSON_HEAD))
    if not head:
        raise ValueError("the file is empty")
    columns = dict.fromkeys(key for row in head if isinstance(row, Row) for key in row.values)
    if not columns:
        raise ValueError(f"none of its first {len(head)} lines is a JSON object")
    return Table(tuple(columns), chain(head, rows))


def _jsonl_rows(file: BufferedIOBase) -> Iterator[Row | Broken]:
    for line, raw in enumerate(file, start=1):
        text = raw.strip()
        if not text:
            continue
        try:
            values = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            decoded = raw.decode("utf-8", "surrogateescape")
            reason = "not UTF-8" if _undecoded(decoded) else f"broken JSON: {error}"
            yield Broken(line, reason, _readable(decoded))
            continue
        if isinstance(values, dict):
            yield Row(line, values)
        else:
            yield Broken(line, "not a JSON object", text.decode())


@contextmanager
def _open_parquet(path: Path) -> Iterator[Table]:
    # imported here: it takes as long as all of serving's other imports, and serving reads no Parquet
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        # bytes are neither text nor a number: they stay in the file, but for pictures
        columns = [
            f.name
            for f in file.schema_arrow
            if not (pa.types.is_struct(f.type) or (_is_bytes(pa.types, f.type) and f.name != _PICTURES))
        ]
        yield Table(tuple(columns), _parquet_rows(file, columns))


def _is_bytes(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _parquet_rows(file: Any, columns: list[str]) -> Iterator[Row | Broken]:
    number = 0
    for batch in file.iter_batches(batch_size=_PARQUET_BATCH, columns=columns):
        for values in _parquet_values(batch):
            number += 1
            if values is None:
                yield Broken(number, "not UTF-8", "")
            else:
                yield Row(number, values)


def _parquet_values(batch: Any) -> Iterator[dict[str, object] | None]:
    """The rows of one record batch; None for one that holds text in another encoding than UTF-8."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for i in range(len(batch)):
            try:
                yield batch.slice(i, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None


def _undecoded(text: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in text)


def _readable(text: str) -> str:
    """Text whose undecodable bytes are written out in hexadecimal."""
    return text.rstrip("\r\n").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
