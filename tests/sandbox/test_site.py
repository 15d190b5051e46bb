"""The page's server: who may ask, what is answered, and how a program waits for a letter."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from email import policy
from email.message import EmailMessage
from graphlib import TopologicalSorter
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox import Sandbox
from gateway.sandbox.feed import QUEUE, Feed
from gateway.sandbox.inbox import Letter
from gateway.sandbox.scenes import Answered, Scenes
from gateway.sandbox.site import _FILES, Site
from tests.sandbox.recorder import ABOUT, Recorder

PHONE, EMAIL = "+4915112345678", "ann+shop@example.org"
PAGE = Path(__file__).parents[2] / "gateway" / "sandbox" / "page"


@pytest.fixture
def application() -> Recorder:
    return Recorder()


@pytest.fixture
async def sandbox():
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
def scenes(sandbox, application) -> Scenes:
    return Scenes(sandbox, Feed(), application, ABOUT)


@pytest.fixture
async def site(scenes):
    async with Site(scenes) as opened:
        yield opened


@pytest.fixture
async def http(site):
    async with aiohttp.ClientSession(site.base_url, timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


def sms(text: str = "Code 123456", number: str = "SM1", to: str = PHONE) -> Letter:
    return Letter("twilio", to, text, b"", {"From": "+15005550006"}, 1.0, number)


def mail(html: str) -> Letter:
    message = EmailMessage(policy.SMTP)
    message.set_content("Code 123456")
    message.add_alternative(html, subtype="html")
    return Letter("smtp", EMAIL, "Code 123456\n", message.as_bytes(), {"subject": "Code"}, 1.0, "A1")


MODULES = {path.stem: path for path in sorted(PAGE.glob("*.js"))}


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("/", "index.html", "text/html"),
        ("/page.css", "page.css", "text/css"),
        ("/icon.svg", "icon.svg", "image/svg+xml"),
        *((f"/{name}.js", f"{name}.js", "text/javascript") for name in MODULES),
    ],
)
async def test_the_files_of_the_page_are_served_as_they_are(http, path, name, kind):
    async with http.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, kind)
        assert await answer.read() == (PAGE / name).read_bytes()
        assert answer.headers["Cache-Control"] == "no-store"
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_every_file_of_the_page_is_served():
    assert {name for name, _ in _FILES.values()} == {path.name for path in PAGE.iterdir()}


def test_the_modules_of_the_page_are_small_and_import_each_other_in_one_direction():
    imports = {name: set(re.findall(r'from "\./(\w+)\.js"', path.read_text())) for name, path in MODULES.items()}
    order = list(TopologicalSorter(imports).static_order())
    assert (sorted(order), order[-1]) == (list(MODULES), "page")
    assert {name: lines for name, path in MODULES.items() if (lines := len(path.read_text().splitlines())) > 250} == {}


async def test_nothing_else_is_served(http):
    for path in ("/page", "/../site.py", "/page.js/x", "/chat", "/sandbox/page/chat.js"):
        async with http.get(path) as answer:
            assert answer.status == 404
    async with http.get("/act/write") as answer:
        assert answer.status == 405


async def test_no_answer_can_be_read_by_another_site(http):
    async with http.get("/", headers={"Origin": "https://evil.example"}) as answer:
        assert [name for name in answer.headers if name.lower().startswith("access-control")] == []
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["localhost:{}", "127.0.0.1:{}", "127.0.0.2:{}", "[::1]:{}", "LOCALHOST:{}"])
async def test_names_of_this_machine_are_answered(http, site, host):
    async with http.get("/feed", headers={"Host": host.format(site.port)}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:{}", "127.0.0.1.evil.example:{}", "127.0.0.1", "127.0.0.1:1", "x@127.0.0.1:{}", ":{}", "[", "a:b"],
)
async def test_another_name_is_misdirected(http, site, host):
    for path in ("/", "/feed", f"/sandbox/inbox/{PHONE}", "/mail/A1"):
        async with http.get(path, headers={"Host": host.format(site.port)}) as answer:
            assert answer.status == 421
            assert answer.content_type == "application/problem+json"


@given(st.text() | st.from_regex(r"[\w.@\[\]:/?#-]*:[0-9]{1,6}", fullmatch=True))
def test_any_name_is_judged_without_an_error(host):
    site = Site(Scenes(Sandbox(), Feed(), Recorder(), ABOUT), port=8090)
    assert site._is_ours(host) is False or host.endswith(":8090")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{}"}, 200),
        ({"Origin": "{}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
    ],
)
async def test_only_the_page_itself_acts(http, site, sandbox, headers, status):
    sent = {"Content-Type": "application/json"} | {name: value.format(site.base_url) for name, value in headers.items()}
    body = json.dumps({"person": 7, "text": "hi"})
    async with http.post("/act/write", data=body, headers=sent) as answer:
        assert answer.status == status
    assert len(sandbox.telegram.chat(7)) == (status == 200)


async def test_an_act_is_answered_with_what_came_of_it(http, application):
    async with http.post("/act/sign-in", json={"to": EMAIL}) as answer:
        assert await answer.json() == {"status": 201, "body": application.answer.body}
    application.answer = Answered(429, {"code": "cooldown"})
    async with http.post("/act/sign-in", json={"to": EMAIL}) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, 429)
    async with http.post("/act/fly", json={}) as answer:
        assert (answer.status, await answer.json(content_type=None)) == (
            404,
            {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "There is no such act."},
        )


async def test_a_body_over_the_limit_is_refused(http):
    async with http.post(
        "/act/write", data=io.BytesIO(b" " * 1_100_000), headers={"Content-Type": "application/json"}
    ) as answer:
        assert answer.status == 413


async def test_a_mail_is_shown_alone_and_may_do_nothing(http, sandbox):
    sandbox.inbox.add(mail("<script>alert(1)</script><p>123456</p>"))
    async with http.get("/mail/A1") as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert "<p>123456</p>" in await answer.text()
        rules = answer.headers.getall("Content-Security-Policy")
    [rule] = rules
    assert rule.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert rule.endswith("; sandbox")


async def test_a_letter_without_html_is_no_mail(http, sandbox):
    sandbox.inbox.add(sms())
    for name in ("SM1", "nothing"):
        async with http.get(f"/mail/{name}") as answer:
            assert answer.status == 404


# -- letters for programs


@pytest.mark.parametrize("path", [PHONE, "%2B4915112345678"])
async def test_a_plus_is_a_plus_however_it_is_written(site, sandbox, path):
    sandbox.inbox.add(sms())
    # aiohttp would normalise the path: the bytes are written by hand.
    reader, writer = await asyncio.open_connection(site.host, site.port)
    writer.write(f"GET /sandbox/inbox/{path} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 200")


async def test_the_newest_letter_is_read_by_its_address(http, sandbox):
    sandbox.inbox.add(mail("<p>1</p>"))
    async with http.get(f"/sandbox/inbox/{EMAIL}") as answer:
        assert await answer.json() == {
            "id": "A1",
            "protocol": "smtp",
            "to": EMAIL,
            "subject": "Code",
            "text": "Code 123456\n",
            "html": "<p>1</p>\n",
            "code": "123456",
            "buttons": [],
            "keyboard": None,
            "received_at": 1.0,
        }


async def test_an_address_with_a_slash_and_other_letters_is_found(http, sandbox):
    sandbox.inbox.add(sms(to="a/b ü@example.org"))
    async with http.get("/sandbox/inbox/a%2Fb%20%C3%BC@example.org") as answer:
        assert answer.status == 200


async def test_a_program_waits_for_a_letter_and_for_the_one_after_it(http, sandbox):
    waiting = asyncio.create_task(fetched(http, f"/sandbox/inbox/{PHONE}?wait=10"))
    while not sandbox.inbox._waiting:  # noqa: ASYNC110 - the inbox has no event for a waiter
        await asyncio.sleep(0)
    sandbox.inbox.add(sms())
    assert (await waiting)["id"] == "SM1"
    sandbox.inbox.add(sms(number="SM2"))
    sandbox.inbox.add(sms(number="SM3"))
    assert (await fetched(http, f"/sandbox/inbox/{PHONE}?after=SM1"))["id"] == "SM2"
    assert (await fetched(http, f"/sandbox/inbox/{PHONE}"))["id"] == "SM3"


async def fetched(http: aiohttp.ClientSession, path: str) -> dict[str, object]:
    async with http.get(path) as answer:
        assert answer.status == 200
        found: dict[str, object] = await answer.json()
        return found


async def test_a_letter_that_does_not_come_is_not_found(http):
    for query in ("", "?wait=0.05"):
        async with http.get(f"/sandbox/inbox/{PHONE}{query}") as answer:
            assert (answer.status, answer.content_type) == (404, "application/problem+json")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon", ""])
async def test_a_wait_is_a_minute_at_most(http, wait):
    async with http.get(f"/sandbox/inbox/{PHONE}", params={"wait": wait}) as answer:
        assert answer.status == 422


async def test_whoever_waits_does_not_hold_the_shutdown(scenes, sandbox):
    async with aiohttp.ClientSession() as session:
        async with Site(scenes) as site:
            waiting = asyncio.create_task(session.get(f"{site.base_url}/sandbox/inbox/{PHONE}?wait=60"))
            while not sandbox.inbox._waiting:  # noqa: ASYNC110 - the inbox has no event for a waiter
                await asyncio.sleep(0)
            feed = await session.get(f"{site.base_url}/feed")
        # The client asks once more, and then nobody is there.
        with pytest.raises(aiohttp.ClientError):
            await waiting
        with pytest.raises(aiohttp.ClientError):
            await feed.content.read()
        feed.close()


# -- the feed


async def lines(answer: aiohttp.ClientResponse, number: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    while len(found) < number:
        line = await answer.content.readline()
        assert line
        if line.startswith(b"data: "):
            found.append(json.loads(line.removeprefix(b"data: ")))
    return found


async def test_the_feed_begins_with_everything_and_goes_on_with_changes(http, sandbox):
    sandbox.inbox.add(sms())
    async with http.get("/feed") as answer:
        assert answer.content_type == "text/event-stream"
        [snapshot] = await lines(answer, 1)
        assert snapshot["kind"] == "snapshot"
        sandbox.inbox.add(sms(number="SM2"))
        sandbox.telegram.person(7, "Ann").write("hi")
        letter, chat = await lines(answer, 2)
    assert (letter["kind"], chat["kind"], chat["person"]) == ("letter", "chat", 7)


async def test_a_browser_that_left_is_forgotten(http, scenes):
    answer = await http.get("/feed")
    await lines(answer, 1)
    assert len(scenes.feed._readers) == 1
    answer.close()
    async with asyncio.timeout(10):
        while scenes.feed._readers:  # noqa: ASYNC110 - the feed has no event for this
            await asyncio.sleep(0)


async def test_a_browser_that_reads_too_slowly_is_cut_off(http, scenes):
    async with http.get("/feed") as answer:
        await lines(answer, 1)
        for _ in range(QUEUE + 1):
            scenes.feed.publish(lambda: {"kind": "letter"})
        assert not scenes.feed._readers
        with pytest.raises(aiohttp.ClientError):
            await lines(answer, QUEUE + 1)


# -- beyond this machine


async def test_another_address_is_listened_on_only_where_that_is_allowed(scenes):
    with pytest.raises(ValueError, match="loopback only"):
        Site(scenes, host="0.0.0.0")
    async with Site(scenes, host="0.0.0.0", allow_remote=True) as site, aiohttp.ClientSession(site.base_url) as http:
        async with http.get("/feed", headers={"Host": "sandbox.internal"}) as answer:
            assert answer.status == 200
        wrong = {"Host": "sandbox.internal", "Origin": "http://elsewhere.internal"}
        async with http.post("/act/write", json={"person": 7, "text": "x"}, headers=wrong) as answer:
            assert answer.status == 403


async def test_the_page_says_so_where_a_file_of_it_is_missing(http, monkeypatch):
    from gateway.sandbox import site

    monkeypatch.setitem(site._FILES, "/icon.svg", ("gone.svg", "image/svg+xml"))
    async with http.get("/icon.svg") as answer:
        assert answer.status == 404


async def test_a_taken_port_is_an_error(scenes, site):
    with pytest.raises(OSError, match="in use"):
        await Site(scenes, port=site.port).__aenter__()
    with socket.create_connection((site.host, site.port), timeout=1):
        pass
