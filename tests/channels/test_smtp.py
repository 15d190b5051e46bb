"""Mail transactions: what is said when, and what every answer, in whatever pieces it comes, leads to."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import socket
import ssl
import weakref
from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import aiosmtplib
import pytest
import trustme
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from channels import smtp
from channels.base import PermanentError
from channels.smtp import MALFORMED, Connection, Letter, Phase, dot_stuffed
from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox

SENDER, ADDRESS = "codes@shop.example", "ann@people.example"
CONTENT = b"Subject: Your code\r\n\r\nYour code is 739164.\r\n"
MAIL, RCPT = f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ADDRESS}>"
#: What a script may do instead of answering, and after which it does nothing more.
HANG_UP, SILENCE = "<hang up>", "<silence>"

both_ways = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "one by one"])
both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class Script:
    """A server's part: an answer by command, and one to ``.`` (the end of the content)."""

    def __init__(self, **answers: str) -> None:
        self.answers = {"DATA": "354 go", "QUIT": "221 bye"} | answers
        self.heard: list[str] = []
        self.contents: list[bytes] = []
        self._buffer = b""
        self._in_content = self._over = False

    def hear(self, data: bytes) -> Iterator[str]:
        """Yield the answers to what has become whole with these bytes."""
        self._buffer += data
        while not self._over and (command := self._next()) is not None:
            answer = self.answers.get(command, "250 ok")
            self._over = answer in {HANG_UP, SILENCE}
            self._in_content = command == "DATA" and answer.startswith("354")
            yield answer

    def _next(self) -> str | None:
        if self._in_content and self._buffer.startswith(b".\r\n"):
            content, self._buffer = b"", self._buffer[3:]
        else:
            whole, end, rest = self._buffer.partition(b"\r\n.\r\n" if self._in_content else b"\r\n")
            if not end:
                return None
            content, self._buffer = whole + b"\r\n", rest
        if self._in_content:
            self.contents.append(content)
            return "."
        self.heard.append(content.decode().rstrip())
        return content.decode().split()[0]


class Wire(asyncio.Transport):
    """A transport to a script in the same loop, whose answers come in pieces of so many bytes."""

    protocol: asyncio.Protocol

    def __init__(self, script: Script, sizes: Iterable[int] = ()) -> None:
        super().__init__()
        self.script = script
        self.writes: list[bytes] = []
        self.closed = ""
        self._sizes = itertools.cycle(tuple(sizes) or (1_000_000,))
        self._loop = asyncio.get_running_loop()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.writes.append(bytes(data))
        answers = list(self.script.hear(bytes(data)))
        self.say("".join(f"{answer}\r\n" for answer in answers if answer not in {HANG_UP, SILENCE}).encode())
        if HANG_UP in answers:
            self._loop.call_soon(self._lose)

    def say(self, data: bytes) -> None:
        while data:
            size = next(self._sizes)
            self._loop.call_soon(self._pass_on, data[:size])
            data = data[size:]

    def _pass_on(self, data: bytes) -> None:
        if not self.closed:
            self.protocol.data_received(data)

    def _lose(self) -> None:
        self.protocol.eof_received()
        self.close()

    def close(self) -> None:
        self._end("closed")

    def abort(self) -> None:
        self._end("aborted")

    def _end(self, how: str) -> None:
        if not self.closed:
            self.closed = how
            self._loop.call_soon(self.protocol.connection_lost, None)


def connected(wire: Wire, *extensions: str) -> Connection:
    """A connection over ``wire``, as aiosmtplib leaves it after EHLO."""
    client = aiosmtplib.SMTP()
    client.transport = wire
    client.last_ehlo_response = aiosmtplib.SMTPResponse(250, "\n".join(("hi", *extensions)))
    return Connection(client, SENDER)


def over(wire: Wire, *, pipelining: bool) -> Connection:
    return connected(wire, *(["PIPELINING"] if pipelining else []))


@dataclass(frozen=True)
class Outcome:
    """What came of a transaction."""

    said: int | str
    phase: Phase
    text: str = ""


