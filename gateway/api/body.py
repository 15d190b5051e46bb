"""Reading a request's body: how much, how long, of which type, and never with a key in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.requests import ClientDisconnect, Request

from gateway.api.keys.text import PREFIX, TRACE
from gateway.api.problems import SlowRequest
from gateway.api.shortcut import SHORTCUT, Shortcut
from gateway.api.strict_json import parse
from gateway.errors import BadRequest, TooLarge, UnsupportedMediaType

#: Bytes of a JSON body.
MAX_BODY: Final = 16 * 1024
#: Seconds in which a body must have arrived.
BODY_SECONDS: Final = 15.0

_JSON: Final = b"application/json"
#: Where the ASGI scope keeps the headers by name; empty where one of them came twice.
_ONCE: Final = "otp_gateway.headers"
#: What every key begins with, in a body without escapes.
_MARK: Final = PREFIX.encode()

#: Names under which people send keys where they do not belong.
KEY_NAMES: Final = frozenset({"key", "api_key", "apikey", "token", "access_token", "authorization"})


class MisplacedKey(BadRequest):
    """A key outside the ``Authorization`` header (400): it may be in somebody's log by now."""


def values(request: Request, name: bytes) -> list[bytes]:
    """Return what a header was given as, each time it was. ``name`` is in lower case, as ASGI has all of them."""
    if once := headers_of(request):
        return [once[name]] if name in once else []
    return [value for given, value in request.scope["headers"] if given == name]


def headers_of(request: Request) -> Mapping[bytes, bytes]:
    """Return the headers by name; empty where one of them came twice."""
    scope = request.scope
    once: dict[bytes, bytes] | None = scope.get(_ONCE)
    if once is None:
        # Five are looked up in a request, and nearly always none came twice.
        once = dict(scope["headers"])
        scope[_ONCE] = once = once if len(once) == len(scope["headers"]) else {}
    return once


async def read(request: Request, limit: int = MAX_BODY, *, seconds: float = BODY_SECONDS) -> bytes:
    """Return the whole body, ``limit`` bytes at most, within so many seconds.

    Raises ``TooLarge``, ``SlowRequest``, or ``ClientDisconnect`` where the caller went away.
    """
    server: Shortcut | None = request.scope.get(SHORTCUT)
    # Where nothing is waited for, a deadline costs more than the reading.
    if server is not None and (whole := server.take_body(request.scope)) is not None:
        if len(whole) > limit:
            raise _too_large(limit)
        return whole
    for told in values(request, b"content-length"):
        if told.isdigit() and len(told) < 20 and int(told) > limit:
            raise _too_large(limit)
    try:
        async with asyncio.timeout(seconds):
            return await _read(request, limit)
    except TimeoutError:
        raise SlowRequest(f"the body took longer than {seconds:g} s", headers={"Connection": "close"}) from None


async def _read(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def read_json(request: Request, *, optional: bool = False, limit: int = MAX_BODY) -> object:
    """Return the JSON value of the body, ``limit`` bytes at most; ``optional`` reads no body as an empty object.

    Raises ``BadRequest``, ``UnsupportedMediaType``, and what ``read`` does.
    """
    if optional:
        raw = await read(request, limit)
        if not raw:
            return {}
        _check_type(request)
    else:
        _check_type(request)
        raw = await read(request, limit)
    value = parse(raw)
    if isinstance(value, dict) and (_MARK in raw or b"\\" in raw or not KEY_NAMES.isdisjoint(value)):
        # Looked through only where there may be a key: one that is spelled with escapes has no mark.
        refuse_keys(value)
    return value


def refuse_keys(fields: Mapping[str, object]) -> None:
    """Refuse a key that is not in the ``Authorization`` header, as a name or a value. Raises ``MisplacedKey``."""
    if not KEY_NAMES.isdisjoint(fields) or _holds_key(fields):
        raise MisplacedKey("a key belongs in the Authorization header; one sent elsewhere may be in a log: revoke it")


def _holds_key(value: object) -> bool:
    """Whether there is a key in a text, or in an object's or a list's: it would be kept, sent to somebody, or told back.

    Objects in a list are a batch's items: each is looked at, and answered, by itself.
    """
    if isinstance(value, dict):
        return any(map(_holds_key, (*value, *value.values())))
    if isinstance(value, list):
        return any(isinstance(item, str) and _holds_key(item) for item in value)
    return isinstance(value, str) and TRACE.search(value) is not None


def _check_type(request: Request) -> None:
    once = headers_of(request)
    if once.get(b"content-type") == _JSON and b"content-encoding" not in once:
        return
    encodings = values(request, b"content-encoding")
    if encodings and any(encoding.strip().lower() != b"identity" for encoding in encodings):
        raise UnsupportedMediaType("compressed bodies are not taken", headers={"Accept-Encoding": "identity"})
    given = values(request, b"content-type")
    media_type, _, parameters = b",".join(given).partition(b";")
    charset = parameters.replace(b'"', b"").strip().lower()
    if media_type.strip().lower() != _JSON or charset not in {b"", b"charset=utf-8"}:
        raise UnsupportedMediaType("send JSON, as 'Content-Type: application/json'")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"a body has at most {limit} bytes")
