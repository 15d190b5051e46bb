"""Deadlines on a real server and real sockets."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from gateway.api.body import read
from gateway.api.problems import respond
from gateway.api.responses import Answer
from gateway.api.shortcut import SHORTCUT
from gateway.api.slow_clients import LEAST_PIECE, MAX_HEAD, MAX_PIECES, DeadlineProtocol
from gateway.errors import Problem
from tests.api.sockets import PATIENCE, Hasty, Patient, all_of, answer, serving


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_without_whole_headers_is_closed(sent):
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(sent)
        assert await all_of(reader) == b""


async def test_a_body_that_stops_is_cut_off():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert await all_of(reader) == b""


async def test_a_body_that_nobody_reads_is_cut_off_after_the_answer():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_the_second_request_of_a_connection_has_the_same_deadlines():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(b"GET / HTTP/1.1\r\nHost:")
        assert await all_of(reader) == b""


async def test_stray_line_breaks_after_an_answer_hold_no_connection():
    async with serving(Hasty) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answer(reader)
        writer.write(b"\r\n")
        assert await all_of(reader) == b""


async def test_what_is_no_http_is_refused_and_leaves_no_timer():
    async with serving(Hasty) as connect:
        reader, writer, made = await connect()
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert made[0]._timer is None


async def test_requests_in_pieces_and_in_a_row_are_answered():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        for piece in (b"POST / HTTP/1.1\r\nHost: x\r\nContent-", b"Length: 6\r\n\r\nabc", b"def"):
            writer.write(piece)
            await writer.drain()
        assert (await answer(reader)).endswith(b"abcdef")
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
        writer.write(request + b"1" + request + b"2" + request)
        assert (await answer(reader)).endswith(b"1")
        assert (await answer(reader)).endswith(b"2")
        writer.write(b"3")
        assert (await answer(reader)).endswith(b"3")
        assert (made[0]._late_at, made[0]._watched) == (float("inf"), None)


async def test_a_whole_request_sets_no_timer_beside_the_connections_own():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answer(reader)
        assert (made[0]._late_at, made[0]._watched) == (float("inf"), None)
        timer = made[0]._timer
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await answer(reader)
        assert made[0]._timer is timer


async def test_a_timer_that_was_left_to_run_closes_no_connection_before_its_time():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
            # As if the deadline of an earlier request had come.
            made[0]._look()
        made[0]._idle_at = made[0].loop.time()
        made[0]._look()
        assert await all_of(reader) == b""


async def test_a_connection_that_is_idle_is_closed():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_deadlines_are_the_contracts():
    assert (DeadlineProtocol.header_seconds, DeadlineProtocol.body_seconds) == (10.0, 16.0)


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "


async def test_a_head_without_end_is_refused_as_it_grows():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        for piece in (HEAD, b"a" * MAX_HEAD):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        head, _, body = (await all_of(reader)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
        assert json.loads(body)["code"] == "too_large"
        assert made[0]._timer is None


async def test_a_trailer_without_end_is_refused_as_it_grows():
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Long: ")
        async with asyncio.timeout(PATIENCE):
            while not made or not made[0]._has_body:  # noqa: ASYNC110 - what is sent next must not come with it
                await asyncio.sleep(0)
        writer.write(b"a" * (MAX_HEAD + 1))
        assert (await all_of(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_body_may_be_longer_than_a_head():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        size = 3 * MAX_HEAD
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(3):
            writer.write(b"a" * MAX_HEAD)
            await writer.drain()
            await asyncio.sleep(0.01)
        assert len((await answer(reader)).partition(b"\r\n\r\n")[2]) == size


CHUNKED = b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_a_body_in_single_bytes_is_refused_beyond_a_number():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST /" + CHUNKED + b"1\r\na\r\n" * (MAX_PIECES + 1))
        head, _, body = (await all_of(reader)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert "too many small pieces" in json.loads(body)["detail"]


@pytest.mark.parametrize(("size", "number"), [(1, MAX_PIECES), (2 * LEAST_PIECE, 2 * MAX_PIECES)])
async def test_a_body_in_fewer_pieces_or_in_larger_ones_is_read_whole(size, number):
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        for _ in range(2):
            writer.write(b"POST /" + CHUNKED + b"%x\r\n%b\r\n" % (size, b"a" * size) * number + b"0\r\n\r\n")
            assert len((await answer(reader)).partition(b"\r\n\r\n")[2]) == size * number


async def test_a_body_that_nobody_reads_is_counted_too():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST /unread" + CHUNKED)
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(b"1\r\na\r\n" * (MAX_PIECES + 1))
        assert await all_of(reader) == b""


async def test_a_head_that_comes_at_once_is_refused_over_its_limit_only():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(HEAD + b"a" * (MAX_HEAD - 100) + b"\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(HEAD + b"a" * MAX_HEAD + b"\r\n\r\n")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_too_large_does_not_break_into_the_answer_before_it():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        await asyncio.sleep(0.01)
        writer.write(b"1" + HEAD + b"a" * MAX_HEAD + b"\r\n\r\n")
        told = await all_of(reader)
        assert b"431" not in told


async def test_what_is_no_http_is_told_like_every_other_fault():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = (await all_of(reader)).partition(b"\r\n\r\n")
        assert json.loads(body)["code"] == "invalid_request"
        for header in (
            b"content-type: application/problem+json",
            b"x-content-type-options: nosniff",
            b"connection: close",
        ):
            assert header in head.split(b"\r\n")


async def test_what_stands_behind_a_body_is_no_header():
    seen: list[list[tuple[bytes, bytes]]] = []

    async def listing(scope, receive, send):
        await Request(scope, receive).body()
        seen.append(list(scope["headers"]))
        await PlainTextResponse("")(scope, receive, send)

    async with serving(Patient, listing) as connect:
        reader, writer, _ = await connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        )
        await answer(reader)
    assert [name for name, _ in seen[0]] == [b"host", b"transfer-encoding"]


async def read_whole(scope, receive, send):
    """Answer with the body, read as an endpoint does."""
    try:
        body = await read(Request(scope, receive), 8)
    except Problem as problem:
        await respond(problem)(scope, receive, send)
        return
    await Answer(body)(scope, receive, send)


async def test_whole_bodies_are_read_and_answered_in_the_order_they_came():
    async with serving(Patient, read_whole) as connect:
        reader, writer, _ = await connect()
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"
        writer.write(b"".join(request + b"%d" % number for number in range(4)))
        for number in range(4):
            assert (await answer(reader)).endswith(b"\r\n\r\n%d" % number)


async def test_a_whole_body_over_its_limit_is_refused():
    async with serving(Patient, read_whole) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 413 ")


async def test_who_has_gone_before_the_answer_is_told_nothing_and_leaves_no_fault(caplog):
    gone = asyncio.Event()

    async def late(scope, receive, send):
        shortcut = scope[SHORTCUT]
        while not shortcut.cycle.disconnected:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        taken = shortcut.take_body(scope)
        await Answer(b"{}")(scope, receive, send)
        assert taken is None
        gone.set()

    async with serving(Patient, late) as connect:
        _, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        writer.close()
        async with asyncio.timeout(PATIENCE):
            await gone.wait()
    assert caplog.messages == []


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: 3, 3\r\n",
        b"Content-Length: +3\r\n",
        b"Content-Length : 3\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
async def test_a_body_that_two_servers_could_measure_differently_is_refused(framing: bytes):
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\nabc")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


UPGRADE = (
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
)
#: What its sender would have the next caller say.
HIDDEN = b"DELETE /hidden HTTP/1.1\r\nX-Swallow: "


@pytest.mark.parametrize(
    "framed",
    [
        [b"Content-Length: %d\r\n\r\n" % len(HIDDEN), HIDDEN],
        [b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN],
        [b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN[:9], HIDDEN[9:]],
        [b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)],
    ],
)
async def test_a_request_that_asks_for_another_protocol_keeps_its_body(framed: list[bytes]):
    async with serving(Patient) as connect:
        reader, writer, made = await connect()
        writer.write(UPGRADE)
        for part in framed:
            writer.write(part)
            await writer.drain()
            for _ in range(20):
                await asyncio.sleep(0)
        assert (await answer(reader)).endswith(b"\r\n\r\n" + HIDDEN)
        # Behind a proxy the next request of a connection is somebody else's.
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: theirs\r\nContent-Length: 4\r\n\r\nnext")
        assert (await answer(reader)).endswith(b"\r\n\r\nnext")
        assert made[0]._requests == 2


@pytest.mark.parametrize(
    "unreadable", [b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"]
)
async def test_an_address_that_cannot_be_read_is_refused_and_fills_no_log(unreadable: bytes, caplog):
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(unreadable)
        assert (await all_of(reader)).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert caplog.records == []


async def test_an_address_that_cannot_be_read_is_not_answered_in_the_place_of_the_request_before_it():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET http:// HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"400" not in await all_of(reader)


async def test_a_body_that_was_not_asked_for_is_not_awaited_after_the_answer():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n")
        assert (await all_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_body_that_was_asked_for_leaves_the_connection_open():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await answer(reader)).endswith(b"\r\n\r\nbody")
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_body_that_cannot_be_read_after_the_answer_is_not_answered_once_more():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(b"POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.write(b"zz\r\n")
        assert await all_of(reader) == b""


async def test_what_follows_an_upgrade_that_ends_the_connection_does_not_cost_it_its_answer():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: x\r\nContent-Length: 4\r\n\r\nbody"
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        assert (await all_of(reader)).endswith(b"\r\n\r\nbody")


async def test_a_body_that_is_not_asked_for_yet_is_awaited_behind_the_request_before_it():
    async with serving(Patient) as connect:
        reader, writer, _ = await connect()
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await answer(reader)).endswith(b"\r\n\r\nbody")
