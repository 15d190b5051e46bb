"""The head of a request: what it says, and what no head may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.http_request import Head

URL = "https://api.example/a?b=c"


def test_a_request_says_where_it_goes_and_how_long_its_body_is() -> None:
    head = Head.made("POST", URL, {"X-A": " b ", "Accept": "text/plain"})
    assert head.request(b"body").split(b"\r\n") == [
        b"POST /a?b=c HTTP/1.1",
        b"Host: api.example",
        b"Accept-Encoding: identity",
        b"X-A: b",
        b"Accept: text/plain",
        b"Content-Length: 4",
        b"",
        b"body",
    ]


def test_a_request_without_a_body_says_nothing_of_one_and_an_empty_one_is_told() -> None:
    head = Head.made("GET", URL, {})
    assert head.request(None) == (
        b"GET /a?b=c HTTP/1.1\r\nHost: api.example\r\nAccept-Encoding: identity\r\nAccept: */*\r\n\r\n"
    )
    assert head.request(b"").endswith(b"\r\nContent-Length: 0\r\n\r\n")


def test_an_answer_is_never_asked_for_compressed() -> None:
    assert b"gzip" not in Head.made("GET", URL, {"accept-encoding": "gzip"}).request(None)


def test_only_an_answer_to_head_has_no_body_by_its_method() -> None:
    assert [Head.made(method, URL, {}).headless for method in ("HEAD", "GET", "POST")] == [True, False, False]


@pytest.mark.parametrize(
    "headers",
    [{"X-A": value} for value in ("a\r\nX-B: c", "a\nb", "a\rb", "a\0b", "a\x7f", "€")]
    + [{name: "a"} for name in ("", "X A", "X:A", "X\r\nA", "Ä")]
    + [{name: "a"} for name in ("host", "Content-Length", "Transfer-Encoding", "connection", "Expect")],
    ids=repr,
)
def test_what_would_break_a_request_or_lead_it_elsewhere_is_refused_and_not_repeated(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="a header that") as caught:
        Head.made("GET", URL, headers)
    assert caught.value.args[0] in {"a header that would break the request", "a header that is the client's own"}


@pytest.mark.parametrize("method", ["", "GET /", "G\r\n", "CONNECT"])
def test_what_is_no_method_for_a_request_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="no method"):
        Head.made(method, URL, {})


@given(st.text(max_size=5), st.text(max_size=12))
def test_whatever_a_header_is_it_is_one_line_or_refused(name: str, value: str) -> None:
    try:
        said = Head.made("GET", URL, {name: value}).request(None)
    except ValueError:
        return
    assert said.count(b"\r\n") == said.count(b"\n") == said.count(b"\r")
    assert len(said.split(b"\r\n")) in {6, 7}


def test_a_head_shows_neither_its_path_nor_its_headers() -> None:
    shown = repr(Head.made("GET", "https://api.example/bot1:secret/x", {"Authorization": "secret"}))
    assert "secret" not in shown
