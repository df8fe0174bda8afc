from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from fakes import shop_titles, write_bundle, write_catalog

from model.behaviour.clicks import moment, seconds
from model.bundle import load_manifest
from model.catalog import Rejects, fingerprint, read_interactions, read_products, searchable_text, split_of
from model.encoders import Anthem, EncoderConfig
from model.hyperboloid import containment
from model.runtime import TextEncoder
from model.sample import files
from model.sample.shop import Shop
from model.text import words
from model.training import checkpoint, run
from model.training.checkpoint import ResumeError
from model.training.dev import DevSet
from model.training.examples import Examples, read_examples
from model.training.pseudo import misspell
from model.training.trainer import DEV_METRIC, Recipe, Trainer
from service.commands import CommandError
from service.commands.train import train

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

DIM = 16
STEPS = 50
KILLED_STEPS = 40
CASES = 20
DRIVER = """
import sys
from pathlib import Path

from model.training import run
from service.commands.train import train

run.CHECKPOINT_SECONDS = 0.1
catalog, out, steps = sys.argv[1:]
train(catalog=Path(catalog), out=Path(out), steps=int(steps), dim=16, curvature=0.0, terms="trigram")
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Paths of a generated shop's catalogue and interactions: 300 products."""
    folder = tmp_path_factory.mktemp("shop")
    made = Shop(300, seed=1)
    files.write_catalog(folder / "catalog.csv", made.products(), kind="csv")
    files.write_interactions(folder / "interactions.csv", made.interactions())
    return folder / "catalog.csv", folder / "interactions.csv"


@pytest.fixture(scope="module")
def examples(shop) -> Examples:
    return read_examples(*shop, max_reject_share=0.0)[0]


@pytest.fixture(scope="module")
def trained(shop, tmp_path_factory):
    """The bundle of one short training on catalogue and interactions."""
    out = tmp_path_factory.mktemp("trained") / "model"
    catalog, interactions = shop
    train(catalog=catalog, interactions=interactions, out=out, steps=STEPS, dim=DIM)
    return out


def recipe(**changes) -> Recipe:
    return Recipe(**{"steps": 12, "dim": 8, "judged_per_batch": 16, "pseudo_per_batch": 48, **changes})


def trainer_of(examples, directory, *, report=None, catalog="sha256:0", interactions="none", **changes) -> Trainer:
    data = {"catalog": catalog, "interactions": interactions}
    return Trainer(examples, recipe(**changes), directory=directory, data=data, report=report or (lambda _: None))


class StoppedError(Exception):
    """A run that was ended from outside."""


def stop_at(step):
    def report(progress):
        if progress.metrics is None and progress.step >= step:
            raise StoppedError

    return report


def answers_within(encoder, texts, queries, wanted, *, k):
    """How many of ``queries`` have one of their ``wanted`` rows among the ``k`` nearest by containment."""
    points, geometry = encoder.encode_products(texts), encoder.manifest.geometry
    found = 0
    for query, rows in zip(queries, wanted, strict=True):
        region = encoder.encode_queries([query])
        distances = containment(points, region.centres, region.limits, c=geometry.curvature, gamma=geometry.gamma)
        found += bool(set(np.argsort(distances, kind="stable")[:k].tolist()) & rows)
    return found


