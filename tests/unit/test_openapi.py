from __future__ import annotations

import json
from pathlib import Path

from service.openapi import prune, written

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"


def names_in(part):
    if isinstance(part, dict):
        own = [part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else []
        return {*own, *(name for value in part.values() for name in names_in(value))}
    return {name for value in part for name in names_in(value)} if isinstance(part, list) else set()


def test_the_committed_document_is_that_of_the_service():
    same = COMMITTED.read_bytes() == written()
    assert same, "the HTTP interface and docs/openapi.json differ: run `make openapi` and commit what it changes"


def test_the_document_is_the_same_bytes_every_time():
    assert written() == written()


def test_every_schema_is_one_that_a_route_leads_to():
    document = json.loads(written())
    assert names_in(document) == set(document["components"]["schemas"])


def test_schemas_that_only_each_other_know_are_removed():
    schemas = {
        "Asked": {"properties": {"a": {"$ref": "#/components/schemas/Within"}}},
        "Within": {"items": {"$ref": "#/components/schemas/Asked"}},
        "Lonely": {"items": {"$ref": "#/components/schemas/Twin"}},
        "Twin": {"items": {"$ref": "#/components/schemas/Lonely"}},
    }
    paths = {"/": {"get": {"schema": {"$ref": "#/components/schemas/Asked"}}}}
    pruned = prune({"paths": paths, "components": {"schemas": schemas}})
    assert set(pruned["components"]["schemas"]) == {"Asked", "Within"}


def test_every_operation_has_an_id_of_its_own():
    document = json.loads(written())
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
