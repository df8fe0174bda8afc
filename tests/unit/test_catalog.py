from __future__ import annotations

import csv
import gzip
import hashlib
import io
import tracemalloc
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.catalog import (
    CatalogError,
    Interaction,
    Judgment,
    Product,
    Rejects,
    fingerprint,
    read_interactions,
    read_judgments,
    read_products,
    searchable_text,
    split_of,
)
from model.text import words

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "product_id,title\n"


def products_of(path: Path) -> tuple[list[Product], Rejects]:
    rejects = Rejects()
    return list(read_products(path, rejects)), rejects


def rejected(rejects: Rejects, tmp_path: Path) -> list[tuple[int, str]]:
    out = tmp_path / "rejects.jsonl"
    rejects.write(out)
    return [(entry["line"], entry["reason"]) for entry in map(orjson.loads, out.read_bytes().splitlines())]


def csv_file(tmp_path: Path, text: str | bytes, name: str = "c.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


TITLES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from("\",\\' 1a"),
    min_size=1,
    max_size=40,
).filter(lambda t: words(t) and len(t.strip()) > 0)


@given(titles=st.lists(TITLES, min_size=1, max_size=8))
def test_every_format_gives_the_same_products(titles: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("formats")
    rows = [{"product_id": f"p{i}", "title": title, "size": 4.5} for i, title in enumerate(titles)]
    text = io.StringIO()
    writer = csv.DictWriter(text, ["product_id", "title", "size"])
    writer.writeheader()
    writer.writerows(rows)
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    (folder / "a.csv").write_bytes(text.getvalue().encode())
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.getvalue().encode()))
    (folder / "a.jsonl").write_bytes(lines)
    (folder / "a.ndjson.gz").write_bytes(gzip.compress(lines))
    pq.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")

    expected = [Product(f"p{i}", title.strip(), attributes={"size": 4.5}) for i, title in enumerate(titles)]
    for name in ("a.csv", "a.csv.gz", "a.jsonl", "a.ndjson.gz", "a.parquet"):
        found, rejects = products_of(folder / name)
        assert found == expected
        assert (rejects.count, rejects.accepted) == (0, len(titles))


def test_all_columns_are_read_and_the_others_become_attributes(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "product_id,title,description,brand,category_path,price,image,voltage,sku,color,cordless,empty\n"
        "7,Drill,Drills holes,Torvane,Tools > Drills,89.5,7.jpg,18,00123,Black,true,\n",
    )
    (product,), _ = products_of(path)
    assert product == Product(
        "7", "Drill", "Drills holes", "Torvane", "Tools > Drills", 89.5, "7.jpg",
        {"voltage": 18.0, "sku": "00123", "color": "Black", "cordless": True},
    )  # fmt: skip


def test_formats_with_types_keep_text_as_text(tmp_path: Path) -> None:
    row = {
        "product_id": 12,
        "title": "Hose",
        "sku": "18",
        "watts": 5,
        "tags": ["a", "b"],
        "big": 2**60,
        "none": None,
    }
    path = csv_file(tmp_path, orjson.dumps(row), "c.jsonl")
    (product,), _ = products_of(path)
    assert product.product_id == "12"
    assert product.attributes == {"sku": "18", "watts": 5.0, "tags": '["a","b"]', "big": str(2**60)}


