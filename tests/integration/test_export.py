from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
import torch
from fakes import shop_titles

from model import bundle
from model.bundle import load_manifest
from model.encoders import Anthem, EncoderConfig, presence_box, presence_point
from model.export import TOLERANCE, ParityError, check_parity, export
from model.runtime import EmptyTextError, TextEncoder
from model.text import Tokenizer, Vocabulary

TITLES = shop_titles(300)
SAMPLES = TITLES[:32]
CATALOG = "sha256:0123456789ab"
WORDS = sorted({word for title in TITLES for word in title.split()})

TEXTS = {
    "seen": ["cordless drill", "white oak door 12", "acme"],
    "unseen": ["qxzzt vwkk", "kordles dril", "dreißig δράπανο 電動", "98765/4"],
    "one": ["oak"],
    "repeated": ["oak oak oak oak"],
    "lengths": [" ".join(WORDS[i % len(WORDS)] for i in range(length)) for length in range(1, 41)],
    "many": TITLES,
}


def anthem(tokenizer: Tokenizer, *, curvature: float = 1.0) -> Anthem:
    """A model of which no weight is at its start, so that no part of the graph computes nothing."""
    torch.manual_seed(4)
    config = EncoderConfig(
        features=tokenizer.vocabulary.size,
        dim=16,
        presence=4,
        attention_dim=8,
        curvature=curvature,
        max_title_terms=tokenizer.vocabulary.max_title_terms,
    )
    model = Anthem(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        model.embedding.breadth[1:].normal_(std=0.1)
        model.embedding.table.weight[0] = 0.0
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A model, its tokenizer and the bundle it was exported to."""
    tokenizer = Tokenizer(Vocabulary.learn(TITLES))
    model = anthem(tokenizer, curvature=0.5)
    out = tmp_path_factory.mktemp("bundles") / "below" / "model"
    manifest = export(model, tokenizer, out, catalog=CATALOG, training={"seed": 4}, samples=SAMPLES)
    return model, tokenizer, out, manifest


@pytest.fixture(scope="module")
def small():
    """A model and its tokenizer, for what is not exported or not to the end."""
    tokenizer = Tokenizer(Vocabulary.learn(TITLES))
    return anthem(tokenizer), tokenizer


def by_torch(model, batch, what):
    with torch.no_grad():
        found = getattr(model, what)(torch.from_numpy(batch.features), torch.from_numpy(batch.terms))
    return [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]


def close(found, expected):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", TEXTS)
def test_both_runtimes_place_every_text_alike(exported, kind):
    model, tokenizer, out, _ = exported
    encoder, texts = TextEncoder(out), TEXTS[kind]
    centres, limits = by_torch(model, tokenizer.queries(texts), "encode_queries")
    regions = encoder.encode_queries(texts)
    close(regions.centres, centres)
    # A limit is small where a coordinate is large: it must be right to its own digits
    np.testing.assert_allclose(regions.limits, limits, rtol=1e-4)
    (points,) = by_torch(model, tokenizer.titles(texts), "encode_products")
    close(encoder.encode_products(texts), points)
    assert check_parity(model, out, texts) <= TOLERANCE
    assert regions.centres.dtype == regions.limits.dtype == np.float32


def test_the_runtime_gives_a_text_alone_what_it_gets_in_a_batch(exported):
    _, _, out, _ = exported
    encoder = TextEncoder(out)
    texts = [*TEXTS["lengths"], *TEXTS["unseen"]]
    together, points = encoder.encode_queries(texts), encoder.encode_products(texts)
    for i, text in enumerate(texts):
        alone = encoder.encode_queries([text])
        close(alone.centres[0], together.centres[i])
        close(alone.limits[0], together.limits[i])
        close(encoder.encode_products([text])[0], points[i])


def temperature_of(model, tokenizer, query) -> float:
    """What distances to ``query`` are divided by in training's softmax over products."""
    batch = tokenizer.queries([query])
    with torch.no_grad():
        known = model.embedding(torch.from_numpy(batch.features))
        sharpness = model.query.sharpness(known.vectors, torch.from_numpy(batch.terms))
        return float((-model.log_scale).exp() / sharpness)


@pytest.mark.parametrize(
    ("query", "title"), [("white oak door 12", TITLES[0]), ("oak", "saw"), (TEXTS["unseen"][2],) * 2]
)
def test_an_explanation_is_made_of_what_the_encoders_compute(exported, query, title):
    model, tokenizer, out, _ = exported
    encoder = TextEncoder(out)
    found = encoder.explain(query, title)
    assert found.query_terms == tuple(tokenizer.terms(query))
    assert found.title_terms == tuple(tokenizer.terms(title))
    alone = encoder.encode_queries(found.query_terms)
    close(found.centres, alone.centres)
    np.testing.assert_allclose(found.limits, alone.limits, rtol=1e-4)
    assert found.pairs.shape == (len(found.query_terms),) * 2
    assert found.pairs.sum() == pytest.approx(1.0, abs=1e-5)
    assert not np.tril(found.pairs, -1).any()
    assert found.title_weights.shape == (len(found.title_terms),)
    assert found.title_weights.sum() == pytest.approx(1.0, abs=1e-5)
    assert found.temperature == pytest.approx(temperature_of(model, tokenizer, query), rel=1e-5)
    terms = tokenizer.terms(title)
    left = [" ".join(terms[:i] + terms[i + 1 :]) for i in range(len(terms))] if len(terms) > 1 else [title]
    close(found.without, encoder.encode_products(left))


def test_the_attention_that_is_shown_is_that_which_makes_the_vectors(exported):
    model, tokenizer, out, _ = exported
    found = TextEncoder(out).explain("white oak door 12", TITLES[0])
    features, terms = (torch.from_numpy(part) for part in astuple(tokenizer.queries(["white oak door 12"])))
    with torch.no_grad():
        known = model.embedding(features)
        _, share = model.query.attend(known.vectors, terms)
        faces = presence_box(known.marks, terms)
        centre = model.query.centres(known.vectors, faces, terms, torch.from_numpy(found.pairs)[None], share)
    close(centre.numpy(), by_torch(model, tokenizer.queries(["white oak door 12"]), "encode_queries")[0])
    features, terms = (torch.from_numpy(part) for part in astuple(tokenizer.titles(TITLES[:1])))
    with torch.no_grad():
        known = model.embedding(features)
        contextual, _ = model.product.attend(known.vectors, terms)
        weights = torch.from_numpy(found.title_weights)[None]
        stretch, shown = model.product.stretch(known.vectors, terms), presence_point(known.marks, terms)
        point = model.product.point(contextual, weights, stretch, shown)
    close(point.numpy(), by_torch(model, tokenizer.titles(TITLES[:1]), "encode_products")[0])


def test_long_texts_are_explained_by_the_terms_that_are_encoded(exported):
    _, tokenizer, out, _ = exported
    long = " ".join(WORDS[:60])
    found = TextEncoder(out).explain(long, long)
    assert found.query_terms == tuple(WORDS[: tokenizer.vocabulary.max_query_terms])
    assert found.title_terms == tuple(WORDS[: tokenizer.vocabulary.max_title_terms])
    assert found.without.shape == (tokenizer.vocabulary.max_title_terms, 16)


@pytest.mark.parametrize("texts", [("?", "oak"), ("oak", "")])
def test_there_is_nothing_to_explain_about_a_text_without_words(exported, texts):
    with pytest.raises(EmptyTextError):
        TextEncoder(exported[2]).explain(*texts)


def test_the_bundle_says_what_it_holds_and_the_export_leaves_nothing_else(exported):
    model, tokenizer, out, manifest = exported
    assert load_manifest(out) == manifest
    assert manifest.geometry.dim == 16
    assert manifest.geometry.curvature == model.config.curvature
    assert manifest.geometry.gamma == pytest.approx(float(model.gamma.detach()))
    assert manifest.catalog == CATALOG
    assert manifest.training == {"seed": 4}
    assert TextEncoder(out).tokenizer.vocabulary == tokenizer.vocabulary
    layout = set(bundle.FILES)
    assert {path.name for path in out.iterdir()} == layout
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("weight", "output"),
    [
        ("query.head.linear.weight", "centres"),
        ("query.raw_limit", "limits"),
        ("product.head.linear.weight", "points"),
        ("log_scale", "explained temperature"),
    ],
)
def test_a_model_that_changed_since_its_export_is_noticed(exported, weight, output):
    model, _, out, _ = exported
    parameter = dict(model.named_parameters())[weight]
    before = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter += 0.01
        with pytest.raises(ParityError, match=f"{output}.*, over 0.0001"):
            check_parity(model, out, SAMPLES)
        with torch.no_grad():
            parameter.fill_(float("nan"))
        with pytest.raises(ParityError, match=f"{output}.*nan"):
            check_parity(model, out, SAMPLES)
    finally:
        with torch.no_grad():
            parameter.copy_(before)
    assert check_parity(model, out, SAMPLES) <= TOLERANCE


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_an_existing_path_is_refused_and_left_alone(tmp_path, small, kind):
    model, tokenizer = small
    out = tmp_path / "model"
    out.mkdir() if kind == "directory" else out.write_text("mine")
    with pytest.raises(FileExistsError, match="model exists already"):
        export(model, tokenizer, out, catalog=CATALOG, training={}, samples=SAMPLES)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert kind == "directory" or out.read_text() == "mine"


