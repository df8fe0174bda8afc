"""What one core answers: ``python -m benchmarks.capacity --data … --index … --work … --out …``.

A service runs on one core, and what asks it on another. In one run: what an empty route costs, what a search costs
without HTTP, one by one and in batches, how many searches a second the service answers when there are always more
waiting, how long they take at half of that rate, arriving at random, and the same of the stack that most people would
write (``benchmarks/capacity/stack.py``). The cache of answers is off.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from benchmarks.capacity.searcher import MODES
from benchmarks.folder import queries_of
from benchmarks.load import Line, prepared
from benchmarks.provenance import record
from benchmarks.serving import Served, saddle, serving

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("saddle", "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "orjson", "faiss-cpu",
            "onnxruntime", "numpy", "numba", "torch", "transformers")  # fmt: skip
_BATCHED = "32"


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with products.csv.gz and judgments.csv.gz")
    parser.add_argument("--index", type=Path, required=True, help="index root of those products")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the other stack's index")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each phase")
    parser.add_argument("--clients", type=int, default=32, help="connections that always wait for an answer")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    load_core, server_core, *_ = sorted(os.sched_getaffinity(0))
    other_stack = ["benchmarks.capacity.stack", "serve", "--data", asked.data, "--work", asked.work, "--port", "PORT"]
    subprocess.run([sys.executable, "-m", *map(str, other_stack[:1]), "index", *map(str, other_stack[2:6])], check=True)
    os.sched_setaffinity(0, {load_core})
    queries = queries_of(asked.data, "dev")
    found: dict[str, Any] = {"queries": len(queries), "clients": asked.clients, "seconds": asked.seconds}
    empty = [b"GET /empty HTTP/1.1\r\nHost: localhost\r\n\r\n"]
    with serving("benchmarks.capacity.empty", "PORT", ready="/empty", core=server_core) as served:
        found["empty_route"] = _closed(served, empty, asked)
    found["searcher"] = _searcher(server_core, asked)
    with serving(*saddle(asked.index), core=server_core, environment={"SADDLE_CACHE_HITS": "0"}) as served:
        found["live_route"] = _closed(served, [b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"], asked)
        for mode in MODES:
            requests = [prepared("/v1/search", {"query": query, "mode": mode}) for query in queries]
            found[mode] = _capacity(served, requests, asked)
    with serving(*other_stack, ready="/openapi.json", core=server_core) as served:
        found["other_stack"] = _closed(served, [prepared("/search", {"query": query}) for query in queries], asked)
    record(
        asked.out,
        "capacity",
        f"python -m benchmarks.capacity --data … --index … --work … (seed {asked.seed})",
        PACKAGES,
        {
            "seed": asked.seed,
            **found,
            **_ratios(found),
        },
    )
    print(json.dumps({**found, **_ratios(found)}, indent=2))


def _ratios(found: dict[str, Any]) -> dict[str, Any]:
    ratios = {}
    for mode in MODES:
        least = found["empty_route"]["cpu_us"] + found["searcher"][mode][_BATCHED]["cpu_us"]
        ratios[mode] = {
            "allowed_a_second": round(1e6 / least, 1),
            "of_what_is_allowed": round(found[mode]["a_second"] * least / 1e6, 3),
            "over_other_stack": round(found[mode]["a_second"] / found["other_stack"]["a_second"], 2),
        }
    return {"ratios": ratios}


def _capacity(served: Served, requests: Sequence[bytes], asked: argparse.Namespace) -> dict[str, Any]:
    """What the service answers at most, and how long its answers take at half of that."""
    names = ("saddle_batch_queries_sum", "saddle_batch_queries_count")
    before = [served.metric(name) for name in names]
    found = _closed(served, requests, asked)
    batched, batches = (served.metric(name) - then for name, then in zip(names, before, strict=True))
    half = uvloop.run(_arriving(served.port, requests, found["a_second"] / 2, asked.seconds, asked.seed))
    return {**found, "mean_batch": round(batched / batches, 2), "at_half": half}


def _closed(served: Served, requests: Sequence[bytes], asked: argparse.Namespace) -> dict[str, Any]:
    """Answers a second, with a request waiting on every connection, and what each costs either side."""
    uvloop.run(_waiting(served.port, requests, asked.clients, 0.2 * asked.seconds))
    own, other, started = resource.getrusage(resource.RUSAGE_SELF), served.cpu(), time.perf_counter()
    seconds = uvloop.run(_waiting(served.port, requests, asked.clients, asked.seconds))
    passed, cpu, now = time.perf_counter() - started, served.cpu() - other, resource.getrusage(resource.RUSAGE_SELF)
    load = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
    return {
        "a_second": round(len(seconds) / passed, 1),
        "cpu_us": round(1e6 * cpu / len(seconds), 1),
        "load_cpu_us": round(1e6 * load / len(seconds), 1),
        "server_busy": round(cpu / passed, 3),
        "load_busy": round(load / passed, 3),
        **_spread(seconds),
    }


async def _waiting(port: int, requests: Sequence[bytes], clients: int, length: float) -> list[float]:
    """Seconds of each answer, on connections on which the next request follows the answer at once."""
    turn = itertools.cycle(requests)
    until = time.perf_counter() + length
    found: list[float] = []

    async def client() -> None:
        line = await Line.to(port)
        while (began := time.perf_counter()) < until:
            status = await line.send(next(turn))
            if status != 200:
                raise RuntimeError(f"a request was answered {status}")
            found.append(time.perf_counter() - began)
        line.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


async def _arriving(port: int, requests: Sequence[bytes], rate: float, length: float, seed: int) -> dict[str, Any]:
    """How long answers take to requests that come at random at a ``rate``, whether or not others are answered."""
    chance = random.Random(seed)
    idle: list[Line] = []
    found: list[float] = []

    async def ask(request: bytes, due: float) -> None:
        while idle and idle[-1].closed:  # nothing came over it for as long as servers keep a connection
            idle.pop()
        line = idle.pop() if idle else await Line.to(port)
        status = await line.send(request)
        if status != 200:
            raise RuntimeError(f"a request was answered {status}")
        found.append(time.perf_counter() - due)
        idle.append(line)

    due = time.perf_counter()
    until, tasks = due + length, []
    for request in itertools.cycle(requests):
        due += chance.expovariate(rate)
        if due > until:
            break
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(request, due)))
    await asyncio.gather(*tasks)
    for line in idle:
        line.close()
    return {"rate": round(rate, 1), "answers": len(found), **_spread(found)}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(seconds, n=100)
    median, high = 1e3 * cuts[49], 1e3 * cuts[98]
    return {"median_ms": round(median, 3), "p99_ms": round(high, 3), "p99_over_median": round(high / median, 3)}


def _searcher(core: int, asked: argparse.Namespace) -> dict[str, Any]:
    command = ["-m", "benchmarks.capacity.searcher", "--data", str(asked.data), "--index", str(asked.index)]
    done = subprocess.run([*_pinned(core), *command], check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _pinned(core: int) -> list[str]:
    return ["taskset", "--cpu-list", str(core), sys.executable]


if __name__ == "__main__":
    main()
