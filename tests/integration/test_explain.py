from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from io import StringIO
from xml.etree import ElementTree

import numpy as np
import pytest
import typer
from fakes import shop_titles, write_bundle, write_catalog
from fakes_service import serving
from rich.console import Console
from typer.testing import CliRunner

from index.build import build
from index.documents import UnknownProductError
from index.explain import Words, explain
from index.fusion import Fusion
from index.lexical import terms_of
from index.search import EmptyTextError, Searcher
from service import drawing
from service.commands.explain import explain as explain_command
from service.commands.search import search as search_command

TITLES = [*shop_titles(300), 'oak <door> & "brass" ]]> [bold]lamp[/bold]']
ODD = f"p{len(TITLES) - 1}"
QUERY = "acme oak door"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    directory = tmp_path_factory.mktemp("explain")
    write_bundle(directory / "model", TITLES)
    catalog = write_catalog(directory / "catalog.csv", TITLES)
    build(bundle_dir=directory / "model", catalog=catalog, root=directory / "index", queries=[QUERY, "brass lamp"])
    return directory / "index"


@pytest.fixture(scope="module")
def searcher(root):
    (directory,) = (root / "snapshots").iterdir()
    searcher = Searcher.open(directory)
    yield searcher
    searcher.close()


@pytest.fixture
def explained(searcher):
    def explained(product_id, query=QUERY):
        return explain(searcher, query, product_id)

    return explained


@pytest.mark.parametrize("query", [QUERY, "brass", "slim slim lamp 12", "unheardof wörd 7", "corldess dril"])
def test_distance_and_contained_are_those_of_the_hit(searcher, explained, query):
    hits = searcher.search(query, mode="hyperboloid", limit=len(TITLES)).hits
    for hit in (*hits[:10], *hits[-3:]):
        found = explained(hit.product.product_id, query)
        assert found.product == hit.product
        assert found.contained is hit.contained
        assert found.distance == pytest.approx(hit.distance, abs=1e-6)
        gamma = searcher.snapshot.manifest.geometry.gamma
        assert found.d_out + gamma * found.d_in == pytest.approx(found.distance, abs=1e-6)
        assert found.contained == (found.d_out == 0) == (found.axes == ())


@pytest.mark.parametrize("query", [QUERY, "corldess dril", "acmeoak"])
def test_words_are_those_of_a_lexical_hit(searcher, explained, query):
    hits = searcher.search(query, mode="lexical", limit=5).hits
    assert hits
    for hit in hits:
        found = explained(hit.product.product_id, query).words
        assert found.score == pytest.approx(hit.score, rel=1e-6)
        has = set(terms_of(hit.product.title))
        assert has.issuperset(terms_of(" ".join(found.shared)))
        assert has.isdisjoint(terms_of(" ".join(found.missing)))
    assert explained("p7", "zzz").words == Words(0.0, (), ("zzz",))


def test_what_channels_bring_sums_up_to_the_score_of_a_hybrid_hit(searcher, explained):
    assert explained("p7").fused is None, "ranks are fused"
    fusion = Fusion(method="weighted", distance_weight=12.0, lexical_weight=0.5)
    manifest = searcher.snapshot.manifest.model_copy(update={"fusion": fusion})
    weighted = Searcher(replace(searcher.snapshot, manifest=manifest), searcher.channels)
    for hit in weighted.search(QUERY, limit=5).hits:
        found = explain(weighted, QUERY, hit.product.product_id)
        assert found.fused.score == pytest.approx(hit.score, rel=1e-5)
        assert found.fused.hyperboloid == pytest.approx(-12.0 * hit.distance, rel=1e-4)
        assert found.fused.lexical == pytest.approx(0.5 * found.words.score, rel=1e-4)
        assert found.fused.behaviour == 0.0
    printed = " ".join(drawing.svg(found).split())
    assert f"hybrid score {found.fused.score:.4f}" in printed


def test_a_product_inside_has_no_axis_to_blame(searcher, explained):
    inside = [hit for hit in searcher.search(QUERY, mode="hyperboloid", limit=20).hits if hit.contained]
    assert inside
    for hit in inside:
        found = explained(hit.product.product_id)
        assert (found.contained, found.d_out, found.axes) == (True, 0.0, ())


def test_axes_come_worst_first_and_say_how_far_outside_the_product_is(searcher, explained):
    found = explained("p7")
    region = searcher.channels.encoder.encode_queries([QUERY])
    centre, limit = region.centres[0].astype(float), region.limits[0].astype(float)
    offset = searcher.snapshot.points[searcher.snapshot.documents.row("p7")] - centre
    outside = {axis for axis in range(len(offset)) if abs(offset[axis]) > limit[axis]}
    assert {axis.axis for axis in found.axes} == outside
    excesses = [axis.excess for axis in found.axes]
    assert excesses == sorted(excesses, reverse=True)
    for axis in found.axes:
        assert axis.offset == pytest.approx(offset[axis.axis], abs=1e-5)
        assert axis.limit == pytest.approx(limit[axis.axis], abs=1e-5)
        assert axis.excess == pytest.approx(abs(offset[axis.axis]) - limit[axis.axis], abs=1e-5)
        assert axis.share == pytest.approx(axis.excess**2 / sum(excess**2 for excess in excesses))
    assert sum(axis.share for axis in found.axes) == pytest.approx(1.0)


