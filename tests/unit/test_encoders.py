from __future__ import annotations

import copy
import math

import numpy as np
import oracles
import pytest
import torch
from fakes import shop_titles
from hypothesis import given, settings
from hypothesis import strategies as st

from model import lorentz
from model.encoders import MARK_LENGTH, Anthem, EncoderConfig
from model.hyperboloid import contains
from model.text import Tokenizer, Vocabulary, words

TITLES = shop_titles(60)
WORDS = sorted({word for title in TITLES for word in words(title)})
DIM = 9
PRESENCE = 3
QUERIES = [
    "drill",
    "cordless drill",
    "drill drill",
    "white oak door 12",
    "acme heavy steel hammer",
    "unknwon wrods",
    "acme quiet brass lamp 3 x 55 matte white oak",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(Vocabulary.learn(TITLES, max_title_terms=12))


def anthem(
    tokenizer: Tokenizer,
    *,
    curvature: float = 1.0,
    presence: int = PRESENCE,
    spherical: bool = False,
    seed: int = 0,
) -> Anthem:
    """A model in float64 of which no weight is at its start: attention, limits and places all count."""
    torch.manual_seed(seed)
    config = EncoderConfig(
        features=tokenizer.vocabulary.size,
        dim=DIM,
        presence=presence,
        attention_dim=4,
        curvature=curvature,
        radius=3.0,
        spherical=spherical,
        max_title_terms=tokenizer.vocabulary.max_title_terms,
    )
    model = Anthem(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
        model.embedding.table.weight[0] = 0.0
        model.embedding.breadth[1:].normal_(std=0.1)
    return model.eval()


@pytest.fixture(
    scope="module",
    params=[{"curvature": 1.0}, {"curvature": 0.3}, {"curvature": 0.0}, {"spherical": True}, {"presence": 0}],
    ids=str,
)
def model(request, tokenizer) -> Anthem:
    return anthem(tokenizer, **request.param)


def tensors(batch):
    return torch.from_numpy(batch.features), torch.from_numpy(batch.terms)


def encode_queries(model, tokenizer, texts):
    with torch.no_grad():
        return model.encode_queries(*tensors(tokenizer.queries(texts)))


def encode_products(model, tokenizer, texts):
    with torch.no_grad():
        return model.encode_products(*tensors(tokenizer.titles(texts)))


def places(model, vectors):
    return vectors[:, : model.config.place]


def presences(model, vectors):
    return vectors[:, model.config.place :]


def presence_box(model, tokenizer, texts):
    """Lower and upper faces of queries on the presence axes."""
    centres, limits = (presences(model, part) for part in encode_queries(model, tokenizer, texts))
    return centres - limits, centres + limits


def weights_of(model: Anthem) -> dict[str, np.ndarray]:
    return {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}


def terms_of(tokenizer: Tokenizer, text: str, most: int) -> list[list[int]]:
    return [tokenizer.features(term) for term in tokenizer.terms(text)[:most]]


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance)


def test_a_query_is_the_attention_weighted_midpoint_of_all_its_pairs(model, tokenizer):
    centres, limits = encode_queries(model, tokenizer, QUERIES)
    for text, centre, limit in zip(QUERIES, centres, limits, strict=True):
        terms = terms_of(tokenizer, text, tokenizer.vocabulary.max_query_terms)
        expected_centre, expected_limit = oracles.query_region(weights_of(model), model.config, terms)
        close(centre, expected_centre, 1e-5)
        close(limit, expected_limit, 1e-5)


def test_a_product_is_the_attention_weighted_midpoint_of_its_terms_in_context(model, tokenizer):
    titles = [*TITLES[:10], "oak", "oak " * 30]
    points = encode_products(model, tokenizer, titles)
    for text, point in zip(titles, points, strict=True):
        terms = terms_of(tokenizer, text, tokenizer.vocabulary.max_title_terms)
        close(point, oracles.product_point(weights_of(model), model.config, terms), 1e-5)


def test_in_float32_the_encoders_are_good_to_a_thousandth_of_the_radius(tokenizer):
    model = anthem(tokenizer)
    centres, limits = encode_queries(model, tokenizer, QUERIES)
    points = encode_products(model, tokenizer, TITLES)
    narrow = anthem(tokenizer).float()
    narrow_centres, narrow_limits = encode_queries(narrow, tokenizer, QUERIES)
    distances = lorentz.dist(narrow_centres.double(), centres, c=1.0)
    assert distances.max() < 3e-3
    assert lorentz.dist(encode_products(narrow, tokenizer, TITLES).double(), points, c=1.0).max() < 3e-3
    close(narrow_limits, limits, 1e-4)


@given(chosen=st.lists(st.sampled_from(QUERIES), min_size=2, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_batch_gives_every_query_what_it_gets_alone(chosen, model, tokenizer):
    centres, limits = encode_queries(model, tokenizer, chosen)
    for text, centre, limit in zip(chosen, centres, limits, strict=True):
        alone, own_limit = encode_queries(model, tokenizer, [text])
        close(centre, alone[0])
        close(limit, own_limit[0])


def test_a_batch_gives_every_title_what_it_gets_alone(model, tokenizer):
    titles = ["oak", *TITLES[:6], " ".join(TITLES[:3])]
    for text, point in zip(titles, encode_products(model, tokenizer, titles), strict=True):
        close(point, encode_products(model, tokenizer, [text])[0])


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_in_float32_too_a_batch_changes_at_most_a_hundred_thousandth(curvature, tokenizer):
    model = anthem(tokenizer, curvature=curvature).float()
    centres, limits = encode_queries(model, tokenizer, QUERIES)
    points = encode_products(model, tokenizer, QUERIES)
    for i, text in enumerate(QUERIES):
        alone, own_limit = encode_queries(model, tokenizer, [text])
        close(centres[i], alone[0], 1e-5)
        close(limits[i], own_limit[0], 1e-5)
        close(points[i], encode_products(model, tokenizer, [text])[0], 1e-5)


def test_padding_changes_nothing(model, tokenizer):
    features, terms = tensors(tokenizer.queries(QUERIES))
    # more feature columns, unused terms, and more term columns
    padded_features = torch.nn.functional.pad(features, (0, 3, 0, 2))
    padded_features[-1, 0] = 5
    padded_terms = torch.nn.functional.pad(terms, (0, 4))
    with torch.no_grad():
        for found, expected in zip(
            (
                *model.encode_queries(padded_features, padded_terms),
                model.encode_products(padded_features, padded_terms),
            ),
            (*model.encode_queries(features, terms), model.encode_products(features, terms)),
            strict=True,
        ):
            close(found, expected)


@given(order=st.permutations(QUERIES[-1].split()))
@settings(max_examples=20, deadline=None)
def test_a_query_means_the_same_in_any_word_order(order, model, tokenizer):
    for found, expected in zip(
        encode_queries(model, tokenizer, [" ".join(order)]),
        encode_queries(model, tokenizer, [QUERIES[-1]]),
        strict=True,
    ):
        close(found, expected)


def test_in_a_title_the_place_of_a_word_counts(model, tokenizer):
    straight, reversed_ = encode_products(model, tokenizer, ["acme oak door lamp", "lamp door oak acme"])
    assert (straight - reversed_).abs().max() > 1e-3


def test_attention_sums_to_one_over_true_pairs_and_is_zero_elsewhere(model, tokenizer):
    batch = tokenizer.queries(QUERIES)
    features, terms = tensors(batch)
    with torch.no_grad():
        attention, share = model.query.attend(model.embedding(features).vectors, terms)
    close(attention.sum(dim=(1, 2)), np.ones(len(QUERIES)))
    close(share + share.mT, np.ones(share.shape))
    for grid, row in zip(attention, terms, strict=True):
        length = int((row != 0).sum())
        true = torch.ones(length, length).triu().bool()
        assert (grid[:length, :length][true] > 0).all()
        assert (grid[:length, :length][~true] == 0).all()
        assert (grid[length:] == 0).all()
        assert (grid[:, length:] == 0).all()


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_limits_are_positive_and_everything_stays_within_the_radius(scale, curvature, tokenizer):
    model = anthem(tokenizer, curvature=curvature).float()
    with torch.no_grad():
        model.embedding.table.weight *= scale
    centres, limits = encode_queries(model, tokenizer, QUERIES)
    points = encode_products(model, tokenizer, QUERIES)
    assert (limits > 0).all()
    for vectors in (centres, points):
        assert vectors.isfinite().all()
        assert (lorentz.radius(places(model, vectors), c=curvature) <= model.config.radius * (1 + 1e-5)).all()
        assert (presences(model, vectors).abs() <= 3.0 * MARK_LENGTH * (1 + 1e-5)).all()


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_title_that_holds_all_words_of_a_query_is_inside_on_the_presence_axes(data, model, tokenizer):
    title = data.draw(st.sampled_from(TITLES))
    asked = data.draw(st.lists(st.sampled_from(words(title)), min_size=1, max_size=8))
    for precise in (model, copy.deepcopy(model).float()):
        centres, limits = encode_queries(precise, tokenizer, [" ".join(asked)])
        points = encode_products(precise, tokenizer, [title])
        assert contains(*(presences(model, part) for part in (points, centres, limits))).all()


@pytest.mark.parametrize("text", QUERIES)
def test_on_the_presence_axes_a_query_is_the_intersection_of_its_words(text, model, tokenizer):
    low, high = presence_box(model, tokenizer, [text])
    each_low, each_high = presence_box(model, tokenizer, words(text))
    close(low[0], each_low.amax(dim=0))
    close(high[0], each_high.amin(dim=0))


@given(typed=st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), added=st.sampled_from(WORDS))
@settings(max_examples=40, deadline=None)
def test_one_more_word_never_enlarges_a_query_on_the_presence_axes(typed, added, model, tokenizer):
    (wide_low, low), (wide_high, high) = presence_box(model, tokenizer, [" ".join(typed), " ".join([*typed, added])])
    assert (low >= wide_low - 1e-12).all()
    assert (high <= wide_high + 1e-12).all()


def test_some_title_without_a_querys_word_is_outside_on_the_presence_axes(tokenizer):
    model = anthem(tokenizer)
    centres, limits = encode_queries(model, tokenizer, ["oak"])
    inside = contains(
        *(presences(model, part) for part in (encode_products(model, tokenizer, TITLES), centres, limits))
    )
    assert not inside.all()
    assert inside[["oak" in words(title) for title in TITLES]].all()


def test_what_a_title_shows_does_not_depend_on_the_order_of_its_words(model, tokenizer):
    straight, reversed_ = presences(
        model, encode_products(model, tokenizer, ["acme oak door lamp", "lamp door oak acme"])
    )
    close(straight, reversed_)


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_a_model_without_presence_axes_has_no_regions(curvature, tokenizer):
    model = anthem(tokenizer, curvature=curvature, presence=0)
    centres, limits = encode_queries(model, tokenizer, QUERIES)
    assert centres.shape == limits.shape == (len(QUERIES), DIM)
    assert limits.dtype == centres.dtype
    assert (limits == 1e-6).all()
    Anthem(model.config.model_copy(update={"presence": 0}))  # warnings are errors


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_every_spherical_place_is_as_far_out_as_any_other(curvature, tokenizer):
    model = anthem(tokenizer, curvature=curvature, spherical=True)
    centres, _ = encode_queries(model, tokenizer, QUERIES)
    for vectors in (centres, encode_products(model, tokenizer, TITLES)):
        radii = lorentz.radius(places(model, vectors), c=curvature)
        close(radii, np.full(len(vectors), model.config.radius))


def test_in_a_flat_spherical_space_the_nearest_place_has_the_largest_cosine(tokenizer):
    model = anthem(tokenizer, curvature=0.0, spherical=True)
    centres, _ = encode_queries(model, tokenizer, QUERIES)
    asked, found = places(model, centres), places(model, encode_products(model, tokenizer, TITLES))
    cosines = torch.nn.functional.cosine_similarity(asked[:, None], found[None], dim=-1)
    assert torch.equal(torch.cdist(asked, found).argmin(dim=1), cosines.argmax(dim=1))


def test_every_region_reaches_past_the_origin_on_the_place_axes(model, tokenizer):
    if not model.config.presence:
        pytest.skip("there are no regions without presence axes")
    centres, limits = (places(model, part) for part in encode_queries(model, tokenizer, QUERIES))
    assert (limits > centres.abs()).all()


def test_a_query_of_more_words_reaches_less_far(tokenizer):
    model = anthem(tokenizer)
    with torch.no_grad():
        model.embedding.breadth[1:] = -0.1
    (one, two), limits = encode_queries(model, tokenizer, ["oak", "oak lamp"])
    past = places(model, limits) - places(model, torch.stack([one, two])).abs()
    assert (past[1] < past[0]).all()


def test_a_new_model_starts_with_even_limits_and_spread_centres(tokenizer):
    torch.manual_seed(1)
    model = Anthem(EncoderConfig(features=tokenizer.vocabulary.size, dim=32, presence=8))
    centres, limits = encode_queries(model, tokenizer, QUERIES)
    past = places(model, limits) - places(model, centres).abs()
    assert past.min() > 6.0
    assert past.max() < 9.0
    assert presences(model, limits).min() > 0.0
    assert presences(model, limits).max() < 3.1 * MARK_LENGTH
    assert 0 < float(model.gamma.detach()) < 1
    radii = lorentz.radius(centres, c=1.0)
    assert radii.max() < 0.95 * model.config.radius
    assert radii.min() > 0.2


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_gradients_are_finite_for_repeated_and_for_featureless_terms(curvature, tokenizer):
    model = anthem(tokenizer, curvature=curvature).float()
    with torch.no_grad():
        model.embedding.table.weight[tokenizer.features("saw")] = 0.0
    features, terms = tensors(tokenizer.queries(["oak oak oak", "saw", "saw oak"]))
    centres, limits = model.encode_queries(features, terms)
    (centres.sum() + limits.sum() + model.encode_products(features, terms).sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    assert model.embedding.table.weight.grad is not None
    assert not model.embedding.table.weight.grad[0].any()


def test_curvature_is_felt(tokenizer):
    bent, _ = encode_queries(anthem(tokenizer, curvature=1.0), tokenizer, QUERIES)
    flat, _ = encode_queries(anthem(tokenizer, curvature=0.0), tokenizer, QUERIES)
    assert (bent - flat).abs().max() > 0.1


def test_the_radius_of_a_far_point_approaches_the_bound(tokenizer):
    model = anthem(tokenizer)
    with torch.no_grad():
        model.product.head.linear.weight *= 100.0
    radii = lorentz.radius(places(model, encode_products(model, tokenizer, TITLES)), c=1.0)
    assert math.isclose(float(radii.max()), model.config.radius, rel_tol=1e-3)
