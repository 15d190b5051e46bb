"""A request as our server keeps it is what uvicorn's own would be."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl

from gateway.api.exchange import Exchange, address


class Still(asyncio.Transport):
    """A connection that does nothing."""

    def resume_reading(self) -> None: ...


def made() -> Exchange:
    """One of which nothing has come but its head."""
    transport = Still()
    return Exchange({}, transport, FlowControl(transport), [], lambda: None, expects=False, keep_alive=True)


@settings(max_examples=200)
@given(st.text('/aZ9-._~%20?#:@\\"é', max_size=12).map(lambda text: f"/{text}".encode()))
def test_an_address_is_read_as_uvicorn_reads_it(url):
    try:
        parsed = httptools.parse_url(url)
        path = parsed.path.decode("ascii")
        expected = unquote(path) if "%" in path else path, parsed.path, parsed.query or b""
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError) as error:
        with pytest.raises(type(error)):
            address(url)
    else:
        assert expected == address(url)


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"b", b"c"], [b"", b"abc", b""]])
def test_a_body_is_put_together_of_its_pieces(pieces):
    exchange = made()
    lengths = [exchange.add(piece) for piece in pieces]
    assert (bytes(exchange.body), lengths[-1]) == (b"abc", 3)


def test_what_was_told_before_anybody_waited_is_known_to_who_does():
    exchange = made()
    assert not exchange.message_event.is_set()
    exchange = made()
    exchange.tell()
    assert exchange.message_event.is_set()


async def test_who_waits_is_told():
    exchange = made()
    waiting = asyncio.ensure_future(exchange.message_event.wait())
    exchange.add(b"abc")
    assert await waiting


async def test_a_body_that_was_received_in_part_goes_on_with_the_rest():
    exchange = made()
    exchange.add(b"abc")
    assert await exchange.receive() == {"type": "http.request", "body": b"abc", "more_body": True}
    exchange.add(b"def")
    exchange.more_body = False
    assert await exchange.receive() == {"type": "http.request", "body": b"def", "more_body": False}
