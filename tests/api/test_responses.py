"""Answers: the same bytes by whichever way they leave."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.api.responses import PROBLEM, Answer
from gateway.api.shortcut import SHORTCUT
from tests.api.sockets import Patient, all_of, answer, serving

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def answering(*, short: bool, made: Any):
    async def app(scope, receive, send):
        if not short:
            scope.pop(SHORTCUT)
        await made()(scope, receive, send)

    return app


async def told(request: bytes, *, short: bool, made: Any, closes: bool = False) -> bytes:
    async with serving(Patient, answering(short=short, made=made)) as connect:
        reader, writer, _ = await connect()
        writer.write(request)
        return await all_of(reader) if closes else await answer(reader)


def changed() -> Answer:
    found = Answer(b"{}")
    found.headers["Cache-Control"] = "public"
    return found


@pytest.mark.parametrize(
    "made",
    [
        lambda: Answer(b'{"a":1}'),
        lambda: Answer(b"", status=201, headers={"Location": "/v1/verifications/ver_1"}),
        lambda: Answer(b"{}", status=503, media_type=PROBLEM, headers={"Retry-After": "5"}),
        changed,
    ],
)
async def test_an_answer_is_the_same_with_one_write_as_by_asgi(made):
    expected = await told(GET, short=False, made=made)
    assert b"\r\ndate: " in expected
    assert expected == await told(GET, short=True, made=made)


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ],
)
async def test_a_request_of_another_kind_is_answered_as_asgi_has_it(request_):
    expected = await told(request_, short=False, made=lambda: Answer(b"{}"), closes=True)
    assert expected == await told(request_, short=True, made=lambda: Answer(b"{}"), closes=True)
    assert b"content-length: 2\r\n" in expected
    assert b"connection: close\r\n" in expected


async def test_an_answer_that_ends_its_connection_does():
    found = await told(GET, short=True, made=lambda: Answer(b"{}", headers={"Connection": "close"}), closes=True)
    assert found.endswith(b"connection: close\r\n\r\n{}")


async def test_an_answer_whose_header_has_a_line_break_is_not_written():
    async with serving(
        Patient, answering(short=True, made=lambda: Answer(b"", headers={"Location": "/a\r\nSet-Cookie: b"}))
    ) as connect:
        reader, writer, _ = await connect()
        writer.write(GET)
        assert await all_of(reader) == b""
