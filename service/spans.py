"""OpenTelemetry: a span for every request, below it one for each stage of its search, exported over OTLP/HTTP.

Stages are timed by those who do them and become spans when they are told, see :mod:`service.tracing`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.tracing import RECORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from opentelemetry.trace import Span, Tracer
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SERVER_ERROR = 500
_LAST_SECONDS = 2.0
"""How long spans may be exported after the last request."""


class Tracing:
    """Makes spans, and exports them in the background while it runs, as the environment says."""

    def __init__(self) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self.tracer = self._provider.get_tracer("saddle", version("saddle"))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Export until the context ends, and then what is left, if that does not take long."""
        exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        try:
            yield
        finally:
            # a collector that does not answer would be tried again and again meanwhile
            patience = threading.Timer(_LAST_SECONDS, exporter.shutdown)
            patience.start()
            await asyncio.to_thread(self._provider.shutdown)
            patience.cancel()


def _resource() -> Resource:
    """What the environment says this is, or else Saddle."""
    said = Resource.create({SERVICE_VERSION: version("saddle")})
    unnamed = str(said.attributes[SERVICE_NAME]).startswith("unknown_service")
    return said.merge(Resource({SERVICE_NAME: "saddle"})) if unnamed else said


class TracingMiddleware:
    """Gives every request to ``app`` a span, below that of the caller's ``traceparent`` if there is one."""

    def __init__(self, app: ASGIApp, *, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        above = self._propagator.extract(carrier)
        span = self._tracer.start_span(scope["method"], context=above, kind=SpanKind.SERVER)
        status = _SERVER_ERROR

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        context = span.get_span_context()
        ids = {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}
        token = RECORD.set(partial(_record, self._tracer, span) if span.is_recording() else None)
        with structlog.contextvars.bound_contextvars(**ids):
            try:
                await self._app(scope, receive, send_noted)
            finally:
                RECORD.reset(token)
                _finish(span, scope, status)


def _record(tracer: Tracer, request: Span, stages: Sequence[tuple[str, float]]) -> None:
    """Spans below ``request`` for stages that followed each other and have just ended, by name and seconds."""
    below = set_span_in_context(request)
    moment = time.time_ns() - sum(round(seconds * 1e9) for _, seconds in stages)
    for name, seconds in stages:
        span = tracer.start_span(name, context=below, start_time=moment)
        moment += round(seconds * 1e9)
        span.end(end_time=moment)


def _finish(span: Span, scope: Scope, status: int) -> None:
    """End a request's span, saying what it was: the path and not the parameters, which hold a shopper's words."""
    state = scope.get("state", {})
    route = getattr(state.get("route") or scope.get("route"), "path", None)
    span.set_attributes(
        {
            "http.request.method": scope["method"],
            "http.response.status_code": status,
            "url.path": scope["path"],
            "saddle.request_id": state.get("request_id", ""),
        }
    )
    if route is not None:
        span.update_name(f"{scope['method']} {route}")
        span.set_attribute("http.route", route)
    if status >= _SERVER_ERROR:
        span.set_status(StatusCode.ERROR)
    span.end()
