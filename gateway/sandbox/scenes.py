"""What the page can do: act as a person, as the application that asks for codes, and as a provider in trouble."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

import msgspec

from gateway import phrases
from gateway.sandbox import acts
from gateway.sandbox.fault import Fault, Faults
from gateway.sandbox.feed import Feed
from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.shapes import Json, chat_item, event_item, letter_item
from gateway.sandbox.telegram import TelegramSandbox
from gateway.sandbox.telegram_people import Person

#: Letters a new browser is shown.
LETTERS = 200
#: Seconds a provider that limits asks to wait.
RETRY_AFTER = 2
#: What a fault on the page is to a server.
FAULTS: Mapping[str, Fault] = {
    "none": Fault.NONE,
    "slow": Fault.SLOW,
    "down": Fault.DEFER,
    "limit": Fault.LIMIT,
    "blocked": Fault.REFUSE,
}
#: What the Bot API does in trouble; while it is not down it still tells what people write.
_WRITING = ("sendMessage", "editMessageText", "deleteMessage")


class Answered(NamedTuple):
    """What the gateway's API answered."""

    status: int
    body: Json


class Application(Protocol):
    """An application that uses the gateway by HTTP, as the page's sign-in form does. Raises ``ActError`` (502)."""

    async def post(self, path: str, body: Mapping[str, Any]) -> Answered:
        """Send a request and return the answer, whatever it is."""

    async def get(self, path: str) -> Answered:
        """Fetch and return the answer, whatever it is."""


class ActError(Exception):
    """Something that cannot be done: the HTTP status that says so, and a sentence for the person."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(str(status))


@dataclass(frozen=True, slots=True)
class About:
    """What the page says of the gateway it shows."""

    #: The gateway's own URL.
    gateway: str
    #: The name people know the service by.
    brand: str
    #: The service's route: names of channels in order.
    channels: Sequence[str]


class Servers(Protocol):
    """The sandbox's servers, as far as the page needs them."""

    @property
    def inbox(self) -> Inbox:
        """What arrived."""

    @property
    def telegram(self) -> TelegramSandbox:
        """The Bot API and its people."""

    @property
    def faults(self) -> Mapping[str, Faults]:
        """How each server is told to misbehave, by its name on the page."""


