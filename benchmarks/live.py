"""Searches while products change and snapshots are swapped: ``python -m benchmarks.live --data … --index … --out …``.

One ``saddle serve`` answers searches that arrive at a steady rate, whether or not those before were answered, so a
pause is felt by all that arrive in it. Measured are the times of searches alone, then while products are stored in
bulk, then alone again, and while the service goes back and forth between two snapshots under many clients.

The index root needs two snapshots; its journal is used, so take a copy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import os
import resource
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.folder import products_of, queries_of
from benchmarks.load import Client, LoadError
from benchmarks.provenance import record
from benchmarks.serving import Served, saddle, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

PACKAGES = ("saddle", "fastapi", "uvicorn", "faiss-cpu", "numpy", "bm25s")
_LINES = 50
_TICKS = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root of those products, with two snapshots")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second")
    parser.add_argument("--upserts", type=float, default=500.0, help="products to be stored a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of each phase")
    parser.add_argument("--clients", type=int, default=50, help="clients during the swaps")
    asked = parser.parse_args(arguments)
    with serving(*saddle(asked.index)) as served:
        found = asyncio.run(_measured(served, asked))
    record(
        asked.out,
        "live",
        f"python -m benchmarks.live --data … --index … (rate {asked.rate:g}, upserts {asked.upserts:g})",
        PACKAGES,
        found,
    )
    print(json.dumps(found, indent=2))


async def _measured(served: Served, asked: argparse.Namespace) -> dict[str, Any]:
    queries = queries_of(asked.data, "dev")
    products = [json.dumps(row).encode() for row in products_of(asked.data)]
    async with Client(served.url) as client:
        await _searches(client, queries, rate=asked.rate, seconds=5)
        with _shares(served) as calm_shares:
            before = await _searches(client, queries, rate=asked.rate, seconds=asked.seconds)
        with _shares(served) as shares:
            async with _beside(_upserts(client, products, rate=asked.upserts, seconds=asked.seconds)) as upserts:
                during = await _searches(client, queries, rate=asked.rate, seconds=asked.seconds)
        with _shares(served) as after_shares:
            after = await _searches(client, queries, rate=asked.rate, seconds=asked.seconds)
        with _shares(served) as before_shares:
            calm = await _clients(client, queries, clients=asked.clients, until=_after(asked.seconds))
        with _shares(served) as swap_shares:
            async with _beside(_swaps(client, seconds=asked.seconds)) as swaps:
                swapping = await _clients(client, queries, clients=asked.clients, until=lambda: swaps.done())
    stored, seconds = upserts.result()
    return {
        "searches_a_second": asked.rate,
        "before_upserts": {**_told(before), **calm_shares},
        "during_upserts": {**_told(during), **shares, "upserts_a_second": round(stored / seconds, 1), "stored": stored},
        "after_upserts": {**_told(after), **after_shares},
        "p99_during_upserts_over_before": round(_p99(during) / _p99(before), 3),
        "clients": asked.clients,
        "before_swaps": {**_told(calm), **before_shares},
        "during_swaps": {**_told(swapping), **swap_shares, "swaps": swaps.result()},
        "p99_during_swaps_over_before": round(_p99(swapping) / _p99(calm), 3),
    }


@contextlib.contextmanager
def _shares(served: Served) -> Iterator[dict[str, float]]:
    """Fills a dict, at the end, with how many cores the load (this process), the service and others kept busy."""

    def seconds() -> tuple[float, float, float, float]:
        own = resource.getrusage(resource.RUSAGE_SELF)
        ticks = Path("/proc/stat").read_text(encoding="utf-8").split(maxsplit=9)
        busy = sum(int(ticks[i]) for i in (1, 2, 3, 6, 7, 8)) / _TICKS
        return time.perf_counter(), own.ru_utime + own.ru_stime, served.cpu(), busy

    shares: dict[str, float] = {}
    before = seconds()
    yield shares
    passed, load, service, busy = (now - then for now, then in zip(seconds(), before, strict=True))
    found = {"load_cores": load, "service_cores": service, "other_cores": busy - load - service}
    shares.update({name: round(spent / passed, 3) for name, spent in found.items()})


@contextlib.asynccontextmanager
async def _beside(work: Awaitable[Any]) -> AsyncIterator[asyncio.Task[Any]]:
    task: asyncio.Task[Any] = asyncio.ensure_future(work)  # type: ignore[assignment]  # a coroutine becomes a task
    yield task
    await task


async def _searches(client: Client, queries: Sequence[str], *, rate: float, seconds: float) -> list[float | None]:
    """Seconds from when each search was due to its answer, None if it failed."""
    began = time.perf_counter()
    turn = itertools.cycle(queries)
    waiting = []
    for i in range(int(rate * seconds)):
        due = began + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        waiting.append(asyncio.create_task(_search(client, next(turn), due)))
    return list(await asyncio.gather(*waiting))


async def _clients(
    client: Client, queries: Sequence[str], *, clients: int, until: Callable[[], bool]
) -> list[float | None]:
    """The same of clients that each wait for an answer, and then a second, before they search again."""
    found: list[float | None] = []

    async def one(start: int) -> None:
        await asyncio.sleep(start / clients)
        for query in itertools.cycle(queries[start:] + queries[:start]):
            if until():
                return
            found.append(await _search(client, query, time.perf_counter()))
            await asyncio.sleep(1.0)

    await asyncio.gather(*(one(i) for i in range(clients)))
    return found


async def _search(client: Client, query: str, due: float) -> float | None:
    body = json.dumps({"query": query, "fields": ["title"]}).encode()
    try:
        status, _ = await client.send("POST", "/v1/search", body, "application/json")
    except LoadError:
        return None
    return time.perf_counter() - due if status == 200 else None


async def _upserts(client: Client, products: Sequence[bytes], *, rate: float, seconds: float) -> tuple[int, float]:
    """Store products in lines at a steady rate; how many were acknowledged, and in how many seconds."""
    began, stored = time.perf_counter(), 0
    turn = itertools.cycle(products)
    for i in range(math.ceil(rate * seconds / _LINES)):
        due = began + i * _LINES / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        lines = b"\n".join(itertools.islice(turn, _LINES))
        stored += (await client.post("/v1/products", lines, "application/x-ndjson"))["stored"]
    return stored, time.perf_counter() - began


async def _swaps(client: Client, *, seconds: float) -> int:
    """Activate the snapshots in turn; how often."""
    have = [one["id"] for one in (await client.get("/v1/snapshots"))["snapshots"]]
    until = time.monotonic() + seconds
    for count, snapshot in enumerate(itertools.cycle(have)):
        if time.monotonic() >= until:
            return count
        await client.post(f"/v1/snapshots/{snapshot}/activate")
        await asyncio.sleep(1.0)
    raise AssertionError("a cycle ends only here if there is no snapshot")


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _told(found: Sequence[float | None]) -> dict[str, Any]:
    times = [seconds for seconds in found if seconds is not None]
    cuts = statistics.quantiles(times, n=100)
    return {
        "searches": len(found),
        "failed": len(found) - len(times),
        **{name: round(1e3 * cuts[i - 1], 3) for name, i in (("median_ms", 50), ("p95_ms", 95), ("p99_ms", 99))},
    }


def _p99(found: Sequence[float | None]) -> float:
    return statistics.quantiles([seconds for seconds in found if seconds is not None], n=100)[98]


if __name__ == "__main__":
    main()