async def outcome(connection: Connection, content: bytes = CONTENT) -> Outcome:
    letter = Letter(ADDRESS, content)
    try:
        async with asyncio.timeout(5.0):
            response = await connection.submit(letter)
    except aiosmtplib.SMTPResponseException as error:
        return Outcome(error.code, letter.phase, error.message if error.code != MALFORMED else "")
    except aiosmtplib.SMTPServerDisconnected:
        return Outcome("lost", letter.phase)
    return Outcome(response.code, letter.phase, response.message)


# --- What is said, and when ----------------------------------------------------------------------------------


async def test_everything_before_the_content_is_one_write_where_the_server_takes_it():
    wire = Wire(Script(**{".": "250 2.0.0 Ok: queued as 4FZk1Q2xyz"}))
    connection = over(wire, pipelining=True)
    assert await outcome(connection) == Outcome(250, Phase.CONTENT, "2.0.0 Ok: queued as 4FZk1Q2xyz")
    assert wire.writes == [f"{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode(), CONTENT + b".\r\n"]
    assert (connection.ready, connection.mails) == (True, 1)


async def test_elsewhere_each_command_waits_for_the_answer_to_the_one_before():
    wire = Wire(Script())
    assert (await outcome(over(wire, pipelining=False))).said == 250
    assert wire.writes == [f"{MAIL}\r\n".encode(), f"{RCPT}\r\n".encode(), b"DATA\r\n", CONTENT + b".\r\n"]


@both_ways
async def test_a_second_mail_needs_no_reset_after_an_accepted_one(pipelining: bool):
    wire = Wire(Script())
    connection = over(wire, pipelining=pipelining)
    assert [(await outcome(connection)).said for _ in range(2)] == [250, 250]
    assert wire.script.heard == [MAIL, RCPT, "DATA", MAIL, RCPT, "DATA"]
    assert wire.script.contents == [CONTENT, CONTENT]


@both_ways
@pytest.mark.parametrize("refused", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("answer", ["550 5.1.1 no", "451 4.3.0 later", "550-5.1.1 no\r\n550 5.1.1 at all"])
async def test_after_a_refusal_the_connection_takes_the_next_mail(refused: str, answer: str, pipelining: bool):
    # As real servers do: nothing is right any more after a refusal.
    after = {"MAIL": {"RCPT", "DATA"}, "RCPT": {"DATA"}}.get(refused, set())
    wire = Wire(Script(**dict.fromkeys(after, "503 5.5.1 not now"), **{refused: answer}))
    connection = over(wire, pipelining=pipelining)
    phase = {"MAIL": Phase.OURS, "RCPT": Phase.RECIPIENT, "DATA": Phase.DATA, ".": Phase.CONTENT}[refused]
    text = "\n".join(line[4:] for line in answer.split("\r\n"))
    assert await outcome(connection) == Outcome(int(answer[:3]), phase, text)
    assert connection.ready
    before, wire.script.answers = len(wire.script.heard), {"DATA": "354 go"}
    assert (await outcome(connection)).said == 250
    assert wire.script.heard[before:] == ["RSET", MAIL, RCPT, "DATA"]
    assert wire.script.contents == [CONTENT] * (2 if refused == "." else 1)


async def test_a_reset_goes_along_with_the_next_mail():
    wire = Wire(Script(RCPT="550 no", DATA="503 no"))
    connection = over(wire, pipelining=True)
    await outcome(connection)
    wire.script.answers = {"DATA": "354 go"}
    await outcome(connection)
    assert wire.writes[1:] == [f"RSET\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\n".encode(), CONTENT + b".\r\n"]


@pytest.mark.parametrize("answer", ["250 ok", "554 no valid recipients"])
async def test_a_server_that_wants_content_for_nobody_gets_none(answer: str):
    """RFC 2920 3.1: a lone dot, whose answer is read before anything else is said."""
    wire = Wire(Script(RCPT="550 5.1.1 no", **{".": answer}))
    connection = over(wire, pipelining=True)
    assert await outcome(connection) == Outcome(550, Phase.RECIPIENT, "5.1.1 no")
    assert (wire.writes[1:], wire.script.contents, connection.ready) == ([b".\r\n"], [b""], True)


@pytest.mark.parametrize("answer", [HANG_UP, "421 bye", "what?"])
async def test_a_refusal_is_told_though_the_connection_ends_after_it(answer: str):
    wire = Wire(Script(RCPT="550 5.1.1 no", **{".": answer}))
    connection = over(wire, pipelining=True)
    assert await outcome(connection) == Outcome(550, Phase.RECIPIENT, "5.1.1 no")
    assert not connection.ready


async def test_no_empty_mail_goes_to_a_recipient_whom_the_server_took_after_refusing_the_sender():
    wire = Wire(Script(MAIL="550 5.7.1 not you"))
    connection = over(wire, pipelining=True)
    assert await outcome(connection) == Outcome(550, Phase.OURS, "5.7.1 not you")
    assert (wire.script.contents, connection.ready) == ([], False)


@both_ways
@pytest.mark.parametrize("answer", ["502 unknown", "421 bye", "what?", HANG_UP, "354 go"])
async def test_a_reset_that_fails_says_nothing_of_the_mail(answer: str, pipelining: bool):
    wire = Wire(Script(RCPT="550 no", DATA="503 no"))
    connection = over(wire, pipelining=pipelining)
    await outcome(connection)
    wire.script.answers = {"RSET": answer, "DATA": "354 go"}
    assert (await outcome(connection)).said in {"lost", MALFORMED}
    assert (wire.script.contents, connection.ready) == ([], False)


async def test_an_address_beyond_ascii_is_told_only_to_a_server_that_knows_them():
    letter = Letter("jürgen@people.example", CONTENT)
    wire = Wire(Script())
    connection = connected(wire, "SMTPUTF8", "8BITMIME")
    await connection.submit(letter)
    assert wire.script.heard == [f"{MAIL} SMTPUTF8 BODY=8BITMIME", "RCPT TO:<jürgen@people.example>", "DATA"]
    ignorant = connected(Wire(Script()), "8BITMIME")
    with pytest.raises(PermanentError):
        await ignorant.submit(letter)
    assert ignorant.ready


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("place", ["recipient", "sender", "envelope_id"])
async def test_an_address_with_line_breaks_is_never_said(end: str, place: str):
    wire = Wire(Script())
    letter = Letter(ADDRESS, CONTENT)
    setattr(letter, place, f"x@y.example>{end}RSET")
    with pytest.raises(ValueError, match="line breaks"):
        await connected(wire, "DSN", "PIPELINING").submit(letter)
    assert wire.writes == []


async def test_a_letter_may_bounce_to_an_address_of_its_own():
    wire = Wire(Script())
    connection = over(wire, pipelining=True)
    await connection.submit(Letter(ADDRESS, CONTENT, sender="bounces+t1@shop.example"))
    await connection.submit(Letter(ADDRESS, CONTENT))
    assert [line for line in wire.script.heard if "MAIL" in line] == ["MAIL FROM:<bounces+t1@shop.example>", MAIL]


async def test_reports_are_asked_for_only_of_a_server_that_offers_them():
    wire, ignorant = Wire(Script()), Wire(Script())
    letter = Letter(ADDRESS, CONTENT, envelope_id="token-1")
    connection = connected(wire, "DSN", "SMTPUTF8")
    await connection.submit(letter)
    await connection.submit(Letter(ADDRESS, CONTENT))
    await connected(ignorant, "8BITMIME").submit(letter)
    asked = [f"{MAIL} RET=HDRS ENVID=token-1", f"{RCPT} NOTIFY=SUCCESS,FAILURE", "DATA"]
    assert (wire.script.heard, ignorant.script.heard) == ([*asked, MAIL, RCPT, "DATA"], [MAIL, RCPT, "DATA"])


async def test_reports_of_an_address_beyond_ascii_are_asked_for_too():
    wire = Wire(Script())
    await connected(wire, "DSN", "SMTPUTF8").submit(Letter("jürgen@people.example", CONTENT, envelope_id="t"))
    assert wire.script.heard[0] == f"{MAIL} SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=t"


@both_ways
async def test_nothing_of_the_content_is_said_before_it_is_asked_for(pipelining: bool):
    wire = Wire(Script(DATA=SILENCE))
    connection, letter = over(wire, pipelining=pipelining), Letter(ADDRESS, CONTENT)
    under_way = asyncio.create_task(connection.submit(letter))
    while "DATA" not in wire.script.heard:  # noqa: ASYNC110 - a script has no event to wait for
        await asyncio.sleep(0)
    assert (letter.phase, len(wire.writes), connection.ready) == (Phase.OURS, 1 if pipelining else 3, False)
    wire.say(b"354 go\r\n")
    while letter.phase is Phase.OURS:  # noqa: ASYNC110 - the same
        await asyncio.sleep(0)
    assert wire.writes[-1] == CONTENT + b".\r\n"
    wire.say(b"250 taken\r\n")
    assert (await under_way).code == 250
    assert connection.ready


def test_a_letter_shows_neither_address_nor_content():
    assert repr(Letter(ADDRESS, CONTENT)) == "Letter(phase=<Phase.OURS: 'ours'>)"


# --- The content ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "stuffed"),
    [
        (b"a\r\n", b"a\r\n"),
        (b".\r\n", b"..\r\n"),
        (b".\r\n.\r\n", b"..\r\n..\r\n"),
        (b"a\r\n..b\r\n.\r\n\r\n.", b"a\r\n...b\r\n..\r\n\r\n.."),
        (b"a.b\r\nc.\r\n", b"a.b\r\nc.\r\n"),
        (b"", b""),
    ],
)
def test_a_dot_that_begins_a_line_is_doubled(content: bytes, stuffed: bytes):
    assert dot_stuffed(content) == stuffed


@settings(deadline=None)
@given(st.lists(st.sampled_from([b".", b"..", b"a", b"Subject: x", b""])).map(b"\r\n".join), st.booleans())
def test_every_content_arrives_byte_for_byte(lines: bytes, pipelining: bool):
    content = lines + b"\r\n"

    async def received() -> bytes:
        wire = Wire(Script())
        await outcome(over(wire, pipelining=pipelining), content)
        assert len(wire.script.contents) == 1
        return (b"\r\n" + wire.script.contents[0]).replace(b"\r\n.", b"\r\n")[2:]

    assert asyncio.run(received()) == content


# --- Answers in pieces ---------------------------------------------------------------------------------------

_ANSWERS = st.sampled_from(
    [
        "250 2.1.0 Ok",
        "250-first\r\n250-\r\n250 last",
        "250",
        "354 go",
        "550 5.1.1 no",
        "550-5.1.1 no\n550 5.1.1 at all",
        "450",
        "421 4.4.2 closing",
        "what?",
        "",
        "25",
        "2500 ok",
        "199 no",
        "600 no",
        "250_ok",
        "\xff50 no",
        "x" * 9_000,
        "250-" + "x" * 9_000 + "\r\n250 ok",
        "\r\n".join(["250-" + "x" * 5_000] * 14 + ["250 ok"]),
        HANG_UP,
    ]
)
_SCRIPTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("RSET", "MAIL", "RCPT", "DATA", "."), _ANSWERS)).map(
    lambda answers: {"DATA": "354 go"} | answers
)