def test_all_weights_sum_to_one_and_the_grid_has_a_row_for_every_query_term(explained):
    found = explained("p7")
    assert [term.term for term in found.query_terms] == ["acme", "oak", "door"]
    assert [term.term for term in found.title_terms] == TITLES[7].split()
    assert sum(term.weight for term in found.query_terms) == pytest.approx(1.0)
    together = sum(pair.weight for pair in found.intersections)
    assert sum(term.alone for term in found.query_terms) + together == pytest.approx(1.0)
    assert sum(term.weight for term in found.title_terms) == pytest.approx(1.0)
    grid = np.array(found.grid)
    np.testing.assert_allclose(grid.sum(axis=1), [term.weight for term in found.query_terms], atol=1e-6)
    np.testing.assert_allclose(grid.sum(axis=0), [term.answers for term in found.title_terms], atol=1e-6)


def test_a_query_is_explained_as_it_was_read(explained):
    found = explained("p7", "corldess brass")
    assert (found.query, found.read) == ("corldess brass", "cordless brass")
    assert [term.term for term in found.query_terms] == ["cordless", "brass"]


def test_intersections_are_every_two_terms_heaviest_first(explained):
    found = explained("p7", "acme oak door brass")
    assert {(pair.first, pair.second) for pair in found.intersections} == {
        (i, j) for j in range(4) for i in range(j)
    }  # fmt: skip
    weights = [pair.weight for pair in found.intersections]
    assert weights == sorted(weights, reverse=True)
    assert explained("p7", "acme").intersections == ()


def test_a_term_is_mostly_answered_by_itself(explained):
    by_itself = []
    for i in range(30):
        found = explained(f"p{i}", TITLES[i])
        best = [found.title_terms[int(np.argmax(line))].term for line in found.grid]
        by_itself += [answer == asked.term for answer, asked in zip(best, found.query_terms, strict=True)]
    assert np.mean(by_itself) > 0.8


def test_what_cannot_be_explained_says_why(explained, searcher):
    with pytest.raises(UnknownProductError, match="there is no product 'nope'"):
        explained("nope")
    with pytest.raises(EmptyTextError):
        explained("p7", "?!")


# Pictures


