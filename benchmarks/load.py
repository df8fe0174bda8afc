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
