"""One connection: an answer is read the same however its bytes come, and what is not one whole answer is lost."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels.exchange import MAX_HEAD, Connection
from channels.http_answer import HttpAnswer
from channels.http_errors import AnswerLostError, ConnectError

MAX_BODY = 40
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: What may follow the bytes: nothing yet, the end, or a break.
ENDS = ("open", "end", "break")


class Wire(asyncio.Transport):
    """The network's side of a connection, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.gone = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.gone

    def close(self) -> None:
        self.gone = True

    abort = close


#: What became of a request: an answer or the sort of its loss, and whether another request may follow.
Outcome = tuple[HttpAnswer | str | None, bool]


async def heard(pieces: Sequence[bytes], end: str = "open", *, headless: bool = False, unsent: int = 0) -> Outcome:
    connection, wire = Connection(MAX_BODY), Wire()
    connection.connection_made(wire)
    wire.unsent = unsent
    waiter = connection.ask(b"GET", asyncio.get_running_loop().time() + 60.0, headless=headless)
    for piece in pieces:
        if not wire.gone:
            connection.data_received(piece)
    if end == "end" and not wire.gone:
        connection.eof_received()
    if end != "open":
        connection.connection_lost(None)
    kept = connection.kept and not wire.gone
    connection.discard()
    if not waiter.done():
        waiter.cancel()
        return None, kept
    error = waiter.exception()
    return (waiter.result() if error is None else str(error)), kept


def run(pieces: Sequence[bytes], end: str = "open", **options: Any) -> Outcome:
    return asyncio.run(heard(pieces, end, **options))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if b > a]


TOKENS = st.text("abcXYZ-", min_size=1, max_size=6)
VALUES = st.text("ab c:;,é", max_size=8).map(str.strip)
LENGTHS = st.sampled_from(["length", "chunked", "end"])


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, HttpAnswer, str]:
    """An answer's bytes, the answer, and how its length is told."""
    body, how = draw(st.binary(max_size=MAX_BODY)), draw(LENGTHS)
    status = draw(st.sampled_from([200, 201, 302, 400, 429, 503]))
    headers = {f"x-{name.lower()}": value for name, value in draw(st.dictionaries(TOKENS, VALUES, max_size=3)).items()}
    lines = [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
    sent = body
    if how == "length":
        headers["content-length"] = str(len(body))
        lines.append(b"Content-Length: %d" % len(body))
    elif how == "chunked":
        headers["transfer-encoding"] = "chunked"
        lines.append(b"Transfer-Encoding: chunked")
        parts = cut(body, draw(st.lists(st.integers(0, MAX_BODY), max_size=3)))
        trailer = draw(st.sampled_from([b"", b"X-A: trailing\r\n"]))
        sent = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nX-A: early\r\n\r\n"])
    )
    head = b"\r\n".join([b"HTTP/1.1 %d Any" % status, *lines])
    return interim + head + b"\r\n\r\n" + sent, HttpAnswer(status, headers, body), how


CUTS = st.lists(st.integers(0, 400), max_size=6)


@settings(deadline=None, max_examples=150)
@given(answers(), CUTS)
def test_a_whole_answer_is_read_however_it_is_cut(answer: tuple[bytes, HttpAnswer, str], places: list[int]) -> None:
    data, expected, how = answer
    assert run(cut(data, places), "end" if how == "end" else "open") == (expected, how != "end")


@settings(deadline=None, max_examples=100)
@given(answers(), st.integers(0, 400), CUTS, st.sampled_from(["end", "break"]))
def test_a_part_of_an_answer_is_never_taken_for_the_whole(
    answer: tuple[bytes, HttpAnswer, str], length: int, places: list[int], end: str
) -> None:
    data, expected, how = answer
    part = data[: length % len(data)]
    found, kept = run(cut(part, places), end)
    # Where only the connection's end tells the body's, a part of that cannot be told from the whole.
    cannot_be_told = how == "end" and end == "end" and len(part) >= len(data) - len(expected.body)
    assert (isinstance(found, HttpAnswer), kept) == (cannot_be_told, False)


NOISE = st.sampled_from(
    [
        OK,
        b"HTTP/1.1 ",
        b"200 OK\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 4\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Upgrade: x\r\n",
        b"X:\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"HTTP/1.1 100 A\r\n\r\n",
        b"HTTP/1.1 101 A\r\n\r\n",
        b"HTTP/1.1 204 A\r\n\r\n",
        b"HTTP/1.0 200 A\r\n",
    ]
) | st.binary(max_size=5)


@settings(deadline=None, max_examples=300)
@given(st.lists(NOISE, max_size=8).map(b"".join), CUTS, st.sampled_from(ENDS))
@example(b"HTTP/1.1 200 OK\r\nX:\r\nContent-Length: 2\r\n\r\nok", [18, 20], "open")
def test_whatever_comes_it_means_the_same_in_one_piece_and_in_many(data: bytes, places: list[int], end: str) -> None:
    whole, pieces = run([data] if data else [], end), run(cut(data, places), end)
    lost = {kind: isinstance(found[0], str) for kind, found in (("whole", whole), ("pieces", pieces))}
    assert lost["whole"] == lost["pieces"]
    assert lost["whole"] or whole[0] == pieces[0]