async def played(
    answers: dict[str, str], sizes: Iterable[int], *, pipelining: bool, reset: bool
) -> tuple[Outcome, bool, list[bytes]]:
    wire = Wire(Script(RCPT="550 no", DATA="503 no"), sizes)
    connection = over(wire, pipelining=pipelining)
    if reset:
        await outcome(connection)
    wire.script.answers = answers
    return await outcome(connection), connection.ready, wire.script.contents


@settings(deadline=None, max_examples=300)
@given(_SCRIPTS, st.lists(st.integers(1, 40), min_size=1, max_size=8), st.booleans(), st.booleans())
@example({"DATA": "354 go", "RCPT": "550 no", ".": "what?"}, [1], True, True)
def test_in_whatever_pieces_answers_come_they_mean_the_same(
    answers: dict[str, str], sizes: list[int], pipelining: bool, reset: bool
):
    whole = asyncio.run(played(answers, (), pipelining=pipelining, reset=reset))
    if any(len(answer) > 1_000 for answer in answers.values()):
        sizes = [size * 400 for size in sizes]
    assert asyncio.run(played(answers, sizes, pipelining=pipelining, reset=reset)) == whole


@settings(deadline=None, max_examples=200)
@given(_SCRIPTS, st.booleans())
def test_pipelining_changes_no_outcome_and_sends_no_content_after_a_refusal(answers: dict[str, str], reset: bool):
    pipelined, _, contents = asyncio.run(played(answers, (), pipelining=True, reset=reset))
    one_by_one, _, expected = asyncio.run(played(answers, (), pipelining=False, reset=reset))
    assert pipelined == one_by_one
    assert [content for content in contents if content] == expected
    assert bool(expected) == (pipelined.phase is Phase.CONTENT)


