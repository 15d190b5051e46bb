"""One request to a receiver: what is sent, what is an answer, and which addresses are never connected to."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
import trustme

from channels.reaching import Origin
from channels.wire import client_tls
from gateway.webhooks import looking_up
from gateway.webhooks.connecting import MAX_BODY, Answer, Client, Fault, SendError, checked_road
from gateway.webhooks.looking_up import AddressRefusedError, CheckedLookUp, look_up_by_system
from tests.conftest import START
from tests.webhooks.receiver import Receiver, answer, receiving

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)
SHOP = Origin("shop.example.com", 443, tls=True)
#: Seconds for a request that is to run out of time.
HASTE = 0.3


def leading_to(*addresses: str) -> Callable[[str, int], list[tuple[int, str]]]:
    """A name server that knows every name, at the same addresses."""
    return lambda host, port: [(V6 if ":" in address else V4, address) for address in addresses]


@contextlib.asynccontextmanager
async def post(url: str, **options: Any) -> AsyncIterator[Answer]:
    async with Client(**{"private": True, **options}) as client:
        yield await client.post(url, {"webhook-id": "whk_1"}, b'{"a":1}', now=START)


async def answered(url: str, **options: Any) -> Answer:
    async with post(url, **options) as found:
        return found


async def fault(url: str, **options: Any) -> Fault:
    with pytest.raises(SendError) as caught:
        await answered(url, **options)
    assert "127.0.0.1" not in str(caught.value)
    assert caught.value.__cause__ is None
    return caught.value.fault


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@contextlib.asynccontextmanager
async def secured(authority: trustme.CA, name: str = "shop.example.com") -> AsyncIterator[Receiver]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(tls)
    async with receiving(tls) as running:
        yield running


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


# What is sent, and what is an answer


async def test_one_request_carries_headers_and_body_and_asks_for_no_compression(receiver):
    assert await answered(f"{receiver.url}?tenant=1") == Answer(200)
    (request,) = receiver.requests
    assert (request.path, request.body, request.id) == ("/hook?tenant=1", b'{"a":1}', "whk_1")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["user-agent"] == "otp-gateway"


@pytest.mark.parametrize("status", [200, 204, 301, 302, 307, 308, 400, 410, 429, 500, 503])
async def test_every_status_is_an_answer_and_no_redirect_is_followed(receiver, status):
    async with receiving() as elsewhere:
        receiver.answers = lambda _: answer(f"{status} X", f"Location: {elsewhere.url}")
        assert await answered(receiver.url) == Answer(status)
        assert (len(receiver.requests), elsewhere.connections) == (1, 0)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("30", 30.0), ("Mon, 04 May 2026 10:41:00 GMT", 60.0), ("soon", None), ("-5", None), ("99999999", 86_400.0)],
)
async def test_an_answer_says_how_long_to_wait(receiver, asked, expected):
    receiver.answers = lambda _: answer("503 X", f"Retry-After: {asked}")
    assert await answered(receiver.url) == Answer(503, expected)


async def test_connections_are_kept_and_cookies_are_not(receiver):
    receiver.answers = lambda _: answer("200 OK", "Set-Cookie: a=b", body=b"thanks")
    async with Client(private=True) as client:
        for _ in range(3):
            await client.post(receiver.url, {}, b"{}", now=START)
    assert (len(receiver.requests), receiver.connections) == (3, 1)
    assert [request.headers.get("cookie") for request in receiver.requests] == [None] * 3


async def test_proxies_of_the_environment_are_not_used(receiver, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await answered(receiver.url) == Answer(200)


async def test_a_long_answer_is_not_read_to_its_end(receiver):
    receiver.answers = lambda _: answer(body=b"x" * 64 * MAX_BODY)
    async with Client(private=True) as client:
        for _ in range(2):
            assert await client.post(receiver.url, {}, b"{}", now=START) == Answer(200)
    assert receiver.connections == 2


async def test_an_answer_of_the_length_allowed_is(receiver):
    receiver.answers = lambda _: answer(body=b"x" * MAX_BODY)
    async with Client(private=True) as client:
        for _ in range(2):
            assert await client.post(receiver.url, {}, b"{}", now=START) == Answer(200)
    assert receiver.connections == 1


async def test_a_status_counts_whatever_becomes_of_the_body(receiver):
    receiver.answers = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"
    assert await answered(receiver.url, total=HASTE) == Answer(200)


async def test_a_body_is_not_unpacked(receiver):
    receiver.answers = lambda _: answer("200 OK", "Content-Encoding: gzip", body=b"no gzip")
    assert await answered(receiver.url) == Answer(200)


# What is sent without end

ENDLESS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers of another kind": (b"", b"HTTP/1.1 102 P\r\nX: y\r\n\r\n"),
    "lines before the answer": (b"", b"\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "a reason": (b"HTTP/1.1 200 ", b"x"),
}
ENDLESS_BEHIND_THE_HEAD = {
    "a body": (b"HTTP/1.1 503 X\r\n\r\n", b"x"),
    "chunks of a byte": (b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "an extension of a chunk": (b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "trailers": (b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "zeros to unpack": (b"HTTP/1.1 503 X\r\nContent-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\n", b"\0"),
}


@contextlib.asynccontextmanager
async def endless(first: bytes, more: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    """Run a receiver that answers without end; yield its URL, and how many bytes each connection could write."""
    block, written, serving = more * (16_384 // len(more)), list[int](), list[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        place = len(written)
        written.append(0)
        serving.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            while True:
                writer.write(block)
                await writer.drain()
                written[place] += len(block)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", written
        await asyncio.gather(*serving)
    finally:
        server.close()


#: Bytes that may have left a receiver before it hears that nobody reads: what is read, and what the system holds of it.
_HELD = 16 * 1024 * 1024


@pytest.mark.parametrize(("first", "more"), ENDLESS.values(), ids=ENDLESS.keys())
async def test_what_comes_before_an_answer_without_end_is_given_up_after_its_bytes_and_not_its_time(first, more):
    async with endless(first, more) as (url, written):
        assert await fault(url) == Fault.BROKEN
    assert written[0] < _HELD


@pytest.mark.parametrize(("first", "more"), ENDLESS_BEHIND_THE_HEAD.values(), ids=ENDLESS_BEHIND_THE_HEAD.keys())
async def test_what_comes_behind_a_status_without_end_is_left_after_its_bytes_and_the_status_counts(first, more):
    async with endless(first, more) as (url, written), Client(private=True) as client:
        assert await client.post(url, {}, b"{}", now=START) == Answer(503)
    assert written[0] < _HELD


# What is none


async def test_a_receiver_that_never_answers_is_given_up(receiver):
    receiver.answers = lambda _: None
    assert await fault(receiver.url, total=HASTE) == Fault.TIMEOUT


async def test_a_receiver_that_is_not_there_is_unreachable():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert await fault(f"http://127.0.0.1:{taken.getsockname()[1]}/") == Fault.UNREACHABLE


async def test_a_connection_that_breaks_is_told_as_such(receiver):
    receiver.answers = lambda _: receiver.hang_up()
    assert await fault(receiver.url) == Fault.BROKEN


async def test_what_is_no_http_is_told_as_such(receiver):
    receiver.answers = lambda _: b"SSH-2.0-OpenSSH\r\n\r\n"
    assert await fault(receiver.url) == Fault.BROKEN


@pytest.mark.parametrize("failing", [OSError("no such name"), UnicodeError("label too long"), None])
async def test_a_name_without_an_address_is_unreachable(failing):
    def look_up(host: str, port: int) -> list[tuple[int, str]]:
        if failing:
            raise failing
        return []

    assert await fault("http://nowhere.example/", look_up=look_up) == Fault.UNREACHABLE


@pytest.mark.parametrize("url", ["http:///nowhere", "http://2130706433/", "http://127.1/"])
async def test_a_url_that_leads_nowhere_is_unreachable(url):
    assert await fault(url) == Fault.UNREACHABLE


# Where it goes


async def test_tls_is_spoken_with_the_name_at_the_address_it_leads_to(authority):
    async with secured(authority) as receiver:
        url = f"https://shop.example.com:{receiver.port}/hook"
        assert await answered(url, tls=trusting(authority), look_up=leading_to("127.0.0.1")) == Answer(200)
    assert receiver.requests[0].headers["host"] == f"shop.example.com:{receiver.port}"
    assert receiver.names == ["shop.example.com"]


async def test_a_certificate_for_another_name_is_refused(authority):
    async with secured(authority, "other.example.com") as receiver:
        url = f"https://shop.example.com:{receiver.port}/hook"
        assert await fault(url, tls=trusting(authority), look_up=leading_to("127.0.0.1")) == Fault.TLS
    assert receiver.requests == []


async def test_a_certificate_of_nobody_known_is_refused(authority):
    async with secured(authority) as receiver:
        url = f"https://shop.example.com:{receiver.port}/hook"
        assert await fault(url, look_up=leading_to("127.0.0.1")) == Fault.TLS
    assert receiver.requests == []


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["10.0.0.1"]],
)
async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(receiver, addresses):
    url = f"http://shop.example.com:{receiver.port}/hook"
    assert await fault(url, private=False, look_up=leading_to(*addresses)) == Fault.ADDRESS
    assert receiver.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "0.0.0.0"])
async def test_a_private_address_in_the_url_itself_is_not_connected_to(receiver, host):
    assert await fault(f"http://{host}:{receiver.port}/hook", private=False) == Fault.ADDRESS
    assert receiver.connections == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "fe80::1"])
async def test_some_addresses_are_never_connected_to(receiver, address):
    url = f"http://shop.example.com:{receiver.port}/hook"
    assert await fault(url, private=True, look_up=leading_to(address)) == Fault.ADDRESS
    assert receiver.connections == 0


async def test_a_name_that_changes_its_mind_is_checked_each_time(receiver):
    answers = iter(["127.0.0.1", "169.254.169.254"])
    url = f"http://shop.example.com:{receiver.port}/hook"
    receiver.answers = lambda _: answer("200 OK", "Connection: close")
    async with Client(private=True, look_up=lambda host, port: [(V4, next(answers))]) as client:
        assert await client.post(url, {}, b"{}", now=START) == Answer(200)
        with pytest.raises(SendError) as caught:
            await client.post(url, {}, b"{}", now=START)
    assert caught.value.fault == Fault.ADDRESS
    assert receiver.connections == 1


async def test_what_was_looked_up_is_what_is_connected_to():
    """DNS rebinding: the second answer of a name server is never asked for, and would be refused."""
    asked: list[str] = []

    def look_up(host: str, port: int) -> list[tuple[int, str]]:
        asked.append(host)
        return [(V4, "93.184.216.34" if len(asked) == 1 else "127.0.0.1")]

    looked_up = CheckedLookUp(lambda address: address == "93.184.216.34", look_up)
    # Places of sockets: whoever connects to one looks nothing up.
    assert await looked_up(SHOP) == [(V4, socket.SOCK_STREAM, 0, "", ("93.184.216.34", 443))]
    with pytest.raises(AddressRefusedError):
        await looked_up(SHOP)


@pytest.mark.parametrize("checks", [[True, False], [True, True, False]])
async def test_the_address_is_checked_before_it_is_connected_to_and_before_a_byte_is_sent(receiver, checks):
    """Whatever the name server said: the socket's address is checked, and then the peer's."""
    left = iter(checks)
    road = checked_road(lambda _: next(left), leading_to("127.0.0.1"), client_tls())
    with pytest.raises(AddressRefusedError):
        await road.connected(Origin("shop.example.com", receiver.port, tls=False), asyncio.Protocol)
    assert (list(left), receiver.requests) == ([], [])


async def test_a_peer_that_nobody_can_tell_is_sent_nothing(receiver, monkeypatch):
    """A socket whose other side has gone already has no peer."""

    def gone(_: socket.socket) -> None:
        raise OSError(errno.ENOTCONN, "secret")

    monkeypatch.setattr(socket.socket, "getpeername", gone)
    assert await fault(receiver.url) == Fault.UNREACHABLE
    assert receiver.requests == []


# Names are looked up beside the loop


class NameServer:
    """Answers no sooner than it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[tuple[int, str]]:
        self.asked += 1
        self.may_answer.wait(10)
        return [(V4, "127.0.0.1")]


