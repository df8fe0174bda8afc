"""``/metrics``: what Prometheus scrapes."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from service.metrics import Metrics


def routes(metrics: Metrics) -> APIRouter:
    """The route that shows ``metrics``."""
    router = APIRouter(tags=["operations"])

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "Prometheus exposition format"}},
    )
    async def show(request: Request) -> Response:
        """Counters and histograms, named `saddle_…`, in the format that the scraper asks for."""
        # off the event loop: of several workers it reads what all of them wrote
        body, media_type = await asyncio.to_thread(metrics.encoded, request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})

    return router