def test_a_graph_that_differs_is_never_published(tmp_path, exported, monkeypatch):
    model, tokenizer, out, _ = exported
    other = anthem(tokenizer, curvature=model.config.curvature)
    with torch.no_grad():
        other.product.own.weight += 0.1
    # an exporter that writes the graphs of another model
    monkeypatch.setattr(
        "model.export.write_graph", lambda _, path, *_more, **_named: path.write_bytes((out / path.name).read_bytes())
    )
    with pytest.raises(ParityError, match="points"):
        export(other, tokenizer, tmp_path / "model", catalog=CATALOG, training={}, samples=SAMPLES)
    assert list(tmp_path.iterdir()) == []
    export(model, tokenizer, tmp_path / "model", catalog=CATALOG, training={}, samples=SAMPLES)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_interrupted_export_leaves_nothing_behind(tmp_path, small, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("model.bundle.seal", interrupted)
    monkeypatch.setattr("model.export.write_graph", lambda _, path, *_more, **_named: path.write_bytes(b""))
    model, tokenizer = small
    with pytest.raises(KeyboardInterrupt):
        export(model, tokenizer, tmp_path / "model", catalog=CATALOG, training={}, samples=SAMPLES)
    assert list(tmp_path.iterdir()) == []


def test_samples_of_one_word_still_give_graphs_for_any_shape_with_words_at_the_edge_of_the_space(tmp_path):
    tokenizer = Tokenizer(Vocabulary.learn(TITLES))
    model = anthem(tokenizer)
    with torch.no_grad():
        model.embedding.table.weight *= 50.0  # tanh then puts every word at the soft bound
    export(model, tokenizer, tmp_path / "model", catalog=CATALOG, training={}, samples=["oak", "saw"])
    for texts in TEXTS.values():
        check_parity(model, tmp_path / "model", texts)
    with pytest.raises(EmptyTextError):
        TextEncoder(tmp_path / "model").encode_queries(["?"])
