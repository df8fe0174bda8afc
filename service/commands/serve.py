"""``saddle serve``: the HTTP service."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import CommandError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from service.settings import Settings

_SWITCH_SECONDS = 0.0005
"""After how long a thread that works in Python lets another go on: a search waits at each of its many turns."""

_UNREAD_MILLISECONDS = 30_000


def serve(
    index: Annotated[
        Path | None, typer.Option(help="Index root, where `saddle reindex` publishes.", envvar="SADDLE_INDEX")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to bind.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind.", min=1, max=65535, show_default="8080")] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that answer on the port.", min=1, show_default="1")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Batches of searches each computes at once.", min=1)] = None,
    keys: Annotated[Path | None, typer.Option(help="File of API keys, which `saddle keys` writes.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Where points lie and encoders run: cpu, cuda or cuda:N.", show_default="cpu"),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.", show_default="info")] = None,
) -> None:
    """Answer searches over HTTP, and pick up every new snapshot without a restart.

    Options win over the SADDLE_… environment variables.
    Without --keys callers are not asked who they are, so only this machine can call:
    another --host needs keys, or SADDLE_ALLOW_PUBLIC=true and a gateway before it.

    Examples:
      saddle serve --index var/index
      saddle serve --index var/index --workers 4
      saddle serve --index var/index --device cuda
      saddle serve --index var/index --keys var/keys.json --host 0.0.0.0
      SADDLE_INDEX=var/index SADDLE_PORT=9000 saddle serve
    """
    given = {
        "index": index,
        "host": host,
        "port": port,
        "workers": workers,
        "threads": threads,
        "keys": keys,
        "device": device,
        "log_level": log_level,
    }
    _run(_settings({name: value for name, value in given.items() if value is not None}))


def _run(settings: Settings) -> None:
    # before NumPy is imported: its threads wait for more work on a core that another search could have
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from service.logs import configure
    from service.tracing import TracingError, wanted

    try:
        wanted()
    except TracingError as error:
        raise CommandError(str(error)) from error
    configure(settings.log_level)
    with _listen(settings.host, settings.port) as listening:
        if settings.workers == 1:
            answer(settings, listening)
            return

        from service.metrics_directory import shared
        from service.workers import Workers

        with shared():
            Workers(answer, settings, listening).run()


def answer(settings: Settings, listening: socket.socket) -> None:
    """Answer requests in this process until SIGTERM or Ctrl-C."""
    import uvicorn

    from service.app import create_app
    from service.drain import DrainingServer
    from service.logs import configure
    from service.protocol import PatientProtocol

    configure(settings.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        http=PatientProtocol,
        ws="none",
        proxy_headers=False,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    try:
        server = DrainingServer(config, draining=app.state.draining, seconds=settings.drain_seconds)
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        # uvicorn raises it again once everything is closed; Ctrl-C is how one stops a service
        return


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=2048)
        # of the connections that it takes: who does not read an answer for so long does not have it kept in memory
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MILLISECONDS)
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host and --port"
        ) from error
    return listening


def _settings(given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from service.settings import Settings

    try:
        return Settings(**given)
    except ValidationError as error:
        raise CommandError(_explain(error)) from error


def _explain(error: ValidationError) -> str:
    """Every setting that is wrong, by its environment variable, in one line."""
    lines = []
    for found in error.errors():
        name = str(found["loc"][0])
        missing = "is not set: give --index or SADDLE_INDEX, the directory that `saddle reindex --out` filled"
        text = missing if found["type"] == "missing" else f"{found['msg']} (it is {found['input']!r})"
        lines.append(f"SADDLE_{name.upper()}: {text}")
    return "; ".join(lines)