def test_training_teaches_what_no_untrained_model_knows(trained, examples):
    learnt = load_manifest(trained).training["dev_metrics"]
    torch.manual_seed(0)
    tokenizer = TextEncoder(trained).tokenizer
    untrained = Anthem(EncoderConfig(features=tokenizer.vocabulary.size, dim=DIM, presence=DIM // 4))
    before = DevSet(examples, tokenizer, seed=0).evaluate(untrained)
    assert set(learnt) == set(before)
    for name in (DEV_METRIC, "nDCG@10"):
        assert learnt[name] > 1.3 * before[name], (name, before, learnt)


def test_the_bundle_tells_how_it_was_made(trained, shop, examples):
    manifest = load_manifest(trained)
    assert manifest.catalog == fingerprint(shop[0])
    assert manifest.interactions == fingerprint(shop[1])
    times = [one.time for one in read_interactions(shop[1], Rejects()) if split_of(one.query) != "test"]
    assert manifest.until == moment(max(map(seconds, times)))
    assert manifest.geometry.dim == DIM
    assert manifest.geometry.curvature == 1.0
    training = manifest.training
    assert training["products"] == 300
    assert training["train_queries"] == len(examples.train) > 50
    assert training["dev_queries"] == len(examples.dev) > 3
    assert training["steps"] == STEPS
    assert training["recipe"]["seed"] == 0
    assert not trained.with_name("model.checkpoint").exists()


def test_misspelt_words_still_find_their_product(trained, shop):
    texts = [searchable_text(product) for product in read_products(shop[0], Rejects())]
    encoder = TextEncoder(trained)
    known = set(encoder.tokenizer.vocabulary.words)
    rng = random.Random(3)
    queries, wanted = [], []
    while len(queries) < CASES:
        title = words(texts[rng.randrange(len(texts))])
        asked = [word for word in title if word.isalpha() and len(word) > 4][:3]
        typed = misspell(asked[0], rng) if asked else ""
        if len(asked) == 3 and typed not in known:
            queries.append(" ".join([typed, *asked[1:]]))
            wanted.append({row for row, text in enumerate(texts) if set(asked) <= set(words(text))})
    assert answers_within(encoder, texts, queries, wanted, k=10) >= 0.75 * CASES


def test_queries_of_the_test_split_are_never_read(shop, examples):
    by_split: dict[str, set[str]] = {"train": set(), "dev": set(), "test": set()}
    for interaction in read_interactions(shop[1], Rejects()):
        by_split[split_of(interaction.query)].add(interaction.query)
    assert by_split["test"]
    assert set(examples.train) == by_split["train"]
    assert set(examples.dev) == by_split["dev"]


def test_interactions_give_the_best_grade_and_unknown_products_teach_nothing(tmp_path):
    catalog = write_catalog(tmp_path / "catalog.csv", ["oak door", "pine door"])
    rows = [("drill", "p0", "click", ""), ("drill", "p0", "purchase", ""), ("drill", "gone", "click", "")]
    rows += [("drill", "p1", "", "2.33"), ("saw", "gone", "click", "")]
    path = tmp_path / "interactions.csv"
    path.write_text("query,product_id,event,relevance\n" + "".join(f"{','.join(row)}\n" for row in rows))
    examples, rejects = read_examples(catalog, path, max_reject_share=0.0)
    assert split_of("drill") == split_of("saw") == "train"
    assert examples.train == {"drill": {0: 6, 1: 4}}
    assert examples.dev == {}
    assert rejects["interactions"].count == 0


def test_the_same_seed_and_steps_learn_the_same(tmp_path, examples):
    first, again, other = (
        trainer_of(examples, tmp_path / name, seed=seed).fit() for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first.metrics == again.metrics
    for (name, one), two in zip(first.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    assert not torch.equal(first.model.query.pair.weight, other.model.query.pair.weight)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(tmp_path, examples, monkeypatch):
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    whole = trainer_of(examples, tmp_path / "whole", report=stop_at(9))
    stopped = trainer_of(examples, tmp_path / "stopped", report=stop_at(6))
    for each in (whole, stopped):
        with pytest.raises(StoppedError):
            each.fit()
    resumed = trainer_of(examples, tmp_path / "stopped", report=stop_at(9))
    assert resumed.resumed_at == 5
    with pytest.raises(StoppedError):
        resumed.fit()
    for (name, one), two in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        np.testing.assert_allclose(two.numpy(), one.numpy(), atol=1e-5, err_msg=name)


def test_a_run_that_was_killed_after_its_last_step_has_nothing_left_to_train(tmp_path, examples):
    finished = trainer_of(examples, tmp_path).fit()
    seen = []
    again = trainer_of(examples, tmp_path, report=seen.append)
    assert again.resumed_at == 12
    published = again.fit()
    assert not seen
    assert (published.steps, published.metrics) == (finished.steps, finished.metrics)
    for (name, one), two in zip(
        finished.model.state_dict().items(), published.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), name


@pytest.mark.parametrize(("changes", "presence"), [({}, 2), ({"regions": False}, 0), ({"dim": 4}, 1)])
def test_a_quarter_of_the_axes_tell_what_is_present_or_none_without_regions(tmp_path, examples, changes, presence):
    ours = trainer_of(examples, tmp_path, **changes)
    assert ours.model.config.presence == presence
    assert ours.model.config.place == ours.recipe.dim - presence


@pytest.mark.parametrize("changes", [{}, {"curvature": 0.0, "spherical": True}])
def test_plain_vector_models_are_trained_by_the_same_recipe(tmp_path, examples, changes):
    ours = trainer_of(examples, tmp_path, steps=80, dim=DIM, regions=False, **changes)
    before = ours._dev.evaluate(ours.model)
    learnt = ours.fit().metrics
    for name in (DEV_METRIC, "nDCG@10"):
        assert learnt[name] > 1.2 * before[name], (name, before, learnt)


def checkpoint_step(directory) -> int:
    try:
        return json.loads((directory / checkpoint.STATE).read_bytes())["step"]
    except FileNotFoundError:
        return 0


@dataclass(frozen=True)
class Killed:
    """What a training on a catalogue alone left when it was killed, and what the same command made of it."""

    titles: list[str]
    out: Path
    published: bool
    step: int
    messages: str


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Killed:
    folder, titles = tmp_path_factory.mktemp("killed"), shop_titles(300)
    catalog, out = write_catalog(folder / "catalog.csv", titles), folder / "model"
    command = [sys.executable, "-c", DRIVER, str(catalog), str(out), str(KILLED_STEPS)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while checkpoint_step(folder / "model.checkpoint") < 5:
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
    published, step = out.exists(), checkpoint_step(folder / "model.checkpoint")
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    return Killed(titles, out, published, step, again.stderr)


def test_a_killed_training_resumes_at_its_checkpoint_and_ends_with_a_valid_bundle(killed):
    assert not killed.published
    assert 5 <= killed.step < KILLED_STEPS
    assert f"Resuming at step {killed.step:,} from" in killed.messages
    assert load_manifest(killed.out).training["steps"] == KILLED_STEPS
    assert sorted(path.name for path in killed.out.parent.iterdir()) == ["catalog.csv", "model"]


def test_a_catalogue_alone_is_enough_for_the_flat_twin_of_trigrams(killed):
    encoder = TextEncoder(killed.out)
    assert encoder.manifest.geometry.curvature == 0.0
    assert encoder.tokenizer.vocabulary.terms == "trigram"
    assert encoder.manifest.training["train_queries"] == encoder.manifest.training["dev_queries"] == 0
    queries = ["acme cordless drill", "white door", "brass lamp", "quiet fjord hammer", "oak hinge"]
    titles = killed.titles
    wanted = [{i for i, title in enumerate(titles) if set(query.split()) <= set(title.split())} for query in queries]
    assert all(wanted)
    assert answers_within(encoder, titles, queries, wanted, k=10) >= len(queries) - 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dim": 4}, "dim 8, not 4"),
        ({"seed": 5}, "seed 0, not 5"),
        ({"curvature": 0.0}, r"curvature 1\.0, not 0\.0"),
        ({"terms": "trigram"}, "terms 'word', not 'trigram'"),
        ({"catalog": "sha256:1"}, "catalog 'sha256:0', not 'sha256:1'"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_both_values_are_named(
    tmp_path, examples, change, named, monkeypatch
):
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StoppedError):
        trainer_of(examples, tmp_path, report=stop_at(2)).fit()
    before = checkpoint_step(tmp_path)
    with pytest.raises(ResumeError, match=named):
        trainer_of(examples, tmp_path, **change)
    assert checkpoint_step(tmp_path) == before
    assert trainer_of(examples, tmp_path).resumed_at == before


def test_a_checkpoint_made_with_other_interactions_is_refused(tmp_path, examples, monkeypatch):
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StoppedError):
        trainer_of(examples, tmp_path, report=stop_at(2)).fit()
    with pytest.raises(ResumeError, match="interactions 'none', not 'sha256:2'"):
        trainer_of(examples, tmp_path, interactions="sha256:2")


def stopped(*args, **kwargs):
    raise StoppedError


def export_random_weights(model, tokenizer, out, *, samples, **_):
    """Exporting replaced by a bundle of the same shape with random weights."""
    return write_bundle(out, samples, dim=model.config.dim)


def test_started_afresh_a_run_forgets_its_checkpoint(tmp_path, monkeypatch, capsys):
    catalog = write_catalog(tmp_path / "catalog.csv", shop_titles(120))
    options = {"catalog": catalog, "out": tmp_path / "model", "dim": 4, "steps": 3}
    state = tmp_path / "elsewhere"
    with monkeypatch.context() as patch:
        patch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr("model.export.export", stopped)
        with pytest.raises(StoppedError):
            train(**options, checkpoint=state)
    assert checkpoint_step(state) == 3
    with pytest.raises(ResumeError, match="dim 4, not 6"):
        train(**options | {"dim": 6}, checkpoint=state)
    capsys.readouterr()
    monkeypatch.setattr("model.export.export", export_random_weights)
    train(**options | {"dim": 6}, checkpoint=state, fresh=True, as_json=True)
    output = capsys.readouterr()
    assert "Resuming" not in output.err
    assert json.loads(output.out)["geometry"]["dim"] == 6
    assert not state.exists()


def test_an_existing_output_is_refused_before_anything_is_read(tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    (out / "precious").write_text("mine")
    with pytest.raises(CommandError, match=r"model exists already.*--out"):
        train(catalog=tmp_path / "missing.csv", out=out, steps=1)
    assert (out / "precious").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_budget_in_minutes_ends_in_time(tmp_path, examples, monkeypatch):
    ticks = count(100.0, 0.125)  # the clock is read once a step
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    finished = trainer_of(examples, tmp_path, steps=None, minutes=0.05).fit()
    assert (finished.steps, finished.seconds) == (23, 3.0)


def test_progress_never_goes_back_and_metrics_come_with_every_evaluation(tmp_path, examples):
    seen = []
    trainer_of(examples, tmp_path, report=seen.append).fit()
    fractions = [progress.fraction for progress in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert sum(progress.metrics is not None for progress in seen) == run.EVALUATIONS
