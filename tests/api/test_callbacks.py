"""``/callbacks/<channel>``: genuine reports are taken in, forged ones refused, everything else answered 204; so is what people write."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from channels.base import Receipt, Report, ReportedStatus
from channels.callback import CallbackRequest, ForgedCallbackError
from channels.chat import Inbound
from gateway.api.callbacks import MAX_BODY, MAX_UPDATE, headers_of
from gateway.storage.unit import StorageUnavailableError
from tests.conversation import conftest as conversation
from tests.world import Talker

#: The fixtures of people who write to a bot: here they come by HTTP.
make_talk, texts = conversation.make_talk, conversation.texts

GENUINE = {"X-Signature": "genuine", "Authorization": ""}


class Counted(list[tuple[bytes, bytes]]):
    """Headers that count how often somebody goes through them."""

    walks = 0

    def __iter__(self) -> Any:
        self.walks += 1
        return super().__iter__()


def test_thousands_of_headers_are_gone_through_once():
    """16 KiB of them, each compared with all, held everybody up for half a second: two requests a second stop a gateway."""
    raw = Counted([(b"a", b"%d" % number) for number in range(3000)] + [(b"b", b"x")])
    request = Request({"type": "http", "headers": []})
    request._headers = Headers(raw=raw)
    found = headers_of(request)
    assert (found["a"].count(", "), found["b"], raw.walks) == (2999, "x", 1)


async def test_a_genuine_report_settles_its_message(client, world):
    made = (await client.post("/v1/verifications", json={"to": "+4915112345678"})).json()
    begun = await world.queue.begin(world.sent[0])
    assert begun is not None
    response = await client.post(f"/callbacks/sms?attempt={begun[1]}", headers=GENUINE)
    assert (response.status_code, response.content) == (204, b"")
    shown = (await client.get(f"/v1/verifications/{made['id']}")).json()
    assert [message["status"] for message in shown["messages"]] == ["delivered"]


async def test_a_report_that_names_another_message_is_forbidden(client, world, monkeypatch):
    (await client.post("/v1/verifications", json={"to": "+4915112345678"})).json()
    message, token = await world.queue.begin(world.sent[0])
    assert await world.queue.accept(message, Receipt("SM1"), 1.0)
    named = Report(token, ReportedStatus.DELIVERED, provider_id="SM2")
    monkeypatch.setattr(world.sms, "report", lambda _: named)
    response = await client.post(f"/callbacks/sms?attempt={token}", headers=GENUINE)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


async def test_a_report_that_says_nothing_or_of_nobody_is_answered_the_same(client):
    for target in ("/callbacks/sms", "/callbacks/sms?attempt=nobody"):
        assert (await client.post(target, headers=GENUINE)).status_code == 204


async def test_a_forged_report_is_forbidden(client):
    response = await client.post("/callbacks/sms?attempt=x", headers={"X-Signature": "forged"})
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


async def test_an_unknown_channel_is_not_found(client):
    assert (await client.post("/callbacks/fax", headers=GENUINE)).status_code == 404


async def test_the_channel_is_given_the_request_as_it_arrived(client, world):
    headers = [("X-Signature", "genuine"), ("X-Twice", "a"), ("X-Twice", "b")]
    await client.post("/callbacks/sms?attempt=a%20b&x=", content=b"To=%2B49&Body=\xff", headers=headers)
    call = world.sms.calls[0]
    assert (call.method, call.target, call.body) == ("POST", "/callbacks/sms?attempt=a%20b&x=", b"To=%2B49&Body=\xff")
    assert (call.headers["x-signature"], call.headers["x-twice"]) == ("genuine", "a, b")


async def test_a_report_over_64_kib_is_refused(client):
    response = await client.post("/callbacks/sms", content=b"x" * (MAX_BODY + 1), headers=GENUINE)
    assert response.status_code == 413
    assert (await client.post("/callbacks/sms", content=b"x" * MAX_BODY, headers=GENUINE)).status_code == 204


class Hearing(Talker):
    """A bot whose people write through ``/callbacks/bot``: JSON, with a secret in a header."""

    def __init__(self, *, webhook: bool = True) -> None:
        super().__init__("bot", ["telegram"])
        self.webhook = webhook

    def read(self, request: CallbackRequest) -> Inbound | None:
        if request.headers.get("x-secret") != "right":
            raise ForgedCallbackError
        try:
            told = json.loads(request.body)
        except ValueError:
            return None
        return Inbound(told["id"], "7001", told["command"], "", "Ann", "en", private=True)


SECRET = {"X-Secret": "right", "Authorization": ""}


@pytest.fixture
async def bot_client(rebuilt, make_talk):
    """A client of a gateway with such a bot, and the bot's inbox."""
    talk = make_talk()
    world = await rebuilt(channels={"bot": Hearing()}, hear=talk.inbox.handle)
    async with world.client() as opened:
        yield opened, talk


