"""Load on a service, made as cheaply as Python can: it shares the machine with what it measures."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Self
from urllib.parse import urlsplit

_IDLE_SECONDS = 2.0
"""Less than servers keep a connection on which nothing comes."""


class LoadError(ConnectionError):
    """A request that was not answered as HTTP/1.1 with a body of stated length."""


class Client:
    """Requests over connections that are kept, as many as there are requests at a time; a context manager."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for _, writer, _ in self._idle:
            writer.close()

    async def get(self, path: str) -> Any:
        """The JSON at ``path``."""
        return await self._json("GET", path, b"", "")

    async def post(self, path: str, body: bytes = b"", media_type: str = "application/json") -> Any:
        """The JSON that ``path`` answers to ``body``.

        Raises:
            LoadError: it answered with another status than 200, or not at all.
        """
        return await self._json("POST", path, body, media_type)

    async def send(self, method: str, path: str, body: bytes, media_type: str) -> tuple[int, bytes]:
        """Status and body of the answer to one request.

        Raises:
            LoadError: there was none.
        """
        reader, writer = await self._connection()
        try:
            head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n"
            typed = f"Content-Type: {media_type}\r\n" if media_type else ""
            writer.write(f"{head}{typed}\r\n".encode() + body)
            status, *fields = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            lengths = [field[15:] for field in fields if field.lower().startswith(b"content-length:")]
            answer = await reader.readexactly(int(lengths[0]))
        except (OSError, EOFError, IndexError, ValueError) as error:
            writer.close()
            raise LoadError(f"{method} {path}: {error}") from error
        if any(field.lower() == b"connection: close" for field in fields):
            writer.close()
        else:
            self._idle.append((reader, writer, time.monotonic()))
        return int(status.split()[1]), answer

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer, since = self._idle.pop()
            if time.monotonic() - since < _IDLE_SECONDS:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._host, self._port)

    async def _json(self, method: str, path: str, body: bytes, media_type: str) -> Any:
        status, answer = await self.send(method, path, body, media_type)
        if status != 200:
            raise LoadError(f"{method} {path}: {status}, {answer[:200]!r}")
        return json.loads(answer)


class Line(asyncio.Protocol):
    """A connection for one prepared request after the other; of an answer it reads the status and the length only.

    That costs a third of what :class:`Client` does, so one core can keep another one busy.
    """

    def __init__(self) -> None:
        self.closed = False
        self._answered: asyncio.Future[int] | None = None
        self._status = 0
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # of a TCP connection

    def send(self, request: bytes) -> asyncio.Future[int]:
        """The status of the answer to ``request``, when all of it is there; a :class:`LoadError` if there is none."""
        self._answered = asyncio.get_running_loop().create_future()
        self._missing = -1
        self._transport.write(request)
        return self._answered

    def data_received(self, data: bytes) -> None:
        """Take in a piece; heads come whole from the services that are measured."""
        if self._missing < 0:
            head = data.index(b"\r\n\r\n") + 4
            length = data[:head].lower().index(b"content-length:") + 15
            self._status = int(data[9:12])
            self._missing = int(data[length : data.index(b"\r", length)]) + head
        self._missing -= len(data)
        if self._missing <= 0 and self._answered is not None and not self._answered.done():
            self._answered.set_result(self._status)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell who waits."""
        self.closed = True
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(LoadError(f"the connection was closed before the answer: {error}"))

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    @classmethod
    async def to(cls, port: int) -> Self:
        """A connection to ``port`` of this machine."""
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line


def prepared(path: str, document: Any) -> bytes:
    """A POST of a JSON document, as it goes over the wire."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
