"""``saddle serve`` as processes of their own, over a small shop."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
from fakes import shop_titles, write_bundle, write_catalog

from index.build import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PATIENCE = 30.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def publisher(directory: Path, *, most: int = 400) -> tuple[Path, Callable[[int], str]]:
    """An index root, and a function that publishes a snapshot of up to ``most`` products in it and returns its id."""
    titles = shop_titles(most)
    write_bundle(directory / "model", titles)
    root = directory / "index"

    def publish(count: int) -> str:
        catalog = write_catalog(directory / f"catalog{count}.csv", titles[:count])
        return build(bundle_dir=directory / "model", catalog=catalog, root=root, threads=1).snapshot

    return root, publish


@contextmanager
def saddle_serve(
    root: Path, *options: str, environment: Mapping[str, str] | None = None, name: str = "serve"
) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """``saddle serve`` over ``root``; yields its address, the process and the file it logs to."""
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--index", str(root), "--port", str(port), *options]
    log = root.parent / f"{name}.log"
    variables = {**os.environ, **(environment or {})}
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, env=variables) as process:
        try:
            yield f"http://127.0.0.1:{port}", process, log
        finally:
            process.kill()


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until ``true``, or fail saying that ``what`` never came."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"{what} never came"
        time.sleep(0.1)


def wait_for_snapshot(url: str, snapshot: str) -> None:
    """Wait until the service at ``url`` answers from ``snapshot``."""

    def serves() -> bool:
        try:
            response = httpx.get(f"{url}/readyz")
        except httpx.TransportError:
            return False
        return response.status_code == 200 and response.json()["snapshot"] == snapshot

    until(serves, snapshot)
