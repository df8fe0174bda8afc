"""``/livez`` and ``/readyz``: whether the process is up, and whether it can answer."""

from __future__ import annotations

from fastapi import APIRouter

from service.drain import Draining
from service.errors import responses
from service.live import LiveSearcher, NotReadyError
from service.schemas_answer import LiveResponse, ReadyResponse


def routes(live: LiveSearcher, draining: Draining) -> APIRouter:
    """The health routes of a service that answers from ``live`` until it is ``draining``."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez", summary="Is the process up?")
    async def livez() -> LiveResponse:
        """Answers 200 as long as the process runs. If it does not answer, restart it."""
        return LiveResponse()

    @router.get("/readyz", summary="Can it answer searches?", responses=responses(503))
    async def readyz() -> ReadyResponse:
        """Answers 200 once a snapshot is loaded, and names it. Until then, and while it stops, send no traffic."""
        if draining.begun:
            raise NotReadyError("the service is about to stop")
        with live.lease() as searcher:
            return ReadyResponse(snapshot=searcher.snapshot_id, model=searcher.model_version, products=searcher.size)

    return router
