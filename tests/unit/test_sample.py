from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import orjson
import pytest
import typer
from typer.testing import CliRunner

from model.catalog import Product, Rejects, read_interactions, read_judgments, read_products
from model.sample import files, wording
from model.sample.behaviour import Habits
from model.sample.draws import Draws
from model.sample.queries import relevance
from model.sample.shop import Shop
from model.sample.taxonomy import taxonomy
from model.text import words
from service.commands.sample import sample

if TYPE_CHECKING:
    from pathlib import Path

    from model.rows import Format
    from model.sample.queries import Level, Query

LEVELS: tuple[Level, ...] = ("broad", "middle", "narrow")
RUNNER = CliRunner()
APP = typer.Typer()
APP.command()(sample)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(2000, seed=3)


@pytest.fixture(scope="module")
def catalog(shop: Shop) -> dict[str, Product]:
    return {product.product_id: product for product in shop.products()}


def subtype_of(product: Product) -> str:
    return product.category_path.split(" > ")[2]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def expected_relevance(query: Query, product: Product) -> float:
    """The oracle: worth told from the catalogue alone, product by product."""
    wanted = [taxonomy().subtypes[index] for index in query.subtypes]
    if subtype_of(product) not in {kind.name for kind in wanted}:
        type_name = product.category_path.split(" > ")[1]
        return 1.67 if type_name == wanted[0].type_name else 1.0
    missing = sum(product.attributes.get(key) != value for key, value in query.asked)
    missing += query.brand is not None and product.brand != query.brand
    return {0: 3.0, 1: 2.33}.get(missing, 2.0)


def test_the_taxonomy_is_rich_and_its_words_are_unambiguous() -> None:
    kinds, types = taxonomy().subtypes, taxonomy().types
    assert len({kind.department for kind in kinds}) >= 8
    assert len(types) >= 40
    assert len(kinds) >= 120
    assert len({kind.name for kind in kinds}) == len(kinds)
    terms = Counter(name.lower() for kind in kinds for name in kind.names)
    terms.update(noun.lower() for group in types for noun in group.nouns)
    assert [term for term, count in terms.items() if count > 1] == []
    assert all(2 <= len(kind.attributes) <= 5 for kind in kinds)


def test_one_brand_has_one_price_tier_within_a_department() -> None:
    for kind in taxonomy().subtypes:
        assert len({brand.name for brand in kind.brands}) == len(kind.brands)
        assert all(0.4 < brand.tier < 2 for brand in kind.brands)


def test_the_same_seed_and_size_write_the_same_bytes_under_any_hash_seed(tmp_path: Path) -> None:
    for hash_seed in ("1", "2"):
        code = "import sys; from service.commands.sample import sample; from pathlib import Path; "
        code += "sample(out=Path(sys.argv[1]), products=120, seed=5, as_json=True)"
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / hash_seed)],
            env=environment,
            check=True,
            capture_output=True,
        )
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def test_another_seed_makes_another_shop() -> None:
    one, two = (list(Shop(60, seed=seed).products()) for seed in (0, 1))
    assert one != two


def test_a_shop_can_be_read_again_and_in_any_order(shop: Shop) -> None:
    fresh = Shop(2000, seed=3)
    events = list(fresh.interactions())
    assert events == list(shop.interactions())
    assert list(fresh.judgments()) == list(shop.judgments())
    assert list(fresh.products()) == list(shop.products()) == list(shop.products())


@pytest.mark.parametrize("size", [1, 2, 50, 333])
def test_a_shop_has_the_size_that_was_asked(size: int) -> None:
    shop = Shop(size)
    ids = [product.product_id for product in shop.products()]
    assert len(set(ids)) == len(ids) == size
    judged = {judgment.product_id for judgment in shop.judgments()}
    clicked = {event.product_id for event in shop.interactions()}
    assert judged | clicked <= set(ids)
    assert judged