@both_ways
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"MAIL": "354 go"}, Outcome(354, Phase.OURS, "go")),
        ({"RCPT": "354 go"}, Outcome(354, Phase.RECIPIENT, "go")),
        ({"DATA": "250 ok"}, Outcome(250, Phase.DATA, "ok")),
        ({".": "354 go"}, Outcome(354, Phase.CONTENT, "go")),
        ({"DATA": "what?"}, Outcome(MALFORMED, Phase.OURS)),
        ({".": "what?"}, Outcome(MALFORMED, Phase.CONTENT)),
        ({".": "250-a\r\n250-" + "x" * 8_190 + "\r\n250 ok"}, Outcome(MALFORMED, Phase.CONTENT)),
        ({".": "\r\n".join(["250-" + "x" * 5_000] * 14 + ["250 ok"])}, Outcome(MALFORMED, Phase.CONTENT)),
        ({".": "250-" + "x" * 8_000 + "\r\n250 ok"}, Outcome(250, Phase.CONTENT, "x" * 8_000 + "\nok")),
        ({"MAIL": "421 bye"}, Outcome(421, Phase.OURS, "bye")),
        ({"RCPT": "421 bye"}, Outcome(421, Phase.RECIPIENT, "bye")),
        ({"DATA": "421 bye"}, Outcome(421, Phase.DATA, "bye")),
        ({".": "421 bye"}, Outcome(421, Phase.CONTENT, "bye")),
        ({"MAIL": HANG_UP}, Outcome("lost", Phase.OURS)),
        ({"RCPT": HANG_UP}, Outcome("lost", Phase.OURS)),
        ({"DATA": HANG_UP}, Outcome("lost", Phase.OURS)),
        ({".": HANG_UP}, Outcome("lost", Phase.CONTENT)),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_ends_a_connection(answers: dict[str, str], expected: Outcome, pipelining: bool):
    wire = Wire(Script(**answers))
    connection = over(wire, pipelining=pipelining)
    assert await outcome(connection) == expected
    if expected.said != 250 or expected.phase is not Phase.CONTENT:
        assert not connection.ready


