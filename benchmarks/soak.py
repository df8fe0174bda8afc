"""An hour of all at once: ``python -m benchmarks.soak --data … --model … --work … --minutes 60 --out …``.

One ``saddle serve`` on one core; on the other core searches of every kind that arrive at random at half of the rate
that the service can answer, products that are stored and deleted, and every few minutes a reindex of the catalogue as
it is by then, whose snapshot is taken up at once. Counted is how everything was answered; followed is the service's
memory.

The catalogue gets a brand and a price, so that there is something to filter by and to count.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import json
import os
import random
import statistics
import sys
import time
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.folder import products_of, queries_of
from benchmarks.load import Client, LoadError
from benchmarks.provenance import record
from benchmarks.serving import Served, saddle, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGES = ("saddle", "fastapi", "uvicorn", "uvloop", "faiss-cpu", "onnxruntime", "numpy", "bm25s")
_CALLERS = 16
_LINES = 20
_WARM_UP = 1 / 3
"""The part of the time after which memory should not grow any more."""
_KEPT = "1"


@dataclass
class Seen:
    """What became of everything."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """By kind of request and status; 0 is no answer."""
    seconds: dict[str, array[float]] = field(default_factory=lambda: defaultdict(lambda: array("d")))
    memory: list[int] = field(default_factory=list)
    """Resident bytes, each second."""
    reindexed: list[float] = field(default_factory=list)
    """Seconds that each took."""


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--model", type=Path, required=True, help="encoder bundle trained on those products")
    parser.add_argument("--work", type=Path, required=True, help="folder for the catalogue, the index and the log")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=4.0, help="minutes from one reindex to the next")
    parser.add_argument("--stored", type=float, default=10.0, help="products stored or deleted a second")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    load_core, server_core, *_ = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {load_core})
    asked.work.mkdir(parents=True, exist_ok=True)
    requests = Requests(queries_of(asked.data, "dev"), products_of(asked.data), asked.seed)
    uvloop.run(_reindexed(requests, asked))
    log = asked.work / "serve.log"
    with serving(*saddle(asked.work / "index"), core=server_core, log=log) as served:
        found = uvloop.run(_measured(served, requests, asked))
    record(
        asked.out,
        "soak",
        f"python -m benchmarks.soak --data … --model … --work … --minutes {asked.minutes:g} "
        f"--every {asked.every:g} --stored {asked.stored:g}",
        PACKAGES,
        {
            "seed": asked.seed,
            **found,
            "errors_logged": log.read_text(encoding="utf-8").count('"level":"error"'),
        },
    )
    print(json.dumps(found, indent=2))


class Requests:
    """Requests of every kind, by chance, and the catalogue as they make it; each product gets a brand and a price."""

    def __init__(self, queries: Sequence[str], products: Sequence[dict[str, str]], seed: int) -> None:
        self._queries = queries
        self._products = [
            {**row, "brand": (row["title"].split() or [""])[0], "price": f"{1 + 7 * number % 400}.50"}
            for number, row in enumerate(products)
        ]
        self._there = {row["product_id"]: row for row in self._products}
        self._chance = random.Random(seed)
        self._words = sorted({word for query in queries for word in query.split()})
        self._gone: list[dict[str, str]] = []

    def export(self, path: Path) -> None:
        """Write the products that are there to a catalogue, whose time is the moment of which that is true."""
        moment, rows = time.time(), list(self._there.values())
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._products[0])
            writer.writeheader()
            writer.writerows(rows)
        os.utime(path, (moment, moment))

    def search(self) -> tuple[str, str, bytes]:
        """A kind, a path and a body; every other query was never asked before."""
        chance = self._chance
        query = chance.choice(self._queries)
        if chance.random() < 0.5:
            query = f"{query} {chance.choice(self._words)}"
        price, brand = chance.randrange(20, 400), chance.choice(self._products)["brand"]
        kind, path, body = chance.choices(
            (
                ("hybrid", "/v1/search", {"query": query}),
                ("hyperboloid", "/v1/search", {"query": query, "mode": "hyperboloid"}),
                ("lexical", "/v1/search", {"query": query, "mode": "lexical"}),
                ("filtered", "/v1/search", {"query": query, "filter": f"price < {price}", "facets": ["brand"]}),
                ("rare", "/v1/search", {"query": query, "filter": {"brand": brand}, "sort": "price"}),
                ("similar", "/v1/similar", {"product_id": chance.choice(self._products)["product_id"]}),
                ("batch", "/v1/search/batch", {"searches": [{"query": query}, {"query": brand or "drill"}]}),
            ),
            (50, 25, 5, 8, 4, 4, 4),
        )[0]
        return kind, path, json.dumps(body).encode()

    def changes(self) -> list[dict[str, Any]]:
        """Lines that store products, some with another price, and delete one, which comes back with the next."""
        stored = [
            {**row, "price": row["price"] if self._chance.random() < 0.5 else f"{self._chance.randrange(1, 400)}.25"}
            for row in (*self._gone, *self._chance.sample(self._products, _LINES))
        ]
        self._gone = self._chance.sample(self._products, 1)
        deleted = [{"product_id": row["product_id"], "deleted": True} for row in self._gone]
        return [*stored, *deleted]

    def made(self, changes: Sequence[dict[str, Any]]) -> None:
        """Take over changes that were acknowledged."""
        for line in changes:
            if "deleted" in line:
                self._there.pop(line["product_id"], None)
            else:
                self._there[line["product_id"]] = line


async def _measured(served: Served, requests: Requests, asked: argparse.Namespace) -> dict[str, Any]:
    capacity = await _capacity(served, requests)
    seen, length = Seen(), 60.0 * asked.minutes
    async with Client(served.url) as client:
        looking = asyncio.create_task(_look(served, seen))
        beside = [
            asyncio.create_task(_change(client, requests, seen, length, asked.stored)),
            asyncio.create_task(_reindex(client, requests, seen, length, asked)),
            asyncio.create_task(_say(seen, length)),
        ]
        await _search(client, requests, seen, length, capacity / 2)
        await asyncio.gather(*beside)
        looking.cancel()
        health = await client.get("/readyz")
    return {"capacity": round(capacity, 1), "minutes": asked.minutes, **_told(seen), "afterwards": health["status"]}


async def _capacity(served: Served, requests: Requests, *, seconds: float = 15.0) -> float:
    """Searches of this mix answered a second when there are always some waiting."""
    answered = 0
    until = time.perf_counter() + seconds

    async def caller(client: Client) -> None:
        nonlocal answered
        while time.perf_counter() < until:
            _, path, body = requests.search()
            status, _ = await client.send("POST", path, body, "application/json")
            answered += status == 200

    async with Client(served.url) as client:
        await asyncio.gather(*(caller(client) for _ in range(_CALLERS)))
    return answered / seconds


async def _search(client: Client, requests: Requests, seen: Seen, length: float, rate: float) -> None:
    chance = random.Random(1)
    began, due = time.perf_counter(), 0.0
    under_way: set[asyncio.Task[int]] = set()
    while (due := due + chance.expovariate(rate)) < length:
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        kind, path, body = requests.search()
        task = asyncio.create_task(_send(client, seen, kind, path, body, began + due))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


async def _change(client: Client, requests: Requests, seen: Seen, length: float, rate: float) -> None:
    began = time.perf_counter()
    for number in itertools.count(1):
        due = number * _LINES / rate
        if due > length:
            return
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        changes = requests.changes()
        lines = b"\n".join(json.dumps(line).encode() for line in changes)
        began_at = time.perf_counter()
        if await _send(client, seen, "changes", "/v1/products", lines, began_at, "application/x-ndjson") == 200:
            requests.made(changes)


async def _send(
    client: Client, seen: Seen, kind: str, path: str, body: bytes, due: float, media_type: str = "application/json"
) -> int:
    try:
        status, _ = await client.send("POST", path, body, media_type)
    except LoadError:
        status = 0
    seen.answers[kind, status] += 1
    if status == 200:
        seen.seconds[kind].append(time.perf_counter() - due)
    return status


async def _reindex(client: Client, requests: Requests, seen: Seen, length: float, asked: argparse.Namespace) -> None:
    began = time.perf_counter()
    for number in itertools.count(1):
        due = 60.0 * asked.every * (number - 0.5)
        if due > length - 60.0:
            return
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        started = time.perf_counter()
        snapshot = await _reindexed(requests, asked)
        while (await client.get("/readyz"))["snapshot"] != snapshot:
            await asyncio.sleep(0.5)
        seen.reindexed.append(time.perf_counter() - started)


async def _reindexed(requests: Requests, asked: argparse.Namespace) -> str:
    """Publish the catalogue and what changed meanwhile, keep few snapshots, and return the new one's id."""
    index, catalogue = asked.work / "index", asked.work / "catalogue.csv"
    await asyncio.to_thread(requests.export, catalogue)
    await _saddle("reindex", "--model", asked.model, "--catalog", catalogue, "--out", index)
    await _saddle("snapshots", "prune", "--index", index, "--keep", _KEPT)
    return (index / "CURRENT").read_text(encoding="utf-8").strip()


