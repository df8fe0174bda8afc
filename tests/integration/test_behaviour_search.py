"""What clicks add to searches: a channel of their own in a snapshot, over real FAISS and ONNX Runtime."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from fakes import bring, shop_titles, write_behaviour, write_bundle, write_catalog
from fakes_service import serving
from rich.console import Console

from index.build import build
from index.explain import explain
from index.expression import Conjunction
from index.filter_syntax import parse as parse_filter
from index.filters import Missing
from index.fusion import FEWEST_QUERIES
from index.journal import Change
from index.live import nothing
from index.operators import parse
from index.refinement import Refinement
from index.root import current
from index.search import ModeError, Search, Searcher, UnknownProductError
from index.selection import Selection
from index.snapshot import BEHAVIOUR, BUNDLE, Snapshot, SnapshotError
from index.view import View
from model.behaviour import bundle as behaviour_bundle
from model.behaviour.bundle import BehaviourBundleError
from model.behaviour.features import product_features, query_features
from model.behaviour.vectors import BehaviourVectors
from model.catalog import fingerprint, split_of
from service import drawing

COUNT = 900
TITLES = shop_titles(COUNT)
IDS = [f"p{i}" for i in range(COUNT)]
CLICKS = {
    "gift for dad": ["p3", "p500", "p77"],
    "oak": ["p8", "p9"],
    "housewarming": ["p500", "p600", "p601", "p602"],
}
LATER = {"gift for dad": ["p77"], "brass": ["p5"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a text bundle, a catalogue, and a behaviour bundle that knows one product too many."""
    folder = tmp_path_factory.mktemp("behaviour")
    encoder = write_bundle(folder / "model", TITLES)
    write_catalog(folder / "catalog.csv", TITLES)
    write_behaviour(folder / "behaviour", encoder, ["gone", *IDS[:800]], CLICKS, later=LATER)
    return folder


@pytest.fixture(scope="module", params=["flat", "codes"])
def report(request, files):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("index.behaviour_files._CODES_FROM", 0 if request.param == "codes" else COUNT + 1)
        return build(
            bundle_dir=files / "model",
            catalog=files / "catalog.csv",
            root=files / f"index-{request.param}",
            behaviour=files / "behaviour",
        )


@pytest.fixture
def searcher(report):
    searcher = Searcher.open(report.directory)
    yield searcher
    searcher.close()


@pytest.fixture(scope="module")
def plain(files):
    """A snapshot of the same shop without the channel."""
    return build(bundle_dir=files / "model", catalog=files / "catalog.csv", root=files / "plain")


@pytest.fixture
def without(plain):
    """The same shop without the channel."""
    searcher = Searcher.open(plain.directory)
    yield searcher
    searcher.close()


def ids(result):
    return [hit.product.product_id for hit in result.hits]


def wait_until_ready(client):
    deadline = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, "never ready"
        time.sleep(0.01)


def store(searcher, *products):
    points = searcher.encode(products)
    bring(searcher, [Change(p.product_id, p, point) for p, point in zip(products, points, strict=True)])


def test_a_build_says_what_its_channel_knows(report, searcher):
    assert report.behaviour == searcher.snapshot.manifest.behaviour
    assert report.behaviour.startswith("dcah-")
    assert (report.products, report.clicked) == (COUNT, 800)
    assert "clicks" in report.seconds


@pytest.mark.parametrize("query", ["gift for dad", "GIFT, for dad!", "oak", "housewarming", "something else"])
def test_the_channel_alone_orders_all_products_by_inner_product(files, searcher, query):
    learnt = BehaviourVectors(files / "behaviour")
    encoder = searcher.channels.encoder
    features = query_features(encoder, [query])
    vectors = np.concatenate((learnt.products[1:], np.zeros((COUNT - 800, 8), dtype=np.float32)))
    vectors[800:] = learnt.encode_products(product_features(encoder, TITLES[800:]))
    expected = vectors @ learnt.encode_queries([query], features)[0]
    found = searcher.search(query, mode="behaviour", limit=40)
    rows = [int(i[1:]) for i in ids(found)]
    np.testing.assert_allclose([hit.score for hit in found.hits], expected[rows], rtol=1e-4, atol=1e-5)
    if query != "something else":  # far apart: codes find them all
        clicked = {int(i[1:]) for i in CLICKS[" ".join(query.lower().replace(",", "").replace("!", "").split())]}
        assert set(rows[: len(clicked)]) == clicked


