"""``/``: the console, a static page that searches through ``/v1/search``."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

_WEB = Path(__file__).parent.parent / "web"
_HEADERS = {
    "Cache-Control": "no-cache",
    # The page loads nothing but its own two files and talks to nobody but this service.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data: blob:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
}


def routes() -> APIRouter:
    """The routes of the console's page and of its two files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> FileResponse:
        return FileResponse(_WEB / "index.html", headers=_HEADERS)

    @router.get("/console.css")
    async def style() -> FileResponse:
        return FileResponse(_WEB / "console.css", headers=_HEADERS)

    @router.get("/console.js")
    async def script() -> FileResponse:
        return FileResponse(_WEB / "console.js", headers=_HEADERS)

    return router