def test_the_svg_parses_and_every_cell_tells_its_terms_and_share(explained):
    found = explained(ODD, 'oak <b> & "lamp"')
    root = ElementTree.fromstring(drawing.svg(found))
    assert root.tag == f"{SVG}svg"
    assert root.find(f"{SVG}title").text == f"{found.query} · {found.product.title}"
    told = [title.text for title in root.findall(f"{SVG}rect/{SVG}title")]
    assert told == [
        f"{query.term} × {title.term}: {share:.2%}"
        for query, line in zip(found.query_terms, found.grid, strict=True)
        for title, share in zip(found.title_terms, line, strict=True)
    ]
    written = [text.text for text in root.findall(f"{SVG}text")]
    assert '<door> & "brass"' in " ".join(written)
    width, height = float(root.get("width")), float(root.get("height"))
    for text in root.findall(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\ud800", "￾"])
def test_what_xml_cannot_hold_is_left_out_of_the_svg(explained, char):
    root = ElementTree.fromstring(drawing.svg(explained("p7", f"oak{char} lamp")))
    assert root.find(f"{SVG}title").text.startswith("oak\ufffd lamp")


def test_the_terminal_shows_the_numbers_without_colour_and_takes_no_markup_from_titles(explained):
    found = explained(ODD)
    console = Console(width=120, color_system=None, file=StringIO())
    console.print(drawing.terminal(found))
    printed = console.file.getvalue()
    assert TITLES[-1] in printed
    for term in (*found.query_terms, *found.title_terms):
        assert f"{term.weight:.0%}" in printed
        assert term.term in printed
    assert f"{max(map(max, found.grid)):.0%}" in printed
    assert f"{found.distance:.4f}" in printed


def test_a_long_word_of_a_title_leaves_room_for_the_numbers(explained):
    found = explained("p7")
    long = (replace(found.title_terms[0], term="x" * 300), *found.title_terms[1:])
    console = Console(width=80, color_system=None, file=StringIO())
    console.print(drawing.terminal(replace(found, title_terms=long)))
    (line,) = [line for line in console.file.getvalue().splitlines() if "xxx" in line]
    assert f"{long[0].answers:.0%}" in line
    assert f"{long[0].weight:.0%}" in line


def test_a_long_query_fits_a_narrow_terminal_whole(explained):
    words = [first + second + "x" for first in "abcd" for second in "efgh"]
    found = explained("p7", " ".join(words))
    console = Console(width=80, color_system=None, file=StringIO())
    console.print(drawing.terminal(found))
    lines = console.file.getvalue().splitlines()
    headings = [line for line in lines if "answers" in line]
    assert len(headings) == 2
    assert all(line.rstrip().endswith("attention") for line in headings)
    assert [word for word in words if word not in "".join(lines)] == []


# Command line


@pytest.fixture
def saddle(root):
    app = typer.Typer()
    app.command("explain")(explain_command)
    app.command("search")(search_command)

    def run(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--index", str(root)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


def test_the_command_prints_draws_and_gives_the_explanation_as_json(saddle, explained, tmp_path):
    found = explained("p7")
    printed = saddle("explain", QUERY, "p7", "--svg", tmp_path / "grid.svg")
    assert f"{found.distance:.4f}" in printed
    assert (tmp_path / "grid.svg").read_text(encoding="utf-8") == drawing.svg(found)
    assert json.loads(saddle("explain", QUERY, "p7", "--json")) == json.loads(json.dumps(asdict(found)))


@pytest.mark.parametrize("mode", ["hyperboloid", "hybrid"])
def test_a_search_explains_its_first_hit_if_asked_to(saddle, explained, mode):
    plain = json.loads(saddle("search", QUERY, "--mode", mode, "--json"))
    assert "explanation" not in plain
    first = plain["hits"][0]["product"]["product_id"]
    found = json.loads(saddle("search", QUERY, "--mode", mode, "--explain", "--json"))
    assert found["explanation"] == json.loads(json.dumps(asdict(explained(first))))
    printed = saddle("search", QUERY, "--mode", mode, "--explain")
    assert "heaviest intersections" in printed
    assert "heaviest intersections" not in saddle("search", QUERY, "--mode", mode)


def test_a_search_that_finds_nothing_explains_nothing(saddle):
    assert json.loads(saddle("search", "zzz", "--mode", "lexical", "--explain", "--json"))["hits"] == []


def test_an_expression_is_not_explained_and_that_is_wrong_usage(root):
    app = typer.Typer()
    app.command()(search_command)
    result = CliRunner().invoke(app, ["oak AND door", "--operators", "--explain", "--index", str(root)])
    assert result.exit_code == 2
    assert "explain one of its texts" in " ".join(result.output.replace("│", "").split())


@pytest.mark.parametrize("command", [search_command, explain_command])
def test_a_query_that_is_no_text_is_wrong_usage(root, command):
    app = typer.Typer()
    app.command()(command)
    product = ["p7"] if command is explain_command else []
    result = CliRunner().invoke(app, ["oak \udcff", *product, "--json", "--index", str(root)])
    assert result.exit_code == 2
    assert "byte 0xff at position 4" in " ".join(result.output.replace("│", "").split())


def test_a_product_that_is_not_there_fails_by_name(saddle):
    with pytest.raises(UnknownProductError, match="no product 'nope'"):
        saddle("explain", QUERY, "nope")


# HTTP


@pytest.fixture(scope="module")
def client(root):
    with serving(root, open_searcher=Searcher.open) as client:
        deadline = time.monotonic() + 10
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.01)
        yield client


def test_post_and_get_explain_alike(client, explained, searcher):
    posted = client.post("/v1/explain", json={"query": QUERY, "product_id": "p7"})
    assert posted.status_code == 200
    body = posted.json()
    expected = json.loads(json.dumps(asdict(explained("p7"))))
    assert {name: body[name] for name in expected if name != "query"} == {
        name: value for name, value in expected.items() if name != "query"
    }
    assert (body["product_id"], body["snapshot"], body["model"]) == (
        "p7",
        searcher.snapshot_id,
        searcher.model_version,
    )
    assert body["took_ms"] > 0
    assert body["request_id"] == posted.headers["x-request-id"]
    got = client.get("/v1/explain", params={"q": QUERY, "product_id": "p7"}).json()
    assert {**got, "took_ms": 0, "request_id": ""} == {**body, "took_ms": 0, "request_id": ""}


@pytest.mark.parametrize("product_id", ["nope", "p7 ", "p99999", "<b>"])
def test_an_unknown_product_is_a_404_that_names_it(client, product_id):
    for response in (
        client.post("/v1/explain", json={"query": QUERY, "product_id": product_id}),
        client.get("/v1/explain", params={"q": QUERY, "product_id": product_id}),
    ):
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert repr(product_id) in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": "", "product_id": "p7"}, "query"),
        ({"query": "?!", "product_id": "p7"}, "query"),
        ({"query": {"and": ["oak"]}, "product_id": "p7"}, "query"),
        ({"query": QUERY, "product_id": ""}, "product_id"),
        ({"query": QUERY, "product_id": 7}, "product_id"),
        ({"query": QUERY, "product_id": "\ud800"}, "product_id"),
        ({"query": QUERY}, "product_id"),
        ({"query": QUERY, "product_id": "p7", "limit": 3}, "limit"),
    ],
)
def test_a_request_that_cannot_be_read_is_a_422_that_names_the_field(client, body, field):
    response = client.post("/v1/explain", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_explaining_is_part_of_the_described_interface(client):
    paths = client.get("/openapi.json").json()["paths"]
    for method in ("get", "post"):
        responses = paths["/v1/explain"][method]["responses"]
        assert {"200", "404", "422", "503"} <= responses.keys()
