"""Questions over HTTP: what an answer holds, what clock it tells, and what no answer means."""

from __future__ import annotations

import pytest

from channels.findings import Verdict
from channels.http import AnswerLostError, ConnectError, HttpClient, HttpError, WrongServerError
from channels.http_asking import Heard, ask, clocks, unheard
from tests.channels.raw_server import Server, response, serving

#: 2026-05-04T10:40:00Z, and the same as HTTP says it.
NOON, DATE = 1_777_891_200.0, "Date: Mon, 04 May 2026 10:40:00 GMT"


async def heard(answer: bytes, *, now: float = NOON) -> tuple[Heard, bytes]:
    async with serving(Server(answer)) as server, HttpClient(timeout=10.0) as http:
        found = await ask(http, f"{server.url}/it", headers={"X-Key": "k"}, now=lambda: now)
        return found, server.requests[0]


async def test_an_answer_is_its_status_and_its_object():
    found, request = await heard(response(b'{"a": 1}', status="404 Not Found"))
    assert (found.status, found.body, found.ahead) == (404, {"a": 1}, None)
    assert request.startswith(b"GET /it HTTP/1.1\r\n")
    assert b"X-Key: k\r\n" in request


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"[" * 100_000], ids=lambda body: repr(body)[:12])
async def test_what_is_no_object_is_an_empty_one(body):
    found, _ = await heard(response(body))
    assert (found.status, found.body) == (200, {})


async def test_an_answer_that_is_dated_tells_how_far_our_clock_is_ahead():
    found, _ = await heard(response(b"{}", DATE), now=NOON + 40.0)
    assert found.ahead == 39.5
    assert [item.verdict for item in clocks([Heard(200, {}), found], "theirs")] == [Verdict.FAULT]


async def test_an_answer_without_a_date_tells_of_no_clock():
    found, _ = await heard(response(b"{}", "Date: soon"))
    assert clocks([found], "theirs") == []


@pytest.mark.parametrize(("status", "limited", "down"), [(200, False, False), (429, True, False), (503, False, True)])
def test_a_status_says_whether_to_wait(status, limited, down):
    found = Heard(status, {})
    assert (found.limited, found.down) == (limited, down)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (WrongServerError("x"), "proves"),
        (ConnectError("x", timed_out=True), "no connection in time"),
        (ConnectError("x"), "no connection; "),
        (AnswerLostError("x", timed_out=True), "not answered in time"),
        (AnswerLostError("x"), "broke off"),
    ],
)
def test_no_answer_is_a_fault_that_says_what_to_do(error: HttpError, word: str):
    found = unheard("it", error)
    assert (found.subject, found.verdict) == ("it", Verdict.FAULT)
    assert word in found.told
