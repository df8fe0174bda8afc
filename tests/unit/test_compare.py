from __future__ import annotations

import gzip
import json
import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.compare import __main__ as command
from benchmarks.compare import anthem, bi_encoders, cells, fit, flipkart, interaction, matching, report, tuning
from benchmarks.compare.bm25 import Bm25
from benchmarks.compare.data import Shop
from benchmarks.compare.lexicon import Lexicon
from benchmarks.compare.score import evaluate
from benchmarks.tables import compare as tables
from model.metrics import MEASURES
from model.text import Tokenizer, Vocabulary
from model.training.trainer import Recipe

MATCHING = [
    matching.ArcI, matching.ArcII, matching.MatchPyramid, matching.Knrm, matching.ConvKnrm, matching.Duet,
]  # fmt: skip
TOWERS = [bi_encoders.Dssm, bi_encoders.Cdssm]
BRANDS = ["acme", "bolt", "crest", "dyna"]
COLOURS = ["red", "blue", "green", "black", "white"]
THINGS = ["drill", "hammer", "saw", "wrench", "ladder", "paint brush", "work bench"]

COMPANY = {"paint": ["brush", "roller"], "work": ["bench", "table"]}


@pytest.fixture(scope="module")
def shop():
    texts = [f"{brand} {colour} {thing}" for brand in BRANDS for colour in COLOURS for thing in THINGS]
    judged = {"train": {}, "dev": {}, "test": {}}
    for split, colours in (("train", COLOURS[:3]), ("dev", COLOURS[3:4]), ("test", COLOURS[4:])):
        for colour in colours:
            for thing in THINGS:
                rows = [row for row, text in enumerate(texts) if text.endswith(thing)]
                judged[split][f"{colour} {thing}s"] = {row: 6 if colour in texts[row] else 2 for row in rows}
    return Shop([str(row) for row in range(len(texts))], texts, judged)


@pytest.fixture(scope="module")
def lexicon(shop):
    return Lexicon(shop)


@pytest.fixture(scope="module")
def pairs(shop, lexicon):
    queries, titles = list(shop.judged["train"])[:6], shop.texts[:6]
    return lexicon.queries(queries)[:, :3], lexicon.titles(titles)[:, :4]


@pytest.mark.parametrize("model", MATCHING)
def test_interaction_models_score_pairs_and_padding_changes_nothing(model, lexicon, pairs):
    torch.manual_seed(0)
    scorer = model(lexicon).eval()
    queries, titles = pairs
    for parameter in scorer.parameters():  # no layer may hide a difference behind its zeros
        torch.nn.init.normal_(parameter, std=0.3) if not parameter.any() else None
    with torch.no_grad():
        scores = scorer(queries, titles)
        padded = scorer(torch.nn.functional.pad(queries, (0, 4)), torch.nn.functional.pad(titles, (0, 7)))
        alone = torch.cat([scorer(queries[i : i + 1], titles[i : i + 1]) for i in range(len(queries))])
    assert scores.shape == (len(queries),)
    assert scores.std() > 1e-4
    torch.testing.assert_close(padded, scores)
    torch.testing.assert_close(alone, scores)


@pytest.mark.parametrize("model", TOWERS)
def test_bi_encoders_give_unit_vectors_and_padding_changes_nothing(model, shop):
    torch.manual_seed(0)
    tokenizer = Tokenizer(Vocabulary.learn(shop.texts))
    tower = model(tokenizer.vocabulary.size)
    batch = tokenizer.titles(shop.texts[:5])
    features, terms = torch.from_numpy(batch.features), torch.from_numpy(batch.terms)
    with torch.no_grad():
        vectors = tower(features, terms)
        padded = tower(torch.nn.functional.pad(features, (0, 2)), torch.nn.functional.pad(terms, (0, 3)))
    assert vectors.shape == (5, bi_encoders.DIM)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(5))
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    torch.testing.assert_close(padded, vectors)


