"""The acts of the page: what each does to the servers, to the gateway and to whoever listens."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events.event import EventName, event
from gateway.sandbox import Sandbox
from gateway.sandbox.fault import Fault
from gateway.sandbox.feed import Feed
from gateway.sandbox.inbox import Letter
from gateway.sandbox.scenes import ActError, Answered, Scenes
from tests.sandbox.recorder import ABOUT, Recorder

ANN = 4242


@pytest.fixture
async def sandbox():
    async with Sandbox() as opened:
        yield opened


@pytest.fixture
def application() -> Recorder:
    return Recorder()


@pytest.fixture
def scenes(sandbox, application) -> Scenes:
    return Scenes(sandbox, Feed(), application, ABOUT)


async def act(scenes: Scenes, name: str, /, **wish: object) -> dict[str, Any]:
    return await scenes.act(name, json.dumps(wish).encode())


async def refused(scenes: Scenes, name: str, /, **wish: object) -> tuple[int, str]:
    with pytest.raises(ActError) as error:
        await act(scenes, name, **wish)
    return error.value.status, error.value.detail


@pytest.mark.parametrize(
    ("name", "wish", "path", "body"),
    [
        ("sign-in", {"to": "ann@example.org"}, "/v1/verifications", {"to": "ann@example.org"}),
        (
            "sign-in",
            {"to": {"phone": "+49"}, "channels": ["sms"], "mode": "inbound", "locale": "de"},
            "/v1/verifications",
            {"to": {"phone": "+49"}, "channels": ["sms"], "mode": "inbound", "locale": "de"},
        ),
        ("check", {"id": "ver_1", "code": "1"}, "/v1/verifications/ver_1/check", {"code": "1"}),
        ("resend", {"id": "ver_1"}, "/v1/verifications/ver_1/resend", {}),
        ("resend", {"id": "ver_1", "channel": "sms"}, "/v1/verifications/ver_1/resend", {"channel": "sms"}),
        ("cancel", {"id": "ver_1"}, "/v1/verifications/ver_1/cancel", {}),
        ("look", {"id": "../keys?x"}, "/v1/verifications/..%2Fkeys%3Fx", None),
    ],
)
async def test_the_sign_in_form_asks_as_an_application_does(scenes, application, name, wish, path, body):
    assert await act(scenes, name, **wish) == {"status": 201, "body": application.answer.body}
    assert application.asked == [(path, body)]


async def test_a_link_is_asked_for(scenes, application):
    told = await act(scenes, "subscribe", reference="user-42")
    assert (told["status"], told["link"]) == (201, "https://t.me/sandbox_bot?start=abc")
    application.answer = Answered(422, {"code": "invalid_request"})
    assert (await act(scenes, "subscribe", reference="user-42", phone="+49"))["link"] is None
    assert [body for _, body in application.asked] == [
        {"reference": "user-42"},
        {"reference": "user-42", "phone": "+49"},
    ]


async def test_a_person_opens_the_bot_writes_and_shares(scenes, sandbox):
    first = await act(scenes, "start", person=ANN, payload="abc", name="Anna", language="de")
    await act(scenes, "write", person=ANN, text="/help")
    for whose in ("own", "other", "forwarded"):
        await act(scenes, "contact", person=ANN, phone="+4915112345678", whose=whose)
    start, help_, own, other, forwarded = sandbox.telegram.chat(ANN)
    assert (start["message_id"], start["text"], help_["text"]) == (first["message"], "/start abc", "/help")
    assert start["from"]["language_code"] == "de"
    assert [message["contact"]["user_id"] for message in (own, other, forwarded)] == [ANN, ANN + 1, ANN]
    assert ["forward_origin" in message for message in (own, other, forwarded)] == [False, False, True]


async def test_a_bot_is_opened_by_the_whole_link_it_was_given_out_by(scenes, sandbox):
    await act(scenes, "start", person=ANN, link="https://t.me/sandbox_bot?start=abc")
    assert [message["text"] for message in sandbox.telegram.chat(ANN)] == ["/start abc"]


@pytest.mark.parametrize(
    "wish",
    [
        {"link": "https://t.me/another_bot?start=abc"},
        {"link": "abc"},
        {"link": "https://t.me/sandbox_bot?start=abc", "payload": "abc"},
    ],
)
async def test_a_link_that_does_not_open_this_bot_is_refused(scenes, sandbox, wish):
    told = (422, "link is https://t.me/sandbox_bot?start=…, and then there is no payload.")
    assert await refused(scenes, "start", person=ANN, **wish) == told
    assert sandbox.telegram.people == []


async def test_a_person_who_blocked_the_bot_cannot_write_until_they_unblock_it(scenes, sandbox):
    await act(scenes, "block", person=ANN, blocked=True)
    assert await refused(scenes, "write", person=ANN, text="x") == (409, "This person has blocked the bot.")
    await act(scenes, "block", person=ANN, blocked=False)
    await act(scenes, "write", person=ANN, text="x")
    assert [message["text"] for message in sandbox.telegram.chat(ANN)] == ["x"]


async def test_a_button_is_pressed_where_there_is_a_message(scenes, sandbox):
    message = (await act(scenes, "write", person=ANN, text="x"))["message"]
    # A letter's id is the same number in digits.
    for named in (message, str(message)):
        assert await act(scenes, "press", person=ANN, message=named, data="yes:1") == {}
    assert (await refused(scenes, "press", person=ANN, message="one", data="yes:1"))[0] == 422
    assert (await refused(scenes, "press", person=ANN, message=999, data="yes:1"))[0] == 404
    assert (await refused(scenes, "press", person=ANN, message=message, data=""))[0] == 422


@pytest.mark.parametrize(
    ("server", "fault", "planned"),
    [
        ("smtp", "down", Fault.DEFER),
        ("twilio", "limit", Fault.LIMIT),
        ("twilio", "slow", Fault.SLOW),
        ("smtp", "blocked", Fault.REFUSE),
    ],
)
async def test_a_fault_is_switched_on_and_off(scenes, sandbox, server, fault, planned):
    told = await act(scenes, "fault", server=server, fault=fault)
    assert told["faults"][server] == fault
    assert scenes.snapshot()["faults"] == {"smtp": "none", "twilio": "none", "telegram": "none", server: fault}
    taken = sandbox.faults[server].take("anyone")
    assert (taken.fault, taken.retry_after) == (planned, 2)
    await act(scenes, "fault", server=server, fault="none")
    assert sandbox.faults[server].take("anyone").fault is Fault.NONE


async def test_while_it_is_not_down_the_bot_api_still_tells_what_people_write(scenes, sandbox):
    faults = sandbox.telegram.faults
    await act(scenes, "fault", server="telegram", fault="limit")
    assert faults.take("4242", "sendMessage").fault is Fault.LIMIT
    assert faults.take("", "getUpdates").fault is Fault.NONE
    await act(scenes, "fault", server="telegram", fault="down")
    assert faults.take("", "getUpdates").fault is Fault.DEFER


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("fly", b"{}", 404),
        ("write", b"{", 422),
        ("write", b"[]", 422),
        ("write", b'{"person": 1, "text": "x", "more": 1}', 422),
        ("write", b'{"person": 0, "text": "x"}', 422),
        ("write", b'{"person": 1, "text": ""}', 422),
        ("contact", b'{"person": 1, "phone": "none"}', 422),
        ("fault", b'{"server": "fax", "fault": "none"}', 422),
        ("write", b'{"person": 1, "text": "\xff"}', 422),
    ],
)
async def test_what_the_page_would_not_ask_for_is_refused(scenes, name, body, status):
    with pytest.raises(ActError) as error:
        await scenes.act(name, body)
    assert error.value.status == status


def test_any_body_is_an_act_or_refused(application):
    scenes = Scenes(Sandbox(), Feed(), application, ABOUT)

    @given(
        st.binary()
        | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
    )
    def check(body):
        with pytest.raises(ActError):
            scenes.act("write", body).send(None)

    check()


async def test_the_snapshot_shows_everything_and_the_feed_each_change(scenes, sandbox):
    feed = scenes.feed
    sandbox.inbox.add(Letter("twilio", "+49", "Code 123456", b"", {}, 1.0, "SM1"))
    sandbox.inbox.add(Letter("telegram", str(ANN), "hello", b"", {}, 1.0, "1"))
    await act(scenes, "write", person=ANN, text="hi")
    feed.hear([event(EventName.MESSAGE_SENT, 1.0, "shop", channel="sms")])
    async with contextlib.aclosing(feed.stream(scenes.snapshot, lambda: None)) as stream:

        async def told() -> dict[str, Any]:
            line: dict[str, Any] = json.loads((await anext(stream)).removeprefix(b"data: "))
            return line

        snapshot = await told()
        assert [letter["id"] for letter in snapshot["letters"]] == ["SM1"]
        assert [message["text"] for message in snapshot["chats"][str(ANN)]["messages"]] == ["hi"]
        assert [item["name"] for item in snapshot["events"]] == ["message.sent"]
        assert (snapshot["gateway"], snapshot["brand"], snapshot["channels"], snapshot["bot"]) == (
            "http://127.0.0.1:8080",
            "Shop",
            ["telegram", "sms"],
            "sandbox_bot",
        )
        feed.hear([event(EventName.MESSAGE_DELIVERED, 2.0, "shop")])
        assert (await told())["event"]["name"] == "message.delivered"
        sandbox.inbox.add(Letter("telegram", str(ANN), "hello", b"", {}, 1.0, "2"))
        sandbox.inbox.add(Letter("smtp", "ann@example.org", "Code", b"", {}, 1.0, "A1"))
        assert (await told())["letter"]["id"] == "A1"
        await act(scenes, "write", person=ANN, text="more")
        chat = await told()
        assert (chat["kind"], chat["person"], len(chat["messages"])) == ("chat", ANN, 2)
        await act(scenes, "fault", server="smtp", fault="slow")
        assert (await told())["faults"]["smtp"] == "slow"
        menu = [{"command": "help", "description": "Help"}]
        url = f"{sandbox.telegram.base_url}/bot{sandbox.telegram.token}/setMyCommands"
        async with aiohttp.ClientSession() as http, http.post(url, json={"commands": menu}) as answer:
            assert answer.status == 200
        assert await told() == {"kind": "commands", "commands": {"": menu}}


async def test_what_is_said_in_a_group_is_not_on_the_page(scenes, sandbox):
    ann = sandbox.telegram.person(ANN, "Ann")
    sandbox.telegram.group(-1, "Family").write(ann, "hello")
    assert list(scenes.snapshot()["chats"]) == [str(ANN)]
