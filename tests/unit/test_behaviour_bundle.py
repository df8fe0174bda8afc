from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model.behaviour import bundle
from model.behaviour.bundle import BehaviourBundleError, Mapping
from model.behaviour.clicks import Clicks
from model.behaviour.convolutions import Channels
from model.behaviour.features import directions
from model.behaviour.graphs import build
from model.behaviour.network import Config, Dcah, Embeddings
from model.behaviour.vectors import BehaviourVectors, mixed
from model.training.behaviour.export import TOLD, askings, companions, export
from model.training.behaviour.mapping import choose_mapping
from model.training.behaviour.trainer import Trained

QUERIES, PRODUCTS, FEATURES = 9, 30, 6
TEXTS = tuple(f"query {i}" for i in range(QUERIES))


@pytest.fixture(scope="module")
def clicks():
    """Query 8 and products from 25 have no click."""
    rng = np.random.default_rng(1)
    columns = (rng.integers(0, top, 120).astype(np.int32) for top in (8, 25, 30))
    return Clicks(TEXTS, *columns, time=np.arange(120.0))


@pytest.fixture(scope="module")
def trained(clicks):
    torch.manual_seed(0)
    graphs = build(clicks, PRODUCTS)
    features = tuple(torch.nn.functional.normalize(torch.randn(n, FEATURES), dim=1) for n in (QUERIES, PRODUCTS))
    network = Dcah(Config(features=FEATURES, width=5))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        z = network(*network.project(*features), Channels(graphs).convolutions())
    return graphs, features, Trained(network, z, dev=0.5, step=1, steps=1, seconds=1.0)


@pytest.fixture
def written(clicks, trained, tmp_path):
    """A function that writes a bundle with a mapping and reads it back."""

    def write(share=0.0, where="behaviour"):
        graphs, features, done = trained
        lesson = SimpleNamespace(
            product_ids=[f"p {i}" for i in range(PRODUCTS)],
            train=clicks,
            until=None,
            dev_query=np.array([2, 8, 2]),
            dev_product=np.array([4, 29, 1]),
        )
        said = {"text": "anthem-1", "catalog": "sha256:1", "interactions": "sha256:2", "training": {"seed": 1}}
        mapping = Mapping(share=share, neighbours=3, sharpness=2.0)
        export(done, graphs, features, lesson, tmp_path / where, mapping=mapping, **said)
        return tmp_path / where

    return write


def test_what_was_learnt_is_what_is_read(written, trained):
    _, features, done = trained
    found = BehaviourVectors(written())
    np.testing.assert_array_equal(found.products, done.embeddings.products)
    np.testing.assert_array_equal(found.leanings, done.embeddings.product_weight)
    assert found.product_ids == [f"p {i}" for i in range(PRODUCTS)]
    assert (found.manifest.queries, found.manifest.products, found.manifest.dim) == (8, PRODUCTS, 5)
    vectors = found.encode_queries(["QUERY 3", "query 8", "query-0"], features[0].numpy()[[3, 8, 0]])
    assert [found.knows(text) for text in ("QUERY 3", "query 8", "query-0")] == [True, False, True]
    np.testing.assert_allclose(vectors[[0, 2]], done.embeddings.queries[[3, 0]])
    with torch.no_grad():
        np.testing.assert_allclose(vectors[1], done.network.query(features[0][8]), rtol=1e-5, atol=1e-6)


def test_a_product_that_no_click_knows_is_told_by_its_text(written, trained):
    _, features, done = trained
    found = BehaviourVectors(written()).encode_products(features[1].numpy()[[7, 29]])
    with torch.no_grad():
        np.testing.assert_allclose(found, done.network.product(features[1][[7, 29]]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found[1], done.embeddings.products[29], rtol=1e-5, atol=1e-6)


def test_later_clicks_are_kept_by_query(written):
    assert BehaviourVectors(written()).later_clicks() == {"query 2": ["p 4", "p 1"], "query 8": ["p 29"]}


def test_an_unknown_query_may_be_told_by_known_ones_like_it(written, trained):
    _, features, done = trained
    vectors = BehaviourVectors(written(share=0.25))
    asked = features[0].numpy()[[8, 2]]
    found = vectors.encode_queries(["new", "query 2"], asked)
    cosines = (features[0][:8] @ features[0][8]).double().numpy()
    near = np.argsort(cosines)[-3:]
    weights = np.exp(2.0 * cosines[near]) / np.exp(2.0 * cosines[near]).sum()
    with torch.no_grad():
        projected = done.network.query(features[0][8]).double().numpy()
    expected = 0.75 * projected + 0.25 * weights @ done.embeddings.queries.double().numpy()[near]
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], done.embeddings.queries[2])