async def test_what_nobody_asked_for_ends_the_connection():
    for unsolicited in (b"421 4.4.2 idle for too long\r\n", b"2", b"\r\n"):
        wire = Wire(Script())
        connection = over(wire, pipelining=True)
        wire.protocol.data_received(unsolicited)
        assert (connection.ready, wire.closed) == (False, "aborted")
        assert await outcome(connection) == Outcome("lost", Phase.OURS)
        assert wire.writes == []


@both_ways
@pytest.mark.parametrize("extra", ["421 4.4.2 closing", "25", "250 ok"])
async def test_an_accepted_mail_stays_accepted_whatever_comes_along_with_the_answer(extra: str, pipelining: bool):
    wire = Wire(Script(**{".": f"250 taken\r\n{extra}"}))
    connection = over(wire, pipelining=pipelining)
    assert await outcome(connection) == Outcome(250, Phase.CONTENT, "taken")
    assert not connection.ready


@both_ways
async def test_no_content_follows_an_answer_too_many(pipelining: bool):
    wire = Wire(Script(DATA="354 go\r\n421 closing"))
    connection = over(wire, pipelining=pipelining)
    assert await outcome(connection) == Outcome("lost", Phase.OURS)
    assert (wire.script.contents, connection.ready) == ([], False)


# --- The end -------------------------------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
async def test_a_canceled_transaction_leaves_no_usable_connection(stage: str, pipelining: bool):
    wire = Wire(Script(**{stage: SILENCE}))
    connection = over(wire, pipelining=pipelining)
    letter = Letter(ADDRESS, CONTENT)
    under_way = asyncio.create_task(connection.submit(letter))
    await asyncio.wait({under_way}, timeout=0.02)
    under_way.cancel()
    with pytest.raises(asyncio.CancelledError):
        await under_way
    assert not connection.ready
    assert letter.phase is (Phase.CONTENT if stage == "." else Phase.OURS)
    wire.say(b"250 too late\r\n")
    connection.discard()
    assert wire.closed == "aborted"


