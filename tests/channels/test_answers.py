"""What HTTP may bring instead of a plain answer, for every adapter that speaks it: one table, over a real wire."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from channels.base import (
    AmbiguousError,
    Channel,
    DeliveryError,
    Envelope,
    PermanentError,
    Reason,
    Receipt,
    TransientError,
    load,
)
from channels.http import MAX_BODY
from tests.channels.contract import CODE, an_envelope, told
from tests.channels.raw_server import Server, abort, hang, read_request, response, serving

PARTS = {
    "body.txt": f"Your code is {CODE}.",
    "body.html": f"Your code is <b>{CODE}</b>.",
    "subject.txt": "Your code",
    "copy.txt": "Copy",
}
KEYS = {
    "sms": {"account_sid": f"AC{1:032x}", "auth_token": "sms-token-2c1d", "from": "+15005550006"},
    "telegram": {"token": "1:telegram-token-5e", "updates": "off"},
    "email": {"from": "codes@shop.example", "tls": "none"},
}
ADDRESSES = {"sms": "+4915112345678", "telegram": "4711", "email": "ann@people.example"}
ACCEPTED = {
    "sms": b'{"sid": "SM1", "status": "queued"}',
    "telegram": b'{"ok": true, "result": {"message_id": 7, "date": 0, "chat": {"id": 1, "type": "private"}}}',
}
#: An error in the provider's own words, with a status that says success.
ERRORS = {
    "sms": b'{"code": 21211, "message": "no", "status": 400}',
    "telegram": b'{"ok": false, "error_code": 400, "description": "no"}',
}
P, T, A = PermanentError, TransientError, AmbiguousError


def made(adapter: str, **keys: object) -> Channel:
    kind = load(adapter)
    values = {"adapter": adapter, "timeout": 10.0, **KEYS[adapter], **keys}
    return kind("name", kind.Settings.model_validate(values))


def envelope(adapter: str, **changes: Any) -> Envelope:
    return dataclasses.replace(an_envelope(ADDRESSES[adapter], PARTS), **changes)


async def failure(channel: Channel, sending: Envelope) -> DeliveryError:
    async with asyncio.timeout(10):
        with pytest.raises(DeliveryError) as caught:
            await channel.deliver(sending)
    assert [secret for secret in (CODE, sending.address) if secret in told(caught.value)] == []
    return caught.value


def telling(data: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Say ``data`` and hang up."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return script


async def reset_within(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 201 Created\r\nContent-Length: 40\r\n\r\n{"sid"')
    await writer.drain()
    writer.transport.abort()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a byte at a time, for longer than anybody waits."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    gone = asyncio.ensure_future(reader.read())
    while not gone.done():
        writer.write(b" ")
        await asyncio.wait({gone}, timeout=0.02)


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (abort, Reason.UNAVAILABLE),
        (reset_within, Reason.UNAVAILABLE),
        (telling(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), Reason.UNAVAILABLE),
        (telling(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a"'), Reason.UNAVAILABLE),
        (telling(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), Reason.UNAVAILABLE),
        (telling(b"220 mail.example ESMTP\r\n"), Reason.UNAVAILABLE),
        (telling(response(b"{" + b" " * MAX_BODY)), Reason.UNAVAILABLE),
        (telling(response(b'{"sid": "SM1", "sta')), Reason.UNKNOWN),
        (telling(response(b"<html>Welcome</html>")), Reason.UNKNOWN),
        (telling(response(b"")), Reason.UNKNOWN),
        (telling(response(b"[" * 100_000)), Reason.UNKNOWN),
        (telling(response(b"\xff\xfe")), Reason.UNKNOWN),
    ],
    ids=[
        "reset",
        "reset within",
        "short body",
        "short chunk",
        "long header",
        "another protocol",
        "huge body",
        "cut JSON",
        "HTML",
        "empty",
        "deep JSON",
        "no UTF-8",
    ],
)
async def test_an_answer_that_is_none_is_ambiguous(adapter: str, script: Any, reason: Reason) -> None:
    async with serving(Server(script=script)) as server, made(adapter, base_url=server.url) as channel:
        error = await failure(channel, envelope(adapter))
        assert (type(error), error.reason) == (A, reason)
        assert len(server.requests) == 1


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
async def test_an_error_that_comes_as_a_success_is_ambiguous(adapter: str) -> None:
    async with serving(Server(response(ERRORS[adapter]))) as server, made(adapter, base_url=server.url) as channel:
        error = await failure(channel, envelope(adapter))
        assert (type(error), error.reason) == (A, Reason.UNKNOWN)


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("301 Moved Permanently", P, Reason.MISCONFIGURED),
        ("302 Found", P, Reason.MISCONFIGURED),
        ("307 Temporary Redirect", P, Reason.MISCONFIGURED),
        ("308 Permanent Redirect", P, Reason.MISCONFIGURED),
        ("400 Bad Request", P, Reason.REJECTED),
        ("401 Unauthorized", P, Reason.MISCONFIGURED),
        ("403 Forbidden", P, Reason.MISCONFIGURED),
        ("404 Not Found", P, Reason.MISCONFIGURED),
        ("405 Method Not Allowed", P, Reason.REJECTED),
        ("408 Request Timeout", T, Reason.UNAVAILABLE),
        ("413 Content Too Large", P, Reason.REJECTED),
        ("429 Too Many Requests", T, Reason.RATE_LIMITED),
        ("451 Unavailable For Legal Reasons", P, Reason.REJECTED),
        ("500 Internal Server Error", A, Reason.UNAVAILABLE),
        ("502 Bad Gateway", A, Reason.UNAVAILABLE),
        ("504 Gateway Timeout", A, Reason.UNAVAILABLE),
        ("599 What", A, Reason.UNAVAILABLE),
    ],
    ids=lambda value: str(value)[:3],
)
async def test_the_status_of_a_strange_page_decides(
    adapter: str, status: str, kind: type[DeliveryError], reason: Reason
) -> None:
    page = response(b"<html>proxy</html>", "Location: /elsewhere", status=status)
    async with serving(Server(page)) as server, made(adapter, base_url=server.url) as channel:
        error = await failure(channel, envelope(adapter))
        assert (type(error), error.reason) == (kind, reason)
        assert len(server.requests) == 1


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 0.0),
        ("30", 30.0),
        ("3600", 3_600.0),
        ("999999999999999", 86_400.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("-30", None),
        ("in a while", None),
        (None, None),
    ],
)
async def test_a_wait_is_what_the_header_says(adapter: str, header: str | None, wait: float | None) -> None:
    headers = () if header is None else (f"Retry-After: {header}",)
    page = response(b"<html>slow down</html>", *headers, status="429 Too Many Requests")
    async with serving(Server(page)) as server, made(adapter, base_url=server.url) as channel:
        error = await failure(channel, envelope(adapter))
    assert isinstance(error, TransientError)
    assert (error.reason, error.retry_after, error.whole_channel) == (Reason.RATE_LIMITED, wait, True)


# --- Time ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
@pytest.mark.parametrize("script", [hang, drip])
@pytest.mark.parametrize("limit", [{"timeout": 0.4}, {"deadline": 0.4}])
async def test_an_answer_that_takes_too_long_is_ambiguous(adapter: str, script: Any, limit: dict[str, float]) -> None:
    settings = {"timeout": limit["timeout"]} if "timeout" in limit else {}
    async with serving(Server(script=script)) as server, made(adapter, base_url=server.url, **settings) as channel:
        error = await failure(channel, envelope(adapter, deadline=limit.get("deadline")))
        assert (type(error), error.reason) == (A, Reason.TIMEOUT)


@asynccontextmanager
async def full() -> AsyncIterator[int]:
    """Yield a port where nobody accepts: with the backlog taken a further connection gets no answer at all."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
        for one in waiting:
            one.close()