class Scenes:
    """The acts of the page by name, over the sandbox's servers and an application. Tells the feed what happens."""

    def __init__(self, servers: Servers, feed: Feed, application: Application, about: About) -> None:
        self.inbox = servers.inbox
        self.feed = feed
        self._telegram = servers.telegram
        self._plans = servers.faults
        self._application = application
        self._about = about
        self._faults = dict.fromkeys(self._plans, "none")
        self._acts: Mapping[str, tuple[type[acts.Act], Callable[[Any], Awaitable[Json]]]] = {
            "sign-in": (acts.SignIn, self._sign_in),
            "check": (acts.Check, self._check),
            "resend": (acts.Resend, self._resend),
            "cancel": (acts.OfVerification, self._cancel),
            "look": (acts.OfVerification, self._look),
            "subscribe": (acts.Subscribe, self._subscribe),
            "start": (acts.Start, self._start),
            "write": (acts.Write, self._write),
            "press": (acts.Press, self._press),
            "contact": (acts.ShareContact, self._contact),
            "block": (acts.Block, self._block),
            "fault": (acts.SetFault, self._fault),
        }
        feed.portray = lambda event: {"kind": "event", "event": event_item(event)}
        self.inbox.on_letter = self._tell_of_letter
        self._telegram.on_change(self._tell_of_chat)
        self._telegram.on_menu = lambda: feed.publish(self._menus)

    async def act(self, name: str, body: bytes) -> Json:
        """Do what the page asks for by ``body``, a JSON object. Raises ``ActError``."""
        if name not in self._acts:
            raise ActError(404, "There is no such act.")
        kind, act = self._acts[name]
        try:
            wish = msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ActError(422, _fault(error)) from None
        return await act(wish)

    def snapshot(self) -> Json:
        """Return everything there is to show."""
        letters = [letter for letter in self.inbox.letters if _is_listed(letter)]
        return {
            "kind": "snapshot",
            "letters": [letter_item(letter) for letter in letters[-LETTERS:]],
            "chats": {str(person.user_id): chat_item(person) for person in self._telegram.people},
            "events": [event_item(event) for event in self.feed.events],
            "faults": self._faults,
            "commands": self._telegram.commands,
            "bot": self._telegram.bot_username,
            "gateway": self._about.gateway,
            "brand": self._about.brand,
            "channels": list(self._about.channels),
        }

    # -- what happens, told to the browsers

    def _tell_of_letter(self, letter: Letter) -> None:
        if _is_listed(letter):
            self.feed.publish(lambda: {"kind": "letter", "letter": letter_item(letter)})

    def _tell_of_chat(self, chat_id: int) -> None:
        person = next((person for person in self._telegram.people if person.user_id == chat_id), None)
        if person is not None:
            self.feed.publish(lambda: {"kind": "chat", **chat_item(person)})

    def _menus(self) -> Json:
        return {"kind": "commands", "commands": self._telegram.commands}

    # -- the application

    async def _sign_in(self, wish: acts.SignIn) -> Json:
        asked = {"to": wish.to, "channels": wish.channels, "mode": wish.mode, "locale": wish.locale}
        given = {name: value for name, value in asked.items() if value is not None}
        return _told(await self._application.post("/v1/verifications", given))

    async def _check(self, wish: acts.Check) -> Json:
        return _told(await self._application.post(f"{_path(wish.id)}/check", {"code": wish.code}))

    async def _resend(self, wish: acts.Resend) -> Json:
        body = {} if wish.channel is None else {"channel": wish.channel}
        return _told(await self._application.post(f"{_path(wish.id)}/resend", body))

    async def _cancel(self, wish: acts.OfVerification) -> Json:
        return _told(await self._application.post(f"{_path(wish.id)}/cancel", {}))

    async def _look(self, wish: acts.OfVerification) -> Json:
        return _told(await self._application.get(_path(wish.id)))

    async def _subscribe(self, wish: acts.Subscribe) -> Json:
        body = {"reference": wish.reference} | ({"phone": wish.phone} if wish.phone else {})
        answered = await self._application.post("/v1/subscribers", body)
        return _told(answered) | {"link": answered.body.get("link")}

    # -- the person

    def _met(self, number: int) -> Person:
        return self._telegram.person(number, acts.NAME, acts.LANGUAGE)

    async def _start(self, wish: acts.Start) -> Json:
        payload = wish.payload if wish.link is None else self._payload(wish)
        person = self._telegram.person(wish.person, wish.name, wish.language)
        return {"message": person.press_start(payload)}

    def _payload(self, wish: acts.Start) -> str:
        """Return what a link hands to the bot. Raises ``ActError`` for one that opens another, or none."""
        front = f"https://t.me/{self._telegram.bot_username}?start="
        if wish.payload or wish.link is None or not wish.link.startswith(front):
            raise ActError(422, f"link is {front}…, and then there is no payload.")
        return wish.link.removeprefix(front)

    async def _write(self, wish: acts.Write) -> Json:
        return {"message": self._free(wish.person).write(wish.text)}

    async def _press(self, wish: acts.Press) -> Json:
        try:
            self._free(wish.person).press(int(wish.message), wish.data)
        except LookupError as error:
            raise ActError(404, str(error)) from None
        except ValueError as error:
            raise ActError(422, str(error)) from None
        return {}

    async def _contact(self, wish: acts.ShareContact) -> Json:
        person = self._free(wish.person)
        whose = wish.person + 1 if wish.whose == "other" else wish.person
        return {"message": person.share_contact(wish.phone, whose, forwarded=wish.whose == "forwarded")}

    async def _block(self, wish: acts.Block) -> Json:
        person = self._met(wish.person)
        if wish.blocked:
            person.block()
        else:
            person.unblock()
        return {}

    def _free(self, number: int) -> Person:
        """Return a person who has not blocked the bot."""
        person = self._met(number)
        if person.blocked:
            raise ActError(409, "This person has blocked the bot.")
        return person

    # -- the providers

    async def _fault(self, wish: acts.SetFault) -> Json:
        faults, fault = self._plans[wish.server], FAULTS[wish.fault]
        faults.clear()
        if wish.server == "telegram" and fault is not Fault.DEFER:
            for method in _WRITING:
                faults.set(fault, retry_after=RETRY_AFTER, recipient=method)
        elif fault is not Fault.NONE:
            faults.set(fault, retry_after=RETRY_AFTER)
        self._faults[wish.server] = wish.fault
        self.feed.publish(lambda: {"kind": "faults", "faults": self._faults})
        return {"faults": self._faults}


def _fault(error: msgspec.MsgspecError | UnicodeDecodeError) -> str:
    """Return what is wrong with a body, by the field at fault; of one that is no text only that is told."""
    if isinstance(error, UnicodeDecodeError):
        return "The body is not UTF-8."
    pointer, what = phrases.of_msgspec(str(error))
    return f"{pointer[1:] or 'The body'}: {what}."


def _is_listed(letter: Letter) -> bool:
    """Tell whether a letter is shown as one; what a bot writes is shown in its chat."""
    return letter.protocol != "telegram"


def _told(answered: Answered) -> Json:
    return {"status": answered.status, "body": answered.body}


def _path(verification_id: str) -> str:
    return f"/v1/verifications/{quote(verification_id, safe='')}"