def update(number: int = 1, command: str = "help") -> dict[str, Any]:
    return {"json": {"id": number, "command": command}, "headers": SECRET}


async def test_what_people_write_is_taken_in_and_answered_later(bot_client):
    client, talk = bot_client
    response = await client.post("/callbacks/bot", **update())
    assert (response.status_code, response.content) == (204, b"")
    assert talk.bot.did == []
    await talk.replying.send_once("bot")
    assert [what[2].text for what in talk.bot.did] == [talk.text("help")]


async def test_the_longest_update_is_taken_in(bot_client):
    client, talk = bot_client
    long = update()
    long["json"]["text"] = "x" * (MAX_UPDATE - 100)
    assert (await client.post("/callbacks/bot", **long)).status_code == 204
    await talk.replying.send_once("bot")
    assert len(talk.bot.did) == 1
    long["json"]["text"] += "x" * 100
    assert (await client.post("/callbacks/bot", **long)).status_code == 413


async def test_a_repeated_update_is_answered_once(bot_client):
    client, talk = bot_client
    for response in await asyncio.gather(*(client.post("/callbacks/bot", **update()) for _ in range(5))):
        assert response.status_code == 204
    await talk.replying.send_once("bot")
    assert len(talk.bot.did) == 1


@pytest.mark.parametrize("secret", [[], ["wrong"], ["right", "right"], ["right", "wrong"], [""]])
async def test_an_update_without_the_secret_is_forbidden(bot_client, secret):
    client, talk = bot_client
    headers = [("Authorization", ""), *(("X-Secret", value) for value in secret)]
    response = await client.post("/callbacks/bot", json={"id": 1, "command": "help"}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert await talk.rows("heard") == []


async def test_an_update_that_says_nothing_is_not_repeated(bot_client):
    client, talk = bot_client
    assert (await client.post("/callbacks/bot", content=b"rubbish", headers=SECRET)).status_code == 204
    assert await talk.rows("heard") == []


async def test_an_update_that_cannot_be_kept_is_to_be_repeated(rebuilt):
    async def hear(channel: str, inbound: Inbound) -> None:
        raise StorageUnavailableError("SQLite: database is locked")

    world = await rebuilt(channels={"bot": Hearing()}, hear=hear)
    async with world.client() as client:
        response = await client.post("/callbacks/bot", **update())
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert int(response.headers["retry-after"]) >= 1


async def test_a_bot_that_is_polled_takes_no_updates(rebuilt, make_talk):
    talk = make_talk()
    world = await rebuilt(channels={"bot": Hearing(webhook=False)}, hear=talk.inbox.handle)
    async with world.client() as client:
        assert (await client.post("/callbacks/bot", **update())).status_code == 403
    assert await talk.rows("heard") == []


async def test_updates_one_after_another_are_each_taken_in_and_answered_once(bot_client):
    client, talk = bot_client
    statuses = [(await client.post("/callbacks/bot", **update(number))).status_code for number in range(50)]
    assert statuses == [204] * 50
    assert len(await talk.rows("reply")) == 50
