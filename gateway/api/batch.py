"""``POST /v1/verifications/batch``: many verifications in one request, each with an answer of its own.

Written in chunks, one after the other, each in one transaction. What is wrong with one item is that item's answer and
touches no other. Under an ``Idempotency-Key`` the answers of a chunk are kept in the chunk's own transaction, so a
request that was cut off anywhere can be sent again: what was written is told, and the rest is carried out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.api import examples, intake, telling
from gateway.api.authentication import Authentication
from gateway.api.body import read_json, refuse_keys
from gateway.api.describing import CREATE, KEY, Json, answer, named, problems
from gateway.api.describing import request as asked
from gateway.api.idempotency import REPLAYED, fingerprint_of, key_of
from gateway.api.parts import Parts
from gateway.api.problems import as_problem, members, word_of
from gateway.api.responses import Answer, encode
from gateway.api.shapes import CreateBatch, CreateVerification
from gateway.api.verifications import PATH as VERIFICATIONS
from gateway.errors import InvalidRequest, Problem
from gateway.storage.answers import Source
from gateway.storage.unit import Connection
from gateway.verification.chunking import CHUNK, KEYED, chunks
from gateway.verification.verifications import Prepared
from gateway.verification.view import VerificationView

PATH: Final = f"{VERIFICATIONS}/batch"
#: Bytes of a body.
MAX_BODY: Final = 1024 * 1024
#: Items prepared between two looks at what else the process has to do: each takes some 0.2 ms.
_BREATH: Final = 10
_WHERE: Final = f"POST {PATH}"


class BatchRoutes:
    """The endpoint."""

    def __init__(self, parts: Parts, authenticate: Authentication) -> None:
        self._parts = parts
        self._authenticate = authenticate

    async def create(self, request: Request) -> Response:
        """Start what every item asks for: 207 with their answers, in order.

        Raises what is wrong with the request as a whole: ``InvalidRequest`` where it is no list of 1 to 1000 items.
        Under a key that includes a database that fails between two chunks: the same request goes on from there.
        """
        service = await self._authenticate(request)
        intake.parameters(request.scope["query_string"])
        key = key_of(request)
        value = await read_json(request, limit=MAX_BODY)
        size = CHUNK if key is None else KEYED
        parted = list(chunks(intake.shaped(value, CreateBatch).items, _addresses, size))
        if key is None:
            return _answer([await self._chunk(service, chunk) for chunk in parted], replayed=False)
        fingerprint, found, replays = fingerprint_of(value), [], 0
        for number, chunk in enumerate(parted):
            # No other path ends in a number: the key of a chunk is nobody else's.
            told, replayed = await self._chunk_once(
                service, Source("POST", f"{PATH}/{number}", key), fingerprint, chunk
            )
            found.append(told)
            replays += replayed
        return _answer(found, replayed=replays == len(parted))

    async def _chunk(self, service: str, chunk: Sequence[object]) -> bytes:
        prepared = await self._prepared(service, chunk)
        # Asked for at once they are written together, as fast as single requests that come at the same time.
        return b",".join(await asyncio.gather(*map(self._start, prepared)))

    async def _start(self, item: Prepared | Problem) -> bytes:
        if isinstance(item, Problem):
            return self._refused(item)
        try:
            return _created(await self._parts.verifications.start(item))
        except Exception as error:  # noqa: BLE001 - told and logged there, and the other items go on
            return self._refused(as_problem(error, _WHERE))

    async def _chunk_once(
        self, service: str, source: Source, fingerprint: bytes, chunk: Sequence[object]
    ) -> tuple[bytes, bool]:
        """Return a chunk's answers and whether they were given before."""
        answers = self._parts.answers
        # Before anything is prepared: that may renew the link a person was sent in the first answer.
        if kept := await answers.kept(service, source, fingerprint):
            return kept[1:-1], True
        prepared = await self._prepared(service, chunk)
        outcomes: list[Prepared | Problem] = []

        async def create(connection: Connection) -> bytes:
            # It may run twice.
            outcomes.clear()
            ready = [item for item in prepared if isinstance(item, Prepared)]
            await self._parts.verifications.hold_within(connection, ready)
            told = [await self._start_within(connection, item, outcomes) for item in prepared]
            # Kept as JSON of its own, so that a recipient who is erased is erased from it too.
            return b"[" + b",".join(told) + b"]"

        try:
            told, replayed = await answers.once(service, source, fingerprint, create, weight=len(prepared))
        except Exception:
            self._dropped(prepared)
            raise
        if replayed:
            self._dropped(prepared)
        for item, outcome in () if replayed else zip(prepared, outcomes, strict=True):
            if isinstance(outcome, Problem):
                self._dropped([item])
                self._parts.metrics.refused(word_of(outcome))
            else:
                self._parts.verifications.started(outcome)
        return told[1:-1], replayed

    def _dropped(self, prepared: Sequence[Prepared | Problem]) -> None:
        """Take back what was reckoned with for what is not written after all."""
        for item in prepared:
            if isinstance(item, Prepared):
                self._parts.verifications.dropped(item)

    async def _start_within(
        self, connection: Connection, item: Prepared | Problem, outcomes: list[Prepared | Problem]
    ) -> bytes:
        if isinstance(item, Problem):
            outcomes.append(item)
            return _told(item)
        try:
            written = await self._parts.verifications.start_within(connection, item)
        except Problem as problem:
            outcomes.append(problem)
            return _told(problem)
        outcomes.append(written)
        return _created(written.view)

    async def _prepared(self, service: str, chunk: Sequence[object]) -> list[Prepared | Problem]:
        found: list[Prepared | Problem] = []
        for place, value in enumerate(chunk):
            if place % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            try:
                found.append(await self._prepare(service, value))
            except Exception as error:  # noqa: BLE001 - told and logged there, and the other items go on
                found.append(as_problem(error, _WHERE))
        return found

    async def _prepare(self, service: str, value: object) -> Prepared:
        if isinstance(value, dict):
            refuse_keys(value)
        body = intake.shaped(value, CreateVerification)
        wanted = intake.asked(body)
        try:
            return await self._parts.verifications.prepare(service, wanted)
        except InvalidRequest as problem:
            if isinstance(body.to, str):
                raise intake.as_string(problem) from None
            raise

    def _refused(self, problem: Problem) -> bytes:
        self._parts.metrics.refused(word_of(problem))
        return _told(problem)