def at(adapter: str, host: str, port: int) -> dict[str, object]:
    return {"host": host, "port": port} if adapter == "email" else {"base_url": f"http://{host}:{port}"}


@pytest.mark.parametrize("adapter", ["sms", "telegram", "email"])
async def test_a_connection_that_hangs_until_the_deadline_has_sent_nothing(adapter: str) -> None:
    async with full() as port, made(adapter, **at(adapter, "127.0.0.1", port)) as channel:
        error = await failure(channel, envelope(adapter, deadline=0.3))
        assert (type(error), error.reason) == (T, Reason.TIMEOUT)


@pytest.mark.parametrize("adapter", ["sms", "telegram", "email"])
@pytest.mark.parametrize("left", [0.0, -1.0])
async def test_without_time_nothing_is_sent(adapter: str, left: float) -> None:
    async with serving(Server()) as server:
        port = int(server.url.rpartition(":")[2])
        async with made(adapter, **at(adapter, "127.0.0.1", port)) as channel:
            error = await failure(channel, envelope(adapter, deadline=left))
        assert (type(error), error.reason, server.connections) == (T, Reason.TIMEOUT, 0)


# --- Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["sms", "telegram", "email"])
@pytest.mark.parametrize(
    "fault", [socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL], ids=["NXDOMAIN", "later", "fail"]
)
async def test_a_name_that_cannot_be_resolved_may_be_another_time(
    adapter: str, fault: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: object, **__: object) -> Any:
        raise socket.gaierror(fault, "no")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with made(adapter, **at(adapter, "provider.example", 2525)) as channel:
        error = await failure(channel, envelope(adapter))
        assert (type(error), error.reason) == (T, Reason.UNAVAILABLE)