def test_hybrid_finds_what_only_clicks_lead_to(searcher, without):
    """No title holds a word of the query."""
    found = ids(searcher.search("gift for dad", limit=COUNT))
    assert set(found[:40]) & set(CLICKS["gift for dad"])
    assert searcher.search("gift for dad", mode="lexical").hits == ()
    by_text = ids(without.search("gift for dad", limit=COUNT))
    ranks = {name: (found.index(name), by_text.index(name)) for name in CLICKS["gift for dad"]}
    assert all(with_clicks <= text for with_clicks, text in ranks.values())
    assert any(with_clicks < text for with_clicks, text in ranks.values())


def test_what_nobody_clicked_is_not_held_against_it(searcher, without):
    """Fused by ranks it has half as much again as its text gives it, clicks standing for the mean of the others."""
    again, new = searcher.find("p600")[0], replace(searcher.find("p850")[0], product_id="new")
    store(searcher, replace(again, price=1.0), new)
    store(without, replace(again, price=1.0), new)
    fused, by_text = (
        {hit.product.product_id: hit.score for hit in one.search("housewarming", limit=COUNT + 1).hits}
        for one in (searcher, without)
    )
    clicked = {name for found in CLICKS.values() for name in found}
    assert len(fused) == COUNT + 1
    for name in fused.keys() - clicked:
        assert fused[name] == pytest.approx(1.5 * by_text[name], rel=1e-5)
    for name in CLICKS["housewarming"]:
        assert fused[name] > by_text[name] + 1 / 70


def test_where_ranks_are_fused_a_query_that_no_one_asked_is_answered_by_its_text(searcher, without):
    assert searcher.snapshot.manifest.fusion.method == "reciprocal_rank"
    for query in ("cordless drill", "brass lamp"):
        expected = without.search(query, limit=20)
        assert ids(searcher.search(query, limit=20)) == ids(expected)


@pytest.mark.parametrize("mode", ["hyperboloid", "lexical"])
def test_the_other_channels_alone_answer_as_if_there_were_no_clicks(searcher, without, mode):
    given, expected = (one.search("oak", mode=mode, limit=30) for one in (searcher, without))
    assert [(h.product, h.score) for h in given.hits] == [(h.product, h.score) for h in expected.hits]


def test_a_snapshot_without_the_channel_says_that_the_mode_has_none(without):
    with pytest.raises(ModeError, match="no behaviour channel: it was built without --behaviour"):
        without.search("oak", mode="behaviour")
    with pytest.raises(ModeError, match="no behaviour channel: it was built without --behaviour"):
        without.scores("oak", ["p1"], mode="behaviour")
    answers = without.search_many([Search("oak", "behaviour"), Search("oak")])
    assert isinstance(answers[0], ModeError)
    assert answers[1].hits


def test_and_weighs_its_members_alike_and_or_takes_the_better(searcher):
    def scores(query):
        return {h.product.product_id: h.score for h in searcher.search(query, mode="behaviour", limit=COUNT).hits}

    one, other = scores("oak"), scores("housewarming")
    both, either = scores(parse("oak AND housewarming")), scores(parse("oak OR housewarming"))
    assert len(one) == len(both) == COUNT
    for name in IDS:
        assert both[name] == pytest.approx((one[name] + other[name]) / 2, rel=1e-3, abs=1e-4)
        assert either[name] == pytest.approx(max(one[name], other[name]), rel=1e-3, abs=1e-4)


def test_what_is_excluded_comes_last_whatever_was_clicked(searcher):
    excluded = TITLES[500].split()[0]
    found = searcher.search(parse(f'"gift for dad" NOT {excluded}'), mode="behaviour", limit=COUNT)
    held = {name for name, title in zip(IDS, TITLES, strict=True) if excluded in title.split()}
    assert "p500" in held
    assert found.hits[-1].product.product_id in held
    assert "p500" not in ids(found)[:20]
    hybrid = searcher.search(parse(f'"gift for dad" NOT {excluded}'), limit=20)
    assert "p500" not in ids(hybrid)


