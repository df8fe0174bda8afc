"""Clients that are slow, endless or gone, on real connections."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from service import protocol
from service.protocol import PatientProtocol


async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)


@contextmanager
def listening():
    """A server's port."""
    config = uvicorn.Config(app, port=0, http=PatientProtocol, lifespan="off", log_config=None, timeout_keep_alive=60)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def talk(story):
    async def told():
        with listening() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                await asyncio.wait_for(story(reader, writer), 10)
            finally:
                writer.close()

    asyncio.run(told())


async def closed(reader):
    """Whether the server closes the connection within two seconds."""
    try:
        return await asyncio.wait_for(reader.read(), 2) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


async def answered(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200") and await reader.readexactly(2) == b"ok"


def test_requests_on_one_connection_are_answered_also_with_pauses_between():
    async def story(reader, writer):
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert await answered(reader)
            await asyncio.sleep(0.5)

    talk(story)


def test_a_head_in_two_pieces_is_one_head():
    async def story(reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHo")
        await asyncio.sleep(0.1)
        writer.write(b"st: x\r\n\r\n")
        assert await answered(reader)
        await asyncio.sleep(0.5)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await answered(reader)

    talk(story)


@pytest.mark.parametrize("first", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
def test_a_connection_without_a_whole_head_is_closed(first):
    async def story(reader, writer):
        writer.write(first)
        assert await closed(reader)

    talk(story)


def test_a_head_that_dribbles_in_is_not_waited_for_byte_by_byte():
    async def story(reader, writer):
        gone = asyncio.create_task(closed(reader))
        for byte in b"GET / HTTP/1.1\r\nHost: " + b"x" * 100:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)
            if gone.done():
                break
        assert await gone

    talk(story)


def test_line_breaks_do_not_keep_an_answered_connection_alive():
    async def story(reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await answered(reader)
        writer.write(b"\r\n")
        assert await closed(reader)

    talk(story)


def test_a_head_without_end_is_refused_and_cut_off():
    async def story(reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        for i in range(66):
            writer.write(b"X-%d: %s\r\n" % (i, b"y" * 1000))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 431 ")
        assert await closed(reader)

    talk(story)