def test_an_unknown_query_is_compared_with_the_most_clicked_ones_alone(written, trained, monkeypatch):
    monkeypatch.setattr(bundle, "COMPARED", 4)
    graphs, features, done = trained
    directory = written(share=1.0)
    clicked = np.bincount(graphs.query, weights=graphs.count, minlength=QUERIES)
    first = (directory / bundle.QUERIES).read_text(encoding="utf-8").splitlines()[:4]
    rows = [TEXTS.index(text) for text in first]
    assert clicked[rows].tolist() == sorted(clicked, reverse=True)[:4]
    found = BehaviourVectors(directory).encode_queries(["new"], features[0].numpy()[[8]])
    asked = mixed(
        features[0].numpy()[[8]],
        found,
        features[0].numpy()[rows],
        done.embeddings.queries.numpy()[rows],
        Mapping(share=1.0, neighbours=3, sharpness=2.0),
    )
    np.testing.assert_allclose(found, asked, rtol=1e-4, atol=1e-6)


def test_more_text_vectors_than_known_queries_are_refused(written):
    directory = written(share=0.5)
    features = np.load(directory / bundle.QUERY_FEATURES)
    np.save(directory / bundle.QUERY_FEATURES, np.concatenate((features, features)))
    manifest = bundle.Manifest.model_validate_json((directory / bundle.MANIFEST).read_bytes())
    with pytest.raises(BehaviourBundleError, match="has 16 rows, for 8 known queries"):
        BehaviourVectors(directory, manifest=manifest)


def test_a_mapping_takes_memory_for_few_queries_at_a_time():
    """That of all cosines would be 160 MB, and of their order twice as much."""
    rng = np.random.default_rng(0)
    asked, known = (rng.normal(size=(count, 4)).astype(np.float32) for count in (4_000, 10_000))
    tracemalloc.start()
    try:
        found = mixed(asked, 0 * asked, known, known, Mapping(share=1.0, neighbours=10, sharpness=1.0))
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
    alone = mixed(asked[3_999:], 0 * asked[3_999:], known, known, Mapping(share=1.0, neighbours=10, sharpness=1.0))
    np.testing.assert_allclose(found[3_999:], alone, rtol=1e-4)


def test_a_mapping_is_chosen_with_the_queries_that_will_be_compared(trained, monkeypatch):
    _, features, done = trained
    query, product = np.repeat(np.arange(4, 9), 10), np.tile(np.arange(10), 5)
    few = choose_mapping(done, features[0], np.arange(2), query, product)
    assert choose_mapping(done, features[0], np.arange(4), query, product) != few
    monkeypatch.setattr(bundle, "COMPARED", 2)
    assert choose_mapping(done, features[0], np.arange(4), query, product) == few


def test_with_fewer_known_queries_than_neighbours_all_are_asked():
    one = np.ones((1, 2), dtype=np.float32)
    found = mixed(one, 0 * one, one, 7 * one, Mapping(share=1.0, neighbours=10, sharpness=1.0))
    np.testing.assert_allclose(found, 7 * one)


def test_companions_and_askings_are_what_counting_gives(trained):
    graphs = trained[0]
    members, led = defaultdict(set), defaultdict(Counter)
    for pair, session in zip(graphs.member_pair.tolist(), graphs.member_session.tolist(), strict=True):
        members[session].add(int(graphs.product[pair]))
    shared = defaultdict(Counter)
    for products in members.values():
        for product in products:
            shared[product].update(products - {product})
    for query, product, count in zip(
        graphs.query.tolist(), graphs.product.tolist(), graphs.count.tolist(), strict=True
    ):
        led[product][query] += count

    def best(counts):
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOLD]
        return [key for key, _ in ranked] + [-1] * (TOLD - len(ranked))

    assert companions(graphs).tolist() == [best(shared[product]) for product in range(PRODUCTS)]
    assert askings(graphs).tolist() == [best(led[product]) for product in range(PRODUCTS)]


def test_a_pair_that_is_no_edge_and_of_no_session_tells_nothing():
    """Query 0 was asked often, 1 once in a session, 2 once and in none."""
    rows = [(0, 3, -1), (0, 3, -1), (1, 4, 0), (1, 5, 0), (2, 6, -1), (0, 7, -1)]
    query, product, session = np.array(rows, dtype=np.int32).T
    graphs = build(Clicks(TEXTS[:3], query, product, session, time=np.arange(6.0)), 8, min_count=2)
    assert graphs.known_queries().tolist() == [0, 1]
    assert askings(graphs)[:, 0].tolist() == [-1, -1, -1, 0, 1, 1, -1, -1]


