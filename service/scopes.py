"""Which route wants which scope of a key, in one place; a route that is not declared here is not served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from starlette.routing import compile_path

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

Scope = Literal["search", "write", "admin"]
SCOPES: tuple[Scope, ...] = ("search", "write", "admin")
_OPEN: None = None

_Needs = dict[str, Scope | None]
_PAGE: _Needs = {"GET": _OPEN}
_LINK: _Needs = {"GET": "search", "POST": "search"}
DECLARED: Mapping[str, Mapping[str, Scope | None]] = {
    "/v1/search": _LINK,
    "/v1/search/batch": {"POST": "search"},
    "/v1/search/image": {"POST": "search"},
    "/v1/thumbnails/{product_id:path}": {"GET": "search"},
    "/v1/similar": _LINK,
    "/v1/explain": _LINK,
    "/v1/products": {"POST": "write"},
    "/v1/products/{product_id:path}": {"GET": "search", "PUT": "write", "DELETE": "write"},
    "/v1/snapshots": {"GET": "admin"},
    "/v1/snapshots/rollback": {"POST": "admin"},
    "/v1/snapshots/{snapshot_id}/activate": {"POST": "admin"},
    "/livez": {"GET": _OPEN},
    "/readyz": {"GET": _OPEN},
    "/metrics": {"GET": "admin"},
    # pages and what they load tell nothing that the repository does not; what they ask for needs a key
    "/": _PAGE,
    "/console.css": _PAGE,
    "/console.js": _PAGE,
    "/docs": _PAGE,
    "/docs/{name}": _PAGE,
    "/openapi.json": _PAGE,
}
"""By path and method, the scope that a key must have; None where no key is needed."""
PROBES = frozenset({"/livez", "/readyz", "/metrics"})
"""Asked by machines that must get an answer, above all under overload."""
HEAVY = frozenset({"/v1/search/image"})
"""Searches that bring much to hold in memory."""


class UndeclaredRouteError(Exception):
    """A route of the application about which it is not declared who may call it."""


class Route(NamedTuple):
    """What the door knows of a request's route."""

    path: str
    """The template, such as ``/v1/products/{product_id:path}``."""
    scopes: frozenset[Scope]
    """A key needs one of these; none, and no key is needed."""
    is_search: bool
    is_probe: bool
    is_heavy: bool = False


class RouteTable:
    """The declared routes of an application, to be found before anything else is done with a request.

    Args:
        routes: path and methods of every route that the application serves.

    Raises:
        UndeclaredRouteError: one of them is not declared.
    """

    def __init__(self, routes: Iterable[tuple[str, Iterable[str]]]) -> None:
        self._exact: dict[str, dict[str, Route]] = {}
        self._patterns: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        served: dict[str, set[str]] = {}
        for path, methods in routes:
            served.setdefault(path, set()).update(methods)
        for path, methods in served.items():
            missing = {_method(method) for method in methods} - DECLARED.get(path, {}).keys()
            if missing:
                raise UndeclaredRouteError(
                    f"service.scopes does not declare who may call {', '.join(sorted(missing))} {path}"
                )
            found = _routes(path, DECLARED[path])
            if "{" in path:
                self._patterns.append((compile_path(path)[0], found))
            else:
                self._exact[path] = found

    def find(self, method: str, path: str) -> Route | None:
        """The route of a path, None if there is none.

        With a method that the path does not take, any key that may do something there is let through to be told so.
        """
        found = self._exact.get(path)
        if found is None:
            found = next((found for pattern, found in self._patterns if pattern.match(path)), None)
        return None if found is None else found.get(method) or found[""]


def route_of(scope: Mapping[str, Any]) -> Route:
    """The route of a request that has passed the door."""
    route: Route = scope["state"]["route"]
    return route


def _method(method: str) -> str:
    return "GET" if method == "HEAD" else method


def _routes(path: str, needs: Mapping[str, Scope | None]) -> dict[str, Route]:
    """By method; under the empty one, what goes for all others."""

    def route(scopes: Iterable[Scope | None]) -> Route:
        wanted = frozenset(scope for scope in scopes if scope is not None)
        return Route(path, wanted, is_search=wanted == {"search"}, is_probe=path in PROBES, is_heavy=path in HEAVY)

    found = {method: route([scope]) for method, scope in needs.items()}
    found[""] = route(needs.values())
    if "GET" in found:
        found["HEAD"] = found["GET"]
    return found