@pytest.mark.parametrize(("name", "value"), [("size", 0), ("queries", 0), ("seed", -1), ("sessions", 0)])
def test_an_impossible_shop_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be at least \d, not {value}"):
        Shop(**{name: value})


def test_relevance_is_what_the_catalogue_says(shop: Shop, catalog: dict[str, Product]) -> None:
    meant = {query.text: query for query in shop.queries}
    judgments = list(shop.judgments())
    for judgment in judgments:
        assert judgment.relevance == expected_relevance(meant[judgment.query], catalog[judgment.product_id])
    assert set(Counter(j.relevance for j in judgments)) == {1.0, 1.67, 2.0, 2.33, 3.0}
    pairs = [(judgment.query, judgment.product_id) for judgment in judgments]
    assert len(set(pairs)) == len(pairs)


def test_every_query_has_a_perfect_product_and_something_worse(shop: Shop) -> None:
    graded = defaultdict(set)
    for judgment in shop.judgments():
        graded[judgment.query].add(judgment.relevance)
    assert graded.keys() == {query.text for query in shop.queries}
    assert all(3.0 in found for found in graded.values())
    assert statistics.mean(len(found) > 1 for found in graded.values()) > 0.99


def test_the_broader_the_query_the_more_products_are_perfect(shop: Shop) -> None:
    perfect = defaultdict(list)
    for query in shop.queries:
        perfect[query.level].append(int((relevance(shop.stock, query)[1] == 3.0).sum()))
    broad, middle, narrow = (statistics.mean(perfect[level]) for level in LEVELS)
    assert broad > 3 * middle > 6 * narrow >= 6


def test_queries_can_be_searched_by_and_most_share_words_with_a_perfect_title(
    shop: Shop, catalog: dict[str, Product]
) -> None:
    titles = defaultdict(set)
    for judgment in shop.judgments():
        if judgment.relevance == 3.0:
            titles[judgment.query].update(words(catalog[judgment.product_id].title))
    shared = [len(titles[q.text] & set(words(q.text))) / len(words(q.text)) for q in shop.queries]
    # neither hopeless nor mere word matching
    assert 0.6 < statistics.mean(shared) < 0.97
    assert statistics.mean(share < 1 for share in shared) > 0.2


def test_titles_vary_in_order_and_wording(catalog: dict[str, Product]) -> None:
    products = list(catalog.values())
    first = statistics.mean(product.title.startswith(product.brand) for product in products)
    assert 0.4 < first < 0.95
    for unit in ("in", "oz", "count"):
        forms = [form.replace("{}", "").strip() for form in taxonomy().units[unit]]
        assert sum(any(form in product.title for product in products) for form in forms) >= 3
    assert len({product.title for product in products}) > 0.98 * len(products)
    names = {kind.name: kind.names for kind in taxonomy().subtypes}
    usual = statistics.mean(names[subtype_of(p)][0].lower() in p.title.lower() for p in products)
    assert 0.45 < usual < 0.85


def test_prices_are_skewed_and_follow_the_subtype_and_the_brand(catalog: dict[str, Product]) -> None:
    prices = [product.price or 0.0 for product in catalog.values()]
    assert min(prices) > 1
    assert statistics.mean(prices) > 1.2 * statistics.median(prices)
    medians = {kind.name: kind.price for kind in taxonomy().subtypes}
    tiers = {brand.name: brand.tier for kind in taxonomy().subtypes for brand in kind.brands}
    dear: list[float] = []
    cheap: list[float] = []
    for product in catalog.values():
        relative = (product.price or 0.0) / medians[subtype_of(product)]
        assert 0.05 < relative < 12
        (dear if tiers[product.brand] >= 1.2 else cheap).append(relative)
    assert statistics.median(dear) > 1.3 * statistics.median(cheap)


