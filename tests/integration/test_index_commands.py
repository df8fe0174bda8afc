from __future__ import annotations

import json

import pytest
import typer
from fakes import shop_titles, write_bundle, write_catalog
from places import has_gpu
from typer.testing import CliRunner

from index.device import DeviceError
from index.root import current
from model.catalog import split_of
from service.commands import CommandError
from service.commands.evaluate import evaluate
from service.commands.reindex import reindex
from service.commands.search import search

TITLES = shop_titles(300)


@pytest.fixture
def saddle():
    """Runs one command; what it raises comes through, as it does to the console script."""
    app = typer.Typer()
    for command in (reindex, search, evaluate):
        app.command(command.__name__)(command)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundles") / "model"
    write_bundle(directory, TITLES)
    return directory


@pytest.fixture
def root(saddle, tmp_path, bundle_dir):
    catalog = write_catalog(tmp_path / "catalog.csv", [*TITLES, ""])
    saddle("reindex", "--model", bundle_dir, "--catalog", catalog, "--out", tmp_path / "index")
    return tmp_path / "index"


def test_reindex_reports_what_it_did(saddle, tmp_path, bundle_dir):
    catalog = write_catalog(tmp_path / "catalog.csv", [*TITLES, ""])
    queries = tmp_path / "queries.txt"
    queries.write_text("oak door\n\nbrass lamp\n")
    arguments = (
        "--model",
        bundle_dir,
        "--catalog",
        catalog,
        "--out",
        tmp_path / "index",
        "--queries",
        queries,
    )
    printed = saddle("reindex", *arguments).stdout
    assert current(tmp_path / "index").name in printed
    assert "empty title" in printed
    assert "recall@100" in printed
    assert "reciprocal rank; --judgments would teach it weights" in printed
    report = json.loads(saddle("reindex", *arguments, "--json").stdout)
    assert report["snapshot"] == current(tmp_path / "index").name
    assert (report["products"], report["rejects"], report["meets_target"]) == (300, 1, True)
    assert report["candidates"]["queries"] == 2
    assert report["fusion"]["method"] == "reciprocal_rank"
    assert len((tmp_path / "index" / "rejects.jsonl").read_text().splitlines()) == 1


def test_reindex_says_what_judgments_taught_it(saddle, tmp_path, bundle_dir):
    catalog = write_catalog(tmp_path / "catalog.csv", TITLES)
    judgments = tmp_path / "judgments.csv"
    queries = {" ".join(title.split()[:count]): f"p{row}" for row, title in enumerate(TITLES) for count in (3, 4, 5)}
    few = dict([item for item in queries.items() if split_of(item[0]) == "dev"][:3])
    arguments = ("--model", bundle_dir, "--catalog", catalog, "--out", tmp_path / "index", "--judgments", judgments)
    for judged, said in ((queries, "· distance, learnt on"), (few, "3 dev queries do not suffice")):
        rows = [f"{query},{product_id},3" for query, product_id in judged.items()]
        judgments.write_text("\n".join(["query,product_id,relevance", *rows]))
        assert said in " ".join(saddle("reindex", *arguments).stdout.split())
    assert json.loads(saddle("reindex", *arguments, "--json").stdout)["fusion"]["queries"] == 3


def test_reindex_wants_queries_in_the_file_of_queries(saddle, tmp_path, bundle_dir):
    (tmp_path / "queries.txt").write_text("\n \n")
    with pytest.raises(CommandError, match=r"queries\.txt holds no queries"):
        saddle(
            *("reindex", "--model", bundle_dir, "--catalog", "c.csv"),
            *("--out", tmp_path, "--queries", tmp_path / "queries.txt"),
        )


def test_search_prints_the_nearest_products(saddle, root):
    printed = saddle("search", "oak door", "--index", root, "--limit", 3).stdout
    found = json.loads(saddle("search", "oak door", "--index", root, "--limit", 3, "--json").stdout)
    assert len(found["hits"]) == 3
    assert found["snapshot"] == current(root).name
    for hit in found["hits"]:
        assert hit["product"]["product_id"] in printed
        assert f"{hit['distance']:.4f}" in printed


def test_evaluate_measures_the_split_asked_for(saddle, root, tmp_path):
    judgments = tmp_path / "judgments.csv"
    pairs = [(f"query {i} {title}", f"p{i}", 3) for i, title in enumerate(TITLES)]
    lines = [f"{query},{product_id},{relevance}" for query, product_id, relevance in pairs]
    judgments.write_text("\n".join(["query,product_id,relevance", *lines, "broken,p1,x"]))
    arguments = ("evaluate", "--index", root, "--judgments", judgments)
    by_split = {
        split: json.loads(saddle(*arguments, "--split", split, "--json").stdout)
        for split in ("train", "dev", "test", "all")
    }
    assert by_split["all"]["queries"] == 300
    assert sum(by_split[split]["queries"] for split in ("train", "dev", "test")) == 300
    assert by_split["all"]["rejected_rows"] == 1
    assert by_split["all"]["metrics"]["retrieve"]["R(rel=4)@100"] > 0.9
    assert by_split["all"]["metrics"]["rank"]["AP(rel=4)"] == 1.0
    printed = saddle(*arguments, "--protocol", "retrieve").stdout
    assert "RR(rel=4)@100" in printed
    assert "AP(rel=4)" not in printed


def test_evaluate_says_when_a_split_is_empty(saddle, root, tmp_path):
    judgments = tmp_path / "judgments.csv"
    judgments.write_text("query,product_id,relevance\noak door,p1,3\n")
    other = "dev" if split_of("oak door") != "dev" else "test"
    with pytest.raises(CommandError, match=f"1 usable judgments, but none in the split '{other}'.*--split all"):
        saddle("evaluate", "--index", root, "--judgments", judgments, "--split", other)


@pytest.mark.skipif(has_gpu(), reason="there is a GPU, so nothing falls back")
def test_commands_that_are_asked_for_a_gpu_that_is_not_there_do_without_and_say_so(
    saddle, root, tmp_path, bundle_dir, caplog
):
    judgments = tmp_path / "judged.csv"
    judgments.write_text("query,product_id,relevance\noak door,p1,3\n")
    plain = json.loads(saddle("search", "oak door", "--index", root, "--json").stdout)
    for arguments, warned in (
        (("reindex", "--model", bundle_dir, "--catalog", tmp_path / "catalog.csv", "--out", tmp_path / "second"), 1),
        (("search", "oak door", "--index", root, "--json"), 2),
        (("evaluate", "--index", root, "--judgments", judgments, "--split", "all"), 2),
    ):
        caplog.clear()
        printed = saddle(*arguments, "--device", "cuda:1").stdout
        said = [record.getMessage() for record in caplog.records if "as asked" in record.getMessage()]
        assert len(said) == warned
        assert all("cpu" in line and "cuda:1" in line for line in said)
        if arguments[0] == "search":
            assert json.loads(printed)["hits"] == plain["hits"]


def test_a_device_that_means_nothing_is_refused_before_anything_is_opened(saddle, tmp_path):
    with pytest.raises(DeviceError, match="'tpu', but must be cpu"):
        saddle("search", "oak door", "--index", tmp_path / "none", "--device", "tpu")