def test_cdssm_reads_windows_of_three_words(shop):
    torch.manual_seed(0)
    tokenizer = Tokenizer(Vocabulary.learn(shop.texts))
    tower = bi_encoders.Cdssm(tokenizer.vocabulary.size)
    texts = ["red drill acme", "drill red acme"]
    batch = tokenizer.titles(texts)
    features, terms = torch.from_numpy(batch.features), torch.from_numpy(batch.terms)
    found = tower(features, terms)
    table = tower.trigrams(features).detach().double().numpy()
    for row in range(len(texts)):
        padded = [0, *terms[row].tolist(), 0]
        windows = [np.split(table[padded[i]], 3)[0] + np.split(table[padded[i + 1]], 3)[1]
                   + np.split(table[padded[i + 2]], 3)[2] for i in range(3)]  # fmt: skip
        pooled = np.tanh(np.stack(windows) + tower.bias.detach().double().numpy()).max(axis=0)
        weight, bias = (p.detach().double().numpy() for p in tower.semantic.parameters())
        vector = np.tanh(weight @ pooled + bias)
        np.testing.assert_allclose(found[row].detach().numpy(), vector / np.linalg.norm(vector), atol=1e-5)


@given(seed=st.integers(0, 1000), lengths=st.tuples(st.integers(1, 4), st.integers(1, 6)))
@settings(max_examples=25, deadline=None)
def test_the_kernels_agree_with_the_formula(seed, lengths):
    rng = np.random.default_rng(seed)
    query, title = rng.normal(size=(1, 4, 5)), rng.normal(size=(1, 6, 5))
    title[0, 0] = query[0, 0]  # an exact match
    there = [np.arange(4)[None] < lengths[0], np.arange(6)[None] < lengths[1]]
    tensors = [torch.from_numpy(array) for array in (query, title, *there)]
    found = matching.Kernels().double()(*tensors)[0]
    kernels = [(1.0, 1e-3)] + [(0.9 - 0.2 * k, 0.1) for k in range(10)]
    for k, (mu, sigma) in enumerate(kernels):
        expected = 0.0
        for i in range(lengths[0]):
            count = 0.0
            for j in range(lengths[1]):
                a, b = query[0, i], title[0, j]
                cosine = float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))
                count += math.exp(-((cosine - mu) ** 2) / (2.0 * sigma**2))
            expected += 0.1 * math.log(max(count, 1e-10))
        # mu and sigma are float32
        assert float(found[k]) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_stretched_picture_repeats_its_own_rows_and_columns_in_order():
    picture = torch.arange(12.0).view(1, 1, 3, 4)
    grown = matching.stretch(picture, torch.tensor([2]), torch.tensor([3]))[0, 0]
    assert grown.shape == (matching.QUERY_WORDS, matching.TITLE_WORDS)
    assert grown[:, 0].tolist() == [0.0] * 5 + [4.0] * 5
    assert grown[0].tolist() == [0.0] * 8 + [1.0] * 8 + [2.0] * 8


def test_words_of_one_stem_match_and_unknown_words_share_a_bucket(lexicon, shop):
    plural = lexicon.queries(["red drills"])[0]
    singular = lexicon.titles(["acme red drill"])[0]
    assert plural[:2].tolist() == singular[1:3].tolist()
    assert lexicon.word[0] == 0
    assert (lexicon.word[1:] > 0).all()


def test_words_that_keep_the_same_company_lie_close():
    torch.manual_seed(0)
    texts = [f"{one} {other}" for one, others in COMPANY.items() for other in others for _ in range(2)]
    lexicon = Lexicon(Shop([], texts, {"train": {}}))
    vectors = torch.nn.functional.normalize(lexicon.vectors_by_company(4), dim=1)
    brush, roller, bench = (vectors[lexicon.word[lexicon.titles([text])[0, 1]]] for text in texts[0:5:2])
    assert brush @ roller > 0.9 > 0.2 > abs(brush @ bench)


@pytest.mark.parametrize(
    "make",
    [
        lambda shop: interaction.Interaction(matching.Knrm, shop, seed=0, rate=0.05),
        lambda shop: bi_encoders.BiEncoder(bi_encoders.Dssm, shop, seed=0, rate=0.01),
    ],
    ids=["interaction", "bi-encoder"],
)
def test_training_keeps_the_state_that_was_best_on_dev(make, shop, monkeypatch):
    monkeypatch.setattr(fit, "EVALUATION_COST", 0.0)
    system = make(shop)
    lines = []
    fitted = fit.fit(system, core_minutes=0.02, report=lines.append)
    with torch.no_grad():
        metrics = evaluate(system.ranker(system.dev), system.dev, "dev")
    assert fitted.steps > 0
    assert len(lines) >= 2
    assert fit.dev_metric(metrics) == pytest.approx(fitted.best)


