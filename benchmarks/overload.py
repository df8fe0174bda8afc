"""The service at three times what it can answer: ``python -m benchmarks.overload --data … --index … --out …``.

One ``saddle serve`` on one core, the load on another. Searches arrive at random moments, whether or not those before
were answered, and their times count from when they were due. First the capacity is looked for: the greatest rate at
which 99 of 100 searches are answered. Then come half of it, all of it, for a minute three times the most that was ever
answered, and half of it again.

No search comes twice: each is a query of the dev split and a word of another one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.folder import queries_of
from benchmarks.load import Client, LoadError
from benchmarks.provenance import record
from benchmarks.serving import Served, saddle, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("saddle", "fastapi", "uvicorn", "uvloop", "faiss-cpu", "numpy")
SERVER_CORE, LOAD_CORE = 0, 1
_ANSWERED = 0.99
_STEP_SECONDS = 5.0
_BISECTIONS = 4
_RECOVERY_SECONDS = 10.0
_REFUSALS, _CALLERS = 8000, 8


@dataclass(frozen=True, slots=True)
class Search:
    """One search: when it was due, in seconds from the start of its phase, how it was answered and how late."""

    due: float
    status: int
    took: float


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root of those products")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--mode", default="hyperboloid", help="what ranks")
    parser.add_argument("--times", type=float, default=3.0, help="overload, as a multiple of the peak")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the overload")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    os.sched_setaffinity(0, {LOAD_CORE})
    with serving(*saddle(asked.index), core=SERVER_CORE) as served:
        found = uvloop.run(_measured(served, asked))
    record(
        asked.out,
        "overload",
        f"python -m benchmarks.overload --data … --index … (mode {asked.mode}, times {asked.times:g})",
        PACKAGES,
        {"seed": asked.seed, **found},
    )
    print(json.dumps(found, indent=2))


class Load:
    """Searches on one service, none of them twice."""

    def __init__(self, client: Client, queries: Sequence[str], *, mode: str, seed: int) -> None:
        self._client = client
        self._mode = mode
        self._chance = random.Random(seed)
        self._queries = itertools.cycle(queries)
        self._words = sorted({word for query in queries for word in query.split()})

    async def run(self, *, rate: float, seconds: float) -> list[Search]:
        """Searches at random moments, so many a second, and what became of each."""
        began, due = time.perf_counter(), 0.0
        waiting = []
        while (due := due + self._chance.expovariate(rate)) < seconds:
            query = f"{next(self._queries)} {self._chance.choice(self._words)}"
            body = json.dumps({"query": query, "mode": self._mode}).encode()
            await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
            waiting.append(asyncio.create_task(self._one(body, began, due)))
        return list(await asyncio.gather(*waiting))

    async def _one(self, body: bytes, began: float, due: float) -> Search:
        try:
            status, _ = await self._client.send("POST", "/v1/search", body, "application/json")
        except LoadError:
            status = 0
        return Search(due, status, time.perf_counter() - began - due)


async def _measured(served: Served, asked: argparse.Namespace) -> dict[str, Any]:
    async with Client(served.url) as client:
        load = Load(client, queries_of(asked.data, "dev"), mode=asked.mode, seed=asked.seed)
        await load.run(rate=20, seconds=_STEP_SECONDS)
        capacity, steps = await _capacity(load)
        peak = max(step["goodput"] for step in steps)
        half = await load.run(rate=capacity / 2, seconds=_RECOVERY_SECONDS)
        async with _watched(served) as (_, busy_full):
            full = await load.run(rate=capacity, seconds=asked.seconds / 3)
        async with _watched(served) as (memory, busy):
            over = await load.run(rate=asked.times * peak, seconds=asked.seconds)
        after = await load.run(rate=capacity / 2, seconds=_RECOVERY_SECONDS)
        door = await _door(client, served)
    return {
        "mode": asked.mode,
        "capacity": round(capacity, 1),
        "steps": steps,
        "half": _told(half),
        "full": {**_told(full), **busy_full},
        "over": {**_told(over), **busy, **_grown(memory)},
        "after": _told(after),
        "refusal_cpu_us": door,
        "peak_goodput": peak,
        "p99_over_full": round(_cut(_times(over, 200), 99) / _cut(_times(full, 200), 99), 3),
        "goodput_of_peak": round(_told(over)["goodput"] / peak, 3),
        "recovery_seconds": _recovery(after, calm_ms=1e3 * _cut(_times(half, 200), 99)),
    }


async def _capacity(load: Load) -> tuple[float, list[dict[str, Any]]]:
    """The greatest rate that is answered, found by doubling and then by halves, and each step of the way."""
    steps = []

    async def answered(rate: float) -> bool:
        found = _told(await load.run(rate=rate, seconds=_STEP_SECONDS))
        steps.append({"rate": round(rate, 1), **found})
        return found["answered"] >= _ANSWERED * found["searches"]

    low = 25.0
    while await answered(2 * low):
        low *= 2
    high = 2 * low
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if await answered(middle) else (low, middle)
    return low, steps


@contextlib.asynccontextmanager
async def _watched(served: Served) -> Any:
    """Fills a list with the service's resident bytes, every second, and a dict with the cores that were kept busy."""
    memory: list[int] = []
    busy: dict[str, float] = {}

    async def look() -> None:
        while True:
            memory.append(served.resident())
            await asyncio.sleep(1.0)

    def spent() -> tuple[float, float, float]:
        ticks = Path("/proc/stat").read_text(encoding="utf-8").split(maxsplit=9)
        busy = sum(int(ticks[i]) for i in (1, 2, 3, 6, 7, 8)) / os.sysconf("SC_CLK_TCK")
        return served.cpu(), time.process_time(), busy

    began, before = time.perf_counter(), spent()
    looking = asyncio.create_task(look())
    try:
        yield memory, busy
    finally:
        looking.cancel()
        seconds = time.perf_counter() - began
        service, load, all_of_it = (now - then for now, then in zip(spent(), before, strict=True))
        shares = {"service_cores": service, "load_cores": load, "other_cores": all_of_it - service - load}
        busy.update({name: round(share / seconds, 3) for name, share in shares.items()})


