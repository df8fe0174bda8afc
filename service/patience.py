"""How long the two sides of a request wait for each other: deadlines, slow bodies and callers who have gone.

A search that is not answered by its deadline is cancelled and answered 504. A change is only kept from beginning late:
once begun, it is made, and its answer says so. A caller who has gone takes the request along: its task is cancelled,
and what waits for a thread or a batch is dropped there.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from service.deadline import DEADLINE, DeadlineExceededError
from service.errors import InvalidInputError
from service.scopes import route_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TIMEOUT_FIELD = "X-Request-Timeout-Ms"
MAX_TIMEOUT_MS = 60_000
GONE = 499
"""The status that log and metrics show for a caller who has gone, as nginx has it; nobody is sent it."""
_WATCH_AFTER = 0.005
"""Seconds for which nobody looks whether the caller is still there: most answers come sooner, and a look is a task."""


class PatienceMiddleware:
    """Ends requests to ``app`` that took too long or that nobody waits for any more.

    Args:
        app: the application.
        deadline_seconds: how long a search may take whose caller does not say.
        body_seconds: how long a body may take to arrive.
    """

    def __init__(self, app: ASGIApp, *, deadline_seconds: float, body_seconds: float) -> None:
        self._app = app
        self._deadline_seconds = deadline_seconds
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seconds, enforced = self._allowed(scope)
        token = DEADLINE.set(None if seconds is None else time.monotonic() + seconds)
        caller = _Caller(receive, send, has_body=_has_body(scope), body_seconds=self._body_seconds)
        try:
            async with asyncio.timeout(seconds if enforced else None):
                await self._app(scope, caller.receive, caller.send)
        except TimeoutError as error:
            raise DeadlineExceededError from error
        except asyncio.CancelledError:
            if not caller.gone:
                raise
            caller.forgive()
            scope["state"]["status"] = GONE
        finally:
            caller.unwatch()
            DEADLINE.reset(token)

    def _allowed(self, scope: Scope) -> tuple[float | None, bool]:
        """How many seconds the request may take, and whether it is cancelled then."""
        is_search = route_of(scope).is_search
        for name, value in scope["headers"]:
            if name == b"x-request-timeout-ms":
                return _seconds(value), is_search
        return (self._deadline_seconds if is_search else None), is_search


class _Caller:
    """The other side of a request: what it sends, and whether it is still there."""

    def __init__(self, receive: Receive, send: Send, *, has_body: bool, body_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._body_seconds = body_seconds
        self._body_until: float | None = None
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._told = False
        self.gone = False
        if not has_body:
            self._watch()

    async def receive(self) -> Message:
        """The next message; 408 if the body takes too long."""
        if self._timer is not None:  # there is no body, or no more of it: from now on only who watches receives
            if self._told:
                await self._loop.create_future()
            self._told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._body_until is None:
            self._body_until = self._loop.time() + self._body_seconds
        try:
            async with asyncio.timeout_at(self._body_until):
                message = await self._receive()
        except TimeoutError as error:
            detail = f"the body was not there within {self._body_seconds:g} s"
            raise HTTPException(408, detail, headers={"Connection": "close"}) from error
        if message["type"] == "http.disconnect":
            self.gone = True
            raise asyncio.CancelledError
        if not message.get("more_body", False):
            self._told = True
            self._watch()
        return message

    async def send(self, message: Message) -> None:
        """Send, and look no more for the caller once all is sent: servers then report the end as a hang-up."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.unwatch()
        await self._send(message)

    def unwatch(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def forgive(self) -> None:
        """Take back the cancellations: the request ends here as if it had been answered."""
        assert self._task is not None
        while self._task.cancelling():
            self._task.uncancel()

    def _watch(self) -> None:
        """From now on, but for the first moment, cancel the request when its caller goes."""
        self._timer = self._loop.call_later(_WATCH_AFTER, self._look)

    def _look(self) -> None:
        self._watcher = self._loop.create_task(self._wait_for_the_end())

    async def _wait_for_the_end(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self.gone = True
            assert self._task is not None
            self._task.cancel()


def _has_body(scope: Scope) -> bool:
    """Whether a body is on its way, which the application, and not who watches, must receive."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _seconds(value: bytes) -> float:
    if not value.isdigit() or not int(value[:9]):
        given = value[:32].decode("latin-1")
        raise InvalidInputError(TIMEOUT_FIELD, f"is {given!r}; write whole milliseconds, 1 to {MAX_TIMEOUT_MS}")
    return min(int(value[:9]), MAX_TIMEOUT_MS) / 1e3
