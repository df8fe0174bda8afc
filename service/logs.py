"""Logs as JSON, a line an event, on stderr: the service's own, those of the libraries below it, and what goes wrong."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING

import orjson
import structlog

if TYPE_CHECKING:
    from types import TracebackType

    from structlog.typing import EventDict, Processor

log = structlog.get_logger()


def configure(level: str) -> None:
    """Send everything at ``level`` and above to stderr, with the request id of the request it belongs to.

    Warnings, and errors that nobody catches, in a thread or in all of the process, are lines as well.
    """
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_process,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    # the service's own lines do not go through logging, which would take three times as long: every request has one
    named = structlog.stdlib.LoggerFactory(ignore_frame_names=[__name__])
    structlog.configure(
        processors=[*before, _encoded],
        logger_factory=lambda *args: _Lines(named(*args).name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    console = logging.StreamHandler(sys.stderr)
    console.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[console], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


class _Lines:
    """A logger that writes the lines that it is given to stderr, each at once."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _write(self, line: bytes) -> None:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()

    debug = info = warning = error = critical = _write


def _encoded(_: object, __: str, event: EventDict) -> bytes:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # halves of characters, say, which UTF-8 cannot have
        return json.dumps(event, default=repr).encode() + b"\n"


def _add_process(_: object, __: str, event: EventDict) -> EventDict:
    """Say which of several workers it was."""
    event["process"] = os.getpid()
    return event


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("uncaught error", exc_info=(kind, error, trace))


def _uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        name = None if found.thread is None else found.thread.name
        log.critical("uncaught error", thread=name, exc_info=(found.exc_type, found.exc_value, found.exc_traceback))
