"""The outermost door: every request gets an id, a size limit, safe headers, a place in the metrics and a log line."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import structlog
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.drain import Draining
    from service.metrics import Metrics

REQUEST_ID = "X-Request-ID"
MAX_BODY_BYTES = 64 * 1024
MAX_PRODUCT_BYTES = 1 << 20
MAX_BULK_BYTES = 32 << 20
MAX_PICTURE_BYTES = 24 << 20
"""In Base64 it is a third more than the picture."""
_PRODUCTS, _PICTURES = "/v1/products", "/v1/search/image"
_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_SAFE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_POLICY = b"content-security-policy"
# for whoever opens an answer in a browser; pages have their own
_NOTHING_RUNS = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")
_CLOSING = (b"connection", b"close")

log = structlog.get_logger()


class AccessMiddleware:
    """Names, limits, counts and logs the requests that pass through it to ``app``.

    Args:
        app: the application.
        metrics: where requests are counted.
        draining: whether the service is about to stop; connections then end with their next answer.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, draining: Draining) -> None:
        self._app = app
        self._metrics = metrics
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["status"] = 500
        started = time.perf_counter()

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["status"] = message["status"]
                headers = [*message["headers"], (b"x-request-id", request_id.encode()), *_SAFE]
                if not any(name == _POLICY for name, _ in headers):
                    headers.append(_NOTHING_RUNS)
                if self._draining.begun:
                    headers.append(_CLOSING)
                message = {**message, "headers": headers}
            await send(message)

        structlog.contextvars.bind_contextvars(request_id=request_id)  # for good: a request has its own context
        try:
            await self._app(scope, _limited(scope, receive), send_named)
        finally:
            self._record(scope, time.perf_counter() - started)

    def _record(self, scope: Scope, seconds: float) -> None:
        state = scope["state"]
        route, status = state.get("route"), state["status"]
        path = "unmatched" if route is None else route.path
        self._metrics.request(method=scope["method"], route=path, status=status, seconds=seconds)
        if "refused" in state:
            return  # counted, but not worth the work of a line
        # Asked every few seconds by machines: in the metrics, but not worth a line each.
        write = log.debug if route is not None and route.is_probe else log.info
        # The path and not the parameters: what shoppers look for stays out of the log. No header is ever in it.
        caller = {"key": state["key"]} if "key" in state else {}
        took_ms = round(seconds * 1e3, 3)
        write("request", method=scope["method"], path=scope["path"], status=status, took_ms=took_ms, **caller)


def _request_id(scope: Scope) -> str:
    """The caller's id if it is a sane one, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            given: bytes = value
            return given.decode()
    return os.urandom(16).hex()


def _most(path: str) -> int:
    if path == _PRODUCTS:
        return MAX_BULK_BYTES
    if path == _PICTURES:
        return MAX_PICTURE_BYTES
    return MAX_PRODUCT_BYTES if path.startswith(f"{_PRODUCTS}/") else MAX_BODY_BYTES


def _limited(scope: Scope, receive: Receive) -> Receive:
    """``receive``, refusing a body of more bytes than the path may get, announced or not."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        most = _most(scope["path"])
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if announced.isdigit() and int(announced) > most:
            raise HTTPException(413, f"the body has {int(announced)} bytes; at most {most} are allowed")
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, f"the body has {received} bytes or more; at most {most} are allowed")
        return message

    return receive_limited