@pytest.mark.parametrize("mode", ["behaviour", "hybrid"])
@pytest.mark.parametrize(
    ("wanted", "passes", "among"),
    [
        ("price < 30", lambda price: price < 30, {"p3", "p77"}),
        ("price = 3.5", lambda price: price == 3.5, {"p3"}),
        ("price > 1000", lambda _: False, set()),
    ],
)
def test_a_filter_holds_for_what_clicks_propose_too(searcher, wanted, passes, among, mode):
    refinement = Refinement(filter=parse_filter(wanted))
    found = searcher.search("gift for dad", mode=mode, limit=COUNT, refinement=refinement)
    assert all(passes(hit.product.price) for hit in found.hits)
    assert among <= set(ids(found))


def test_a_page_is_full_although_what_clicks_lead_to_passes_no_filter(searcher):
    """So many pass that candidates are fetched, and all that are fetched first do not."""
    everything = searcher.search("housewarming", mode="behaviour", limit=COUNT)
    rows = np.array([int(name[1:]) for name in ids(everything)])
    mask = np.ones(COUNT, dtype=np.bool_)
    mask[rows[:250]] = False
    intent = searcher.channels.place((Conjunction(("housewarming",)),)).intent
    points = searcher.snapshot.points
    view = View(points, nothing(COUNT, dim=points.shape[1]), Missing("colour"), Selection(mask))
    assert view.fetched(100) is not None
    near = searcher.channels.behaviour.near(intent, view, depth=10)
    assert mask[near].all()
    assert set(rows[250:260].tolist()) <= set(near.tolist())


@pytest.mark.parametrize("wanted", [None, "price < 20"])
@pytest.mark.parametrize("limit", [10, 60])
def test_a_page_is_full_after_most_of_what_clicks_lead_to_was_deleted(searcher, wanted, limit):
    refinement = Refinement(filter=None if wanted is None else parse_filter(wanted))

    def found(limit):
        return ids(searcher.search("gift for dad", mode="behaviour", limit=limit, refinement=refinement))

    everything = found(COUNT)
    bring(searcher, [Change(name, None) for name in everything[:200]])
    assert len(found(limit)) == limit
    assert set(found(limit)) <= set(everything[200:])
    assert found(COUNT) == everything[200:]


def test_a_product_that_comes_to_pass_a_filter_is_found_by_its_clicks(searcher):
    refinement = Refinement(filter=parse_filter("price > 1000"))
    store(searcher, replace(searcher.find("p500")[0], price=2000.0))
    found = searcher.search("housewarming", mode="behaviour", limit=5, refinement=refinement)
    assert ids(found) == ["p500"]


def test_the_last_page_has_new_products_too(searcher):
    store(searcher, replace(searcher.find("p850")[0], product_id="new"))
    found = ids(searcher.search("housewarming", mode="behaviour", limit=COUNT + 10))
    assert len(found) == COUNT + 1
    assert "new" in found


def test_a_product_that_is_stored_again_keeps_its_clicks(searcher):
    before = searcher.search("gift for dad", mode="behaviour", limit=3)
    again = [replace(searcher.find(name)[0], price=1.25) for name in ids(before)]
    store(searcher, *again)
    after = searcher.search("gift for dad", mode="behaviour", limit=3)
    assert ids(after) == ids(before)
    assert [hit.score for hit in after.hits] == [hit.score for hit in before.hits]
    assert [hit.product.price for hit in after.hits] == [1.25] * 3
    store(searcher, *(replace(one, price=2.5) for one in again))
    last = searcher.search("gift for dad", limit=COUNT + 10)
    assert len(set(ids(last))) == len(last.hits) == COUNT
    assert {hit.product.price for hit in last.hits if hit.product.product_id in ids(before)} == {2.5}


def test_a_product_that_is_deleted_is_not_proposed(searcher):
    bring(searcher, [Change("p500", None)])
    for mode in ("behaviour", "hybrid"):
        assert "p500" not in ids(searcher.search("housewarming", mode=mode, limit=COUNT))
    with pytest.raises(UnknownProductError):
        searcher.evidence("housewarming", "p500")


def test_a_new_product_is_told_by_its_text(searcher):
    store(searcher, replace(searcher.find("p850")[0], product_id="new"))
    for query in ("oak door", "gift for dad"):
        score, same = (searcher.evidence(query, name).score for name in ("new", "p850"))
        assert score == pytest.approx(same, rel=1e-4)
    assert searcher.evidence("oak door", "new").queries == ()


