"""Requests that make little sense, or none: ``python -m benchmarks.fuzz --index … --count 100000 --out …``.

Queries, filters and bodies by chance, from almost right to plain noise, are sent to one ``saddle serve`` over a copy of
an index root. Whatever comes, the answer is one that a caller can do something with, and comes soon: a status of 500
and above, none at all, or one that takes longer than ten seconds is a failure, and is written down with its request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_from_bytes, urlencode

import uvloop

from benchmarks.load import Client, LoadError
from benchmarks.provenance import record
from benchmarks.serving import Served, saddle, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("saddle", "fastapi", "pydantic", "uvicorn", "httptools", "orjson", "lark")
_CALLERS = 8
_PATIENCE = 10.0
_FAILURES = 20
_TRUST = 0.7
"""How often a part of a request is one that could be meant."""
_JSON, _LINES = "application/json", "application/x-ndjson"


class Nonsense:
    """Texts, filters, expressions and bodies by chance; ``columns`` and ``ids`` are those of the catalogue."""

    def __init__(self, *, columns: Sequence[str], ids: Sequence[str], seed: int) -> None:
        self._chance = random.Random(seed)
        self._columns, self._ids = columns, ids
        self._words = (
            "drill",
            "oak door",
            '1/2" pvc',
            "3M",
            "18 V",
            "œuvre",
            "ﬁlter",
            "電動ドリル",
            "مصباح",
            "🔨",
            "e\u0301",
        )
        self._strange = ("\x00", "\u200b", "\u202e", "\ufeff", "\ud800", "\udfff", "\t", "\n", "\r", "\x7f", "\u2028",
                         "\U0010ffff", "%", "&", "\\", "'", "`", "<", "\u0300" * 40)  # fmt: skip

    def text(self) -> str:
        """Words, strange characters, or very many of one."""
        chance = self._chance
        kind = chance.random()
        if kind < _TRUST:
            return " ".join(chance.choices(self._words, k=chance.randint(1, 6)))
        if kind < 0.85:
            return "".join(chance.choices((*self._words, *self._strange, " ", ""), k=chance.randint(0, 12)))
        if kind < 0.95:
            return "".join(chr(chance.choice((chance.randrange(0x250), chance.randrange(0x110000)))) for _ in range(9))
        return chance.choice((*self._words, *self._strange)) * chance.choice((50, 600, 5000))

    def operators(self) -> str:
        """A soup of operators and words, sometimes deep."""
        soup = ("AND", "OR", "NOT", "(", ")", '"', "and", " ", "(((", "NOT NOT", *self._words)
        if self._chance.random() < 0.05:
            depth = self._chance.choice((20, 200, 3000))
            return "(" * depth + "drill" + ")" * self._chance.choice((depth, 0, depth + 1))
        return " ".join(self._chance.choices(soup, k=self._chance.randint(1, 25)))

    def expression(self, depth: int = 0) -> Any:
        """A query as JSON, or something like one."""
        kind = self._chance.random()
        if depth > 6 or kind < 0.3:
            return self.text() if self._chance.random() < _TRUST else self.junk()
        name = self._chance.choice(("and", "or", "not", "xor"))
        operands = [self.expression(depth + 1) for _ in range(self._chance.randint(0, 4))]
        return {name: operands if name != "not" or kind < 0.4 else self.expression(depth + 1)}

    def column(self) -> Any:
        """A column of the catalogue, mostly."""
        return self._chance.choice(self._columns) if self._chance.random() < _TRUST else self.text()[:80]

    def value(self) -> Any:
        """What a column could hold, or not."""
        numbers, texts = (50, -1, 0, 1e308, 1e-320, 3.5), ("3M", "Tools > Drills", self.text())
        return self._chance.choice((*numbers, *texts, True, False, None))

    def filter(self) -> Any:
        """A filter as text or as JSON, right or wrong."""
        chance = self._chance
        if chance.random() < 0.5:
            return self.filter_object()
        tokens = ("AND", "OR", "NOT", "(", ")", "=", "!=", "<", "<=", ">", ">=", "IN", "BETWEEN", "UNDER", "IS", "NULL",
                  ",", "`", "'", '"', "\\", str(self.column()), json.dumps(self.value()))  # fmt: skip
        if chance.random() < _TRUST:
            operator = chance.choice(("=", "!=", "<", ">=", "UNDER"))
            parts = [f"{self.column()} {operator} {json.dumps(self.value())}" for _ in range(chance.randint(1, 4))]
            return chance.choice((" AND ", " OR ", " AND NOT ", " ")).join(parts)
        return " ".join(chance.choices(tokens, k=chance.randint(0, 30)))

    def filter_object(self, depth: int = 0) -> Any:
        """A filter as JSON, right or wrong."""
        chance = self._chance
        kind = chance.random()
        if depth > 5 or kind < 0.1:
            return self.junk()
        if kind < 0.4:
            name = chance.choice(("and", "or", "not"))
            parts = [self.filter_object(depth + 1) for _ in range(chance.randint(0, 3))]
            return {name: parts if name != "not" else self.filter_object(depth + 1)}
        tests = ("lt", "lte", "gt", "gte", "under", "like")
        tested = {chance.choice(tests): self.value() for _ in range(chance.randint(0, 3))}
        return {str(self.column()): chance.choice((tested, self.value(), [self.value() for _ in range(3)]))}

    def junk(self) -> Any:
        """JSON of any kind."""
        chance = self._chance
        deep: Any = "x"
        for _ in range(chance.choice((0, 0, 0, 5, 60))):
            deep = chance.choice(([deep], {"and": deep}, {"not": deep}))
        return chance.choice((None, True, [], {}, 10**30, -0.0, "", self.text(), deep, [[[]]], {"": ""}))

    def number(self) -> Any:
        """A number that could be meant, mostly."""
        return self._chance.choice((1, 5, 10, 100)) if self._chance.random() < _TRUST else self.junk()

    def identifier(self) -> str:
        """A product's id, or something else."""
        return self._chance.choice(self._ids) if self._chance.random() < _TRUST else self.text()

    def search(self) -> dict[str, Any]:
        """The body of a search."""
        chance = self._chance
        syntax = chance.choice(("plain", "operators"))
        query = chance.choices((self.text, self.operators, self.expression), (3, 1, 1))[0]()
        body: dict[str, Any] = {"query": query, "syntax": syntax}
        more: dict[str, Callable[[], Any]] = {
            "filter": self.filter,
            "limit": self.number,
            "offset": self.number,
            "mode": lambda: chance.choice(("hybrid", "hyperboloid", "lexical", self.junk())),
            "sort": lambda: chance.choice(("", "-")) + str(self.column()),
            "facets": lambda: [self.column() for _ in range(chance.randint(0, 3))],
            "facet_size": self.number,
            "fields": lambda: [self.column() for _ in range(chance.randint(0, 3))],
        }
        body |= {name: make() for name, make in more.items() if chance.random() < 0.2}
        return body if chance.random() < 0.95 else {**body, self.text()[:20]: self.junk()}

    def product(self) -> Any:
        """A product, right or wrong."""
        if self._chance.random() < 0.2:
            return self.junk()
        product = {"product_id": f"fuzz{self._chance.randrange(500)}", "title": self.text(), "price": self.number()}
        product |= {str(self.column()): self.value() for _ in range(self._chance.randint(0, 3))}
        if self._chance.random() < 0.2:
            product["deleted"] = self._chance.choice((True, True, self.junk()))
        return product

    def bytes_of(self, document: Any) -> bytes:
        """JSON as bytes; often with a piece cut out, doubled, or made noise of."""
        body = json.dumps(document).encode()
        chance = self._chance
        if chance.random() < 0.85 or not body:
            return body
        start, end = sorted(chance.randrange(len(body) + 1) for _ in range(2))
        noise = (b"", body[start:end] * 2, chance.randbytes(min(40, end - start)), b"NaN", b"1e999", b"[" * 20_000)
        return body[:start] + chance.choice(noise) + body[end:]

    def request(self) -> tuple[str, str, str, bytes, str]:
        """A kind, a method, a path, a body and its media type."""
        chance = self._chance
        other = chance.choice(("", "text/plain", _LINES, "multipart/form-data", "application/vnd.x+json"))
        media = _JSON if chance.random() < 0.97 else other
        kinds = {"search": 40, "by url": 12, "batch": 6, "similar": 6, "explain": 6, "store": 8, "bulk": 8, "path": 6}
        kind = chance.choices(tuple(kinds), tuple(kinds.values()))[0]
        if kind == "search":
            return kind, "POST", "/v1/search", self.bytes_of(self.search()), media
        if kind == "by url":
            given = {"q": self.text(), **{name: self.junk() for name in ("limit", "offset") if chance.random() < 0.2}}
            given |= {"filter": str(self.filter())} if chance.random() < 0.5 else {"sort": str(self.column())}
            return kind, "GET", f"/v1/search?{_urlencoded(given)}", b"", ""
        if kind == "batch":
            searches = [self.search() for _ in range(chance.choice((1, 3, 8, 70)))]
            return kind, "POST", "/v1/search/batch", self.bytes_of({"searches": searches}), media
        if kind == "similar":
            body = {"product_id": self.identifier(), "limit": self.number(), "filter": self.filter()}
            return kind, "POST", "/v1/similar", self.bytes_of(body), media
        if kind == "explain":
            body = {"product_id": self.identifier(), "query": chance.choice((self.text(), self.expression()))}
            return kind, "POST", "/v1/explain", self.bytes_of(body), media
        if kind == "store":
            path = f"/v1/products/{_quoted(chance.choice((f'fuzz{chance.randrange(500)}', self.text()[:300])))}"
            method = chance.choice(("PUT", "PUT", "GET", "DELETE"))
            return kind, method, path, self.bytes_of(self.product()) if method == "PUT" else b"", media
        if kind == "bulk":
            lines = b"\n".join(self.bytes_of(self.product()) for _ in range(chance.randint(0, 12)))
            return kind, "POST", "/v1/products", lines, chance.choice((_LINES, _LINES, media))
        noise = quote_from_bytes(chance.randbytes(chance.randint(0, 30)))
        path = chance.choice(("/v1/", "/v1/snapshots/", "/", "/docs/", "/v1/products/../../")) + noise
        return kind, chance.choice(("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")), path, b"", media