def test_whole_float_ids_read_as_whole_numbers(tmp_path: Path) -> None:
    pq.write_table(pa.table({"product_id": [1.0, 2.0], "title": ["a", "b"]}), tmp_path / "c.parquet")
    found, _ = products_of(tmp_path / "c.parquet")
    assert [product.product_id for product in found] == ["1", "2"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (",No id", "empty product_id"),
        ("  ,No id", "empty product_id"),
        ("a,Again", "duplicate product_id: first on line 2"),
        ("b,", "empty title"),
        ("b,  ", "empty title"),
        ("b,***", "title without a letter or digit"),
        ("b,Saw,1,2", "wrong number of fields: 4, the header has 3"),
        ("b,Saw", "wrong number of fields: 2, the header has 3"),
        ("b,Saw,cheap", "price is not a finite number: cheap"),
        ("b,Saw,nan", "price is not a finite number: nan"),
        ("b,Saw,1e999", "price is not a finite number: 1e999"),
        ("b,Saw,1_0", "price is not a finite number: 1_0"),
        ("b,Saw,-1", "negative price: -1"),
        ("b\tc,Saw,1", "control character in product_id"),
        (f"{'i' * 257},Saw,1", "product_id longer than 256 characters: 257"),
        (f"b,{'t' * 2001},1", "title longer than 2,000 characters: 2,001"),
        ('b,"Saw"s,1', "broken CSV row: ',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line_and_reason(row: str, reason: str, tmp_path: Path) -> None:
    row += "," if row.count(",") == 1 and not row.startswith("b,Saw") else ""
    path = csv_file(tmp_path, f"product_id,title,price\na,Hammer,1\n{row}\nz,Nails,2\n")
    found, rejects = products_of(path)
    assert [product.product_id for product in found] == ["a", "z"]
    assert rejected(rejects, tmp_path) == [(3, reason)]


def test_an_id_a_title_and_a_price_at_the_limit_pass(tmp_path: Path) -> None:
    path = csv_file(tmp_path, f"product_id,title,price\n{'i' * 256},{'t' * 2000},0\n")
    (product,), rejects = products_of(path)
    assert (product.price, rejects.count) == (0.0, 0)


def test_lines_are_counted_in_the_file_through_quoted_line_ends_and_blank_lines(tmp_path: Path) -> None:
    path = csv_file(tmp_path, HEADER + 'a,"Two\nlines"\n\nb,\r\nc,"Three\n\nlines"\nd,\n')
    found, rejects = products_of(path)
    assert [product.title for product in found] == ["Two lines", "Three lines"]
    assert rejected(rejects, tmp_path) == [(5, "empty title"), (9, "empty title")]


@pytest.mark.parametrize("opened", ['b,"Ladder', '"b,Ladder'])
def test_a_quote_never_closed_loses_only_its_own_line(opened: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, f"{HEADER}a,Hammer\n{opened}\nc,Nails\n\nd,Screws\ne,\n")
    found, rejects = products_of(path)
    assert [product.product_id for product in found] == ["a", "c", "d"]
    assert rejected(rejects, tmp_path) == [
        (3, "broken CSV row: unexpected end of data"),
        (7, "empty title"),
    ]


def test_a_stray_quote_does_not_swallow_the_rows_up_to_the_next_one(tmp_path: Path) -> None:
    path = csv_file(tmp_path, f'{HEADER}a,"Hammer\nb,Nails\nc,"Big" screws\nd,Saw\n')
    found, rejects = products_of(path)
    assert [product.product_id for product in found] == ["b", "d"]
    assert [line for line, _ in rejected(rejects, tmp_path)] == [2, 4]


def test_inch_marks_in_plain_fields_are_no_quotes(tmp_path: Path) -> None:
    (product,), _ = products_of(csv_file(tmp_path, f'{HEADER}a,PVC pipe 1/2" x 10"\n'))
    assert product.title == 'PVC pipe 1/2" x 10"'


def test_a_field_beyond_the_size_limit_is_one_bad_row(tmp_path: Path) -> None:
    path = csv_file(tmp_path, f"{HEADER}a,{'x' * 200_000}\nb,Nails\n")
    found, rejects = products_of(path)
    assert [product.product_id for product in found] == ["b"]
    assert rejected(rejects, tmp_path) == [(2, "broken CSV row: field larger than field limit (131072)")]


@pytest.mark.parametrize("name", ["c.csv", "c.jsonl"])
def test_a_row_that_is_not_utf8_is_set_aside_readably(name: str, tmp_path: Path) -> None:
    rows = {
        "c.csv": b"product_id,title\na,Caf\xe9\nb,Caf\xc3\xa9\n",
        "c.jsonl": b'{"product_id":"z","title":"Z"}\n{"product_id":"a","title":"Caf\xe9"}\n'
        b'{"product_id":"b","title":"Caf\xc3\xa9"}\n',
    }
    found, rejects = products_of(csv_file(tmp_path, rows[name], name))
    assert found[-1].title == "Café"
    assert rejected(rejects, tmp_path) == [(2, "not UTF-8")]
    assert b"Caf\\\\xe9" in (tmp_path / "rejects.jsonl").read_bytes()


def test_broken_json_lines_are_set_aside(tmp_path: Path) -> None:
    text = '\n{"product_id": "a", "title": "Saw"}\n{"product_id": "b", \n["c"]\n{"title": "No id"}\n'
    found, rejects = products_of(csv_file(tmp_path, text, "c.jsonl"))
    assert [product.product_id for product in found] == ["a"]
    lines = rejected(rejects, tmp_path)
    assert [line for line, _ in lines] == [3, 4, 5]
    assert [reason.partition(":")[0] for _, reason in lines] == [
        "broken JSON", "not a JSON object", "empty product_id",
    ]  # fmt: skip


def test_parquet_rows_are_numbered_and_bytes_are_left_in_the_file(tmp_path: Path) -> None:
    table = pa.table({"product_id": ["a", None, "a"], "title": ["Saw", "Axe", "Hoe"], "jpeg": [b"\xff"] * 3})
    pq.write_table(table, tmp_path / "c.parquet")
    found, rejects = products_of(tmp_path / "c.parquet")
    assert found == [Product("a", "Saw")]
    assert rejected(rejects, tmp_path) == [
        (2, "empty product_id"),
        (3, "duplicate product_id: first on line 1"),
    ]


def test_a_parquet_row_that_is_not_utf8_is_set_aside(tmp_path: Path) -> None:
    titles = pa.array([b"Saw", b"Caf\xe9", b"Axe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"product_id": ["a", "b", "c"], "title": titles}), tmp_path / "c.parquet")
    found, rejects = products_of(tmp_path / "c.parquet")
    assert [product.title for product in found] == ["Saw", "Axe"]
    assert rejected(rejects, tmp_path) == [(2, "not UTF-8")]


def test_control_characters_become_spaces(tmp_path: Path) -> None:
    row = {"product_id": "a", "title": "\x00Claw\x00\tHammer\x7f", "brand": "Tor\x1bvane", "note": "a\nb"}
    (product,), _ = products_of(csv_file(tmp_path, orjson.dumps(row), "c.jsonl"))
    assert (product.title, product.brand, product.attributes) == ("Claw Hammer", "Tor vane", {"note": "a b"})


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path: Path) -> None:
    found, rejects = products_of(csv_file(tmp_path, b'\xef\xbb\xbf"product_id",title\r\na,Saw\r\n'))
    assert (found, rejects.count) == ([Product("a", "Saw")], 0)


@pytest.mark.parametrize("text", ["sku,name\n1,Saw\n", "sku;name\n1;Saw\n"])
def test_missing_columns_are_named_in_one_line(text: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, text)
    header = text.splitlines()[0].replace(",", ", ")
    with pytest.raises(CatalogError) as caught:
        products_of(path)
    assert str(caught.value) == f"{path} lacks the columns product_id and title; it has: {header}"


def test_a_jsonl_catalogue_without_titles_is_refused_not_rejected_row_by_row(tmp_path: Path) -> None:
    path = csv_file(tmp_path, '{"product_id": 1, "name": "Saw"}\n' * 300, "c.jsonl")
    with pytest.raises(CatalogError, match="lacks the column title; it has: product_id, name"):
        products_of(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.xlsx", b"x", "unknown kind of file; its name should end in one of .csv, "),
        ("c.csv", b"", "the file is empty"),
        ("c.jsonl", b"", "the file is empty"),
        ("c.csv.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("c.csv", b"product_id,title\n", "but not one row"),
        (
            "c.csv",
            "product_id,title\na,Saw\n".encode("utf-16"),
            "its first line is not a CSV header in UTF-8",
        ),
        ("c.csv", b"product_id,title,title\na,b,c\n", "a column's name occurs twice"),
        ("c.csv.gz", b"product_id,title\na,Saw\n", "Not a gzipped file"),
        ("c.csv.gz", gzip.compress(b"product_id,title\n" + b"a,Saw\n" * 9, mtime=0)[:-12], "cannot read"),
        ("c.jsonl", b"product_id,title\na,Saw\n", "none of its first 2 lines is a JSON object"),
        ("c.parquet", b"product_id,title\na,Saw\n", "cannot read"),
    ],
)
def test_an_unusable_file_is_refused_in_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = csv_file(tmp_path, content, name)
    with pytest.raises(CatalogError) as caught:
        products_of(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_products, read_interactions, read_judgments, lambda path, _: fingerprint(path)])
def test_a_missing_file_or_a_directory_is_refused(read: Callable[[Path, Rejects], Any], tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="there is no file"):
        list(read(tmp_path / "none.csv", Rejects()))
    with pytest.raises(CatalogError, match="is a directory"):
        list(read(tmp_path, Rejects()))


def test_rejects_stop_a_run_past_the_stated_share_and_name_the_commonest_reason() -> None:
    rejects = Rejects()
    rejects.accepted = 6
    for line in range(3):
        rejects.add(line, f"duplicate product_id: first on line {line}", {})
    rejects.add(9, "empty title", {})
    rejects.check(0.4)
    with pytest.raises(CatalogError) as caught:
        rejects.check(0.39)
    assert str(caught.value) == (
        "4 of 10 rows rejected (40.0%), more than the 39.0% allowed; "
        "the commonest reason, 3 times: duplicate product_id"
    )


def test_no_rows_at_all_pass_the_check() -> None:
    Rejects().check(0.0)


def test_every_reject_is_written_however_many_and_can_be_written_again(tmp_path: Path) -> None:
    rejects = Rejects()
    tracemalloc.start()
    for line in range(4000):
        rejects.add(line, "empty title", {"description": "x" * 2000})
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 4_000_000
    assert len(rejected(rejects, tmp_path)) == 4000
    rejects.add(4000, "empty title", {})
    assert len(rejected(rejects, tmp_path)) == rejects.count == 4001


def test_interactions_need_only_a_query_and_a_product(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "query,product_id\ndrill,1\n!!,2\n,3\nsaw,\n")
    rejects = Rejects()
    assert list(read_interactions(path, rejects)) == [Interaction("drill", "1")]
    assert rejected(rejects, tmp_path) == [
        (3, "query without a letter or digit"),
        (4, "empty query"),
        (5, "empty product_id"),
    ]


def test_interactions_keep_what_the_shop_recorded(tmp_path: Path) -> None:
    text = (
        "query,product_id,relevance,event,session_id,user_id,time,page\n"
        "drill,1,2.5,click,s1,u1,2025-01-06T06:00:00Z,3\n"
        "drill,1,,cart,s1,,,\n"
        "drill,1,inf,click,,,,\n"
    )
    rejects = Rejects()
    assert list(read_interactions(csv_file(tmp_path, text), rejects)) == [
        Interaction("drill", "1", 2.5, "click", "s1", "u1", "2025-01-06T06:00:00Z"),
        Interaction("drill", "1", None, "cart", "s1"),
    ]
    assert rejected(rejects, tmp_path) == [(4, "relevance is not a finite number: inf")]


def test_judgments_need_a_finite_relevance_and_count_once(tmp_path: Path) -> None:
    text = "query,product_id,relevance\ndrill,1,3\ndrill,2,\ndrill,3,high\ndrill,1,2\nDrill,1,2\n"
    rejects = Rejects()
    found = list(read_judgments(csv_file(tmp_path, text), rejects))
    assert found == [Judgment("drill", "1", 3.0), Judgment("Drill", "1", 2.0)]
    assert rejected(rejects, tmp_path) == [
        (3, "no relevance"),
        (4, "relevance is not a finite number: high"),
        (5, "duplicate query and product_id: first on line 2"),
    ]


@pytest.mark.parametrize(
    ("product", "text"),
    [
        (Product("1", "Claw Hammer"), "Claw Hammer"),
        (Product("1", "Torvane Hammer", brand="TORVANE"), "Torvane Hammer"),
        (Product("1", "Hammer 16 oz", brand="Torvane", category_path="Tools > Claw Hammers"),
         "Hammer 16 oz torvane claw hammers"),
        (Product("1", "Saw", category_path="Saws"), "Saw saws"),
    ],
)  # fmt: skip
def test_searchable_text_adds_only_what_the_title_lacks(product: Product, text: str) -> None:
    assert searchable_text(product) == text


@given(query=st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_query_has_one_split_whatever_surrounds_it(query: str) -> None:
    bucket = int(hashlib.md5(query.strip().encode()).hexdigest(), 16) % 100
    expected = "train" if bucket < 72 else "dev" if bucket < 80 else "test"
    assert split_of(query) == split_of(f"  {query}\n") == expected


def test_the_splits_have_the_promised_shares() -> None:
    found: list[str] = [split_of(f"query {i}") for i in range(20_000)]
    shares = [found.count(part) / len(found) for part in ("train", "dev", "test")]
    assert shares == pytest.approx([0.72, 0.08, 0.20], abs=0.01)


def test_a_fingerprint_tells_files_apart_by_their_bytes(tmp_path: Path) -> None:
    one, two = csv_file(tmp_path, "abc", "1.csv"), csv_file(tmp_path, "abd", "2.csv")
    assert fingerprint(one) == "sha256:ba7816bf8f01"
    assert fingerprint(two) != fingerprint(one)
