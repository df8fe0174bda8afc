"""Small stand-ins that run for real: an untrained ONNX encoder bundle, a shop's titles, structured points."""

from __future__ import annotations

import csv
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from index.column_files import COLUMNS, ColumnsWriter, load_columns
from index.journal import Entry
from model import bundle, lorentz
from model.behaviour import bundle as behaviour_bundle
from model.behaviour.clicks import query_key
from model.catalog import Product
from model.image import bundle as image_bundle
from model.image.surface import Surface
from model.image.tree import Tree
from model.text import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from index.columns import Columns
    from index.journal import Change
    from index.search import Searcher
    from model.bundle import Manifest
    from model.text import Terms

_UNIT = np.ones(1, dtype=np.float32)

CREATED = "2026-11-21T09:30:00+00:00"

_BRANDS = ("acme", "bergmann", "cobalt", "delfino", "evergreen", "fjord")
_KINDS = ("drill", "hammer", "faucet", "door", "lamp", "pipe", "saw", "ladder", "paint", "hinge", "tile")
_TRAITS = (
    "cordless",
    "steel",
    "white",
    "oak",
    "brass",
    "compact",
    "heavy",
    "outdoor",
    "quiet",
    "slim",
    "matte",
)


def shop_titles(count: int, *, seed: int = 0) -> list[str]:
    """``count`` titles such as ``acme cordless steel drill 12 x 34``; words repeat, titles do not."""
    chance = random.Random(seed)
    return [
        " ".join((chance.choice(_BRANDS), *chance.sample(_TRAITS, 2), chance.choice(_KINDS), f"{i % 97} x {i}"))
        for i in range(count)
    ]


def bring(searcher: Searcher, changes: Sequence[Change]) -> None:
    """Bring changes to light as if a journal held them after all that ``searcher`` knows of."""
    rows = searcher.rows
    rows.extend([Entry(sequence, change, 0.0, "model") for sequence, change in enumerate(changes, rows.last + 1)])
    assert searcher.follow() == len(changes)


def write_catalog(path: Path, titles: Iterable[str]) -> Path:
    """A CSV catalogue with ids ``p0``, ``p1``, … for ``titles``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("product_id", "title", "brand", "price"))
        for i, title in enumerate(titles):
            writer.writerow((f"p{i}", title, title.split()[0] if title.strip() else "", f"{i % 50}.50"))
    return path


def write_bundle(
    directory: Path,
    texts: Sequence[str],
    *,
    dim: int = 16,
    curvature: float = 1.0,
    gamma: float = 0.9,
    terms: Terms = "word",
    seed: int = 0,
    interactions: str | None = None,
) -> Manifest:
    """An encoder bundle that knows ``texts``: a text is the mean of its terms, those of their features.

    The weights are random, so texts that share words are near each other and nothing else is learnt.
    """
    directory.mkdir(parents=True)
    vocabulary = Vocabulary.learn(texts, terms=terms)
    (directory / bundle.TOKENIZER).write_text(vocabulary.model_dump_json(), encoding="utf-8")
    chance = np.random.default_rng(seed)
    table = (4.0 * chance.normal(size=(vocabulary.size, dim)) / np.sqrt(dim)).astype(np.float32)
    table[0] = 0.0
    spread = (0.3 * chance.normal(size=(dim, dim))).astype(np.float32)
    _save(directory / bundle.PRODUCT_ENCODER, _nodes("point"), {"table": table}, ("point",), dim)
    region = [
        *_nodes("centre"),
        helper.make_node("MatMul", ["centre", "spread"], ["tilt"]),
        helper.make_node("Add", ["tilt", "log_limit"], ["log_limits"]),
        helper.make_node("Exp", ["log_limits"], ["limit"]),
    ]
    weights = {"table": table, "spread": spread, "log_limit": np.full(dim, np.log(0.6), dtype=np.float32)}
    _save(directory / bundle.QUERY_ENCODER, region, weights, ("centre", "limit"), dim)
    _save_explainer(directory / bundle.EXPLAINER)
    geometry = bundle.Geometry(dim=dim, curvature=curvature, gamma=gamma)
    return bundle.seal(
        directory,
        geometry=geometry,
        created=CREATED,
        catalog="sha256:0123456789ab",
        interactions=interactions,
        training={},
    )


def write_image_bundle(directory: Path, *, sheet: bool = False) -> image_bundle.Manifest:
    """An image bundle that knows colours: a picture's point is its mean colour, grey at the origin."""
    directory.mkdir(parents=True)
    numbers = {"half": np.float32(127.5), "axes": np.array([1, 2], dtype=np.int64)}
    nodes = [
        helper.make_node("Cast", ["pictures"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Sub", ["means", "half"], ["shifted"]),
        helper.make_node("Div", ["shifted", "half"], ["point" if sheet else "scaled"]),
        *([] if sheet else [helper.make_node("LpNormalization", ["scaled"], ["point"], axis=-1, p=2)]),
    ]
    pictures = helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["N", 8, 6, 3])
    point = helper.make_tensor_value_info("point", TensorProto.FLOAT, ["N", 3])
    constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "colours", [pictures], [point], constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10),
        directory / image_bundle.ENCODER,
    )
    tree = Tree((("red", "blue"),), np.empty((0, 2), dtype=np.int64))
    image_bundle.write_classes(directory, tree, np.eye(2, 3, dtype=np.float32))
    surface = Surface(kind="sheet", dim=3, curvature=1.0, radius=2.0) if sheet else Surface(dim=3)
    return image_bundle.seal(
        directory, surface=surface, size=(8, 6), created=CREATED, catalog="sha256:0123456789ab", training={}
    )


