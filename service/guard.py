"""The guard: who calls, and may they? Asked before anything is read but the head of a request.

With keys, a caller shows one as ``Authorization: Bearer …``. Without, only programs of this machine call, and the guard
keeps them apart from the pages of other sites in a browser on this machine: such a page may reach the loopback address
too, under a name of its own that it lets point there, or by sending a form.
"""

from __future__ import annotations

import ipaddress
import math
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.errors import Refusal, refuse
from service.limits import TokenBucket

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from service.keys import Key, KeyRing
    from service.metrics import Metrics
    from service.scopes import Route, RouteTable

_CHALLENGE = (b"www-authenticate", b'Bearer realm="saddle"')
_NO_KEY = Refusal(401, "unauthorized", "this needs a key: Authorization: Bearer saddle_…", (_CHALLENGE,))
_UNKNOWN_KEY = Refusal(
    401,
    "unauthorized",
    "the key is not known, has expired or was revoked",
    ((b"www-authenticate", b'Bearer realm="saddle", error="invalid_token"'),),
)
_NOT_FOUND = Refusal(404, "not_found", "there is nothing at this path")
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class GuardMiddleware:
    """Lets those requests through to ``app`` that have a route and may use it.

    Args:
        app: the application.
        table: its routes.
        keys: the keys that open them; None where callers are not asked who they are.
        local: whether only this machine can call, so that a host of another name is a trick.
        origins: other origins whose pages may call.
        metrics: where refusals are counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        table: RouteTable,
        keys: KeyRing | None,
        local: bool,
        origins: tuple[str, ...],
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._table = table
        self._keys = keys
        self._local = local and keys is None
        self._origins = frozenset(origins)
        self._metrics = metrics
        self._buckets: dict[str, TokenBucket] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            route = self._table.find(scope["method"], scope["path"])
            if route is not None:
                scope["state"]["route"] = route
            refusal = self._foreign(scope) if self._keys is None else self._unauthorized(scope, route, self._keys)
            if refusal is not None:
                self._metrics.refused(refusal.code)
            elif route is None:
                refusal = _NOT_FOUND
            if refusal is not None:
                await refuse(scope, send, refusal)
                return
        await self._app(scope, receive, send)

    def _unauthorized(self, scope: Scope, route: Route | None, keys: KeyRing) -> Refusal | None:
        """Why the key that is shown does not open the route, None if it does; without a route, any key will do."""
        if route is not None and not route.scopes:
            return None
        shown = _field(scope, b"authorization")
        scheme, _, token = shown.partition(" ")
        key = keys.find(token.strip()) if scheme.lower() == "bearer" else None
        if key is None:
            return _UNKNOWN_KEY if shown else _NO_KEY
        scope["state"]["key"] = key.id
        if route is not None and not key.scopes & route.scopes:
            needed = " or ".join(sorted(route.scopes))
            return Refusal(403, "forbidden", f"the key {key.id} has not the scope {needed}, which this needs")
        if key.rate is None:
            return None
        bucket = scope["state"]["bucket"] = self._bucket(key)
        wait = bucket.take()
        if wait:
            detail = f"the key {key.id} may make {key.rate:g} requests a second, {key.burst} at once"
            return Refusal(429, "rate_limited", detail, ((b"retry-after", str(math.ceil(wait)).encode()),))
        return None

    def _bucket(self, key: Key) -> TokenBucket:
        bucket = self._buckets.get(key.id)
        if bucket is None or (bucket.rate, bucket.burst) != (key.rate, key.burst):
            assert key.rate is not None
            bucket = self._buckets[key.id] = TokenBucket(rate=key.rate, burst=key.burst)
        return bucket

    def _foreign(self, scope: Scope) -> Refusal | None:
        """Why a request is taken for one of another site's page, None if it is not."""
        host = _field(scope, b"host")
        if self._local and not _is_here(host):
            detail = f"the host {host[:100]!r} is not this machine; behind a gateway, set SADDLE_ALLOW_PUBLIC=true"
            return Refusal(403, "forbidden", detail)
        if scope["method"] in _UNSAFE:
            origin = _field(scope, b"origin")
            if origin and origin not in self._origins and origin.partition("://")[2] != host:
                return Refusal(403, "forbidden", f"pages of {origin[:100]!r} may not change anything here")
        return None


@lru_cache(maxsize=256)
def _is_here(host: str) -> bool:
    """Whether the host that a request names, with or without a port, is this machine."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether a host is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _field(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return ""
