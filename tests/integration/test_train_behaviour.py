from __future__ import annotations

import json

import numpy as np
import pytest
from fakes import write_bundle
from typer.testing import CliRunner

from index.build import BuildError
from index.root import SNAPSHOTS, current, learning
from index.snapshot import BEHAVIOUR, BUNDLE, SnapshotError, read_manifest
from model.behaviour import bundle
from model.behaviour.clicks import Limits, query_key
from model.behaviour.features import query_features
from model.behaviour.vectors import BehaviourVectors
from model.catalog import CatalogError, searchable_text, split_of
from model.runtime import TextEncoder
from model.sample import files
from model.sample.shop import Shop
from model.training.behaviour import trainer
from model.training.behaviour.lesson import read_lesson
from model.training.checkpoint import ResumeError
from service.cli import app
from service.commands import CommandError
from service.commands.train import train

RUNNER = CliRunner()
STEPS = 20


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Catalogue, interactions and an untrained text bundle of a generated shop."""
    folder = tmp_path_factory.mktemp("shop")
    made = Shop(200, seed=1)
    files.write_catalog(folder / "catalog.csv", made.products(), kind="csv")
    files.write_interactions(folder / "interactions.csv", made.interactions())
    write_bundle(folder / "text", [searchable_text(product) for product in made.products()])
    return folder


def run(shop, out, **changes):
    asked = {"catalog": shop / "catalog.csv", "interactions": shop / "interactions.csv", "text": shop / "text"}
    return train(**{"channel": "behaviour", "out": out, "steps": STEPS, "threads": 1, **asked, **changes})


def test_clicks_and_sessions_become_a_bundle_that_serves(shop, tmp_path, capsys):
    run(shop, tmp_path / "behaviour", rejects=tmp_path / "rejects.jsonl")
    said = capsys.readouterr()
    assert "sessions of 2 products or more" in said.err
    assert "are left alone; --all-queries takes them too" in said.err
    assert "dev MRR" in said.out
    vectors = BehaviourVectors(tmp_path / "behaviour")
    assert vectors.manifest.text == TextEncoder(shop / "text").manifest.version
    assert len(vectors.product_ids) == 200
    assert vectors.manifest.until.startswith("2025-")
    queries = (tmp_path / "behaviour" / bundle.QUERIES).read_text(encoding="utf-8").splitlines()
    assert len(queries) > 20
    asked_for = {event.query for event in Shop(200, seed=1).interactions()}
    assert not {query_key(query) for query in asked_for if split_of(query) == "test"} & set(queries)
    asked = [*queries[:3], "something never asked"]
    found = vectors.encode_queries(asked, query_features(TextEncoder(shop / "text"), asked))
    assert found.shape == (4, vectors.manifest.dim)
    assert np.isfinite(found @ vectors.products.T).all()
    assert not (tmp_path / "behaviour.checkpoint").exists()
    assert (tmp_path / "rejects.jsonl").read_bytes() == b""


def test_with_all_queries_test_queries_are_learnt_too(shop, tmp_path, capsys):
    run(shop, tmp_path / "some")
    run(shop, tmp_path / "all", all_queries=True)
    some, every = (bundle.load_manifest(tmp_path / name) for name in ("some", "all"))
    assert every.queries > some.queries
    assert every.training["test_clicks_left_alone"] == 0 < some.training["test_clicks_left_alone"]
    assert capsys.readouterr().err.count("left alone") == 1


def test_pairs_that_were_clicked_too_seldom_are_no_edges(shop, tmp_path):
    run(shop, tmp_path / "all")
    run(shop, tmp_path / "frequent", min_count=3)
    every, frequent = (bundle.load_manifest(tmp_path / name) for name in ("all", "frequent"))
    assert 0 < frequent.training["edges"] < every.training["edges"] == every.training["pairs"]
    assert frequent.training["min_count"] == 3
    assert frequent.queries < every.queries


def test_where_no_pair_was_clicked_often_enough_training_is_refused(shop, tmp_path):
    with pytest.raises(CatalogError, match="no pair of query and product has 10,000 clicks"):
        run(shop, tmp_path / "behaviour", min_count=10_000)
    assert not (tmp_path / "behaviour").exists()


def test_unknown_products_and_bad_rows_are_counted_and_listed(shop, tmp_path, capsys):
    spoilt = tmp_path / "spoilt.csv"
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").splitlines()
    width = lines[0].count(",")
    query, product = (lines[0].split(",").index(name) for name in ("query", "product_id"))
    bad = [[""] * (width + 1) for _ in range(3)]
    bad[0][query], bad[0][product] = "lamp", "gone"
    bad[1][query], bad[1][product] = "lamp", "gone"
    bad[2][product] = "P0000001"
    spoilt.write_text("\n".join([*lines, *(",".join(row) for row in bad)]) + "\n", encoding="utf-8")
    run(shop, tmp_path / "behaviour", interactions=spoilt, rejects=tmp_path / "rejects.jsonl")
    said = capsys.readouterr().err
    assert "name 1 products that the catalogue lacks: gone (2)" in said
    assert "1 rows of the interactions set aside: 1 empty query" in said
    listed = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["reason"] for entry in listed] == ["empty query", "unknown product_id"]
    assert listed[1] == {"reason": "unknown product_id", "product_id": "gone", "interactions": 2}
    told = bundle.load_manifest(tmp_path / "behaviour").training["remarks"]
    assert any("gone (2)" in remark for remark in told)


def test_a_stopped_training_is_taken_up_again(shop, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", -1.0)
    checkpoint = tmp_path / "state"
    descend = trainer.Trainer._descend
    steps = []

    def killed(self, *given):
        steps.append(1)
        if len(steps) == 7:
            raise KeyboardInterrupt
        descend(self, *given)

    monkeypatch.setattr(trainer.Trainer, "_descend", killed)
    with pytest.raises(KeyboardInterrupt):
        run(shop, tmp_path / "behaviour", checkpoint=checkpoint)
    run(shop, tmp_path / "behaviour", checkpoint=checkpoint)
    assert "Resuming" in capsys.readouterr().err
    run(shop, tmp_path / "whole")
    one, other = (bundle.load_manifest(tmp_path / name) for name in ("behaviour", "whole"))
    assert one.version == other.version


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"pause": 5.0}, r"pause '30\.0', not '5\.0'"),
        ({"min_count": 3}, "min_count '1', not '3'"),
    ],
)
def test_a_training_on_other_graphs_is_not_taken_up(shop, tmp_path, monkeypatch, asked, said):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        patch.setattr("model.training.behaviour.export.export", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(shop, tmp_path / "behaviour")
    with pytest.raises(ResumeError, match=said):
        run(shop, tmp_path / "behaviour", **asked)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": None}, "needs --interactions and, from `saddle train`, --text"),
        ({"interactions": None}, "needs --interactions and, from `saddle train`, --text"),
        ({"terms": "trigram", "curvature": 0.0}, "--curvature and --terms mean nothing to the behaviour channel"),
        ({"channel": "text"}, "--text mean nothing to the text channel"),
        ({"channel": "text", "text": None, "min_count": 2}, "--min-count mean nothing to the text channel"),
    ],
)
def test_options_of_the_other_channel_are_refused(shop, tmp_path, changes, said):
    with pytest.raises(CommandError, match=said):
        run(shop, tmp_path / "behaviour", **changes)


def test_too_few_clicks_are_refused_in_words(shop, tmp_path):
    few = tmp_path / "few.csv"
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join(lines[:30]) + "\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="are too few to learn a behaviour channel from"):
        run(shop, tmp_path / "behaviour", interactions=few)
    assert not (tmp_path / "behaviour").exists()


def test_the_command_line_reports_as_json(shop, tmp_path):
    said = ["train", "--channel", "behaviour", "--steps", "2", "--json", "--out", str(tmp_path / "behaviour")]
    for name, file in (("--catalog", "catalog.csv"), ("--interactions", "interactions.csv"), ("--text", "text")):
        said += [name, str(shop / file)]
    result = RUNNER.invoke(app, said)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["version"].startswith("dcah-")


def test_a_test_query_is_left_alone_however_it_is_written(tmp_path):
    """One way of writing a query may be of the test split and another not: no way of writing it is learnt from."""
    written = next(
        text for text in (f"Lamp-{i}" for i in range(999)) if split_of(text) == "test" != split_of(text.lower())
    )
    (tmp_path / "catalog.csv").write_text("product_id,title\na,lamp\nb,light\n", encoding="utf-8")
    rows = [f"{text},{product}" for text in (written, written.lower()) for product in "ab"]
    rows += [f"shade {i},{product}" for i in range(100) for product in "ab" if split_of(f"shade {i}") != "test"]
    (tmp_path / "clicks.csv").write_text("\n".join(["query,product_id", *rows]) + "\n", encoding="utf-8")
    lesson, _ = read_lesson(
        tmp_path / "catalog.csv",
        tmp_path / "clicks.csv",
        Limits(),
        max_reject_share=0.0,
        all_queries=False,
        seed=0,
    )
    learnt = {lesson.train.queries[query] for query in [*lesson.train.query, *lesson.dev_query]}
    assert query_key(written) not in learnt
    assert lesson.untouched == 4
    assert lesson.until is None


def reindex(shop, out, *more):
    said = ["reindex", "--model", str(shop / "text"), "--catalog", str(shop / "catalog.csv"), "--out", str(out), *more]
    return RUNNER.invoke(app, said)


def test_what_was_learnt_is_indexed_and_answers(shop, tmp_path):
    run(shop, tmp_path / "behaviour")
    result = reindex(shop, tmp_path / "index", "--behaviour", str(tmp_path / "behaviour"))
    assert result.exit_code == 0, result.output
    assert "knows 200 of them" in " ".join(result.output.split())
    learnt = bundle.load_manifest(tmp_path / "behaviour")
    assert read_manifest(current(tmp_path / "index")).behaviour == learnt.version
    query = (tmp_path / "behaviour" / bundle.QUERIES).read_text(encoding="utf-8").splitlines()[0]
    found = RUNNER.invoke(app, ["search", query, "--index", str(tmp_path / "index"), "--mode", "behaviour", "--json"])
    assert json.loads(found.stdout)["hits"]


def test_one_command_learns_from_clicks_and_indexes(shop, tmp_path):
    clicks = ("--interactions", str(shop / "interactions.csv"), "--minutes", "0.05")
    result = reindex(shop, tmp_path / "index", *clicks, "--json")
    assert result.exit_code == 0, result.output
    first = read_manifest(current(tmp_path / "index"))
    assert first.behaviour == json.loads(result.stdout)["behaviour"]
    result = reindex(shop, tmp_path / "index", *clicks, "--all-queries")
    assert result.exit_code == 0, result.output
    known = [
        bundle.load_manifest(tmp_path / "index" / SNAPSHOTS / name / BEHAVIOUR / BUNDLE).queries
        for name in (first.id, read_manifest(current(tmp_path / "index")).id)
    ]
    assert known[0] < known[1]
    left = {path.name for path in (tmp_path / "index").iterdir()}
    assert not [name for name in left if name.startswith(".behaviour")]


def test_what_of_the_clicks_could_not_be_used_is_listed_beside_the_rejects_of_the_catalogue(shop, tmp_path):
    spoilt = tmp_path / "spoilt.csv"
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").splitlines()
    query, product = (lines[0].split(",").index(name) for name in ("query", "product_id"))
    bad = [""] * (lines[0].count(",") + 1)
    bad[product] = "P0000001"
    gone = [*bad]
    gone[query], gone[product] = "lamp", "gone"
    spoilt.write_text("\n".join([*lines, ",".join(bad), ",".join(gone)]) + "\n", encoding="utf-8")
    asked = ("--interactions", str(spoilt), "--minutes", "0.05")
    named = tmp_path / "bad" / "rejects.jsonl"
    for more, place in (((), tmp_path / "index"), (("--rejects", str(named)), named.parent)):
        result = reindex(shop, tmp_path / "index", *asked, *more)
        assert result.exit_code == 0, result.output
        text = (place / "rejects-interactions.jsonl").read_text(encoding="utf-8")
        assert [json.loads(line)["reason"] for line in text.splitlines()] == ["empty query", "unknown product_id"]


def fail(monkeypatch):
    """Have the next build fail, after all that was to be learnt is learnt."""

    def failing(**_):
        raise BuildError("the volume is full")

    monkeypatch.setattr("index.build.build", failing)


def test_a_night_that_failed_does_not_stop_the_next_one(shop, tmp_path, monkeypatch):
    """By the next night there are other clicks, and what was learnt of the old ones is of no use."""
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").splitlines()
    clicks = tmp_path / "clicks.csv"
    asked = ("--interactions", str(clicks), "--minutes", "0.05")
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", -1.0)
    clicks.write_text("\n".join(lines[:-20]) + "\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        fail(patch)
        assert isinstance(reindex(shop, tmp_path / "index", *asked).exception, BuildError)
    assert (tmp_path / "index" / ".behaviour.checkpoint").is_dir()
    clicks.write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = reindex(shop, tmp_path / "index", *asked)
    assert result.exit_code == 0, result.output
    assert "is of other data or of another recipe: starting afresh" in result.stderr
    assert read_manifest(current(tmp_path / "index")).behaviour
    assert not (tmp_path / "index" / ".behaviour.checkpoint").exists()


def test_a_night_that_is_tried_again_goes_on_where_it_was(shop, tmp_path, monkeypatch):
    asked = ("--interactions", str(shop / "interactions.csv"), "--minutes", "0.05")
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        fail(patch)
        reindex(shop, tmp_path / "index", *asked)
    result = reindex(shop, tmp_path / "index", *asked)
    assert result.exit_code == 0, result.output
    assert "Resuming training" in result.stderr


def test_what_a_killed_run_left_is_swept_away(shop, tmp_path):
    left = tmp_path / "index" / ".behaviour-dead" / "bundle"
    left.mkdir(parents=True)
    result = reindex(shop, tmp_path / "index", "--interactions", str(shop / "interactions.csv"), "--minutes", "0.05")
    assert result.exit_code == 0, result.output
    assert not left.parent.exists()


def test_only_one_run_at_a_time_learns_for_an_index(shop, tmp_path):
    with learning(tmp_path / "index") as directory:
        result = reindex(shop, tmp_path / "index", "--interactions", str(shop / "interactions.csv"))
        assert isinstance(result.exception, SnapshotError)
        assert "another run is learning from clicks for" in str(result.exception)
        assert directory.is_dir()


def test_clicks_that_teach_nothing_leave_the_index_as_it_was(shop, tmp_path):
    few = tmp_path / "few.csv"
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join(lines[:30]) + "\n", encoding="utf-8")
    assert reindex(shop, tmp_path / "index").exit_code == 0
    before = current(tmp_path / "index")
    result = reindex(shop, tmp_path / "index", "--interactions", str(few))
    assert isinstance(result.exception, CatalogError)
    assert current(tmp_path / "index") == before


@pytest.mark.parametrize("bad", ["few.csv", "missing.csv"])
def test_with_keep_clicks_a_bad_file_does_not_keep_the_catalogue_from_its_index(shop, tmp_path, bad):
    lines = (shop / "interactions.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "few.csv").write_text("\n".join(lines[:30]) + "\n", encoding="utf-8")
    assert reindex(shop, tmp_path / "index").exit_code == 0
    asked = ("--keep-clicks", "--json", "--minutes", "0.05", "--interactions")
    nothing = reindex(shop, tmp_path / "index", *asked, str(tmp_path / bad))
    assert nothing.exit_code == 0, nothing.output
    assert "the index gets no channel of clicks" in nothing.stderr
    assert json.loads(nothing.stdout)["behaviour"] is None
    learnt = reindex(shop, tmp_path / "index", *asked, str(shop / "interactions.csv"))
    told = json.loads(learnt.stdout)
    assert (told["behaviour"] is None, told["interactions_refused"]) == (False, None)
    kept = reindex(shop, tmp_path / "index", *asked, str(tmp_path / bad))
    assert kept.exit_code == 0, kept.output
    assert f"Nothing is learnt from {tmp_path / bad}: " in kept.stderr
    assert "the index keeps the clicks that the snapshot before knows" in kept.stderr
    again = json.loads(kept.stdout)
    assert (again["behaviour"], again["clicked"]) == (told["behaviour"], told["clicked"])
    assert again["interactions_refused"]
    assert read_manifest(current(tmp_path / "index")).id == again["snapshot"] != told["snapshot"]


def test_kept_clicks_are_those_of_the_same_text_model(shop, tmp_path):
    write_bundle(tmp_path / "other", [searchable_text(product) for product in Shop(200, seed=1).products()], seed=3)
    learnt = reindex(shop, tmp_path / "index", "--interactions", str(shop / "interactions.csv"), "--minutes", "0.05")
    assert learnt.exit_code == 0, learnt.output
    asked = ("--keep-clicks", "--interactions", str(tmp_path / "missing.csv"), "--model", str(tmp_path / "other"))
    result = reindex(shop, tmp_path / "index", *asked)
    assert result.exit_code == 0, result.output
    assert "the index gets no channel of clicks" in result.stderr
    assert read_manifest(current(tmp_path / "index")).behaviour is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--keep-clicks",), "give --interactions too, or leave out --keep-clicks"),
        (("--behaviour", "b", "--interactions", "i.csv"), "give either"),
        (("--all-queries",), "give --interactions too, or leave out --all-queries"),
    ],
)
def test_what_does_not_go_together_is_refused(shop, tmp_path, more, said):
    result = reindex(shop, tmp_path / "index", *more)
    assert isinstance(result.exception, CommandError)
    assert said in str(result.exception)
    assert not (tmp_path / "index").exists()
