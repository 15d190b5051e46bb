"""The sandbox's page and the API behind it: what arrived, what people do with it, and letters for a program that waits.

It shows every code, so it answers this machine's own browser only: the name asked for must be this machine's (a name
of somebody else's could be pointed here by its owner, DNS rebinding), acts must come from the page itself or from a
program, which has no origin, and no other site may embed or read anything.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from importlib import resources
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway.sandbox.http import HttpSandbox, RequestTooLargeError, read_body, while_there
from gateway.sandbox.loopback import is_loopback
from gateway.sandbox.scenes import ActError, Scenes
from gateway.sandbox.shapes import html_of, whole_letter

#: Seconds a program may wait for a letter.
MAX_WAIT = 60.0

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: A mail is somebody else's HTML: it is shown, but runs and fetches nothing, whatever it holds.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; base-uri 'none'; "
    "form-action 'none'; sandbox"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
#: The page's scripts, each named for what it shows or does: ``page`` is where the modules begin, ``theme`` is none of them.
_MODULES = (
    "acts",
    "app",
    "bubble",
    "chat",
    "dom",
    "frame",
    "log",
    "mail",
    "page",
    "people",
    "phone",
    "sms",
    "theme",
    "verification",
    "words",
)
#: The files of the page by path; nothing else of its folder is served.
_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in _MODULES},
}

_Handler = Callable[[Request], Awaitable[Response]]


class Site(HttpSandbox):
    """The page's server. Open it with ``async with``; ``base_url`` is what a browser is given.

    Raises ``ValueError`` for a host that is not loopback, unless with ``allow_remote``.
    """

    browsed: ClassVar[bool] = True

    def __init__(self, scenes: Scenes, *, host: str = "127.0.0.1", port: int = 0, allow_remote: bool = False) -> None:
        reads: dict[str, _Handler] = {
            **dict.fromkeys(_FILES, _file),
            "/feed": self._feed,
            "/mail/{id}": self._mail,
            "/sandbox/inbox/{to:path}": self._inbox,
        }
        routes = [Route(path, self._guarded(handler), methods=["GET"]) for path, handler in reads.items()]
        routes.append(Route("/act/{name}", self._guarded(self._act), methods=["POST"]))
        super().__init__(routes, host=host, port=port, allow_remote=allow_remote)
        self._scenes = scenes
        self._allow_remote = allow_remote

    def _guarded(self, handler: _Handler) -> _Handler:
        """Return ``handler`` behind the checks of who asks, its answer with what browsers are to keep to."""

        async def guarded(request: Request) -> Response:
            try:
                self._check(request)
                response = await handler(request)
            except ActError as error:
                response = _problem(error.status, error.detail)
            except RequestTooLargeError:
                response = _problem(413, "The request is too large.")
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded

    def _check(self, request: Request) -> None:
        host = request.headers.get("Host", "")
        # Where others may come, they come by names we cannot know, and read what any site could have them read.
        if not self._allow_remote and not self._is_ours(host):
            raise ActError(421, "This server answers to names of this machine only.")
        if request.method != "POST":
            return
        if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
            raise ActError(415, "A body is application/json here.")
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        if (origin is not None and origin != f"http://{host}") or site not in {None, "same-origin"}:
            raise ActError(403, "No other site may act.")

    def _is_ours(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            whole = parts.netloc == host and parts.username is None
            return whole and is_loopback(parts.hostname) and (parts.port or 80) == self.port
        except ValueError:
            return False

    async def _feed(self, request: Request) -> Response:
        stream = self._scenes.feed.stream(self._scenes.snapshot, partial(self.drop, request))
        return StreamingResponse(stream, media_type="text/event-stream")

    async def _mail(self, request: Request) -> Response:
        wanted = request.path_params["id"]
        found = next((letter for letter in self._scenes.inbox.letters if letter.id == wanted), None)
        html = html_of(found) if found is not None else ""
        if not html:
            raise ActError(404, "There is no such mail with HTML.")
        return Response(html, media_type="text/html", headers={"Content-Security-Policy": _MAIL_POLICY})

    async def _act(self, request: Request) -> Response:
        return JSONResponse(await self._scenes.act(request.path_params["name"], await read_body(request)))

    async def _inbox(self, request: Request) -> Response:
        to, wait = _recipient(request), _seconds(request.query_params.get("wait", "0"))
        after = request.query_params.get("after")
        # What is left of the body, so that the next thing to come is the client's going away.
        await read_body(request)
        try:
            letter = await while_there(request, self._scenes.inbox.newest(to, after=after, timeout=wait))
        except TimeoutError:
            raise ActError(404, "No such letter has come.") from None
        return Response() if letter is None else JSONResponse(whole_letter(letter))


async def _file(request: Request) -> Response:
    """Answer with a file of the page, read anew each time, so that who writes it needs no restart."""
    name, kind = _FILES[request.url.path]
    file = resources.files("gateway.sandbox") / "page" / name
    if not file.is_file():
        raise ActError(404, "This file of the page is missing.")
    return Response(file.read_bytes(), media_type=kind)


def _recipient(request: Request) -> str:
    """Return the address a path names. A plus in it is a plus: ``%2B`` and ``+`` are the same here."""
    raw: bytes = request.scope["raw_path"]
    return unquote(raw.partition(b"?")[0].decode("ascii", "replace").partition("/inbox/")[2])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= MAX_WAIT:
        raise ActError(422, f"wait is 0 to {MAX_WAIT:.0f} seconds.")
    return seconds


def _problem(status: int, detail: str) -> Response:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, media_type="application/problem+json")
