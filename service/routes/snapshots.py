"""``/v1/snapshots``: the snapshots of the index root, and which of them is answered from."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import APIRouter, HTTPException, Path, Request

from index.root import UnknownSnapshotError, current, listed, one_before
from index.snapshot import SnapshotError
from service.errors import responses
from service.live import LiveSearcher, NotReadyError
from service.schemas_products import ActivatedResponse, SnapshotBody, SnapshotsResponse

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger()

_CHANGE = responses(404, 409, 422, 500, 503)


def routes(live: LiveSearcher, root: FilePath) -> APIRouter:
    """The routes that list and change snapshots in ``root``, which ``live`` answers from."""
    router = APIRouter(tags=["operations"])

    @router.get("/v1/snapshots", summary="List snapshots", responses=responses(500))
    async def listing(request: Request) -> SnapshotsResponse:
        """The snapshots that there are, the newest first."""
        try:
            with live.lease() as searcher:
                serving = searcher.snapshot_id
        except NotReadyError:
            serving = None
        return SnapshotsResponse(
            snapshots=await asyncio.to_thread(_bodies, root),
            serving=serving,
            request_id=request.state.request_id,
        )

    @router.post("/v1/snapshots/rollback", summary="Go back to the snapshot before", responses=_CHANGE)
    async def back(request: Request) -> ActivatedResponse:
        """Answer from the newest snapshot that is older than the current one; live changes since are kept."""
        return await made_current(partial(one_before, root), "a snapshot older than the current one", request)

    @router.post("/v1/snapshots/{snapshot_id}/activate", summary="Answer from a snapshot", responses=_CHANGE)
    async def activated(
        snapshot_id: Annotated[str, Path(max_length=64, description="A snapshot's id.")], request: Request
    ) -> ActivatedResponse:
        """Check a snapshot, make it current and answer from it; live changes since it was built are kept."""
        return await made_current(lambda: snapshot_id, f"a snapshot {snapshot_id!r}", request)

    async def made_current(chosen: Callable[[], str], wanted: str, request: Request) -> ActivatedResponse:
        # the errors name directories, which are for the log
        try:
            name = await live.switch(chosen)
        except UnknownSnapshotError as error:
            have = ", ".join(manifest.id for manifest in await asyncio.to_thread(listed, root)) or "none"
            raise HTTPException(404, f"there is not {wanted}; there are: {have}") from error
        except SnapshotError as error:
            log.warning("snapshot not activated", reason=str(error))
            raise HTTPException(
                409, f"{wanted} is there, but cannot be used; the log says why under this request_id"
            ) from error
        return ActivatedResponse(snapshot=name, request_id=request.state.request_id)

    return router


def _bodies(root: FilePath) -> list[SnapshotBody]:
    try:
        now = current(root).name
    except SnapshotError:
        now = ""
    return [
        SnapshotBody(
            id=manifest.id,
            created=manifest.created,
            model=manifest.model,
            products=manifest.products,
            bytes=manifest.bytes,
            current=manifest.id == now,
        )
        for manifest in listed(root)
    ]