@both_ways
@pytest.mark.parametrize(
    ("silent", "begin_by", "end_by", "phase"),
    [("MAIL", 0.0, math.inf, Phase.OURS), (".", math.inf, 0.0, Phase.CONTENT), (".", 0.0, 0.0, Phase.CONTENT)],
    ids=["before the content", "after it", "after it, and late already"],
)
async def test_a_server_has_its_time_for_each_half(
    silent: str, begin_by: float, end_by: float, phase: Phase, pipelining: bool
):
    wire = Wire(Script(**{silent: SILENCE}))
    connection, letter = over(wire, pipelining=pipelining), Letter(ADDRESS, CONTENT)
    now = asyncio.get_running_loop().time()
    if phase is Phase.CONTENT:
        # The script answers in the next turn of the loop: before any timer that is due rings.
        begin_by = now + 60.0
    with pytest.raises(TimeoutError):
        await connection.submit(letter, begin_by=now + begin_by, end_by=now + end_by)
    assert (letter.phase, connection.ready) == (phase, False)
    connection.discard()


def timer_of(connection: Connection) -> asyncio.TimerHandle:
    assert connection._timer is not None
    return connection._timer


async def test_a_timer_is_left_for_the_next_mail_and_moved_for_one_in_a_hurry():
    wire = Wire(Script())
    connection = over(wire, pipelining=True)
    now = asyncio.get_running_loop().time()
    timers = []
    for seconds in (60.0, 70.0, 50.0):
        await connection.submit(Letter(ADDRESS, CONTENT), begin_by=now + seconds, end_by=now + 2 * seconds)
        timers.append(timer_of(connection))
    first, second, third = timers
    assert first is second
    assert (first.cancelled(), third.when(), third.cancelled()) == (True, now + 50.0, False)
    connection.discard()
    assert third.cancelled()


async def test_a_timer_that_rings_early_is_set_anew_and_one_for_nobody_is_not():
    wire = Wire(Script(**{".": SILENCE}))
    connection = over(wire, pipelining=True)
    now = asyncio.get_running_loop().time()
    under_way = asyncio.create_task(connection.submit(Letter(ADDRESS, CONTENT), begin_by=now + 60.0, end_by=now + 70.0))
    while len(wire.writes) < 2:  # noqa: ASYNC110 - a script has no event to wait for
        await asyncio.sleep(0)
    connection._time_up()
    assert (under_way.done(), timer_of(connection).when()) == (False, now + 70.0)
    wire.say(b"250 taken\r\n")
    await under_way
    timer_of(connection).cancel()
    connection._time_up()
    assert connection._timer is None


async def test_a_server_that_went_while_it_was_greeted_is_no_connection():
    client = aiosmtplib.SMTP()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        Connection(client, SENDER)


@pytest.mark.parametrize(
    ("answer", "closed"), [("221 bye", "closed"), (HANG_UP, "closed"), ("what?", "aborted"), (SILENCE, "aborted")]
)
async def test_goodbye_closes_whatever_the_server_says_to_it(answer: str, closed: str):
    wire = Wire(Script(QUIT=answer))
    connection = over(wire, pipelining=True)
    await connection.quit(0.05)
    assert (wire.script.heard, wire.closed, connection.ready) == (["QUIT"], closed, False)


async def test_goodbye_is_not_said_to_a_server_that_has_gone():
    wire = Wire(Script())
    connection = over(wire, pipelining=True)
    wire.protocol.connection_lost(ConnectionResetError())
    await connection.quit(0.05)
    assert (wire.writes, wire.closed) == ([], "closed")


# --- Over real transports ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


class Far(asyncio.Protocol):
    """The server's end of a real connection."""

    transport: asyncio.Transport

    def __init__(self, script: Script) -> None:
        self._script = script

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's are none by class
        self.transport.write(b"220 hi\r\n")

    def data_received(self, data: bytes) -> None:
        for answer in self._script.hear(data):
            if answer == HANG_UP:
                self.transport.close()
            else:
                self.transport.write(answer.encode() + b"\r\n")


