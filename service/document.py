"""The OpenAPI document, with what FastAPI does not know: the media type of problems, and what the doors answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from service.errors import PROBLEM_JSON
from service.patience import MAX_TIMEOUT_MS, TIMEOUT_FIELD
from service.scopes import DECLARED, PROBES, SCOPES

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_KEY = "key"
_GRANTS = {"search": "search and read", "write": "change products", "admin": "manage snapshots and read metrics"}
_RETRY_AFTER = {"description": "Seconds to wait before the next attempt.", "schema": {"type": "integer", "minimum": 1}}
_TIMEOUT = {
    "name": TIMEOUT_FIELD,
    "in": "header",
    "required": False,
    "description": "How many milliseconds the caller will wait. What is not begun by then is not done: 504. "
    f"More than {MAX_TIMEOUT_MS:,} counts as that.",
    "schema": {"type": "integer", "minimum": 1},
}


def completed(openapi: dict[str, Any]) -> dict[str, Any]:
    """The same document, completed in place."""
    grants = "; ".join(f"`{scope}`: {_GRANTS[scope]}" for scope in SCOPES)
    openapi["components"]["securitySchemes"] = {
        _KEY: {
            "type": "http",
            "scheme": "bearer",
            "description": f"An API key, where the service asks for one. Scopes: {grants}.",
        }
    }
    needs = {path.replace(":path}", "}"): declared for path, declared in DECLARED.items()}
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            scope = needs[path][method.upper()]
            if scope is not None:
                operation["security"] = [{_KEY: []}]
                operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scope}`.".strip()
                _answer(operation, 401, 403)
            if path not in PROBES:
                operation.setdefault("parameters", []).append(_TIMEOUT)
                _answer(operation, 422, 429, 504)
                operation["responses"]["429"]["headers"] = {"Retry-After": _RETRY_AFTER}
            if "requestBody" in operation:
                _answer(operation, 408)
            _name_problems(operation)
    return openapi


def _answer(operation: dict[str, Any], *statuses: int) -> None:
    for status in statuses:
        operation["responses"][str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_JSON: {"schema": _PROBLEM}},
        }


def _name_problems(operation: dict[str, Any]) -> None:
    """File problems under their own media type; FastAPI can only file them under JSON."""
    for response in operation["responses"].values():
        content = response.get("content", {})
        if content.get("application/json", {}).get("schema") == _PROBLEM:
            content[PROBLEM_JSON] = content.pop("application/json")