def main(arguments: list[str] | None = None) -> None:
    """Send them and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="index root, such as var/demo/index; it is copied")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--count", type=int, default=100_000, help="how many requests")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        index, log = Path(folder) / "index", Path(folder) / "serve.log"
        shutil.copytree(asked.index, index)
        with serving(*saddle(index), log=log) as served:
            found = uvloop.run(_measured(served, asked))
        unexpected = [line for line in log.read_text(encoding="utf-8").splitlines() if "unexpected error" in line]
    record(
        asked.out,
        "fuzz",
        f"python -m benchmarks.fuzz --index … --count {asked.count} --seed {asked.seed}",
        PACKAGES,
        {"seed": asked.seed, **found},
    )
    print(json.dumps(found, indent=2))
    for line in unexpected[:3]:
        print(line, file=sys.stderr)
    if found["failed"]:
        sys.exit(f"{found['failed']} of {asked.count:,} requests failed")


async def _measured(served: Served, asked: argparse.Namespace) -> dict[str, Any]:
    answers: dict[str, Counter[int]] = {}
    failures: list[dict[str, Any]] = []
    seconds: list[float] = []
    async with Client(served.url) as client:
        products = [hit["product"] for hit in (await client.get("/v1/search?q=drill&limit=50"))["hits"]]
        columns = {name for product in products for name in ("product_id", *product, *product["attributes"])}
        ids = [product["product_id"] for product in products]
        nonsense = Nonsense(columns=sorted(columns - {"attributes"}), ids=ids, seed=asked.seed)
        turns = iter(range(asked.count))
        before = served.resident()

        async def caller() -> None:
            for number in turns:
                kind, method, path, body, media = nonsense.request()
                began = time.perf_counter()
                try:
                    async with asyncio.timeout(_PATIENCE):
                        status, _ = await client.send(method, path, body, media)
                except (LoadError, TimeoutError):
                    status = 0
                seconds.append(time.perf_counter() - began)
                answers.setdefault(kind, Counter())[status] += 1
                if status >= 500 or not status:
                    failures.append({"status": status, "method": method, "path": path[:500], "body": repr(body[:500])})
                if number % 10_000 == 9_999:
                    print(f"{number + 1:,} sent, {len(failures)} failed", file=sys.stderr)

        await asyncio.gather(*(caller() for _ in range(_CALLERS)))
        after = await client.get("/v1/search?q=drill")
    cuts = statistics.quantiles(seconds, n=1000)
    return {
        "requests": asked.count,
        "failed": len(failures),
        "failures": failures[:_FAILURES],
        "statuses": {kind: {str(status): n for status, n in sorted(found.items())} for kind, found in answers.items()},
        "median_ms": round(1e3 * cuts[499], 2),
        "p999_ms": round(1e3 * cuts[998], 2),
        "slowest_ms": round(1e3 * max(seconds), 1),
        "hits_afterwards": len(after["hits"]),
        "resident_mib": [before >> 20, served.resident() >> 20],
    }


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


def _urlencoded(given: dict[str, Any]) -> str:
    return urlencode({name: str(value) for name, value in given.items()}, errors="surrogatepass")


if __name__ == "__main__":
    main()
