"""What a visitor of the sandbox's page can live through, told by the page's own feed and done by its own acts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

import aiohttp
import pytest

from gateway.cli.sandboxing import sandboxed
from gateway.config import load_settings, shipped
from gateway.sandbox import Sandbox
from gateway.sandbox.loopback import listen
from gateway.serving import bind
from tests.journeys.node import by_all

ANN, PHONE, EMAIL = 4242, "+4915112345678", "ann@example.org"
#: Seconds anything may take to show.
PATIENCE = 20.0

Json = dict[str, Any]


class Visitor:
    """A browser on the page: it keeps what the feed tells and acts by the same requests. Open with ``async with``."""

    def __init__(self, url: str) -> None:
        self._http = aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=60))
        self.shown: Json = {}

    async def __aenter__(self) -> Self:
        self._feed = await self._http.get("/feed")
        await self._hear()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._feed.close()
        await self._http.close()

    async def act(self, name: str, /, **wish: object) -> Json:
        async with self._http.post(f"/act/{name}", json=wish) as answer:
            assert answer.status == 200, await answer.text()
            found: Json = await answer.json()
            return found

    async def until(self, seen: Callable[[Json], bool]) -> None:
        """Read the feed until what is shown is as wanted."""
        async with asyncio.timeout(PATIENCE):
            while not seen(self.shown):
                await self._hear()

    async def _hear(self) -> None:
        line = await self._feed.content.readline()
        assert line, "the feed ended"
        if line.startswith(b"data: "):
            self._show(json.loads(line.removeprefix(b"data: ")))

    def _show(self, item: Json) -> None:
        match item.pop("kind"):
            case "snapshot":
                self.shown = item
            case "chat":
                self.shown["chats"][str(item["person"])] = item
            case "letter" | "event" as kind:
                self.shown[f"{kind}s"].append(item[kind])
            case _:
                self.shown |= item

    def messages(self) -> list[Json]:
        found: list[Json] = self.shown["chats"].get(str(ANN), {}).get("messages", [])
        return found

    def asked_for_contact(self) -> bool:
        """Tell whether the bot shows the keyboard by which a number is shared."""
        return bool(self.shown["chats"].get(str(ANN), {}).get("keyboard"))

    def button(self, verb: str) -> tuple[int, str] | None:
        """Return the message and the data of the newest button whose data begins with ``verb``."""
        found = [
            (message["id"], button["data"])
            for message in self.messages()
            for row in message["buttons"]
            for button in row
            if button.get("data", "").startswith(verb)
        ]
        return found[-1] if found else None

    def copied(self) -> list[str]:
        """Return every code the chat offers to copy."""
        buttons = [button for message in self.messages() for row in message["buttons"] for button in row]
        return [button["copy"] for button in buttons if "copy" in button]

    async def press(self, verb: str) -> None:
        await self.until(lambda _: self.button(verb) is not None)
        button = self.button(verb)
        assert button is not None
        await self.act("press", person=ANN, message=button[0], data=button[1])

    async def event(self, name: str) -> Json:
        """Return the first event with this name, which may still be to come."""
        await self.until(lambda shown: name in {event["name"] for event in shown["events"]})
        return next(event for event in self.shown["events"] if event["name"] == name)

    async def linked(self) -> None:
        """Open the bot by a link and confirm."""
        link = (await self.act("subscribe", reference="user-42"))["link"]
        await self.act("start", person=ANN, payload=link.partition("?start=")[2])
        await self.press("yes:")
        await self.event("subscriber.linked")

    async def sign_in(self, **wish: object) -> str:
        answered = await self.act("sign-in", **wish)
        assert answered["status"] == 201, answered
        return str(answered["body"]["id"])

    async def status(self, verification: str) -> str:
        return str((await self.act("look", id=verification))["body"]["status"])


@pytest.fixture
async def visitor(tmp_path):
    with listen("127.0.0.1", 0) as listening:
        # Known before the gateway is: providers report to its public URL.
        port = str(listening.getsockname()[1])
    async with Sandbox(magic_addresses=True) as sandbox:
        environ = by_all(
            sandbox, DATABASE__URL=f"sqlite:///{tmp_path}/gateway.db", SERVER__PORT=port, SANDBOX__PORT="0"
        )
        values = {f"OTP_GATEWAY_{name}": value for name, value in environ.items()}
        settings = load_settings(shipped("config.toml"), values)
        async with sandboxed(settings, sandbox, bind(settings.server)) as page, Visitor(page.url) as opened:
            yield opened


async def test_a_code_in_the_chat_is_copied_used_and_shown_as_used(visitor):
    await visitor.linked()
    started = await visitor.sign_in(to={"telegram": "user-42"})
    await visitor.until(lambda _: visitor.copied() != [])
    [code] = visitor.copied()
    sent = next(message for message in visitor.messages() if code in message["text"])
    assert sent["protected"]
    assert (await visitor.act("check", id=started, code=code))["status"] == 200
    await visitor.until(lambda _: visitor.copied() == [])
    [edited] = [message for message in visitor.messages() if message["id"] == sent["id"]]
    assert edited["edited"]
    assert code not in edited["text"]


async def test_not_me_ends_the_code_and_is_reported(visitor):
    await visitor.linked()
    started = await visitor.sign_in(to={"telegram": "user-42"})
    await visitor.press("not:")
    assert (await visitor.event("verification.reported"))["verification"] == started
    assert await visitor.status(started) == "canceled"


async def test_a_person_proves_their_phone_by_writing_to_the_bot(visitor):
    answered = await visitor.act("sign-in", to={"phone": PHONE}, channels=["telegram"], mode="inbound")
    assert answered["status"] == 201, answered
    await visitor.act("start", person=ANN, payload=answered["body"]["link"].partition("?start=")[2])
    await visitor.until(lambda _: visitor.asked_for_contact())
    await visitor.act("contact", person=ANN, phone=PHONE, whose="own")
    await visitor.event("subscriber.proved")
    await visitor.press("in:")
    await visitor.event("verification.approved")
    assert await visitor.status(answered["body"]["id"]) == "approved"
    assert visitor.shown["letters"] == []


async def test_only_ones_own_number_is_a_proof_and_then_the_bot_reaches_it(visitor):
    await visitor.act("start", person=ANN)
    await visitor.act("write", person=ANN, text="/link")
    await visitor.until(lambda _: visitor.asked_for_contact())
    for whose in ("other", "forwarded"):
        written = len(visitor.messages())
        await visitor.act("contact", person=ANN, phone=PHONE, whose=whose)
        await visitor.until(lambda _, written=written: len(visitor.messages()) > written + 1)
    assert "subscriber.proved" not in {event["name"] for event in visitor.shown["events"]}
    await visitor.act("contact", person=ANN, phone=PHONE, whose="own")
    await visitor.event("subscriber.proved")
    await visitor.sign_in(to={"phone": PHONE}, channels=["telegram", "sms"])
    await visitor.until(lambda _: visitor.copied() != [])
    assert visitor.shown["letters"] == []


async def test_whoever_blocks_the_bot_gets_an_sms(visitor):
    await visitor.linked()
    await visitor.act("block", person=ANN, blocked=True)
    await visitor.event("subscriber.blocked")
    await visitor.sign_in(to={"telegram": "user-42", "phone": PHONE})
    await visitor.until(lambda shown: [letter["protocol"] for letter in shown["letters"]] == ["twilio"])


async def test_a_limited_provider_is_tried_again_once_the_switch_is_off(visitor):
    await visitor.act("fault", server="twilio", fault="limit")
    await visitor.sign_in(to={"phone": PHONE}, channels=["sms"])
    assert (await visitor.event("message.retried"))["reason"] == "rate_limited"
    await visitor.act("fault", server="twilio", fault="none")
    await visitor.until(lambda shown: [letter["protocol"] for letter in shown["letters"]] == ["twilio"])


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ({"phone": "+4915112345901"}, "message.delivered"),
        ({"phone": "+4915112345904"}, "message.retried"),
        ({"email": "ann902@example.org"}, "message.failed"),
        ({"email": "ann901@example.org"}, "message.sent"),
    ],
)
async def test_magic_addresses_lead_to_their_events(visitor, to, name):
    await visitor.sign_in(to=to)
    await visitor.event(name)


async def test_the_bots_menu_is_shown_in_both_languages(visitor):
    await visitor.until(lambda shown: {"", "de"} <= set(shown["commands"]))
    assert "codes" in {command["command"] for command in visitor.shown["commands"]["de"]}