def test_explanations_name_products_and_queries(written, trained):
    found = BehaviourVectors(written())
    graphs = trained[0]
    row = int(graphs.product[0])
    assert found.companions(row) == [other for other in companions(graphs)[row].tolist() if other >= 0]
    assert found.askings(row)[0] == TEXTS[int(askings(graphs)[row, 0])]
    assert found.companions(29) == found.askings(29) == []


def test_a_bundle_is_refused_where_there_is_none_or_another(written, tmp_path):
    with pytest.raises(
        BehaviourBundleError, match=r"has no manifest\.json; `saddle train --channel behaviour` makes one"
    ):
        bundle.load_manifest(tmp_path)
    path = written() / bundle.MANIFEST
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 2', '"format": 9'), encoding="utf-8")
    with pytest.raises(BehaviourBundleError, match="behaviour bundle format 9, and this release reads format 2"):
        bundle.load_manifest(path.parent)


@pytest.mark.parametrize("name", [bundle.PRODUCTS, bundle.QUERIES, bundle.QUERY_PROJECTION, bundle.COMPANIONS])
def test_a_changed_or_missing_file_is_found(written, name):
    directory = written()
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BehaviourBundleError, match=rf"{name} does not belong to behaviour bundle dcah-"):
        BehaviourVectors(directory)
    (directory / name).unlink()
    with pytest.raises(BehaviourBundleError, match=f"lacks {name}"):
        BehaviourVectors(directory)


def test_the_version_tells_what_is_inside(written):
    one, same, other = (
        bundle.load_manifest(written(share, name)).version for share, name in ((0, "a"), (0, "b"), (0.5, "c"))
    )
    assert one == same != other


def test_files_that_do_not_agree_with_the_manifest_are_refused(written):
    directory = written()
    manifest = bundle.load_manifest(directory)
    with pytest.raises(BehaviourBundleError, match="has 8 lines, and the manifest says 31"):
        BehaviourVectors(directory, manifest=manifest.model_copy(update={"queries": 31}))
    with pytest.raises(BehaviourBundleError, match=r"has the shape \(30, 5\), not \(30, 4\)"):
        BehaviourVectors(directory, manifest=manifest.model_copy(update={"dim": 4}))


def test_reading_a_bundle_needs_no_torch(written):
    told = "import sys; from pathlib import Path; from model.behaviour.vectors import BehaviourVectors; "
    told += f"BehaviourVectors(Path({str(written())!r})); print(sorted({{'torch', 'onnx'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_nothing_is_left_behind_when_writing_fails(written, monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "seal", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written()
    assert list(tmp_path.iterdir()) == []


def test_directions_are_unit_tangents_and_leave_the_points_alone():
    points = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    before = points.copy()
    for c in (0.0, 1.0):
        found = directions(points, c=c)
        np.testing.assert_allclose(found, points / np.linalg.norm(points, axis=1, keepdims=True), rtol=1e-5)
    assert (points == before).all()
    assert (directions(np.zeros((1, 4), dtype=np.float32), c=1.0) == 0).all()


def test_neighbours_are_taken_where_only_they_lead_to_what_is_wanted():
    """Every query has a twin in text that is known; the projection leads all of them to product 0."""
    twins = torch.eye(FEATURES).repeat(2, 1)
    network = Dcah(Config(features=FEATURES, width=FEATURES))
    with torch.no_grad():
        network.query.weight.zero_()
        network.query.bias.copy_(torch.eye(FEATURES)[0])
    axes = torch.eye(FEATURES)
    embeddings = Embeddings(twins, axes, torch.zeros(2 * FEATURES), torch.zeros(FEATURES))
    done = Trained(network, embeddings, dev=0.5, step=1, steps=1, seconds=1.0)
    query = np.repeat(np.arange(FEATURES, 2 * FEATURES), 5)
    mapping, tried = choose_mapping(done, twins, np.arange(FEATURES), query, query - FEATURES)
    assert mapping.share > 0
    assert tried[f"{mapping.share:g}"] == max(tried.values()) == 1.0
    assert tried["0"] < 0.5


def test_neighbours_are_taken_only_where_they_clearly_help(trained):
    _, features, done = trained
    known = np.arange(4)
    query, product = np.repeat(np.arange(4, 9), 10), np.tile(np.arange(10), 5)
    mapping, tried = choose_mapping(done, features[0], known, query, product)
    best = max(tried.values())
    assert set(tried) == {"0", "0.25", "0.5", "0.75", "1"}
    assert mapping.share == 0.0 or tried[f"{mapping.share:g}"] == best >= 1.02 * tried["0"]
    few, untried = choose_mapping(done, features[0], known, query[:10], product[:10])
    assert (few.share, untried) == (0.0, {})
