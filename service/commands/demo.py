"""``saddle demo``: everything once, from nothing to an answer over HTTP, on a generated shop."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer

from service.commands import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST = "127.0.0.1"
_PORTS_TRIED = 100
_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0
_MARK = "demo.json"
_CATALOG = "catalog.csv"
_JUDGMENTS = "judgments.csv"
_INTERACTIONS = "interactions.csv"
_PICTURES = "images"
_ENOUGH_FOR_CLICKS = 200
"""Products of a shop that has clicks enough to learn from."""


def demo(
    directory: Annotated[
        Path, typer.Option("--dir", help="Directory for the shop, the model and the index.", file_okay=False)
    ] = Path("var/demo"),
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port to serve on; if it is taken, the next free one.")
    ] = 8080,
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Time to train the text for; pictures and clicks take half of that each.")
    ] = 1.0,
    products: Annotated[int, typer.Option(min=50, help="How many products the shop has.")] = 2000,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Go on serving after the first search, until Ctrl-C.")
    ] = True,
) -> None:
    """Generate a shop, train on it, index it, serve it and search it.

    What an earlier run has done is kept, so a second run is quick.

    Examples:
      saddle demo
      saddle demo --dir var/small --products 500 --minutes 0.5 --no-serve
    """
    # without this a SIGTERM would end the demo and leave its server behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    _make_shop(directory, products)
    _train(directory, minutes)
    _train_pictures(directory, minutes / 2)
    _reindex(directory, minutes / 2, clicks=products >= _ENOUGH_FOR_CLICKS)
    with _serving(directory / "index", _free_port(port)) as (process, address):
        query = _broadest_query(directory / _JUDGMENTS)
        _show(query, _search(address, query))
        if serve:
            _invite(address, query, directory)
            with suppress(KeyboardInterrupt):
                process.wait()


def _make_shop(directory: Path, products: int) -> None:
    import orjson

    from service.commands.sample import sample

    mark = directory / _MARK
    if mark.is_file():
        made = orjson.loads(mark.read_bytes())
        if made["products"] != products:
            raise CommandError(
                f"{directory} holds a shop of {made['products']} products, not of {products}: "
                f"choose another --dir, or --products {made['products']}"
            )
        if made["complete"]:
            _say(f"The shop is there already: {directory / _CATALOG}")
            return
    elif directory.is_dir() and any(directory.iterdir()):
        raise CommandError(f"{directory} is not empty and not from `saddle demo`: choose another --dir")
    directory.mkdir(parents=True, exist_ok=True)
    # The mark comes first: what a killed run leaves may be written over, and nothing else may.
    mark.write_bytes(orjson.dumps({"products": products, "complete": False}))
    _say(f"Generating a shop of {products:,} products …")
    sample(out=directory, products=products, images=True, force=True)
    mark.write_bytes(orjson.dumps({"products": products, "complete": True}))


def _train(directory: Path, minutes: float) -> None:
    from model.bundle import BundleError, load_manifest
    from model.catalog import fingerprint

    with suppress(BundleError):
        if load_manifest(directory / "model").catalog == fingerprint(directory / _CATALOG):
            _say(f"The model is trained already: {directory / 'model'}")
            return
    from service.commands.train import train

    _say(f"Training for {minutes:g} min …")
    train(
        catalog=directory / _CATALOG,
        interactions=directory / _JUDGMENTS,
        out=directory / "model",
        minutes=minutes,
    )


def _train_pictures(directory: Path, minutes: float) -> None:
    from model.catalog import fingerprint
    from model.image.bundle import ImageBundleError, load_manifest

    with suppress(ImageBundleError):
        if load_manifest(directory / "pictures").catalog == fingerprint(directory / _CATALOG):
            _say(f"The picture model is trained already: {directory / 'pictures'}")
            return
    from service.commands.train import train

    _say(f"Training on pictures for {minutes:g} min …")
    train(
        catalog=directory / _CATALOG,
        channel="image",
        image_root=directory,
        out=directory / "pictures",
        minutes=minutes,
    )


def _reindex(directory: Path, minutes: float, *, clicks: bool) -> None:
    from index.root import current
    from index.snapshot import SnapshotError, read_manifest
    from model.bundle import load_manifest
    from model.catalog import fingerprint
    from model.image.bundle import load_manifest as load_pictures

    with suppress(SnapshotError):
        snapshot = read_manifest(current(directory / "index"))
        trained = (load_manifest(directory / "model").version, load_pictures(directory / "pictures").version)
        same_models = (snapshot.model, snapshot.pictures) == trained and (snapshot.behaviour is not None) == clicks
        if same_models and snapshot.catalog == fingerprint(directory / _CATALOG):
            _say(f"The index is built already: {directory / 'index'}")
            return
    from service.commands.reindex import reindex

    _say("Learning from clicks, and indexing …" if clicks else "Indexing …")
    reindex(
        model=directory / "model",
        catalog=directory / _CATALOG,
        out=directory / "index",
        judgments=directory / _JUDGMENTS,
        interactions=directory / _INTERACTIONS if clicks else None,
        minutes=minutes,
        images=directory / "pictures",
        image_root=directory,
    )


def _free_port(wanted: int) -> int:
    for port in range(wanted, min(wanted + _PORTS_TRIED, 65536)):
        with suppress(OSError), socket.create_server((_HOST, port)):
            if port != wanted:
                _say(f"Port {wanted} is taken, so {port} it is.")
            return port
    raise CommandError(f"no free port from {wanted} on: choose another --port")


@contextmanager
def _serving(index: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``saddle serve`` as any user would run it; yields its process and its address once it is ready."""
    command = [sys.executable, "-m", "service", "serve", "--index", str(index), "--host", _HOST]
    process = subprocess.Popen([*command, "--port", str(port), "--log-level", "warning"])  # noqa: S603 - ours
    try:
        address = f"{_HOST}:{port}"
        _wait_until_ready(process, address)
        yield process, address
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise CommandError(f"the service ended with exit code {process.returncode}; its log is above")
        with suppress(OSError, HTTPException):
            if _get(address, "/readyz")[0] == 200:
                return
        time.sleep(0.1)
    raise CommandError(f"the service on {address} was not ready within {_READY_SECONDS:g} seconds")


