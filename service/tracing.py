"""Traces: whether the environment asks for them, and the stages of a search told to the trace of its request.

Nothing of OpenTelemetry is imported here; :mod:`service.spans` is where it is, and is imported only where traces are
asked for by its standard ``OTEL_…`` environment variables.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from dataclasses import fields
from importlib.util import find_spec
from typing import TYPE_CHECKING

from index.results import Timings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_STAGES = tuple(field.name for field in fields(Timings))

RECORD: ContextVar[Callable[[Sequence[tuple[str, float]]], None] | None] = ContextVar("record_stages", default=None)
"""Takes the stages, by name and seconds, that followed each other and have just ended; None where nobody wants them."""


class TracingError(ValueError):
    """The environment asks for traces that cannot be made."""


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment asks for traces.

    Raises:
        TracingError: it does, but in a way that is not spoken here, or OpenTelemetry is not installed.
    """
    endpoint = next((name for name in ENDPOINTS if environment.get(name)), None)
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if endpoint is None or disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _SPOKEN)
    if protocol != _SPOKEN:
        raise TracingError(f"{endpoint} is set and the protocol is {protocol!r}, but only {_SPOKEN!r} is spoken here")
    missing = [name for name in _NEEDED if not _installed(name)]
    if missing:
        raise TracingError(
            f"{endpoint} is set, but {' and '.join(missing)} cannot be imported: pip install 'saddle[tracing]', or "
            f"unset {endpoint}"
        )
    return True


def stages(timings: Timings, *, queue: float | None = None) -> None:
    """Add the stages of a search that has just ended to the trace of its request, if there is one.

    ``queue`` is how many seconds it waited before, if it had to.
    """
    record = RECORD.get()
    if record is not None:
        waited = [] if queue is None else [("queue", queue)]
        record([*waited, *((name, getattr(timings, name)) for name in _STAGES)])


def stage(name: str, seconds: float) -> None:
    """Add a stage that has just ended, and is no part of a searcher's ``Timings``, to the trace, if there is one."""
    record = RECORD.get()
    if record is not None:
        record([(name, seconds)])


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # a package above it
        return False
