"""The shared HTTP client against servers that answer, stall, break off and redirect."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import ssl
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from channels.http import (
    HEADS,
    MAX_RETRY_AFTER,
    AnswerLostError,
    BaseUrl,
    ConnectError,
    HttpAnswer,
    HttpClient,
    StatusError,
    form,
    retry_after,
    silence,
)
from tests.channels.raw_server import Script, Server, abort, hang, response, serving

SECRET = "123456:very-secret"
#: Seconds for a request that is to time out. Half of it is for connecting, which must succeed on a busy machine too.
HASTE = 0.5


def client(**options: Any) -> HttpClient:
    return HttpClient(**{"timeout": 10.0, **options})


async def post(server: Server, **options: Any) -> HttpAnswer:
    async with client(**options) as http:
        return await http.request("POST", f"{server.url}/bot{SECRET}/x", data=b"a=1", headers={"X-A": "b"})


async def test_an_answer_has_status_lowered_headers_and_body() -> None:
    async with serving(Server(response(b"{}", "Retry-After: 3", status="429 Too Many Requests"))) as server:
        answer = await post(server)
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "3", b"{}")


async def test_a_request_carries_its_headers_and_body_and_asks_for_no_compression() -> None:
    async with serving(Server()) as server:
        await post(server)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /bot123456:very-secret/x HTTP/1.1")
    assert b"X-A: b" in head
    assert b"Accept-Encoding: identity" in head
    assert body == b"a=1"


async def test_connections_are_kept() -> None:
    async with serving(Server()) as server, client() as http:
        for _ in range(3):
            await http.request("GET", server.url)
    assert (len(server.requests), server.connections) == (3, 1)


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used_for_another_request() -> None:
    async def once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response(b"ok"))
        await writer.drain()

    async with serving(Server(script=once)) as server, client() as http:
        for number in range(3):
            assert (await http.request("POST", server.url, data=b"a")).body == b"ok"
            await server.serving[number]
    assert (len(server.requests), server.connections) == (3, 3)


async def test_the_answer_to_a_request_that_was_given_up_is_nobody_elses() -> None:
    async def second_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.connections == 1:
            await reader.read()
        writer.write(response(b"%d" % server.connections))

    async with serving(Server(script=second_only)) as server, client(connections=1) as http:
        first = asyncio.create_task(http.request("POST", server.url))
        await server.asked.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await http.request("POST", server.url)).body == b"2"


async def test_requests_of_many_sorts_are_each_sent_as_they_are() -> None:
    async with serving(Server()) as server, client() as http:
        for number in range(HEADS + 2):
            await http.request("GET", server.url, headers={"X-Number": str(number)})
    assert [f"X-Number: {number}\r\n".encode() in said for number, said in enumerate(server.requests)] == [True] * 34


async def test_a_client_opens_again_after_it_was_closed() -> None:
    async with serving(Server()) as server:
        http = client()
        for _ in range(2):
            async with http:
                assert (await http.request("GET", server.url)).body == b"ok"


async def test_a_closed_client_refuses_requests() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await client().request("GET", "http://127.0.0.1:1")


async def test_closing_a_client_that_was_never_opened_does_nothing() -> None:
    await client().__aexit__(None, None, None)


async def test_redirects_are_answers_and_not_followed() -> None:
    async with serving(Server(response(b"", "Location: /elsewhere", status="302 Found"))) as server:
        answer = await post(server)
    assert (answer.status, len(server.requests)) == (302, 1)


async def test_cookies_are_not_kept() -> None:
    async with serving(Server(response(b"", "Set-Cookie: a=b"))) as server, client() as http:
        for _ in range(2):
            await http.request("GET", server.url)
    assert b"cookie" not in server.requests[1].lower()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with serving(Server()) as server:
        assert (await post(server)).status == 200


async def test_a_compressed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(b"x" * 10_000)
    async with serving(Server(response(packed, "Content-Encoding: gzip"))) as server:
        assert (await post(server)).body == packed


async def test_nothing_listening_is_a_connect_error() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        async with client() as http:
            with pytest.raises(ConnectError):
                await http.request("POST", f"http://127.0.0.1:{held.getsockname()[1]}")


async def test_a_server_that_does_not_accept_in_time_is_a_connect_error() -> None:
    with socket.socket() as full:
        # With its backlog taken by connections nobody accepts, a further one gets no answer at all.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(full.getsockname())
        async with client(timeout=5.0, connect_timeout=0.05) as http:
            with pytest.raises(ConnectError, match="ConnectionTimeoutError"):
                await http.request("POST", f"http://127.0.0.1:{full.getsockname()[1]}")
        for one in waiting:
            one.close()


async def test_waiting_too_long_for_a_free_connection_is_a_connect_error() -> None:
    async with (
        serving(Server(script=hang)) as server,
        client(connections=1, timeout=0.6, connect_timeout=0.3) as http,
    ):
        first = asyncio.create_task(http.request("POST", server.url))
        await server.asked.wait()
        with pytest.raises(ConnectError):
            await http.request("POST", server.url)
        with pytest.raises(AnswerLostError):
            await first
    assert len(server.requests) == 1


async def test_connecting_runs_out_before_the_whole_call_does() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(full.getsockname())
        async with client(timeout=0.1, connect_timeout=5.0) as http:
            with pytest.raises(ConnectError):
                await http.request("POST", f"http://127.0.0.1:{full.getsockname()[1]}")
        for one in waiting:
            one.close()


async def test_an_unknown_certificate_is_a_connect_error() -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(Server(), tls) as server:
        with pytest.raises(ConnectError, match="Certificate"):
            await post(server)
    assert server.requests == []


async def test_a_url_that_is_none_is_a_connect_error() -> None:
    async with client() as http:
        with pytest.raises(ConnectError):
            await http.request("POST", "http:///nowhere")


async def test_no_answer_in_time_is_lost_and_timed_out() -> None:
    async with serving(Server(script=hang)) as server:
        with pytest.raises(AnswerLostError) as caught:
            await post(server, timeout=HASTE)
    assert caught.value.timed_out
    assert len(server.requests) == 1


async def test_a_request_can_have_a_time_of_its_own() -> None:
    async with serving(Server(script=hang)) as server, client(timeout=60.0) as http:
        with pytest.raises(AnswerLostError) as caught:
            await http.request("POST", server.url, timeout=HASTE)
    assert caught.value.timed_out


async def test_a_broken_connection_is_a_lost_answer_and_the_request_is_not_repeated() -> None:
    async with serving(Server(script=abort)) as server:
        with pytest.raises(AnswerLostError) as caught:
            await post(server)
    assert not caught.value.timed_out
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SMTP ready\r\n\r\n",
        b"",
    ],
)
async def test_half_an_answer_or_nonsense_is_a_lost_answer(answer: bytes) -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with serving(Server(script=script)) as server:
        with pytest.raises(AnswerLostError):
            await post(server)


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_an_answer_over_the_limit_is_lost(size: int, fits: bool) -> None:
    async with serving(Server(response(b"x" * size))) as server:
        if fits:
            assert len((await post(server, max_body=1000)).body) == size
        else:
            with pytest.raises(AnswerLostError, match="too large"):
                await post(server, max_body=1000)


@pytest.mark.parametrize("script", [hang, abort])
async def test_errors_and_answers_show_no_url_header_or_body(script: Script) -> None:
    async with serving(Server(script=script)) as server:
        with pytest.raises(AnswerLostError) as caught:
            await post(server, timeout=HASTE)
    assert SECRET not in f"{caught.value!r} {caught.value.args} {caught.value.__cause__!r}"
    assert repr(HttpAnswer(200, {"x-a": SECRET}, SECRET.encode())) == "HttpAnswer(status=200)"


def test_a_status_error_carries_its_status() -> None:
    assert (StatusError(502).status, str(StatusError(502))) == (502, "HTTP 502")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("999999999999", MAX_RETRY_AFTER),
        ("Thu, 01 Jan 1970 00:16:50 GMT", 10.0),
        ("Thu, 01 Jan 1970 00:16:50 -0000", 10.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        (None, None),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_reads_seconds_and_dates_and_nothing_else(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=1000.0) == seconds


def test_retry_after_counts_from_the_machines_time_by_default() -> None:
    assert retry_after(formatdate(usegmt=True)) == pytest.approx(0.0, abs=5.0)


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{1,9} ?[A-Z+0-9-]{0,6}"))
def test_retry_after_never_raises_and_stays_within_a_day(value: str) -> None:
    seconds = retry_after(value, now=1_000_000.0)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=40) | st.integers() | st.booleans(), max_size=5))
def test_a_form_is_written_as_the_standard_library_writes_it(fields: dict[str, object]) -> None:
    assert form(fields) == urlencode(fields).encode()


@given(st.integers(min_value=0, max_value=10**17))
def test_retry_after_reads_every_number_of_seconds(number: int) -> None:
    assert retry_after(str(number)) == min(float(number), MAX_RETRY_AFTER)


class Settings(BaseModel):
    base_url: BaseUrl


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("https://api.example.org", "https://api.example.org"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("HTTPS://example.org/path//", "HTTPS://example.org/path"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_a_base_url_loses_its_last_slash(value: str, clean: str) -> None:
    assert Settings(base_url=value).base_url == clean


@pytest.mark.parametrize(
    "value",
    [
        "",
        "example.org",
        "ftp://example.org",
        "https://",
        "https://u:p@example.org",
        "https://example.org?a",
        "https://example.org#a",
        "https://example.org:99999",
        "https://example.org:x",
        "https://example.org:0",
        "https://:80",
        "https://[::1",
        "https://{token}.example.org",
        "https://api..example.org",
        f"https://{'a' * 64}.example.org",
        "https://example.org\n",
    ],
)
def test_a_base_url_must_be_a_plain_http_url(value: str) -> None:
    with pytest.raises(ValidationError, match="must be http"):
        Settings(base_url=value)


def test_silenced_loggers_and_those_below_them_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    silence(["loud_library"])
    logging.getLogger("loud_library").critical(SECRET)
    logging.getLogger("loud_library.part").critical(SECRET)
    assert caplog.records == []
