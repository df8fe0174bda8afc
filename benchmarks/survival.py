"""Kill −9 at random moments, again and again: what was acknowledged is there, and nothing else is.

Each round starts ``saddle serve``, changes products from several threads, and at the same time reindexes, activates and
rolls back; then everything is killed. The next round first compares every product that was ever changed with what was
acknowledged. A change whose answer the kill cut off may be there or not.

    python -m benchmarks.survival --rounds 200 --out benchmarks/survival.json
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.provenance import commit, record

if TYPE_CHECKING:
    from collections.abc import Callable

WRITERS = 3
_LONGEST_SECONDS = (2.0, 2.0, 2.0, 9.0)
"""The longest that a round may last, one of these by chance: most die early, some after a build was published."""
_READY_SECONDS = 60.0
_PACKAGES = ("saddle", "fastapi", "uvicorn", "faiss-cpu", "numpy")
_GONE = None


class LostChangeError(AssertionError):
    """A product that is not as it was acknowledged."""


@dataclass
class Ledger:
    """What was acknowledged of each product, its title or that it is gone, and what was asked for and not answered."""

    acknowledged: dict[str, str | None] = field(default_factory=dict)
    asked: dict[str, str | None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


class Survival:
    """Rounds of change and kill on the index root ``root``.

    ``catalog`` is reindexed with the bundle ``model``; ``say`` hears of every round.
    """

    def __init__(
        self, root: Path, *, model: Path, catalog: Path, seed: int, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._root, self._model, self._catalog = root, model, catalog
        self._chance = random.Random(seed)
        self._say = say
        self.ledger = Ledger()

    def run(self, rounds: int) -> Counter[str]:
        """Change, kill, come back and compare, ``rounds`` times; returns what happened how often.

        Raises:
            LostChangeError: a product is not as it was acknowledged, or the service does not come back.
        """
        for number in range(rounds):
            self._round()
            counts = self.ledger.counts
            self._say(f"round {number + 1}/{rounds}: {counts['acknowledged']:,} changes acknowledged, all there")
        return self.ledger.counts

    def _round(self) -> None:
        with self._served() as (client, serving):
            self._compare(client)
            stop = threading.Event()
            seeds = [self._chance.random() for _ in range(WRITERS + 1)]
            threads = [
                threading.Thread(target=self._write, args=(i, client.base_url, stop, seeds[i])) for i in range(WRITERS)
            ]
            building = self._start("reindex", "--model", self._model, "--catalog", self._catalog, "--out", self._root)
            threads.append(threading.Thread(target=self._switch, args=(client.base_url, stop, seeds[-1])))
            for thread in threads:
                thread.start()
            time.sleep(self._chance.uniform(0.05, self._chance.choice(_LONGEST_SECONDS)))
            # at once, so that a change may have reached the journal and its answer not the caller
            self.ledger.counts["builds finished" if building.poll() is not None else "builds killed"] += 1
            for process in (serving, building):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
            building.wait()
            self.ledger.counts["rounds"] += 1

    @contextlib.contextmanager
    def _served(self) -> Any:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        serving = self._start("serve", "--index", self._root, "--port", port, "--log-level", "error")
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
                self._wait_until_ready(client)
                yield client, serving
        finally:
            serving.kill()
            serving.wait()

    @staticmethod
    def _start(*words: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "service", *map(str, words)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @staticmethod
    def _wait_until_ready(client: httpx.Client) -> None:
        until = time.monotonic() + _READY_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if client.get("/readyz").status_code == 200:
                    return
            time.sleep(0.02)
        raise LostChangeError(f"the service did not come back within {_READY_SECONDS:g} seconds")

    def _compare(self, client: httpx.Client) -> None:
        """Every product ever changed is as it was acknowledged, or as it was last asked to be."""
        ledger = self.ledger
        for product_id in ledger.acknowledged.keys() | ledger.asked.keys():
            response = client.get(f"/v1/products/{product_id}")
            found = response.json()["product"]["title"] if response.status_code == 200 else _GONE
            allowed = [ledger.acknowledged.get(product_id, _GONE)]
            if product_id in ledger.asked:
                allowed.append(ledger.asked[product_id])
                ledger.counts["unanswered, there" if found == allowed[1] else "unanswered, not there"] += 1
            if found not in allowed:
                raise LostChangeError(f"{product_id} is {found!r}, and should be one of {allowed}")
            ledger.acknowledged[product_id] = found
        ledger.asked.clear()

    def _write(self, writer: int, url: httpx.URL, stop: threading.Event, seed: float) -> None:
        """Store and delete products of this writer's own until the service is gone."""
        chance = random.Random(seed)
        with httpx.Client(base_url=url, timeout=30) as client:
            while not stop.is_set():
                product_id = f"w{writer}-{chance.randrange(30)}"
                title = _GONE if chance.random() < 0.3 else f"cordless drill {chance.random():.9f}"
                if title is _GONE and self.ledger.acknowledged.get(product_id, _GONE) is _GONE:
                    continue
                self.ledger.asked[product_id] = title
                try:
                    if title is _GONE:
                        response = client.delete(f"/v1/products/{product_id}")
                    else:
                        response = client.put(f"/v1/products/{product_id}", json={"title": title})
                except httpx.HTTPError:
                    return
                if response.status_code == 200:
                    self.ledger.acknowledged[product_id] = self.ledger.asked.pop(product_id)
                    self.ledger.counts["acknowledged"] += 1

    def _switch(self, url: httpx.URL, stop: threading.Event, seed: float) -> None:
        """Go back and forth between snapshots until the service is gone."""
        chance = random.Random(seed)
        with httpx.Client(base_url=url, timeout=30) as client, contextlib.suppress(httpx.HTTPError):
            while not stop.is_set():
                have = client.get("/v1/snapshots").json()["snapshots"]
                one = chance.choice(have)["id"]
                response = client.post(f"/v1/snapshots/{one}/activate")
                self.ledger.counts["activations"] += response.status_code == 200
                stop.wait(chance.uniform(0.0, 0.5))


def main(arguments: list[str] | None = None) -> None:
    """Run the rounds on a small generated shop and write what happened."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    asked = parser.parse_args(arguments)
    at = commit()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        saddle = [sys.executable, "-m", "service"]
        for words in (
            ("sample", "--out", "shop", "--products", "400"),
            ("train", "--catalog", "shop/catalog.csv", "--steps", "20", "--out", "model"),
            ("reindex", "--model", "model", "--catalog", "shop/catalog.csv", "--out", "index"),
        ):
            subprocess.run([*saddle, *words], cwd=work, check=True, stdout=subprocess.DEVNULL)
        catalog = work / "shop" / "catalog.csv"
        survival = Survival(work / "index", model=work / "model", catalog=catalog, seed=asked.seed, say=_say)
        counts = survival.run(asked.rounds)
    record(
        asked.out,
        "survival",
        f"python -m benchmarks.survival --rounds {asked.rounds}",
        _PACKAGES,
        {
            "seed": asked.seed,
            "seconds": round(time.monotonic() - began),
            "lost": 0,
            "counts": dict(counts),
        },
        at=at,
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