async def test_a_name_server_that_does_not_answer_holds_up_nobody(receiver):
    server = NameServer()
    async with Client(private=True, look_up=server, connect=HASTE) as client:
        waiting = asyncio.create_task(client.post("http://slow.example.com/", {}, b"{}", now=START))
        assert await client.post(receiver.url, {}, b"{}", now=START) == Answer(200)
        with pytest.raises(SendError) as caught:
            await waiting
    assert caught.value.fault == Fault.TIMEOUT
    server.may_answer.set()


async def test_a_name_is_looked_up_once_at_a_time(receiver):
    """And whoever gives up waiting leaves the others waiting."""
    server = NameServer()
    receiver.answers = lambda _: answer("200 OK", "Connection: close")
    url = f"http://shop.example.com:{receiver.port}/hook"
    async with Client(private=True, look_up=server) as client:
        impatient = asyncio.create_task(client.post(url, {}, b"{}", now=START))
        patient = [asyncio.create_task(client.post(url, {}, b"{}", now=START)) for _ in range(5)]
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        server.may_answer.set()
        assert await asyncio.gather(*patient) == [Answer(200)] * 5
        assert server.asked == 1
        await client.post(url, {}, b"{}", now=START)
    assert server.asked == 2


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", V4), ("::1", V6)])
async def test_an_address_is_not_looked_up(host, family):
    def refuse(_host: str, _port: int) -> list[tuple[int, str]]:
        raise AssertionError

    found = await CheckedLookUp(lambda _: True, refuse)(Origin(host, 80, tls=False))
    assert found == [(family, socket.SOCK_STREAM, 0, "", (host, 80))]


