"""Changes cut into bulk requests of a bounded size, never holding more than one of them."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from saddle_client.calls import line_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from saddle_client.models import Change

CHUNK_BYTES = 4 << 20
CHUNK_LINES = 5_000


class _Chunk:
    """The lines of the next request."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._bytes = 0

    def add(self, change: Change) -> list[bytes]:
        """Take up one more change; the lines before it, if it does not fit beside them."""
        line = line_of(change)
        full = len(self._lines) >= CHUNK_LINES or self._bytes + len(line) > CHUNK_BYTES
        before = self.rest() if full else []
        self._lines.append(line)
        self._bytes += len(line)
        return before

    def rest(self) -> list[bytes]:
        """The lines that are left."""
        lines, self._lines, self._bytes = self._lines, [], 0
        return lines


def chunks(changes: Iterable[Change]) -> Iterator[list[bytes]]:
    """The lines of each request."""
    chunk = _Chunk()
    for change in changes:
        if lines := chunk.add(change):
            yield lines
    if lines := chunk.rest():
        yield lines


async def async_chunks(changes: AsyncIterable[Change] | Iterable[Change]) -> AsyncIterator[list[bytes]]:
    """The lines of each request, of changes that may have to be waited for."""
    if not isinstance(changes, AsyncIterable):
        for lines in chunks(changes):
            yield lines
        return
    chunk = _Chunk()
    async for change in changes:
        if lines := chunk.add(change):
            yield lines
    if lines := chunk.rest():
        yield lines