def test_clicks_have_a_long_tail(shop: Shop) -> None:
    clicks = Counter(event.product_id for event in shop.interactions() if event.event == "click")
    counts = sorted(clicks.values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.3 * sum(counts)
    assert statistics.mean(count <= 3 for count in counts) > 0.4
    assert len(counts) < shop.size


def test_sessions_hold_products_that_belong_together(shop: Shop, catalog: dict[str, Product]) -> None:
    projects = [{taxonomy().subtypes[i].name for i in project} for project in taxonomy().projects]
    bought_together = defaultdict(set)
    meant = {query.text: query for query in shop.queries}
    for event in shop.interactions():
        kind = subtype_of(catalog[event.product_id])
        if kind in {taxonomy().subtypes[i].name for i in meant[event.query].subtypes}:
            bought_together[event.session_id].add(kind)
    several = [kinds for kinds in bought_together.values() if len(kinds) > 1]
    assert len(several) > 0.3 * len(bought_together)
    # noisy clicks on other things stray from the project now and then
    assert statistics.mean(any(kinds <= project for project in projects) for kinds in several) > 0.7
    pairs = Counter(frozenset(pair) for kinds in several for pair in pairwise(sorted(kinds)))
    assert len(pairs) > 50


def test_the_stronger_the_tail_the_fewer_products_have_half_of_the_clicks() -> None:
    shares = []
    for tail in (0.0, 1.0, 3.0):
        shop = Shop(500, seed=3, sessions=3000, habits=Habits(tail=tail))
        counts = sorted(Counter(event.product_id for event in shop.interactions()).values(), reverse=True)
        shares.append(sum(counts[:50]) / sum(counts))
    assert shares[0] < shares[1] < shares[2]


def test_noise_takes_sessions_off_their_project(catalog: dict[str, Product]) -> None:
    projects = [{taxonomy().subtypes[i].name for i in project} for project in taxonomy().projects]
    true_to_it = []
    for noise in (0.0, 0.5, 1.0):
        kinds = defaultdict(set)
        for event in Shop(2000, seed=3, habits=Habits(noise=noise)).interactions():
            kinds[event.session_id].add(subtype_of(catalog[event.product_id]))
        several = [found for found in kinds.values() if len(found) > 1]
        true_to_it.append(statistics.mean(any(found <= project for project in projects) for found in several))
    assert true_to_it[0] > 2 * true_to_it[1] > 2 * true_to_it[2]


@pytest.mark.parametrize("habits", [{"tail": -1}, {"tail": 6}, {"noise": -0.1}, {"noise": 1.1}])
def test_impossible_habits_are_refused(habits: dict[str, float]) -> None:
    (name,) = habits
    with pytest.raises(ValueError, match=rf"habits' {name} must be from 0 to \d, not {habits[name]}"):
        Habits(**habits)


def test_relevant_products_are_clicked_more_often_than_others(shop: Shop) -> None:
    worth = {(judgment.query, judgment.product_id): judgment.relevance for judgment in shop.judgments()}
    clicked = Counter(worth[event.query, event.product_id] for event in shop.interactions() if event.event == "click")
    assert clicked[3.0] > 0.5 * clicked.total()
    assert 0 < clicked[1.0] + clicked[1.67] < 0.25 * clicked.total()


def test_a_purchase_follows_a_cart_and_a_cart_a_click(shop: Shop) -> None:
    events = list(shop.interactions())
    counts = Counter(event.event for event in events)
    assert counts["click"] > 2 * counts["cart"] > 2 * counts["purchase"] > 0.05 * counts["click"]
    before = {"cart": "click", "purchase": "cart"}
    for last, event in pairwise(events):
        if event.event in before:
            assert (last.session_id, last.product_id, last.event) == (
                event.session_id,
                event.product_id,
                before[event.event],
            )
        if last.session_id == event.session_id:
            assert last.time < event.time
    users = {event.session_id: event.user_id for event in events}
    assert all(users[event.session_id] == event.user_id for event in events)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_format_reads_back_as_the_shop(kind: Format, tmp_path: Path) -> None:
    shop, rejects = Shop(300), Rejects()
    path = tmp_path / f"catalog.{kind}"
    assert files.write_catalog(path, shop.products(), kind=kind) == 300
    assert list(read_products(path, rejects)) == list(shop.products())
    assert rejects.count == 0


def test_judgments_and_interactions_read_back_as_the_shop(tmp_path: Path) -> None:
    shop, rejects = Shop(300), Rejects()
    judgments, interactions = tmp_path / "judgments.csv", tmp_path / "interactions.csv"
    files.write_judgments(judgments, shop.judgments())
    files.write_interactions(interactions, shop.interactions())
    assert list(read_judgments(judgments, rejects)) == list(shop.judgments())
    assert list(read_interactions(interactions, rejects)) == list(shop.interactions())
    assert rejects.count == 0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1.625, "in", "1-5/8 in."), (0.25, "in", "1/4 in."), (8.0, "in", "8 in."), (4.5, "oz", "4.5 oz.")],
)
def test_inches_are_written_in_fractions(value: float, unit: str, text: str) -> None:
    attribute = next(a for kind in taxonomy().subtypes for a in kind.attributes if a.unit == unit)
    assert wording.forms(taxonomy(), attribute, value)[0] == text


