"""Answers as JSON, written straight from what was found.

The documents are those that :mod:`service.schemas_answer` describes. Making its objects first would cost more than
finding the hits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from service.schemas_answer import ProductBody

if TYPE_CHECKING:
    from collections.abc import Sequence

    from index.facets import Facet
    from index.results import SearchResult
    from model.catalog import Product

_PLAIN = frozenset(ProductBody.model_fields) - {"attributes"}


def search_document(
    result: SearchResult, fields: Sequence[str] | None, *, took_ms: float, request_id: str
) -> dict[str, Any]:
    """What :class:`service.schemas_answer.SearchResponse` describes, for orjson; ``fields`` are the columns to show."""
    return {
        "hits": [
            {
                "product_id": hit.product.product_id,
                "score": hit.score,
                "distance": hit.distance,
                "contained": hit.contained,
                "thumbnail": f"/v1/thumbnails/{quote(hit.product.product_id, safe='')}" if hit.pictured else None,
                "product": hit.product if fields is None else _shown(hit.product, fields),
            }
            for hit in result.hits
        ],
        "total": result.total,
        "facets": {found.column: _facet(found) for found in result.facets},
        "mode": result.mode,
        "generality": result.generality,
        "took_ms": took_ms,
        "snapshot": result.snapshot,
        "model": result.model,
        "request_id": request_id,
    }


def _shown(product: Product, fields: Sequence[str]) -> dict[str, Any]:
    """A product's id and those of the ``fields`` that it has."""
    shown: dict[str, Any] = {"product_id": product.product_id}
    shown |= {name: getattr(product, name) for name in fields if name in _PLAIN}
    attributes = {name: value for name, value in product.attributes.items() if name in fields}
    if attributes:
        shown["attributes"] = attributes
    return shown


def _facet(found: Facet) -> dict[str, Any]:
    return {
        "counts": [{"value": value, "count": count} for value, count in found.counts],
        "values": found.values,
        "missing": found.missing,
        "least": found.least,
        "greatest": found.greatest,
    }
