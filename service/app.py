"""The application: the one function that wires the service together."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

from index.device import Device
from index.search import Searcher
from service import errors, tracing
from service.access import REQUEST_ID, AccessMiddleware
from service.admission import AdmissionMiddleware
from service.answers import Answers
from service.document import completed
from service.drain import Draining
from service.guard import GuardMiddleware
from service.keys import KeyRing
from service.live import LiveSearcher
from service.metrics import Metrics
from service.openapi import prune
from service.patience import TIMEOUT_FIELD, PatienceMiddleware
from service.probe import RecallProbe
from service.routes import batch, console, docs, explain, health, metrics, pictures, products, search, snapshots
from service.scopes import RouteTable
from service.watch import watching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from service.settings import Settings
    from service.spans import Tracing

_DESCRIPTION = """
Product search on curved space. A query becomes a *hyperboloid*, a region of a hyperbolic space in which every
product is a point; the answer is the products that lie in it or nearest to it.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents with a stable `code`.
"""


class _Saddle(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = prune(completed(super().openapi()))
        return self.openapi_schema


def create_app(
    settings: Settings,
    *,
    registry: CollectorRegistry | None = None,
    open_searcher: Callable[[Path], Searcher] | None = None,
) -> FastAPI:
    """The service under ``settings``, its metrics in ``registry``; nothing is opened before its lifespan.

    Raises:
        TracingError: the environment asks for traces that cannot be made.
    """
    measured = Metrics(registry or CollectorRegistry())
    live = LiveSearcher(
        settings.index,
        threads=settings.threads,
        reload_seconds=settings.reload_seconds,
        metrics=measured,
        open_searcher=open_searcher or partial(Searcher.open, device=Device.parse(settings.device)),
    )
    probe = RecallProbe(live, measured, a_minute=settings.probes_per_minute)
    answers = Answers(
        live, threads=settings.threads, cache_hits=settings.cache_hits, metrics=measured, offer=probe.offer
    )
    traced = _tracing()
    # who takes requests that another worker could have taken must be ready for them
    following = live.running(warm=settings.workers > 1)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if traced is not None:
                await stack.enter_async_context(traced.running())
            for part in (following, watching(live, measured), probe.running()):
                await stack.enter_async_context(part)
            yield

    app = _Saddle(
        title="Saddle",
        summary="Self-hosted product search with hyperboloid queries.",
        description=_DESCRIPTION,
        version=version("saddle"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=[
            {"name": "search", "description": "Find products."},
            {"name": "products", "description": "Change products while searches go on."},
            {"name": "operations", "description": "Is it alive, is it ready, how is it doing?"},
        ],
        docs_url=None,  # FastAPI's page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    draining = app.state.draining = Draining()
    for router in (
        search.routes(answers, measured),
        batch.routes(answers, measured),
        pictures.routes(answers, live, measured),
        explain.routes(live),
        products.routes(live),
        snapshots.routes(live, settings.index),
        health.routes(live, draining),
        metrics.routes(measured),
        console.routes(),
        docs.routes(),
    ):
        app.include_router(router)
    _put_doors(app, settings, measured, draining)
    if traced is not None:
        from service.spans import TracingMiddleware

        app.add_middleware(TracingMiddleware, tracer=traced.tracer)
    return app


def _put_doors(app: FastAPI, settings: Settings, measured: Metrics, draining: Draining) -> None:
    """Put what every request passes before ``app``; the one added last is the outermost."""
    served = [(route.path or "", route.methods or ()) for route in iter_route_contexts(app.routes)]
    app.add_middleware(
        PatienceMiddleware, deadline_seconds=settings.deadline_seconds, body_seconds=settings.body_seconds
    )
    errors.install(app)
    app.add_middleware(AdmissionMiddleware, target_seconds=settings.latency_target_seconds, metrics=measured)
    app.add_middleware(
        GuardMiddleware,
        table=RouteTable(served),
        keys=None if settings.keys is None else KeyRing(settings.keys),
        local=not settings.allow_public,
        origins=settings.cors_origins,
        metrics=measured,
    )
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", REQUEST_ID, TIMEOUT_FIELD],
            expose_headers=[REQUEST_ID, "Retry-After"],
        )
    app.add_middleware(AccessMiddleware, metrics=measured, draining=draining)


def _tracing() -> Tracing | None:
    """What makes traces, where the environment asks for them: only then is OpenTelemetry imported."""
    if not tracing.wanted():
        return None
    from service.spans import Tracing

    return Tracing()
