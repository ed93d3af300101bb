"""The files of the console.

They are read once and sent from memory. The policy allows only files of this server: no inline scripts or styles, and
no text that becomes markup (Trusted Types).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rxhub.web.site import Site

__all__ = ["console_routes"]

_FOLDER: Final = Path(__file__).with_name("console")
_MEDIA_TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def console_routes(site: Site) -> list[Route]:
    """The routes of the page and its files."""
    files = [path for path in sorted(_FOLDER.iterdir()) if path.suffix in _MEDIA_TYPES]
    return [Route(_path(file), _endpoint(site, file), methods=["GET"]) for file in files]


def _path(file: Path) -> str:
    return "/" if file.name == "index.html" else f"/console/{file.name}"


def _endpoint(site: Site, file: Path) -> Callable[[Request], Awaitable[Response]]:
    content = file.read_bytes()
    etag = f'"{sha256(content).hexdigest()[:32]}"'
    headers = {**_HEADERS, "etag": etag}

    async def endpoint(request: Request) -> Response:
        if refusal_reason := site.access.refusal_reason(request.scope):
            return PlainTextResponse(refusal_reason, 403)
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=_MEDIA_TYPES[file.suffix])

    return endpoint