def test_a_look_up_that_outlives_the_loop_is_forgotten(monkeypatch):
    server, ended = NameServer(), threading.Event()
    failures: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", failures.append)

    class Told(CheckedLookUp):
        def _ask(self, *asked: Any) -> None:
            try:
                super()._ask(*asked)
            finally:
                ended.set()

    async def give_up() -> None:
        waiting = asyncio.ensure_future(Told(lambda _: True, server)(SHOP))
        await asyncio.sleep(0)
        waiting.cancel()

    asyncio.run(give_up())
    server.may_answer.set()
    assert ended.wait(10)
    assert failures == []


async def test_without_a_thread_a_name_is_not_looked_up(monkeypatch):
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(looking_up, "start_new_thread", refuse)
    assert await fault("http://shop.example.com/", look_up=leading_to("127.0.0.1")) == Fault.UNREACHABLE


async def test_a_look_up_that_never_began_is_given_up_and_begun_anew(monkeypatch):
    """Out of memory a thread may end before it does anything, and nobody is told."""
    asked: list[object] = []
    monkeypatch.setattr(looking_up, "start_new_thread", lambda *given: asked.append(given))
    monkeypatch.setattr(looking_up, "LASTS", 0.01)
    looked_up = CheckedLookUp(lambda _: True, leading_to("127.0.0.1"))
    for _ in range(2):
        with pytest.raises(OSError, match="never ended"):
            await looked_up(SHOP)
    assert len(asked) == 2


def test_the_machine_finds_its_own_name():
    assert {address for _, address in look_up_by_system("localhost", 443)} & {"127.0.0.1", "::1"}
    with pytest.raises(UnicodeError):
        look_up_by_system(f"{'a' * 64}.example", 443)
