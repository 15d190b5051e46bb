"""Reading bodies: size, time, type."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from gateway.api.body import MAX_BODY, read, read_json
from gateway.api.problems import SlowRequest
from gateway.errors import TooLarge

URL = "/v1/verifications"


def request(messages, headers=()):
    """A request whose body arrives in these messages and then no further."""
    waiting = list(messages)

    async def receive():
        if waiting:
            return waiting.pop(0)
        return await asyncio.Event().wait()

    return Request({"type": "http", "method": "POST", "headers": list(headers)}, receive)


def part(body: bytes, *, more: bool = True):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_is_read_whole():
    assert await read(request([part(b"a"), part(b"b"), part(b"c", more=False)])) == b"abc"


async def test_a_body_over_the_limit_is_refused_while_it_arrives():
    with pytest.raises(TooLarge):
        await read(request([part(b"a" * MAX_BODY), part(b"a")]))


async def test_a_body_of_exactly_the_limit_is_taken():
    assert len(await read(request([part(b"a" * MAX_BODY, more=False)]))) == MAX_BODY


async def test_a_length_over_the_limit_is_refused_before_anything_is_read():
    with pytest.raises(TooLarge):
        await read(request([], [(b"content-length", str(MAX_BODY + 1).encode())]))


async def test_a_body_that_does_not_arrive_in_time_ends_the_connection():
    with pytest.raises(SlowRequest) as told:
        await read(request([part(b"{")]), seconds=0.01)
    assert (told.value.status, told.value.headers) == (408, {"Connection": "close"})


async def test_a_caller_who_goes_away_is_not_answered():
    with pytest.raises(ClientDisconnect):
        await read(request([part(b"{"), {"type": "http.disconnect"}]))


async def test_a_missing_optional_body_is_an_empty_object():
    assert await read_json(request([part(b"", more=False)]), optional=True) == {}


async def test_a_caller_who_goes_away_during_a_call_gets_nothing_and_leaves_no_trace(world, caplog):
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    headers = [
        (b"authorization", f"Bearer {world.key}".encode()),
        (b"content-type", b"application/json"),
    ]
    scope = {"type": "http", "method": "POST", "path": URL, "query_string": b"", "headers": headers}
    await world.app(scope, receive, send)
    assert (sent, caplog.messages) == ([], [])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 201),
        ({"Content-Type": "application/json; charset=utf-8"}, 201),
        ({"Content-Type": 'Application/JSON;charset="UTF-8"'}, 201),
        ({"Content-Type": "application/json", "Content-Encoding": "identity"}, 201),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
async def test_a_body_is_json_uncompressed_and_says_so(client, headers, status):
    response = await client.post(URL, content=b'{"to": "+4915112345678"}', headers=headers)
    assert status == response.status_code
    if status == 415:
        assert response.json()["code"] == "unsupported_media_type"


async def test_a_body_over_16_kib_is_413(client):
    response = await client.post(URL, json={"to": "+4915112345678", "params": {"name": "x" * MAX_BODY}})
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