async def _saddle(*arguments: object) -> None:
    command = ["nice", "-n", "10", sys.executable, "-m", "service", *map(str, arguments)]
    done = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, told = await done.communicate()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {told.decode()[-2000:]}")


async def _look(served: Served, seen: Seen) -> None:
    while True:
        seen.memory.append(served.resident())
        await asyncio.sleep(1.0)


async def _say(seen: Seen, length: float) -> None:
    """Tell every minute how it goes."""
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < length:
        await asyncio.sleep(min(60.0, length - passed))
        bad = sum(count for (_, status), count in seen.answers.items() if status >= 500 or not status)
        print(
            f"{(time.perf_counter() - began) / 60:.0f} of {length / 60:.0f} minutes: {seen.answers.total():,} answers, "
            f"{bad} failed, {seen.memory[-1] >> 20} MiB, {len(seen.reindexed)} snapshots",
            file=sys.stderr,
        )


def _told(seen: Seen) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    for (_, status), count in seen.answers.items():
        statuses[str(status) if status else "none"] += count
    return {
        "answers": seen.answers.total(),
        "statuses": dict(sorted(statuses.items())),
        "failed": sum(count for (_, status), count in seen.answers.items() if status >= 500 or not status),
        "kinds": {kind: _spread(times) for kind, times in sorted(seen.seconds.items())},
        "snapshots_taken_up": len(seen.reindexed),
        "reindex_seconds": [round(seconds, 1) for seconds in seen.reindexed],
        **_memory(seen.memory),
    }


def _spread(times: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=1000)
    return {
        "answered": len(times),
        **{name: round(1e3 * cuts[i - 1], 2) for name, i in (("median_ms", 500), ("p99_ms", 990), ("p999_ms", 999))},
    }


def _memory(seen: Sequence[int]) -> dict[str, Any]:
    """Resident memory of each part of the time after the warm-up, as its median, and by what it grew.

    Parts and not moments: two snapshots are there at once while one is taken up.
    """
    rest = seen[int(len(seen) * _WARM_UP) :]
    parts = [statistics.median(part) for part in _parts(rest, 4)]
    return {
        "resident_mib": [round(part / 2**20, 1) for part in parts],
        "resident_greatest_mib": max(seen) >> 20,
        "resident_grown": round(parts[-1] / parts[0] - 1, 4),
    }


def _parts(seen: Sequence[int], count: int) -> Iterator[Sequence[int]]:
    for number in range(count):
        yield seen[len(seen) * number // count : len(seen) * (number + 1) // count]


if __name__ == "__main__":
    main()
