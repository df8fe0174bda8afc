from __future__ import annotations

import asyncio
import time

import pytest
from starlette.exceptions import HTTPException

from service.deadline import DEADLINE, DeadlineExceededError, begun_in_time
from service.errors import InvalidInputError
from service.patience import GONE, PatienceMiddleware
from service.scopes import Route

SEARCH = Route("/v1/search", frozenset({"search"}), is_search=True, is_probe=False)
WRITE = Route("/v1/products", frozenset({"write"}), is_search=False, is_probe=False)


class Caller:
    """The server's side of one request: messages to receive, and whether the caller is still there."""

    def __init__(self, *, body=(), headers=(), route=SEARCH):
        self.scope = {"type": "http", "headers": [*headers], "state": {"route": route}}
        if body:
            self.scope["headers"].append((b"transfer-encoding", b"chunked"))
        self.messages = asyncio.Queue()
        for i, part in enumerate(body or [b""]):
            self.messages.put_nowait({"type": "http.request", "body": part, "more_body": i + 1 < len(body)})
        self.sent = []

    def hang_up(self):
        self.messages.put_nowait({"type": "http.disconnect"})

    async def send(self, message):
        self.sent.append(message)

    def ask(self, app, *, deadline_seconds=10.0, body_seconds=10.0):
        door = PatienceMiddleware(app, deadline_seconds=deadline_seconds, body_seconds=body_seconds)
        return asyncio.create_task(door(self.scope, self.messages.get, self.send))


async def answer(scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def wait_for_ever(scope, receive, send):
    await asyncio.Event().wait()


async def read_and_wait_for_ever(scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await asyncio.Event().wait()


def run(story):
    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_request_in_time_is_answered_as_if_nobody_watched():
    async def story():
        for body in ((), (b"a", b"b")):
            caller = Caller(body=body)
            await caller.ask(answer)
            assert caller.sent[0]["status"] == 200

    run(story)


def test_a_search_that_takes_too_long_is_cancelled():
    async def story():
        caller, cancelled = Caller(), []

        async def slow(scope, receive, send):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        with pytest.raises(DeadlineExceededError):
            await caller.ask(slow, deadline_seconds=0.02)
        assert cancelled
        assert not caller.sent

    run(story)


def test_the_caller_may_ask_for_a_deadline_and_what_is_inside_knows_it():
    async def story():
        seen = []

        async def look(scope, receive, send):
            seen.append(DEADLINE.get() - time.monotonic())
            await answer(scope, receive, send)

        for given in (b"250", b"60000", b"999999999999"):
            await Caller(headers=[(b"x-request-timeout-ms", given)]).ask(look)
        assert seen == [pytest.approx(0.25, abs=0.05), pytest.approx(60, abs=1), pytest.approx(60, abs=1)]
        assert DEADLINE.get() is None

    run(story)


@pytest.mark.parametrize("given", [b"", b"0", b"-1", b"1.5", b"1e3", b"soon", b"000000000000", b"\xb2"])
def test_a_deadline_that_is_none_is_refused(given):
    async def story():
        with pytest.raises(InvalidInputError, match="whole milliseconds"):
            await Caller(headers=[(b"x-request-timeout-ms", given)]).ask(answer)

    run(story)


def test_a_change_is_not_cancelled_at_its_deadline_but_not_begun_after_it():
    async def story():
        begun = []

        async def change(scope, receive, send):
            work = begun_in_time(lambda: begun.append(True))
            await asyncio.sleep(0.05)
            with pytest.raises(DeadlineExceededError):
                work()
            await answer(scope, receive, send)

        caller = Caller(route=WRITE, headers=[(b"x-request-timeout-ms", b"20")])
        await caller.ask(change)
        assert caller.sent[0]["status"] == 200
        assert not begun

    run(story)


def test_a_change_has_no_deadline_of_its_own():
    async def story():
        async def look(scope, receive, send):
            assert DEADLINE.get() is None
            await answer(scope, receive, send)

        await Caller(route=WRITE).ask(look)

    run(story)


def test_work_without_a_deadline_is_begun_whenever():
    assert begun_in_time(lambda: 7)() == 7


@pytest.mark.parametrize("body", [(), (b"a", b"b")])
@pytest.mark.parametrize("route", [SEARCH, WRITE])
def test_a_request_whose_caller_hangs_up_is_cancelled_and_ends_quietly(body, route):
    async def story():
        caller = Caller(body=body, route=route)
        task = caller.ask(read_and_wait_for_ever if body else wait_for_ever)
        await asyncio.sleep(0.02)
        assert not task.done()
        caller.hang_up()
        await task
        assert caller.scope["state"]["status"] == GONE
        assert not caller.sent

    run(story)


def test_a_caller_who_hangs_up_within_the_body_is_gone_too():
    async def story():
        caller = Caller(body=(b"a", b"b"))
        caller.messages.get_nowait()
        caller.messages.get_nowait()
        caller.hang_up()
        await caller.ask(answer)
        assert caller.scope["state"]["status"] == GONE

    run(story)


def test_a_server_that_is_stopped_is_not_taken_for_a_caller_who_hung_up():
    async def story():
        task = Caller().ask(wait_for_ever)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story)


def test_a_body_that_dribbles_in_is_given_up_as_a_whole():
    async def story():
        caller = Caller(body=(b"x",) * 1000)
        slowly = caller.messages.get

        async def dribble():
            await asyncio.sleep(0.01)
            return await slowly()

        door = PatienceMiddleware(answer, deadline_seconds=10, body_seconds=0.1)
        with pytest.raises(HTTPException) as caught:
            await door(caller.scope, dribble, caller.send)
        assert caught.value.status_code == 408
        assert caught.value.headers == {"Connection": "close"}

    run(story)


def test_nobody_is_left_watching_when_all_is_answered():
    async def story():
        before = asyncio.all_tasks()
        for _ in range(20):
            caller = Caller()

            async def slow(scope, receive, send):
                await asyncio.sleep(0.01)
                await answer(scope, receive, send)

            await caller.ask(slow)
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == before

    run(story)