def test_training_ends_early_when_dev_no_longer_improves(shop, monkeypatch):
    monkeypatch.setattr(fit, "EVALUATIONS", 1e9)
    monkeypatch.setattr(fit, "EVALUATION_COST", 0.0)
    monkeypatch.setattr(fit, "dev_metric", lambda metrics: 0.5)
    system = interaction.Interaction(matching.Knrm, shop, seed=0, rate=1e-3)
    lines = []
    fitted = fit.fit(system, core_minutes=5.0, report=lines.append)
    assert fitted.stopped_early
    assert len(lines) == 1 + fit.PATIENCE * (fit.FALLS + 1)


def test_re_ranking_orders_bm25s_candidates_by_the_models_scores(shop):
    system = interaction.Interaction(matching.Duet, shop, seed=0, rate=1e-3)
    system.model.eval()
    ranker = system.ranker(shop)
    queries = list(shop.judged["test"])[:3]
    with torch.no_grad():
        nearest = ranker.nearest(queries)
        scores = ranker.scores(queries, nearest)
    for rows, values, candidates in zip(nearest, scores, shop.bm25.nearest(queries), strict=True):
        assert sorted(rows) == sorted(candidates)
        assert values == sorted(values, reverse=True)


def test_bm25_scores_what_it_finds_and_bears_a_query_of_stop_words():
    bm25 = Bm25(["a red drill", "a blue drill", "the saw", "hammers"])
    assert bm25.nearest(["red drills", "the"]) == [[0, 1], []]
    both = bm25.scores(["red drills", "the"], [[0, 1, 3], [0]])
    assert both[0][0] > both[0][1] > both[0][2] == 0.0
    assert both[1] == [0.0]


def test_a_cut_keeps_every_graded_product_of_its_queries(shop):
    cut = shop.cut(queries=3, products=5, seed=0)
    assert list(cut.judged) == ["dev"]
    assert len(cut.judged["dev"]) == 3
    for query, graded in cut.judged["dev"].items():
        expected = {shop.texts[row]: grade for row, grade in shop.judged["dev"][query].items()}
        assert {cut.texts[row]: grade for row, grade in graded.items()} == expected


def test_every_cell_has_a_file_of_its_own_and_its_baselines_are_known():
    names = [cell.name for cell in cells.every_cell([0, 1, 2])]
    assert len(set(names)) == len(names)
    assert {"bm25-s0", "knrm-s2", "anthem-s0", "anthem-8-s1", "flipkart-e-anthem-128-s0"} <= set(names)
    assert "bm25-s1" not in names
    assert set(cells.RE_RANKERS) <= set(cells.BASELINES)


def test_the_default_is_a_system_of_its_own_that_changes_nothing_and_is_not_tuned():
    assert anthem.FAMILY[anthem.DEFAULT] == {}
    assert set(anthem.FAMILY) - set(tuning.TUNED) == {anthem.DEFAULT}


def test_the_twins_change_only_what_a_recipe_has():
    for overrides in anthem.FAMILY.values():
        assert set(overrides) <= set(Recipe.model_fields)


@pytest.mark.parametrize("system", anthem.FAMILY)
def test_every_twin_trains_and_scores_as_it_ranks(system, shop):
    trained = anthem.train(shop.examples, system, dim=8, seed=0, steps=2, report=lambda line: None)
    ranker = anthem.AnthemRanker(trained, system, shop.texts)
    queries = list(shop.judged["test"])[:3]
    nearest = ranker.nearest(queries)
    for rows, scores in zip(nearest, ranker.scores(queries, nearest), strict=True):
        assert len(rows) == 100
        assert scores == pytest.approx(sorted(scores, reverse=True), abs=2e-3)
    if trained.model.config.spherical:
        torch.testing.assert_close(ranker.points.norm(dim=1), torch.full((len(shop.texts),), Recipe().radius))