def test_evidence_names_queries_and_companions(searcher):
    found = searcher.evidence("Housewarming!", "p500")
    assert found.asked
    assert found.queries == ("gift for dad", "housewarming")
    assert set(found.companions) == {"p600", "p601", "p602"}
    assert found.sessions == 0.25
    (hit,) = [h for h in searcher.search("housewarming", mode="behaviour").hits if h.product.product_id == "p500"]
    assert found.score == pytest.approx(hit.score, rel=1e-5)
    unknown = searcher.evidence("never asked", "p850")
    assert (unknown.asked, unknown.queries, unknown.companions) == (False, (), ())
    with pytest.raises(UnknownProductError):
        searcher.evidence("oak", "nothing")


def test_without_the_channel_there_is_no_evidence(without):
    assert without.evidence("oak", "p1") is None
    with pytest.raises(UnknownProductError):
        without.evidence("oak", "nothing")


def test_scores_of_products_are_those_of_searches(searcher):
    for mode in ("behaviour", "hybrid"):
        found = searcher.search("housewarming", mode="behaviour", limit=10)
        given = searcher.scores("housewarming", ids(found), mode="behaviour")
        assert [given[name] for name in ids(found)] == pytest.approx([h.score for h in found.hits], rel=1e-5)
        assert set(searcher.scores("housewarming", ["p1", "nothing"], mode=mode)) == {"p1"}


def test_together_searches_find_what_they_find_alone(searcher):
    asked = [Search(q, m) for q in ("oak", "gift for dad", "new") for m in ("hybrid", "behaviour", "lexical")]
    for one, answer in zip(asked, searcher.search_many(asked), strict=True):
        assert ids(answer) == ids(searcher.answer(one))


@pytest.mark.usefixtures("plain")
def test_later_clicks_teach_how_much_the_channel_counts(files, tmp_path):
    """Shoppers always click what clicks lead to, wherever the text is."""
    chance = np.random.default_rng(0)
    names = [f"want {i}" for i in range(2 * FEWEST_QUERIES)]
    clicks = {name: [IDS[i] for i in chance.choice(COUNT, 3, replace=False)] for name in names}
    encoder = Snapshot.open(current(files / "plain")).encoder
    later = {name: [found[0]] for name, found in clicks.items()}
    write_behaviour(tmp_path / "behaviour", encoder, IDS, clicks, later=later, dim=32)
    report = build(
        bundle_dir=files / "model",
        catalog=files / "catalog.csv",
        root=tmp_path / "index",
        behaviour=tmp_path / "behaviour",
    )
    fusion = report.fusion
    assert (fusion.method, fusion.queries) == ("weighted", len(names))
    assert fusion.behaviour_weight > 0 == fusion.unasked_weight
    assert fusion.metrics["hybrid"]["R(rel=4)@10"] > fusion.metrics["text"]["R(rel=4)@10"]
    assert fusion.metrics["behaviour"]["R(rel=4)@10"] > 0.9
    searcher = Searcher.open(report.directory)
    try:
        found = searcher.search(names[0], limit=5)
        assert set(clicks[names[0]]) <= set(ids(found))
        for hit in (*found.hits, *searcher.search(names[0], limit=COUNT).hits[::100]):  # clicked ones, and others
            told = explain(searcher, names[0], hit.product.product_id).fused
            assert told.score == pytest.approx(hit.score, rel=1e-5)
            assert told.behaviour != 0
    finally:
        searcher.close()


@pytest.mark.parametrize(("count", "optimistic"), [(FEWEST_QUERIES, True), (10 * FEWEST_QUERIES, False)])
def test_clicks_that_the_text_was_trained_on_do_not_teach_how_much_it_counts(tmp_path, count, optimistic):
    names = [f"want {i}" for i in range(count)]
    clicks = {name: [IDS[place], IDS[place + 1]] for place, name in enumerate(names)}
    encoder = write_bundle(tmp_path / "model", TITLES, interactions="sha256:1")
    later = {name: found[:1] for name, found in clicks.items()}
    write_behaviour(tmp_path / "behaviour", encoder, IDS, clicks, later=later, dim=32, interactions="sha256:1")
    fusion = build(
        bundle_dir=tmp_path / "model",
        catalog=write_catalog(tmp_path / "catalog.csv", TITLES),
        root=tmp_path / "index",
        behaviour=tmp_path / "behaviour",
    ).fusion
    assert fusion.queries == (count if optimistic else sum(split_of(name) != "train" for name in names))
    assert (fusion.method, fusion.optimistic) == ("weighted", optimistic)


