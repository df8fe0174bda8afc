"""What a search gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from index.facets import Facet
    from model.catalog import Product

TextMode = Literal["hybrid", "hyperboloid", "lexical", "behaviour"]
"""Which channels a text finds and orders the hits by: all that there are, or one of them."""
Mode = Literal["hybrid", "hyperboloid", "lexical", "behaviour", "image"]
"""The same of any search; ``image`` where pictures took part."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One product of an answer; ``pictured`` says whether it has a picture.

    ``score`` is what ordered it, higher is better: the negated distance, BM25, what clicks tell, or all of these fused,
    and with the likeness of pictures where one was asked with. ``distance`` is the containment distance, or that of two
    pictures in a search by a picture alone; ``contained`` says whether the product lies in the query's region.
    """

    product: Product
    score: float
    distance: float
    contained: bool
    pictured: bool = False


@dataclass(frozen=True, slots=True)
class Total:
    """How many products the region contains: exactly, or at least."""

    value: int
    relation: Literal["eq", "gte"]


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds that each stage took for all the searches that were answered together, of which this is one.

    So each of them waited that long; what one of them cost is that by their number. ``candidates`` has all channels',
    ``rerank`` exact distances, order and what is contained, ``fuse`` the scores, ``fetch`` products and facets.
    """

    encode: float
    candidates: float
    rerank: float
    fuse: float
    fetch: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An answer: one page of hits, best first, and what it was found with.

    ``generality`` is the log-volume of the query's region, None if it has none: a point, or members of an AND apart.
    """

    hits: tuple[Hit, ...]
    total: Total
    facets: tuple[Facet, ...]
    mode: Mode
    generality: float | None
    snapshot: str
    model: str
    timings: Timings
    measured: int
    """Of how many rows the exact distance was taken, to order them."""