@pytest.mark.parametrize(
    ("noun", "category", "text"),
    [
        ("hammer drill", "Hammer Drills", "hammer drills"),
        ("dog food", "Dry Dog Food", "dog food"),
        ("scissors", "Scissors", "scissors"),
        ("paint brush", "Paint Brushes", "paint brushes"),
        ("chef's knife", "Chef's Knives", "chef's knives"),
        ("wireless battery", "Power Banks", "wireless batteries"),
        ("plush toy", "Stuffed Animals", "plush toys"),
        ("computer mouse", "Mice", "computer mice"),
    ],
)
def test_plurals(noun: str, category: str, text: str) -> None:
    assert wording.plural(noun, category) == text


def test_a_slip_changes_one_word_and_uses_the_common_misspelling() -> None:
    draws = Draws(0, "test")
    assert wording.misspelt("cordless 18v drill", taxonomy(), draws) == "cordles 18v drill"
    slips = {wording.misspelt("walnut table", taxonomy(), draws) for _ in range(50)}
    assert len(slips) > 10
    assert all(len(set(slip.split()) & {"walnut", "table"}) >= 1 for slip in slips)


def test_the_command_writes_three_files_and_says_what_to_do_next(tmp_path: Path) -> None:
    out = tmp_path / "shop"
    result = RUNNER.invoke(APP, ["--out", str(out), "--products", "60", "--queries", "25"])
    assert result.exit_code == 0
    assert {path.name for path in out.iterdir()} == {"catalog.csv", "judgments.csv", "interactions.csv"}
    for step in ("saddle train", "saddle reindex", "saddle search", "saddle evaluate"):
        assert step in result.stdout


def test_the_command_tells_scripts_what_it_wrote(tmp_path: Path) -> None:
    result = RUNNER.invoke(APP, ["--out", str(tmp_path), "--products", "60", "--json", "--format", "jsonl"])
    document = orjson.loads(result.stdout)
    assert document["files"]["products"] == {"path": str(tmp_path / "catalog.jsonl"), "rows": 60}
    assert document["files"]["judgments"]["rows"] == len(list(Shop(60).judgments()))


def test_a_directory_that_is_not_empty_is_left_alone_without_force(tmp_path: Path) -> None:
    (tmp_path / "catalog.csv").write_text("mine")
    refused = RUNNER.invoke(APP, ["--out", str(tmp_path), "--products", "60"])
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "catalog.csv").read_text() == "mine"
    assert RUNNER.invoke(APP, ["--out", str(tmp_path), "--products", "60", "--force"]).exit_code == 0
    assert (tmp_path / "catalog.csv").read_text() != "mine"