@pytest.mark.usefixtures("plain")
def test_pairs_that_the_channel_knows_by_heart_teach_nothing(files, tmp_path):
    judgments = tmp_path / "judgments.csv"
    lines = "".join(f"want {i},p{i},3\n" for i in range(400))
    judgments.write_text("query,product_id,relevance\n" + lines)
    encoder = Snapshot.open(current(files / "plain")).encoder
    for name, source in (("same", fingerprint(judgments)), ("other", "sha256:0")):
        write_behaviour(tmp_path / name, encoder, IDS, CLICKS, later=LATER, interactions=source)
        report = build(
            bundle_dir=files / "model",
            catalog=files / "catalog.csv",
            root=tmp_path / f"index-{name}",
            behaviour=tmp_path / name,
            judgments=judgments,
        )
        assert (report.fusion.queries == len(LATER)) == (name == "same")


def test_a_channel_on_another_text_bundle_is_refused(files, tmp_path):
    other = write_bundle(tmp_path / "other", TITLES, seed=5)
    assert other.version != behaviour_bundle.load_manifest(files / "behaviour").text
    with pytest.raises(
        BehaviourBundleError, match=rf"stands on the text bundle anthem-\w+, and this one is {other.version}"
    ):
        build(
            bundle_dir=tmp_path / "other",
            catalog=files / "catalog.csv",
            root=tmp_path / "index",
            behaviour=files / "behaviour",
        )
    assert not (tmp_path / "index").exists()


@pytest.mark.usefixtures("plain")
def test_a_channel_of_another_shop_is_refused(files, tmp_path):
    encoder = Snapshot.open(current(files / "plain")).encoder
    write_behaviour(tmp_path / "behaviour", encoder, ["x1", "x2"], {"oak": ["x1"]})
    with pytest.raises(BehaviourBundleError, match="knows 2 products, and the catalogue has none of them"):
        build(
            bundle_dir=files / "model",
            catalog=files / "catalog.csv",
            root=tmp_path / "index",
            behaviour=tmp_path / "behaviour",
        )


def test_a_damaged_channel_is_found_on_opening(report, tmp_path):
    for name, told in (("vectors.npy", "SHA-256"), (f"{BUNDLE}/queries.npy", "does not belong to behaviour bundle")):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(report.directory, copy)
        path = copy / BEHAVIOUR / name
        content = path.read_bytes()
        path.unlink()  # a hard link
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(SnapshotError, match=told):
            Snapshot.open(copy)


def test_an_explanation_says_who_clicked_a_product_and_what_is_bought_with_it(searcher, without):
    found = explain(searcher, "housewarming", "p500").clicks
    assert found.queries == ("gift for dad", "housewarming")
    assert {companion.product_id: companion.title for companion in found.companions} == {
        name: TITLES[int(name[1:])] for name in ("p600", "p601", "p602")
    }
    bring(searcher, [Change("p601", None)])
    left = explain(searcher, "housewarming", "p500")
    assert {companion.product_id for companion in left.clicks.companions} == {"p600", "p602"}
    drawn = StringIO()
    Console(file=drawn, width=200).print(drawing.terminal(left))
    assert "clicked for “gift for dad”, “housewarming”" in drawn.getvalue()
    assert f"in sessions with {TITLES[600]}; {TITLES[602]} (25% of what clicks say of it)" in drawn.getvalue()
    assert "clicked for “gift for dad”" in drawing.svg(left)
    assert explain(without, "housewarming", "p500").clicks is None


def test_the_service_answers_and_explains_by_clicks(report):
    with serving(report.directory.parents[1], open_searcher=Searcher.open) as client:
        wait_until_ready(client)
        found = client.post("/v1/search", json={"query": "housewarming", "mode": "behaviour", "limit": 4}).json()
        assert found["mode"] == "behaviour"
        assert {hit["product_id"] for hit in found["hits"]} == set(CLICKS["housewarming"])
        told = client.get("/v1/explain", params={"q": "oak", "product_id": "p9"}).json()["clicks"]
        assert (told["asked"], told["queries"]) == (True, ["oak"])
        assert told["companions"] == [{"product_id": "p8", "title": TITLES[8]}]


@pytest.mark.usefixtures("plain")
def test_asking_the_service_for_a_channel_that_is_not_there_is_a_422(files, without):
    with serving(files / "plain", open_searcher=Searcher.open) as client:
        wait_until_ready(client)
        answer = client.get("/v1/search", params={"q": "oak", "mode": "behaviour"})
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["mode"]
