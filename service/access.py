"""The door every request passes: it gets an id, a size limit, a place in the metrics and a log line."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from service.metrics import Metrics

REQUEST_ID = "X-Request-ID"
MAX_BODY_BYTES = 64 * 1024
MAX_PRODUCT_BYTES = 1 << 20
MAX_BULK_BYTES = 32 << 20
_PRODUCTS = "/v1/products"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Asked every few seconds by machines: in the metrics, but not worth a line each.
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger()


class AccessMiddleware:
    """Names, limits, counts and logs the requests that pass through it to ``app``."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500
        started = time.perf_counter()

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, _limited(scope, receive), send_named)
            finally:
                self._record(scope, status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request(method=scope["method"], route=route, status=status, seconds=seconds)
        write = log.debug if route in _QUIET else log.info
        # The path and not the parameters: what shoppers look for stays out of the log.
        took_ms = round(seconds * 1e3, 3)
        write("request", method=scope["method"], path=scope["path"], status=status, took_ms=took_ms)


def _request_id(scope: Scope) -> str:
    """The caller's id if it is a sane one, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _most(path: str) -> int:
    if path == _PRODUCTS:
        return MAX_BULK_BYTES
    return MAX_PRODUCT_BYTES if path.startswith(f"{_PRODUCTS}/") else MAX_BODY_BYTES


def _limited(scope: Scope, receive: Receive) -> Receive:
    """``receive``, refusing a body of more bytes than the path may get, announced or not."""
    announced = Headers(scope=scope).get("content-length", "")
    most = _most(scope["path"])
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        if announced.isdecimal() and int(announced) > most:
            raise HTTPException(413, f"the body has {announced} bytes; at most {most} are allowed")
        message = await receive()
        received += len(message.get("body", b""))
        if received > most:
            raise HTTPException(413, f"the body has {received} bytes or more; at most {most} are allowed")
        return message

    return receive_limited
