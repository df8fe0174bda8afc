"""``/docs``: the API's documentation as Swagger UI, from files of a package and not of somebody else's server."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

_WEB = Path(__file__).parent.parent / "web"
_SWAGGER = Path(str(files("fastapi_swagger.resources")))
_FILES = {
    "docs.js": _WEB / "docs.js",
    "swagger-ui-bundle.js": _SWAGGER / "swagger-ui-bundle.js",
    "swagger-ui.css": _SWAGGER / "swagger-ui.css",
}
_HEADERS = {
    "Cache-Control": "no-cache",
    # Swagger UI sets styles of elements and has its pictures in its style sheet.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def routes() -> APIRouter:
    """The routes of the documentation's page and of its files."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def page() -> FileResponse:
        return FileResponse(_WEB / "docs.html", headers=_HEADERS)

    @router.get("/docs/{name}")
    async def part(name: str) -> FileResponse:
        if name not in _FILES:
            raise HTTPException(404, "there is nothing at this path")
        return FileResponse(_FILES[name], headers=_HEADERS)

    return router