async def _door(client: Client, served: Served) -> float:
    """CPU microseconds of the service for a request that is refused at the door, the HTTP server's part included."""

    async def refused() -> None:
        for _ in range(_REFUSALS // _CALLERS):
            await client.send("GET", "/v1/nothing", b"", "")

    spent = served.cpu()
    await asyncio.gather(*(refused() for _ in range(_CALLERS)))
    return round(1e6 * (served.cpu() - spent) / _REFUSALS, 1)


def _times(found: Sequence[Search], status: int) -> list[float]:
    return [one.took for one in found if one.status == status]


def _cut(times: Sequence[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1] if len(times) > 1 else float("nan")


def _told(found: Sequence[Search]) -> dict[str, Any]:
    answered, refused = _times(found, 200), _times(found, 429)
    seconds = max(one.due for one in found)
    told = {
        "searches": len(found),
        "answered": len(answered),
        "refused": len(refused),
        "failed": len(found) - len(answered) - len(refused),
        "goodput": round(len(answered) / seconds, 1),
        **{f"{name}_ms": round(1e3 * _cut(answered, cut), 2) for name, cut in (("median", 50), ("p99", 99))},
    }
    if len(refused) > 1:
        told["refused_median_ms"] = round(1e3 * _cut(refused, 50), 2)
        told["refused_p99_ms"] = round(1e3 * _cut(refused, 99), 2)
        told["refused_within_20_ms"] = round(sum(took <= 0.02 for took in refused) / len(refused), 4)
    return told


def _grown(memory: Sequence[int]) -> dict[str, Any]:
    """Resident memory after a sixth of the overload, at its end, and by what share it grew."""
    first, last = memory[len(memory) // 6], memory[-1]
    return {"resident_mib": [first >> 20, last >> 20], "resident_grown": round(last / first - 1, 4)}


def _recovery(after: Sequence[Search], *, calm_ms: float) -> float:
    """Seconds after which all is answered again, and no second's p95 is more than twice the p99 of before."""
    last = 0.0
    for second in range(int(_RECOVERY_SECONDS)):
        found = [one for one in after if second <= one.due < second + 1]
        times = [one.took for one in found if one.status == 200]
        slow = len(times) > 1 and 1e3 * statistics.quantiles(times, n=20)[18] > 2 * calm_ms
        if slow or len(times) < len(found):
            last = second + 1.0
    return last


if __name__ == "__main__":
    main()