async def connect(port: int, **options: Any) -> Connection:
    client = aiosmtplib.SMTP(
        hostname="127.0.0.1",
        port=port,
        local_hostname="shop.example",
        **{"start_tls": False, "timeout": None} | options,
    )
    await client.connect()
    if client.is_ehlo_or_helo_needed:
        await client.ehlo()
    return Connection(client, SENDER)


Run = Callable[[Coroutine[Any, Any, Any]], Any]


@both_loops
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("end", [HANG_UP, "421 bye", "what?", "250 ok\r\n250 ok\r\n250 ok\r\n250 ok"])
def test_a_connection_that_ends_leaves_nothing_open(
    run: Run, tls: bool, stage: str, end: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
):
    async def ended() -> tuple[Outcome, bool]:
        script = Script(EHLO="250-hi\r\n250 PIPELINING", **{stage: end})
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Far(script), "127.0.0.1", 0, ssl=server_tls if tls else None)
        async with server:
            options = {"use_tls": True, "start_tls": None, "tls_context": client_tls} if tls else {}
            connection = await connect(server.sockets[0].getsockname()[1], **options)
            found = await outcome(connection)
            ready = connection.ready
            connection.discard()
        return found, ready

    found, ready = run(ended())
    assert not ready
    if end == HANG_UP:
        assert found == Outcome("lost", Phase.CONTENT if stage == "." else Phase.OURS)


@both_loops
@pytest.mark.parametrize("tls", ["none", "starttls", "tls"])
def test_mails_go_over_every_transport_of_both_loops(
    run: Run, tls: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
):
    async def sent() -> tuple[list[Outcome], int, int]:
        inbox = Inbox()
        context = None if tls == "none" else server_tls
        async with SmtpSandbox(inbox, tls_context=context, implicit_tls=tls == "tls") as server:
            options = {"start_tls": tls == "starttls" or None, "use_tls": tls == "tls"}
            connection = await connect(server.port, tls_context=client_tls, **options if context else {})
            found = [await outcome(connection)]
            server.faults.set(Fault.REFUSE, times=1)
            found += [await outcome(connection) for _ in range(2)]
            await connection.quit(5.0)
        return found, server.connections, len(inbox.letters)

    found, connections, arrived = run(sent())
    assert [(each.said, each.phase) for each in found] == [
        (250, Phase.CONTENT),
        (550, Phase.RECIPIENT),
        (250, Phase.CONTENT),
    ]
    assert (connections, arrived) == (1, 2)


@both_loops
def test_what_connected_is_freed_without_the_garbage_collector(run: Run):
    async def opened() -> weakref.ref[aiosmtplib.SMTP]:
        async with SmtpSandbox(Inbox()) as server:
            client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port, start_tls=False, timeout=None)
            await client.connect()
            connection = Connection(client, SENDER)
            await connection.quit(5.0)
            found = weakref.ref(client)
            del client, connection
        return found

    gc.disable()
    try:
        assert run(opened())() is None
    finally:
        gc.enable()


@both_loops
def test_a_kept_connection_is_asked_now_and_then_whether_it_is_there(run: Run):
    async def asked() -> bool:
        async with SmtpSandbox(Inbox()) as server:
            connection = await connect(server.port)
            made = connection._transport.get_extra_info("socket")
            found = bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            await connection.quit(5.0)
        return found

    assert run(asked())


@both_loops
def test_a_notice_between_mails_is_seen_before_the_next_one(run: Run):
    async def noticed() -> Outcome:
        async with SmtpSandbox(Inbox()) as server:
            connection = await connect(server.port)
            await outcome(connection)
            await server.drop_connections()
            async with asyncio.timeout(5.0):
                while connection.ready:  # noqa: ASYNC110 - a connection has no event to wait for
                    await asyncio.sleep(0)
            found = await outcome(connection)
            connection.discard()
        return found

    assert run(noticed()) == Outcome("lost", Phase.OURS)


def test_the_limits_are_above_what_servers_are_allowed():
    # RFC 5321 4.5.3.1.5: 512 bytes a line.
    assert (smtp._MAX_LINE >= 512, smtp._MAX_ANSWERS >= smtp._MAX_LINE) == (True, True)