def described() -> Json:
    """Return what the OpenAPI document tells of it."""
    return {
        **named("createBatch", "Verifications", "Send many codes"),
        "description": "Each item is answered as it would be by itself, in order: what is wrong with one touches no other. "
        "The body has at most 1 MiB. Under a key every answer is kept, refusals of items too: a request that was cut off "
        "can be sent again, and creates nothing twice.",
        "parameters": [KEY],
        "requestBody": asked("CreateBatch", examples.BATCH),
        "responses": {"207": answer("What became of each", "Batch", examples.BATCHED), **problems(CREATE)},
    }


def _addresses(item: object) -> set[str]:
    """Return whom an item names, whatever else is wrong with it."""
    to = item.get("to") if isinstance(item, dict) else None
    values = to.values() if isinstance(to, dict) else (to,)
    return {value for value in values if isinstance(value, str)}


def _created(view: VerificationView) -> bytes:
    return b'{"status":201,"body":' + encode(telling.verification(view)) + b"}"


def _told(problem: Problem) -> bytes:
    item: dict[str, object] = {"status": problem.status, "body": members(problem)}
    # What a header says of a request, where there is no header.
    if wait := problem.headers.get("Retry-After"):
        item["retry_after"] = int(wait)
    return orjson.dumps(item)


def _answer(found: Sequence[bytes], *, replayed: bool) -> Answer:
    body = b'{"items":[' + b",".join(found) + b"]}"
    return Answer(body, status=207, headers=REPLAYED if replayed else None)