@pytest.mark.parametrize(
    ("data", "end", "status", "body", "kept"),
    [
        (OK, "open", 200, b"ok", True),
        (OK + b"x", "open", 200, b"ok", False),
        (OK + OK, "open", 200, b"ok", False),
        (OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), "open", 200, b"ok", False),
        (OK.replace(b"1.1", b"1.0"), "open", 200, b"ok", False),
        (OK.replace(b"1.1 200 OK\r\n", b"1.0 200 OK\r\nConnection: keep-alive\r\n"), "open", 200, b"ok", True),
        (b"HTTP/1.1 204 No\r\n\r\n", "open", 204, b"", True),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", "open", 304, b"", True),
        (b"HTTP/1.1 200 OK\r\n\r\nok", "end", 200, b"ok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", "open", 200, b"ok", True),
        (OK, "break", 200, b"ok", False),
    ],
    ids=["length", "a byte more", "twice", "close", "1.0", "1.0 kept", "204", "304", "end", "coded", "then broken"],
)
def test_an_answer_is_whole_and_says_whether_another_request_may_follow(
    data: bytes, end: str, status: int, body: bytes, kept: bool
) -> None:
    found, may_follow = run([data], end)
    assert isinstance(found, HttpAnswer)
    assert (found.status, found.body, may_follow) == (status, body, kept)


@pytest.mark.parametrize(
    ("data", "end", "sort"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok", "break", "connection lost"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "open", "coded otherwise"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "open", "HttpParserError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "open", "HttpParserError"),
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "open", "no answer of HTTP/1"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "open", "no answer of HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n" + b"x" * 41, "open", "body too large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 41, "end", "body too large"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1400, "open", "head too large"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * (MAX_HEAD + 8 * MAX_BODY),
            "open",
            "body too large",
        ),
    ],
    ids=["cut", "coding", "two lengths", "both", "101", "HTTP/2", "long", "long to the end", "interim", "extension"],
)
def test_what_is_no_whole_answer_is_lost_with_its_connection(data: bytes, end: str, sort: str) -> None:
    found, kept = run([data], end)
    assert isinstance(found, str)
    assert (sort in found or found.startswith("HttpParser"), kept) == (True, False)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from([-1, 0, 1]), CUTS.map(lambda places: [place * 97 for place in places]))
def test_a_head_has_its_limit_to_the_byte_however_it_is_cut(more: int, places: list[int]) -> None:
    start, close = b"HTTP/1.1 200 OK\r\nX: ", b"\r\nContent-Length: 0\r\n\r\n"
    data = start + b"x" * (MAX_HEAD + more - len(start) - len(close)) + close
    found, _ = run(cut(data, places))
    assert isinstance(found, HttpAnswer) == (more <= 0)


def test_an_answer_to_head_ends_with_its_head() -> None:
    found, kept = run([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"], headless=True)
    assert isinstance(found, HttpAnswer)
    assert (found.headers["content-length"], found.body, kept) == ("9", b"", False)


def test_nothing_follows_an_answer_that_came_before_its_request_was_written_out() -> None:
    found, kept = run([OK], unsent=7)
    assert isinstance(found, HttpAnswer)
    assert not kept


async def test_what_nobody_asked_for_ends_the_connection() -> None:
    connection, wire = Connection(MAX_BODY), Wire()
    connection.connection_made(wire)
    connection.data_received(OK)
    assert (wire.gone, connection.kept) == (True, False)
    with pytest.raises(ConnectError):
        connection.ask(b"GET", 0.0)
    assert wire.written == b""


async def test_a_connection_that_was_never_made_asks_nothing() -> None:
    connection = Connection(MAX_BODY)
    with pytest.raises(ConnectError):
        connection.ask(b"GET", 0.0)
    assert not connection.ready()
    connection.close()


async def test_what_has_come_unseen_is_found_before_a_request_is_written() -> None:
    """The end of an idle connection may be at the socket while the loop has not looked there yet."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(MAX_BODY), sock=ours)
    assert connection.ready()
    theirs.close()
    assert not connection.ready()
    await asyncio.sleep(0)


async def test_an_answer_that_does_not_come_in_time_is_lost_and_a_shorter_time_is_kept_too() -> None:
    connection, loop = Connection(MAX_BODY), asyncio.get_running_loop()
    connection.connection_made(Wire())
    for seconds in (60.0, 0.01):
        waiter = connection.ask(b"GET", loop.time() + seconds)
        if seconds == 60.0:
            connection.data_received(OK)
            assert (await waiter).status == 200
    with pytest.raises(AnswerLostError) as caught:
        await waiter
    assert (caught.value.timed_out, connection.kept) == (True, False)


async def test_a_timer_that_is_left_from_an_earlier_request_waits_for_the_later_one() -> None:
    connection, loop = Connection(MAX_BODY), asyncio.get_running_loop()
    connection.connection_made(Wire())
    first = connection.ask(b"GET", loop.time() + 0.01)
    connection.data_received(OK)
    await first
    later = connection.ask(b"GET", loop.time() + 0.05)
    with pytest.raises(AnswerLostError):
        await later
    connection.discard()


async def test_an_answer_after_its_request_was_given_up_is_nobodys() -> None:
    connection, wire = Connection(MAX_BODY), Wire()
    connection.connection_made(wire)
    connection.ask(b"GET", asyncio.get_running_loop().time() + 60.0).cancel()
    connection.data_received(OK)
    assert wire.gone