@pytest.fixture
def folder(tmp_path, shop):
    home = tmp_path / "data" / "homedepot"
    home.mkdir(parents=True)
    products = [f"{row},{text}" for row, text in enumerate(shop.texts)]
    judgments = [f"{query},{row},{1 + grade / 3}" for graded in shop.judged.values()
                 for query, rows in graded.items() for row, grade in rows.items()]  # fmt: skip
    for name, lines in (
        ("products", ["product_id,title", *products]),
        ("judgments", ["query,product_id,relevance", *judgments]),
    ):
        (home / f"{name}.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return tmp_path


def test_a_cell_with_a_record_is_not_run_again_and_what_lacks_data_is_skipped(folder, capsys):
    out = folder / "out.d"
    arguments = ["--data", str(folder / "data"), "--out", str(out), "--seeds", "0", "--threads", "1"]
    command.main([*arguments, "--cells", "bm25-s0"])
    first = (out / "bm25-s0.json").read_bytes()
    record = json.loads(first)
    assert record["system"] == "bm25"
    assert record["test"]["rank"].keys() >= {"nDCG@3", "AP(rel=4)"}
    assert record["dev"]["retrieve"]["R(rel=4)@10"] > 0.5
    assert {"commit", "machine", "versions", "seed", "seconds", "steps", "stopped_early"} <= record.keys()
    capsys.readouterr()
    command.main([*arguments, "--cells", "bm25-s0"])
    assert "is there already" in capsys.readouterr().err
    assert (out / "bm25-s0.json").read_bytes() == first
    command.main([*arguments, "--cells", "flipkart-anthem-8-*"])
    assert "has no folder flipkart" in capsys.readouterr().err
    assert json.loads((folder / "out.json").read_bytes())["cells"] == 1


def test_tuning_tries_each_value_alone_and_goes_on_where_it_was_stopped(folder, monkeypatch):
    monkeypatch.setattr(tuning, "GRID", {"rate": (0.008, 0.02), "radius": (6.0,)})
    out = folder / "tuning.json"
    arguments = ["--data", str(folder / "data"), "--out", str(out), "--steps", "1", "--dim", "8", "--threads", "1"]
    tuning.main(arguments)
    report = json.loads(out.read_bytes())
    made = report["trials"]
    assert [(trial["system"], trial["rate"]) for trial in made] == [
        (system, rate) for rate in (0.008, 0.02) for system in tuning.TUNED
    ]
    assert all(0 < trial["dev_metric"] < 1 for trial in made)
    out.write_text(json.dumps({**report, "trials": made[:5]}))
    tuning.main(arguments)
    again = json.loads(out.read_bytes())["trials"]
    assert [trial["rate"] for trial in again] == [trial["rate"] for trial in made]
    assert again[:5] == made[:5]


def test_a_pattern_without_a_cell_says_which_there_are(folder):
    with pytest.raises(SystemExit, match="no cell is called nothing; there are: bm25-s0"):
        command.main(["--data", str(folder), "--out", str(folder / "out"), "--cells", "nothing"])


def _record(system, seed, dim=None, data="homedepot", **measured):
    took = {"seconds": 60.0 * seed, "core_seconds": 90.0 * seed, "steps": seed, "stopped_early": seed > 0}
    where = {"measured": f"2026-0{seed + 1}", "commit": "abc", "machine": {}, "versions": {}, "threads": 2}
    return {"data": data, "system": system, "dim": dim, "seed": seed, "parameters": 7, **took, **measured, **where}


def test_the_report_gives_mean_and_spread_over_seeds(tmp_path):
    values = [0.5, 0.6, 0.9]
    for seed, value in enumerate(values):
        metrics = {"test": {"rank": {"nDCG@3": value}}, "dev": {"rank": {"nDCG@3": 0.1}}}
        (tmp_path / f"knrm-s{seed}.json").write_text(json.dumps(_record("knrm", seed, **metrics)))
    found = report.collect(tmp_path)
    (row,) = found["systems"]
    assert row["seeds"] == [0, 1, 2]
    assert row["stopped_early"] == 2
    assert row["test"]["rank"]["nDCG@3"]["mean"] == pytest.approx(statistics.mean(values))
    assert row["test"]["rank"]["nDCG@3"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert found["commits"] == ["abc"]
    assert found["measured"] == "2026-03"
    (tmp_path / "knrm-s1.json").unlink()
    (tmp_path / "knrm-s2.json").unlink()
    assert report.collect(tmp_path)["systems"][0]["test"]["rank"]["nDCG@3"] == {"mean": 0.5, "std": None}


def test_tables_are_made_from_the_report_with_the_best_system_first(tmp_path, monkeypatch):
    metrics = {protocol: dict.fromkeys(names, 0.25) for protocol, names in MEASURES.items()}
    better = {protocol: dict.fromkeys(names, 0.75) for protocol, names in MEASURES.items()}
    spearman = ["depth_radius_products", "depth_radius_paths", "depth_radius_names"]
    measures = dict.fromkeys([*spearman, "depth_volume_paths", "depth_volume_names", "found@10", "found@100"], 0.5)
    records = [
        _record("knrm", 0, test=metrics, re_ranks="BM25 top 100"),
        _record("anthem", 0, 8, test=metrics),
        _record("anthem", 0, 16, test=better),
        _record("anthem", 1, 16, test=better),
        _record("anthem", 0, test=better),
        _record("anthem", 1, test=better),
        _record("anthem", 0, 8, data="flipkart", measures=measures),
    ]
    for number, record in enumerate(records):
        (tmp_path / f"{number}.json").write_text(json.dumps(record))
    spread = {protocol: {name: {"mean": 0.5, "std": 0.1} for name in names} for protocol, names in MEASURES.items()}
    whole = {
        "test": {"hyperboloid": spread, "hybrid": spread},
        "runs": [{"train": {"options": {"minutes": 25.0}}}],
    }
    monkeypatch.setattr(tables, "read", lambda name: whole if name == "homedepot" else report.collect(tmp_path))
    ranked, retrieved, dims, hierarchy = (
        table().splitlines()
        for table in (tables.compare_rank, tables.compare_retrieve, tables.compare_dims, tables.compare_flipkart)
    )
    full = ["| anthem, 25 minutes", "| anthem, 25 minutes, and BM25"]
    assert [line.split(" | ")[0] for line in ranked[2:]] == ["| anthem", *full, "| knrm"]
    assert "0.500 ± 0.100" in ranked[3]
    assert "50.0" in ranked[3]
    assert "0.750 ± 0.000" in ranked[2]
    assert retrieved[-1].endswith("| BM25 top 100 |")
    assert dims[2] == "| R@10 | anthem | 0.250 | 0.750 ± 0.000 |"
    assert hierarchy[2].startswith("| anthem | 8 | 0.500 |")
    for table in (ranked, retrieved, dims, hierarchy):
        assert len({line.count("|") for line in table}) == 1


def test_the_table_of_trials_has_a_line_for_each_with_the_longest_first(monkeypatch):
    metrics = {protocol: dict.fromkeys(names, 0.25) for protocol, names in MEASURES.items()}
    trials = [
        {"system": system, "steps": steps, "dim": 8, "rate": rate, "radius": 3.0, "curvature": 0.5, "dev": metrics}
        for system, steps, rate in (("b", 400, 0.016), ("a", 400, 0.008), ("b", 1700, 0.008), ("b", 400, 0.004))
    ]
    monkeypatch.setattr(tables, "read", lambda name: {"tuning": {"trials": trials}}[name])
    lines = tables.compare_tuning().splitlines()[2:]
    told = [tuple(line.split(" | ")[i] for i in (0, 1, 3)) for line in lines]
    assert told == [("| b", "1700", "0.008"), ("| b", "400", "0.004"), ("| b", "400", "0.016"), ("| a", "400", "0.008")]
    assert lines[0].endswith("| 3.0 | 0.5 | 0.250 | 0.250 | 0.250 | 0.2500 |")


@pytest.mark.parametrize(
    ("path", "title", "expected"),
    [
        ("Furniture >> Sofa Beds >> FabHome Double Sofa Bed (Finish Colo...", "FabHome Double Sofa Bed", 2),
        ("Footwear >> Ballerinas >> AW Bellies", "AW Bellies", 2),
        ("Jewellery >> Necklaces & Chains >> Necklaces", "Necklaces by Voylla", 3),
        ("Clothing >> Jeans >> Momento Jeans", "Momento Regular Fit Men's Jeans", 3),
        ("", "anything", 0),
    ],
)
def test_the_last_level_is_dropped_if_it_is_the_products_name(path, title, expected):
    assert len(flipkart.levels(path, title)) == expected


def test_held_out_names_are_never_training_queries():
    rng = np.random.default_rng(0)
    paths = [(f"top {rng.integers(4)}", f"middle {rng.integers(20)}", f"leaf {rng.integers(30)}") for _ in range(2000)]
    tree = flipkart.Tree([str(i) for i in range(len(paths))], [f"title {i}" for i in range(len(paths))], paths)
    examples = tree.examples
    assert tree.held_out["test"]
    assert not set(tree.held_out["test"]) & {*examples.train, *examples.dev}
    assert not set(tree.held_out["dev"]) & {*examples.train, *tree.held_out["test"]}
    name = tree.held_out["test"][0]
    assert tree.carrying[name] == {row for row, path in enumerate(paths) if name in path}
