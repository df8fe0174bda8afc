"""Why a product is where it is in an answer: what the towers attended to, which axes keep it outside, who clicked it.

Distance, axes and ``contained`` are the search's own numbers. The grid is computed after the fact, see
:mod:`model.grid`; a search never reads it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from index.behaviour import BehaviourScores
from index.documents import UnknownProductError
from model import hyperboloid
from model.catalog import searchable_text
from model.grid import grid, term_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from index.behaviour import Evidence
    from index.fusion import Fusion
    from index.search import Searcher
    from model.catalog import Product
    from model.grid import Attention


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the query: its share of the attention over all intersections, and what it has of that alone."""

    term: str
    weight: float
    alone: float


@dataclass(frozen=True, slots=True)
class TitleTerm:
    """A term of the title: its share of the title's attention, and the share of the query that it answers."""

    term: str
    weight: float
    answers: float


@dataclass(frozen=True, slots=True)
class Intersection:
    """The intersection of two query terms, by their places in the query, and the attention to it."""

    first: int
    second: int
    weight: float


@dataclass(frozen=True, slots=True)
class AxisExcess:
    """One axis on which a product lies outside the hyperboloid, in space components.

    ``offset`` is from the centre, with its sign; ``excess`` what of it goes beyond ``limit``; ``share`` is that of
    the squared excess of all axes.
    """

    axis: int
    offset: float
    limit: float
    excess: float
    share: float


@dataclass(frozen=True, slots=True)
class Words:
    """What BM25 says: its ``score``, and which words of the query the product has and which it is ``missing``.

    BM25 corrects a query by the catalogue's words alone, so they may be others than those of ``query_terms``.
    """

    score: float
    shared: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fused:
    """The ``score`` of a hybrid search, and what each channel brings to that sum."""

    score: float
    hyperboloid: float
    lexical: float
    behaviour: float


@dataclass(frozen=True, slots=True)
class Companion:
    """A product that shares sessions with the one explained."""

    product_id: str
    title: str


@dataclass(frozen=True, slots=True)
class Clicks:
    """What shoppers' clicks say, see :class:`index.behaviour.Evidence`; ``companions`` are those still there."""

    asked: bool
    score: float
    sessions: float
    queries: tuple[str, ...]
    companions: tuple[Companion, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One product under one query.

    ``read`` is the query with unknown words corrected, of which the ``query_terms`` were encoded.
    The weights of ``query_terms`` sum to 1, and so do their ``alone`` with the weights of all ``intersections``, the
    weights of ``title_terms``, what those answer, and the whole ``grid``, which has a row for every query term and a
    column for every title term. ``intersections`` come heaviest first, ``axes`` worst first and only those outside.
    ``fused`` is None if channels are fused by rank, ``clicks`` are None if the snapshot has no behaviour channel.
    """

    query: str
    read: str
    product: Product
    distance: float
    d_out: float
    d_in: float
    contained: bool
    words: Words
    fused: Fused | None
    query_terms: tuple[QueryTerm, ...]
    intersections: tuple[Intersection, ...]
    title_terms: tuple[TitleTerm, ...]
    grid: tuple[tuple[float, ...], ...]
    axes: tuple[AxisExcess, ...]
    clicks: Clicks | None


def explain(searcher: Searcher, query: str, product_id: str) -> Explanation:
    """Explain how the product with ``product_id`` lies to ``query``.

    Raises:
        UnknownProductError: there is no such product.
        EmptyTextError: the query has no letter or digit.
    """
    encoder, geometry = searcher.channels.encoder, searcher.snapshot.manifest.geometry
    product, point = searcher.find(product_id)
    read = searcher.channels.read(query)
    regions = encoder.encode_queries([read])
    centre, limit = regions.centres[0], regions.limits[0]
    outside, inside = hyperboloid.containment_parts(point, centre, limit, c=geometry.curvature)
    attention = encoder.explain(read, searchable_text(product))  # what its point was made of
    cells = grid(attention, c=geometry.curvature, gamma=geometry.gamma)
    distance = float(outside + geometry.gamma * inside)
    words, evidence = Words(*searcher.wording(query, product_id)), searcher.evidence(query, product_id)
    return Explanation(
        query=query,
        read=read,
        product=product,
        distance=distance,
        d_out=float(outside),
        d_in=float(inside),
        contained=bool(hyperboloid.contains(point, centre, limit)),
        words=words,
        fused=_fused(searcher.snapshot.manifest.fusion, distance, words.score, evidence),
        query_terms=_query_terms(attention),
        intersections=_intersections(attention),
        title_terms=_title_terms(attention, cells),
        grid=tuple(tuple(line) for line in cells.tolist()),
        axes=_axes(point, centre, limit),
        clicks=_clicks(searcher, evidence),
    )


def _fused(fusion: Fusion, distance: float, lexical: float, evidence: Evidence | None) -> Fused | None:
    if fusion.method != "weighted":
        return None
    clicks = None
    if evidence is not None:
        clicks = BehaviourScores(_one(evidence.score), evidence.asked, np.array([evidence.told]))
    each = [float(part[0]) for part in fusion.parts(_one(distance), _one(lexical), clicks)]
    return Fused(sum(each), *each)


def _one(value: float) -> NDArray[np.float32]:
    return np.array([value], dtype=np.float32)


def _clicks(searcher: Searcher, found: Evidence | None) -> Clicks | None:
    if found is None:
        return None
    companions = []
    for companion in found.companions:
        with suppress(UnknownProductError):  # gone since
            companions.append(Companion(companion, searcher.find(companion)[0].title))
    return Clicks(found.asked, found.score, found.sessions, found.queries, tuple(companions))


def _query_terms(attention: Attention) -> tuple[QueryTerm, ...]:
    weights, alone = term_weights(attention.pairs).tolist(), attention.pairs.diagonal().tolist()
    return tuple(QueryTerm(*values) for values in zip(attention.query_terms, weights, alone, strict=True))


def _title_terms(attention: Attention, cells: NDArray[np.float32]) -> tuple[TitleTerm, ...]:
    weights, answers = attention.title_weights.tolist(), cells.sum(axis=0).tolist()
    return tuple(TitleTerm(*values) for values in zip(attention.title_terms, weights, answers, strict=True))


def _intersections(attention: Attention) -> tuple[Intersection, ...]:
    first, second = np.triu_indices(len(attention.query_terms), k=1)
    weights = attention.pairs[first, second]
    order = np.argsort(-weights, kind="stable")
    columns = (values[order].tolist() for values in (first, second, weights))
    return tuple(Intersection(*values) for values in zip(*columns, strict=True))


def _axes(
    point: NDArray[np.float32], centre: NDArray[np.float32], limit: NDArray[np.float32]
) -> tuple[AxisExcess, ...]:
    excess = np.abs(point - hyperboloid.nearest(point, centre, limit)).astype(np.float64)
    outside = np.flatnonzero(excess)
    worst = outside[np.argsort(-excess[outside], kind="stable")]
    shares = excess * excess / max(float(excess @ excess), np.finfo(np.float64).tiny)
    columns = (values[worst].tolist() for values in (point - centre, limit, excess, shares))
    return tuple(AxisExcess(int(axis), *values) for axis, *values in zip(worst, *columns, strict=True))
