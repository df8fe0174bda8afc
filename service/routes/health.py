"""``/livez`` and ``/readyz``: whether the process is up, and whether it can answer."""

from __future__ import annotations

from fastapi import APIRouter

from service.errors import responses
from service.live import LiveSearcher
from service.schemas_answer import LiveResponse, ReadyResponse


def routes(live: LiveSearcher) -> APIRouter:
    """The health routes of a service that answers from ``live``."""
    router = APIRouter(tags=["operations"])

    @router.get("/livez", summary="Is the process up?")
    async def livez() -> LiveResponse:
        """Answers 200 as long as the process runs. If it does not answer, restart it."""
        return LiveResponse()

    @router.get("/readyz", summary="Can it answer searches?", responses=responses(503))
    async def readyz() -> ReadyResponse:
        """Answers 200 once a snapshot is loaded, and names it. Until then send no traffic."""
        with live.lease() as searcher:
            return ReadyResponse(snapshot=searcher.snapshot_id, model=searcher.model_version, products=searcher.size)

    return router
