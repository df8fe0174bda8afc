"""The client's words and routes are those of the committed OpenAPI document."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter

from saddle_client import AsyncClient, BulkError, Client, ProblemError, Retry, calls, models

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_bytes())
SCHEMAS = DOCUMENT["components"]["schemas"]
# by the component's name, where the client has a shorter one
RENAMED = {
    "ProductBody": models.Product,
    "HitBody": models.Hit,
    "TotalBody": models.Total,
    "FacetBody": models.Facet,
    "QueryTermBody": models.QueryTerm,
    "TitleTermBody": models.TitleTerm,
    "IntersectionBody": models.Intersection,
    "AxisBody": models.Axis,
    "WordsBody": models.Words,
    "FusedBody": models.Fused,
    "ClicksBody": models.Clicks,
    "CompanionBody": models.Companion,
    "SnapshotBody": models.Snapshot,
}
NAMES = {model.__name__: name for name, model in RENAMED.items()}
# what narrows a value is the service's to check, and what describes it is for readers
_LEFT_OUT = {"title", "description", "examples", "default", "minimum", "maximum", "minLength", "maxLength"}
_LEFT_OUT |= {"minItems", "maxItems", "minProperties", "maxProperties"}
# read as text in one place, as an object in another: the document shows both forms, the client's types no more
_FREE = {"type": "object", "additionalProperties": True}
# asked by the client with a body, so that what shoppers look for is in no gateway's log; or not for programs
NOT_OFFERED = {
    "GET /v1/search": "POST /v1/search is the same",
    "GET /v1/similar": "POST /v1/similar is the same",
    "GET /v1/explain": "POST /v1/explain is the same",
    "GET /v1/thumbnails/{product_id}": "for pages: a hit says where its thumbnail is",
    "GET /metrics": "for Prometheus",
}
ARGUMENTS = {
    "search": ("drill",),
    "search_batch": ([{"query": "drill"}],),
    "similar": ("p1",),
    "search_by_picture": (b"picture",),
    "explain": ("drill", "p1"),
    "get_product": ("p1",),
    "put_product": ("p1", {"title": "drill"}),
    "delete_product": ("p1",),
    "bulk": ([{"product_id": "p1", "title": "drill"}],),
    "activate_snapshot": ("s1",),
}


def model_of(name):
    return RENAMED.get(name) or getattr(models, name)


def shape(schema):
    """A schema without what the client leaves to the service, its unions in one order."""
    if isinstance(schema, list):
        return [shape(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"$ref": NAMES.get(name, name)}
    if (
        schema.get("type") == "object"
        and "properties" not in schema
        and not isinstance(schema.get("additionalProperties"), dict)
    ):
        return _FREE
    found = {key: shape(value) for key, value in schema.items() if key not in _LEFT_OUT}
    for union in ("anyOf", "oneOf"):
        if union in found:
            found["anyOf"] = sorted(found.pop(union), key=lambda part: json.dumps(part, sort_keys=True))
    return found


def fields_of(schema):
    """By name, the shape of each property and whether it must be there."""
    required = set(schema.get("required", ()))
    return {
        name: (shape(_without_objects(value)), name in required) for name, value in schema.get("properties", {}).items()
    }


def _without_objects(value):
    """A union of a text and an object with named operators is a text or any object to the client."""
    if "anyOf" not in value:
        return value
    parts = [_FREE if part.get("type") == "object" else part for part in value["anyOf"]]
    return {**value, "anyOf": parts}


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_of_the_document_has_its_model(name):
    model = model_of(name)
    if isinstance(model, type) and issubclass(model, BaseModel):
        own = model.model_json_schema(mode="validation")
    else:
        own = TypeAdapter(model).json_schema()
    assert fields_of(own) == fields_of(SCHEMAS[name])


def test_every_model_of_an_answer_is_in_the_document():
    kinds = {name: model for name, model in vars(models).items() if isinstance(model, type) and name[0] != "_"}
    own = {name for name, model in kinds.items() if issubclass(model, BaseModel) and model is not BaseModel}
    answers = {name for name in SCHEMAS if not name.endswith("Request")}
    assert {NAMES.get(name, name) for name in own} == answers


def offered():
    """By method of the client, the route that it asks."""
    found = {}
    for name in sorted(public(Client)):
        asked = []

        def answer(request, asked=asked):
            asked.append(f"{request.method} {request.url.path}")
            return httpx.Response(500)

        with (
            Client("http://saddle", transport=httpx.MockTransport(answer), retry=Retry(attempts=1)) as client,
            pytest.raises((ProblemError, BulkError)),
        ):
            getattr(client, name)(*ARGUMENTS.get(name, ()))
        (found[name],) = asked
    return found


def routes():
    """Every route of the document, such as ``GET /v1/products/{product_id}``."""
    return {f"{method.upper()} {path}" for path, item in DOCUMENT["paths"].items() for method in item}


def public(kind):
    return {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")} - {"close"}


def test_every_route_of_the_document_has_its_method_and_every_method_its_route():
    wanted = routes() - NOT_OFFERED.keys()
    forms = {route: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", route)) for route in wanted}
    asked = offered()
    found = {
        name: route if route in wanted else next((known for known in forms if forms[known].fullmatch(route)), None)
        for name, route in asked.items()
    }
    assert set(found.values()) - {None} == wanted, "the client lacks a route"
    assert not {asked[name] for name, route in found.items() if route is None}, "no such route"
    assert NOT_OFFERED.keys() <= routes()


def test_the_client_has_the_same_methods_sync_and_async():
    assert public(Client) == public(AsyncClient)
    for name in public(Client):
        own, other = inspect.signature(getattr(Client, name)), inspect.signature(getattr(AsyncClient, name))
        expected = str(own).replace("changes: 'Iterable[", "changes: 'AsyncIterable[models.Change] | Iterable[")
        assert expected == str(other)
        assert inspect.iscoroutinefunction(getattr(AsyncClient, name))


def test_every_call_has_a_method():
    functions = {name for name, f in inspect.getmembers(calls, inspect.isfunction) if f.__module__ == calls.__name__}
    assert {name for name in functions if not name.startswith("_")} - {"row_of", "line_of"} == public(Client)


def test_the_client_imports_nothing_of_the_service():
    code = (
        "import sys, saddle_client\n"
        "print(sorted({'model', 'index', 'service', 'numpy', 'fastapi', 'starlette', 'orjson'} & set(sys.modules)))"
    )
    environment = {"PYTHONPATH": str(ROOT / "clients" / "python" / "src")}
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, env=environment, cwd="/"
    )
    assert found.stdout.strip() == "[]"


def test_the_two_distributions_ship_apart():
    import tomllib

    server = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    client = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text(encoding="utf-8"))
    assert server["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["model", "index", "service"]
    assert client["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/saddle_client"]
    needed = {re.match(r"[a-z0-9-]+", line)[0] for line in client["project"]["dependencies"]}
    assert needed == {"httpx", "pydantic", "typing-extensions"}