def write_behaviour(
    directory: Path,
    encoder: Manifest,
    product_ids: Sequence[str],
    clicks: Mapping[str, Sequence[str]],
    *,
    later: Mapping[str, Sequence[str]] | None = None,
    interactions: str = "sha256:fedcba987654",
    dim: int = 8,
    seed: int = 0,
) -> behaviour_bundle.Manifest:
    """A behaviour bundle whose ``clicks`` lead from queries to products; others are told by random projections.

    A product's vector is three times the sum of those of the queries that led to it; others have small ones. Products
    that a query led to are each other's companions.
    """
    directory.mkdir(parents=True)
    chance, places = np.random.default_rng(seed), {name: place for place, name in enumerate(product_ids)}
    queries, later = list(clicks), later or {}
    vectors = chance.normal(size=(len(queries), dim)) / np.sqrt(dim)
    products = 0.01 * chance.normal(size=(len(product_ids), dim))
    companions, askings = (np.full((len(product_ids), 5), -1, dtype=np.int32) for _ in range(2))
    for query, (text, found) in enumerate(clicks.items()):
        rows = [places[name] for name in found]
        products[rows] += 3.0 * vectors[query]
        for row in rows:
            askings[row, (askings[row] >= 0).sum()] = query
            others = [other for other in rows if other != row][:5]
            companions[row, : len(others)] = others
        assert text == query_key(text), f"{text!r} should be written as {query_key(text)!r}"
    pairs = [(query, places[name]) for query, found in enumerate(later.values()) for name in found]
    features = encoder.geometry.dim
    arrays = {
        behaviour_bundle.PRODUCTS: products.astype(np.float32),
        behaviour_bundle.QUERY_VECTORS: vectors.astype(np.float32),
        behaviour_bundle.QUERY_PROJECTION: 0.1 * chance.normal(size=(features + 1, dim)).astype(np.float32),
        behaviour_bundle.PRODUCT_PROJECTION: 0.1 * chance.normal(size=(features + 1, dim)).astype(np.float32),
        behaviour_bundle.LEANINGS: (askings[:, 0] >= 0).astype(np.float32) / 4,
        behaviour_bundle.COMPANIONS: companions,
        behaviour_bundle.ASKINGS: askings,
        behaviour_bundle.LATER: np.array(pairs, dtype=np.int32).reshape(-1, 2),
    }
    for name, array in arrays.items():
        np.save(directory / name, array, allow_pickle=False)
    for name, lines in (
        (behaviour_bundle.PRODUCT_IDS, product_ids),
        (behaviour_bundle.QUERIES, queries),
        (behaviour_bundle.LATER_QUERIES, list(later)),
    ):
        (directory / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return behaviour_bundle.seal(
        directory,
        created=CREATED,
        text=encoder.version,
        catalog="sha256:0123456789ab",
        interactions=interactions,
        until=None,
        dim=dim,
        features=features,
        products=len(product_ids),
        queries=len(queries),
        mapping=behaviour_bundle.Mapping(share=0.0, neighbours=3, sharpness=1.0),
        training={},
    )


def hierarchical_points(count: int, dim: int, *, c: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    """Points of a three-level tree on the sheet, each level a step out from its parent; radii near 1.5."""
    chance = np.random.default_rng(seed)

    def step(parents: NDArray[np.float64], children: int, length: float) -> NDArray[np.float64]:
        chosen = parents[chance.integers(0, len(parents), children)]
        return chosen + length * chance.normal(size=(children, dim)) / np.sqrt(dim)

    tangents = step(step(step(np.zeros((1, dim)), 20, 1.0), 400, 0.8), count, 0.7)
    return np.asarray(lorentz.exp_map0(tangents, c=c), dtype=np.float32)


def _nodes(output: str) -> list[onnx.NodeProto]:
    """Nodes that turn ``features`` (T, F) and ``terms`` (B, L) into ``output`` (B, d)."""
    return [*_term_vectors(""), *_mean("text_vectors", "terms", output)]


def _term_vectors(prefix: str) -> list[onnx.NodeProto]:
    """Nodes that turn features (T, F) and terms (B, L) into ``text_vectors`` (B, L, d), all named with ``prefix``."""
    features, terms, vectors = (f"{prefix}{name}" for name in ("features", "terms", "term_vectors"))
    return [
        helper.make_node("Gather", ["table", features], [f"{prefix}feature_vectors"]),
        *_mean(f"{prefix}feature_vectors", features, vectors),
        helper.make_node("Gather", [vectors, terms], [f"{prefix}text_vectors"]),
    ]


def _mean(vectors: str, ids: str, output: str) -> list[onnx.NodeProto]:
    """Nodes for the mean over axis 1 of ``vectors``, of which those with a padding id are zero."""
    return [
        helper.make_node("ReduceSum", [vectors, "axis"], [f"{output}_sum"], keepdims=0),
        helper.make_node("Min", [ids, "one"], [f"{output}_flags"]),
        helper.make_node("ReduceSum", [f"{output}_flags", "axis"], [f"{output}_number"], keepdims=1),
        helper.make_node("Max", [f"{output}_number", "one"], [f"{output}_at_least_one"]),
        helper.make_node("Cast", [f"{output}_at_least_one"], [f"{output}_divisor"], to=TensorProto.FLOAT),
        helper.make_node("Div", [f"{output}_sum", f"{output}_divisor"], [output]),
    ]


def _save_explainer(path: Path) -> None:
    """The graph that explains such a bundle: a mean's terms all weigh alike, and pairs of them do too."""
    nodes = [
        *_ones("query_terms", "row"),
        helper.make_node("Transpose", ["row"], ["column"]),
        helper.make_node("MatMul", ["column", "row"], ["square"]),
        helper.make_node("Trilu", ["square"], ["triangle"], upper=1),
        helper.make_node("ReduceSum", ["triangle"], ["entries"], keepdims=0),
        helper.make_node("Div", ["triangle", "entries"], ["pairs"]),
        *_ones("title_terms", "title_ones"),
        helper.make_node("Softmax", ["title_ones"], ["title_shares"]),
        helper.make_node("Squeeze", ["title_shares", "first"], ["title_weights"]),
        helper.make_node("Identity", ["tenth"], ["temperature"]),
    ]
    outputs = {"pairs": ["L", "L"], "title_weights": ["M"], "temperature": []}
    first, tenth = np.array([0], dtype=np.int64), np.array(0.1, dtype=np.float32)
    constants = {"first": first, "tenth": tenth}
    inputs = {f"{text}_{name}": [None, None] for text in ("query", "title") for name in ("features", "terms")}
    _save_graph(path, nodes, constants, inputs, outputs)


def _ones(ids: str, output: str) -> list[onnx.NodeProto]:
    """Nodes for an array like ``ids``, of ones."""
    return [
        helper.make_node("Shape", [ids], [f"{output}_shape"]),
        helper.make_node("ConstantOfShape", [f"{output}_shape"], [output], value=numpy_helper.from_array(_UNIT)),
    ]


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, NDArray[np.float32]],
    outputs: tuple[str, ...],
    dim: int,
) -> None:
    _save_graph(path, nodes, weights, {"features": ["T", "F"], "terms": ["B", "L"]}, {o: ["B", dim] for o in outputs})


