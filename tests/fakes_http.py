"""The application on a real socket, for clients that bring their own network."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from fakes_service import FakeSearcher

from service.app import create_app
from service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def listening(root: Path, *, open_searcher: Callable[[Path], Any] | None = FakeSearcher) -> Iterator[str]:
    """The application over ``root`` on a free port of this machine; yields its URL.

    Without ``open_searcher`` it searches in earnest.
    """
    app = create_app(Settings(index=root, reload_seconds=0.02, threads=2), open_searcher=open_searcher)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, name="server")
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive(), "the server ended before it listened"
            assert time.monotonic() < deadline, "the server never listened"
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