def _search(address: str, query: str) -> dict[str, Any]:
    import orjson

    status, body = _get(address, _path(query, limit=5))
    if status != 200:
        raise CommandError(f"the search for {query!r} was answered {status}: {body.decode()}")
    answer: dict[str, Any] = orjson.loads(body)
    return answer


def _get(address: str, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _path(query: str, *, limit: int) -> str:
    return f"/v1/search?{urlencode({'q': query, 'limit': limit})}"


def _broadest_query(judgments: Path) -> str:
    """The query with the most judged products, the shortest of those: it has something to show."""
    from collections import Counter

    from model.catalog import Rejects, read_judgments

    counts = Counter(judgment.query for judgment in read_judgments(judgments, Rejects()))
    return max(counts, key=lambda query: (counts[query], -len(query)))


def _show(query: str, answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(f"“{query}”, asked over HTTP"), title_justify="left")
    for name in ("title", "brand", "price", "distance", "contained"):
        table.add_column(name, justify="right" if name in ("price", "distance") else "left")
    for hit in answer["hits"]:
        product = hit["product"]
        price = "" if product["price"] is None else f"{product['price']:.2f}"
        contained = "yes" if hit["contained"] else ""
        # Text, not str: a title's square brackets are no markup
        table.add_row(Text(product["title"]), Text(product["brand"]), price, f"{hit['distance']:.4f}", contained)
    total = answer["total"]
    counted = "candidates" if total["relation"] == "gte" else "products"
    console = Console()
    console.print(table)
    console.print(f"{total['value']} {counted} in the hyperboloid, {answer['took_ms']:.1f} ms", style="dim")


def _invite(address: str, query: str, directory: Path) -> None:
    picture = next((directory / _PICTURES).rglob("*.png"))
    _say(f"\nOpen   http://{address}/")
    _say(f"Try    curl -s 'http://{address}{_path(query, limit=3)}'")
    _say(f"or     curl -s -H 'Content-Type: image/png' --data-binary @{picture} http://{address}/v1/search/image")
    _say("Stop   Ctrl-C")


def _say(text: str) -> None:
    typer.echo(text)