def _save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    inputs: Mapping[str, list[Any]],
    outputs: Mapping[str, list[Any]],
) -> None:
    constants = {**weights, "axis": np.array([1], dtype=np.int64), "one": np.array(1, dtype=np.int64)}
    graph = helper.make_graph(
        nodes,
        "fake",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


COLUMN_TEXTS = (
    "",
    "Acme",
    "Behr",
    "3M",
    "Zoo > A",
    "Zoo",
    "Zoo >",
    "Zoo > A > B",
    "Zoology",
    "größe",
    "\U0001f600",
    "\uffff",
)
COLUMN_NUMBERS = (None, -1.0, 0.0, 0.5, 3.0, 1e9)


def varied_product(
    i: int, *, brand: str = "", path: str = "", price: float | None = None, **attributes: str | float | bool | None
) -> Product:
    """A product of these columns; an attribute that is None is not there."""
    kept = {name: value for name, value in attributes.items() if value is not None}
    return Product(f"p{i}", f"title {i}", brand=brand, category_path=path, price=price, attributes=kept)


VARIED_PRODUCTS = [
    varied_product(
        i,
        brand=COLUMN_TEXTS[i % len(COLUMN_TEXTS)],
        path=COLUMN_TEXTS[(i // 3) % len(COLUMN_TEXTS)],
        price=COLUMN_NUMBERS[i % len(COLUMN_NUMBERS)],
        kit=(None, True, False)[i % 3],
        mixed=(None, "red", 4.0, True, 4.5)[i % 5],
    )
    for i in range(120)
]


def columns_of(products: Sequence[Product], directory: Path, *, batch: int = 7) -> Columns:
    """The columns of ``products``, written in batches and read back."""
    writer = ColumnsWriter()
    for start in range(0, len(products), batch):
        writer.append(products[start : start + batch])
    writer.save(directory / COLUMNS)
    return load_columns(directory / COLUMNS)
