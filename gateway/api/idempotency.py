"""``Idempotency-Key``: a POST that creates may be sent again without creating twice."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from starlette.requests import Request

from gateway.api.body import values
from gateway.api.responses import Answer
from gateway.errors import BadRequest
from gateway.storage.answers import Answers, Source
from gateway.storage.unit import Connection

#: Characters of a key.
MAX_KEY: Final = 255
#: Told with an answer that was given before.
REPLAYED: Final = {"Idempotent-Replayed": "true"}

_BARE: Final = re.compile(r"[\x20-\x7e]+")
#: A structured field's string (RFC 9651, 3.3.3), between its quotes.
_QUOTED: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')


class Once:
    """One request under one key: what was answered, or what carries it out."""

    def __init__(self, answers: Answers, service: str, source: Source, body: object) -> None:
        """``body`` is the parsed body: neither its spelling nor the order of its keys matters."""
        self._answers = answers
        self._service = service
        self._source = source
        self._fingerprint = fingerprint_of(body)

    async def told_before(self) -> Answer | None:
        """Return the first answer, ``None`` if there is none yet. Raises ``IdempotencyMismatch``."""
        kept = await self._answers.kept(self._service, self._source, self._fingerprint)
        return None if kept is None else _answer(kept, replayed=True)

    async def carry_out(self, create: Callable[[Connection], Awaitable[tuple[str, bytes]]]) -> tuple[Answer, bool]:
        """Return the answer and whether it was given before.

        ``create`` returns what was created as its URL and its JSON. Raises what it raises, ``IdempotencyMismatch``
        and ``IdempotencyConflict``.
        """

        async def work(connection: Connection) -> bytes:
            location, body = await create(connection)
            return orjson.dumps({"location": location, "body": orjson.Fragment(body)})

        kept, replayed = await self._answers.once(self._service, self._source, self._fingerprint, work)
        return _answer(kept, replayed=replayed), replayed


def fingerprint_of(body: object) -> bytes:
    """Return what a parsed body is recognised by: neither its spelling nor the order of its keys matters."""
    try:
        text = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # A number beyond 64 bits, which the body's shape may leave to an item of it to refuse.
        text = json.dumps(body, sort_keys=True).encode()
    return hashlib.sha256(text).digest()


def key_of(request: Request) -> str | None:
    """Return the request's key, bare or quoted the same; ``None`` without one. Raises ``BadRequest``."""
    given = values(request, b"idempotency-key")
    if not given:
        return None
    key = _unquoted(given[0].decode("latin-1").strip(" \t"))
    if len(given) > 1 or not 1 <= len(key) <= MAX_KEY:
        raise BadRequest(f"Idempotency-Key: one, of 1 to {MAX_KEY} printable ASCII characters")
    return key


def created(location: str, body: bytes) -> Answer:
    """Return 201 with what was created."""
    return Answer(body, status=201, headers={"Location": location})


def _unquoted(text: str) -> str:
    """Return the key in ``text``, empty if there is none."""
    if text.startswith('"'):
        match = _QUOTED.fullmatch(text)
        return re.sub(r"\\(.)", r"\1", match[1]) if match else ""
    return text if _BARE.fullmatch(text) else ""


def _answer(kept: bytes, *, replayed: bool) -> Answer:
    found = orjson.loads(kept)
    headers = {"Location": found["location"], **(REPLAYED if replayed else {})}
    return Answer(orjson.dumps(found["body"]), status=201, headers=headers)
