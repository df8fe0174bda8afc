"""A search whose points lie on a torch device answers as one does whose points lie in a file."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import bring, shop_titles, write_bundle, write_catalog
from places import PLACES

from index.algebra import Region
from index.build import build
from index.device import Device
from index.exact import scan
from index.filter_syntax import parse as parse_filter
from index.journal import Change
from index.operators import parse
from index.refinement import Refinement
from index.search import Searcher
from model.catalog import Product

resident = pytest.importorskip("index.resident", reason="torch is not installed: points cannot lie on its devices")

TITLES = shop_titles(900)
FIRST = 600
QUERIES = [
    "cordless drill",
    "acme oak door",
    parse("drill OR hammer"),
    parse("drill NOT cordless"),
    parse('(steel OR "white lamp" OR brass) NOT (quiet OR slim)'),
]


@pytest.fixture(scope="module")
def place_of_index(tmp_path_factory):
    directory = tmp_path_factory.mktemp("resident")
    write_bundle(directory / "model", TITLES)
    return build(
        bundle_dir=directory / "model",
        catalog=write_catalog(directory / "catalog.csv", TITLES[:FIRST]),
        root=directory / "index",
        backend="flat",
        target_recall=1.0,
    ).directory


@pytest.fixture(params=PLACES)
def pair(request, place_of_index, monkeypatch):
    """Two searchers of one snapshot: as they are, and with points on a device, which finds candidates there."""
    here = Searcher.open(place_of_index)
    if request.param == "cpu":  # torch's own CPU is no setting, but computes as a GPU does

        def held(points, device, *, c, gamma):
            return resident.ResidentPoints(points, place="cpu", c=c, gamma=gamma)

        monkeypatch.setattr("index.search.hold", held)
        there = Searcher.open(place_of_index)
    else:
        there = Searcher.open(place_of_index, device=Device(0))
    yield here, there
    here.close()
    there.close()


def agree(here, there, **asked):
    """Both find hits as near, and call the same of them contained; those as near as each other may change places."""
    for query in QUERIES:
        one, other = here.search(query, **asked), there.search(query, **asked)
        distances = [[hit.distance for hit in found.hits] for found in (one, other)]
        np.testing.assert_allclose(*distances, rtol=2e-5, atol=2e-5)
        inside = [{hit.product.product_id for hit in found.hits if hit.contained} for found in (one, other)]
        assert inside[0] == inside[1]
        assert one.total == other.total


@pytest.mark.parametrize("mode", ["hybrid", "hyperboloid", "lexical"])
def test_every_mode_finds_the_same_on_a_device(pair, mode):
    agree(*pair, mode=mode, limit=10)


@pytest.mark.parametrize("wanted", ["price < 25", 'brand IN ("acme")', "price < 0.6", "price > 9000"])
def test_filters_let_the_same_pass_on_a_device(pair, wanted):
    agree(*pair, mode="hyperboloid", limit=100, refinement=Refinement(filter=parse_filter(wanted)))


def test_a_product_has_the_same_neighbours_on_a_device(pair):
    for product in ("p0", "p77"):
        found = [[hit.product.product_id for hit in one.similar(product, limit=30).hits] for one in pair]
        assert found[0] == found[1]


def test_live_changes_are_seen_on_a_device_as_they_come(pair):
    rows = range(FIRST, 900)
    products = [Product(f"p{row}", TITLES[row], brand="acme", price=float(row)) for row in rows]
    points = pair[0].encode(products)
    for start in range(0, 300, 100):
        changes = [
            Change(p.product_id, p, x)
            for p, x in zip(products[start : start + 100], points[start : start + 100], strict=True)
        ]
        gone = [Change(f"p{row}", None) for row in range(start, start + 60)]
        for searcher in pair:
            bring(searcher, [*changes, *gone])
        agree(*pair, mode="hyperboloid", limit=20)
        agree(*pair, mode="hyperboloid", limit=400)
        agree(*pair, mode="hyperboloid", limit=20, refinement=Refinement(filter=parse_filter("price > 20")))


def test_what_a_device_finds_is_the_exact_containment_top(pair):
    """No candidates are left out: the region is scanned, not what lies near its centre."""
    here, there = pair
    held = there.channels.resident
    for query in ("cordless drill", "brass lamp"):
        found = here.channels.encoder.encode_queries([query])
        region = Region.around(found.centres[0], found.limits[0])
        gamma = here.snapshot.manifest.geometry.gamma
        expected = scan(here.snapshot.points, region, c=1.0, gamma=gamma, count=100)
        rows = held.nearest(region, 100)
        distances, _ = held.measure(region, rows, np.empty((0, 16), dtype=np.float32))
        np.testing.assert_allclose(np.sort(distances), expected.distances, rtol=2e-5, atol=2e-5)