@pytest.mark.parametrize("adapter", ["sms", "telegram", "email"])
async def test_a_resolver_that_hangs_holds_up_nothing_else(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), threading.Event()

    def resolve(*_: object, **__: object) -> Any:
        asked.set()
        free.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "no")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with made(adapter, **at(adapter, "provider.example", 2525)) as channel:
        sending = asyncio.create_task(failure(channel, envelope(adapter, deadline=0.3)))
        turns = 0
        while not sending.done():
            turns += 1
            await asyncio.wait({sending}, timeout=0.01)
        free.set()
        error = await sending
    assert (type(error), error.reason, asked.is_set()) == (T, Reason.TIMEOUT, True)
    assert turns > 3


# --- Connections --------------------------------------------------------------------------------------------------


class Counting(Server):
    """Counts the connections that are open, and answers each request a moment later."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(answer)
        self.open = self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await super().serve(reader, writer)
        finally:
            self.open -= 1


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
async def test_no_more_connections_are_open_than_deliveries_may_run(adapter: str) -> None:
    async with serving(Counting(response(ACCEPTED[adapter]))) as server:
        assert isinstance(server, Counting)
        async with made(adapter, base_url=server.url, concurrency=3) as channel:
            receipts = await asyncio.gather(*(channel.deliver(envelope(adapter)) for _ in range(12)))
        assert [type(receipt) for receipt in receipts] == [Receipt] * 12
        assert server.most <= 3


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
async def test_canceled_deliveries_leave_no_connection_behind(adapter: str) -> None:
    arrived, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def wait_for_the_end(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        arrived.release()
        await reader.read()
        ended.release()

    async with (
        serving(Server(script=wait_for_the_end)) as server,
        made(adapter, base_url=server.url, concurrency=4) as channel,
        asyncio.timeout(10),
    ):
        sending = [asyncio.create_task(channel.deliver(envelope(adapter))) for _ in range(4)]
        for _ in sending:
            await arrived.acquire()
        for one in sending:
            one.cancel()
        await asyncio.wait(sending)
        for _ in sending:
            await ended.acquire()
    assert [one.cancelled() for one in sending] == [True] * 4


async def test_a_kept_mail_connection_that_went_dead_without_a_word_costs_no_attempt() -> None:
    """Half-open: the other end is gone, and nothing says so."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        dead_after = 1 if connections == 1 else 2
        writer.write(b"220 hi\r\n")
        mails = 0
        while line := await reader.readline():
            verb = line.split()[0].upper()
            if verb == b"MAIL" and mails == dead_after:
                await reader.read()
                break
            if verb == b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                mails += 1
            writer.write(b"250 ok\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with made("email", host="127.0.0.1", port=port, timeout=1.0) as channel:
        for _ in range(2):
            assert isinstance(await channel.deliver(envelope("email")), Receipt)
    listening.close()
    assert connections == 2


async def test_a_request_is_read_whole() -> None:
    """The raw server's own reading: what stands in for a provider must not answer half a request."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nok")
    assert (await read_request(reader)).endswith(b"ok")
