"""The API over real parts on a database, with channels that need no provider and a hand to catch messages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.types import ASGIApp

from channels.base import (
    CallbackRequest,
    Channel,
    ChannelSettings,
    Envelope,
    ForgedCallbackError,
    Normalize,
    Receipt,
    Report,
    ReportedStatus,
)
from channels.chat import Inbound
from channels.kinds import KINDS
from gateway.api import Health, Parts, create_api
from gateway.api.keys.keys import Keys, Wanted
from gateway.api.keys.scopes import ALL
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.conversation.chats import any_locked, is_theirs
from gateway.conversation.erasing import Forgetting
from gateway.conversation.replies import Replies
from gateway.conversation.subscribers import Subscribers
from gateway.delivery.message import Message
from gateway.delivery.queue import Queue
from gateway.storage.answers import Answers
from gateway.storage.database import Database
from gateway.verification.authenticators.parts import built as built_authenticators
from gateway.verification.checking import Checking
from gateway.verification.erasing import Erasing
from gateway.verification.limits.counting import LimitedSends
from gateway.verification.proof import Proofs
from gateway.verification.reading import Reading
from gateway.verification.reverse import Reverse
from gateway.verification.sessions import Sessions
from gateway.verification.signing_keys import SigningKeys
from gateway.verification.verifications import Verifications

PHONE = "+4915112345678"
EMAIL = "ann@example.org"
PUBLIC_URL = "https://otp.example.org"


class Post(Channel):
    """A channel to phones whose callbacks are signed with a word."""

    kinds: ClassVar[Mapping[str, Normalize]] = {"phone": KINDS["phone"]}
    parts: ClassVar[tuple[str, ...]] = ()
    #: The callbacks it was given.
    calls: list[CallbackRequest]

    def __init__(self, name: str) -> None:
        super().__init__(name, ChannelSettings(adapter=name))
        self.calls = []

    async def deliver(self, envelope: Envelope) -> Receipt:
        return Receipt()

    def report(self, request: CallbackRequest) -> Report | None:
        self.calls.append(request)
        if request.headers.get("x-signature") != "genuine":
            raise ForgedCallbackError
        attempts = parse_qs(urlsplit(request.target).query).get("attempt")
        return Report(attempts[0], ReportedStatus.DELIVERED) if attempts else None


class Mail(Post):
    """A channel to e-mail addresses."""

    kinds: ClassVar[Mapping[str, Normalize]] = {"email": KINDS["email"]}


class Bot(Post):
    """A channel to people who opened a bot."""

    kinds: ClassVar[Mapping[str, Normalize]] = {"telegram": KINDS["telegram"], "phone": KINDS["phone"]}
    needs_subscriber: ClassVar[bool] = True
    #: What ``link`` raises, where a test wants it to.
    fault: Exception | None = None

    @property
    def listens(self) -> bool:
        return True

    async def link(self, token: str) -> str | None:
        if self.fault is not None:
            raise self.fault
        return f"https://t.me/example_bot?start={token}"


@dataclass
class World:
    """An API and what is around it."""

    app: ASGIApp
    parts: Parts
    database: Database
    queue: Queue
    sms: Post
    bot: Bot
    #: The key of the service ``default``.
    key: str
    #: Messages handed to the dispatcher, in order.
    sent: list[Message]
    #: What people wrote to bots, with the channel's name, in order.
    heard: list[tuple[str, Inbound]]
    health: Health = field(default_factory=lambda: Health(True, True, False, {"sms": "configured"}))

    def client(self, key: str | None = None, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),
            base_url="http://gateway.test",
            headers={"Authorization": f"Bearer {key or self.key}"},
            **options,
        )


def services() -> dict[str, ServiceSettings]:
    route = ("telegram", "sms", "email")
    return {
        "default": ServiceSettings(channels=route),
        "shop": ServiceSettings(
            channels=route, code=CodeSettings(custom=True), limits=LimitSettings(cooldown=0, prefix_per_hour=0)
        ),
        "near": ServiceSettings(channels=route, countries=("AT",)),
    }


@pytest.fixture
def engine_name() -> str:
    """HTTP is the same over both engines; their own tests cover the difference."""
    return "sqlite"


@pytest.fixture
async def world(database, sealer, hasher, clock) -> World:
    return await build(database, sealer, hasher, clock)


async def build(database, sealer, hasher, clock, wrap: Callable[[Parts], Parts] = lambda parts: parts) -> World:
    """Put real parts together; ``wrap`` may exchange some."""
    sms, mail, bot = Post("sms"), Mail("email"), Bot("telegram")
    channels: dict[str, Channel] = {"sms": sms, "email": mail, "telegram": bot}
    sent: list[Message] = []
    heard: list[tuple[str, Inbound]] = []
    checking: Checking

    async def on_route_end(connection, verification_id, now):
        await checking.on_route_end(connection, verification_id, now)

    queue = Queue(database, sealer, clock, node="node", on_route_end=on_route_end, sends=LimitedSends(services()))
    signing_keys = SigningKeys(database, sealer, clock)
    checking = Checking(database, queue, sealer, clock, hasher, Proofs(signing_keys, hasher, PUBLIC_URL), services())
    subscribers = Subscribers(
        database=database, sealer=sealer, hasher=hasher, clock=clock, bot=bot, phone=KINDS["phone"]
    )
    verifications = Verifications(
        database=database,
        queue=queue,
        sealer=sealer,
        hasher=hasher,
        clock=clock,
        services=services(),
        channels=channels,
        kinds=KINDS,
        hand_over=sent.append,
        has_room=lambda *_: True,
        resolve=subscribers.resolve,
        locked=partial(any_locked, hasher),
        is_theirs=is_theirs,
        invite=subscribers.invite,
        reverse=Reverse(
            database=database,
            sealer=sealer,
            hasher=hasher,
            queue=queue,
            clock=clock,
            channels=channels,
            services=services(),
        ),
    )

    async def hear(channel: str, inbound: Inbound) -> None:
        heard.append((channel, inbound))

    async def ready() -> Health:
        return built.health

    keys, answers = Keys(database, clock), Answers(database, sealer, clock)
    forgetting = Forgetting(
        database=database,
        sealer=sealer,
        hasher=hasher,
        replies=Replies(database, sealer, clock, "node"),
    )

    async def empty_log() -> bool:
        """Leave the file alone."""
        return True

    parts = wrap(
        Parts(
            verifications=verifications,
            checking=checking,
            reading=Reading(database, clock, services()),
            sessions=Sessions(database, queue, hasher, clock),
            signing_keys=signing_keys,
            subscribers=subscribers,
            authenticators=built_authenticators(
                database, sealer, hasher, clock, {name: service.name for name, service in services().items()}
            ),
            keys=keys,
            answers=answers,
            erasing=Erasing(
                database=database,
                sealer=sealer,
                hasher=hasher,
                clock=clock,
                answers=answers,
                kinds=KINDS,
                own_kinds={"telegram"},
                services=(*services(),),
                cancel=checking.cancel,
                expire_overdue=checking.expire_overdue,
                known=forgetting.known,
                forget=forgetting.forget,
                empty_log=empty_log,
            ),
            queue=queue,
            channels=channels,
            kinds=KINDS,
            hasher=hasher,
            services=services(),
            ready=ready,
            public_url=PUBLIC_URL,
            hear=hear,
        )
    )
    key = await keys.create("default")
    built = World(create_api(parts), parts, database, queue, sms, bot, key, sent, heard)
    return built


@pytest.fixture
async def client(world) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as opened:
        yield opened


@pytest.fixture
async def shop(world) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service without a cooldown, which may bring its own codes and do everything."""
    async with world.client(await world.parts.keys.create("shop", wanted=Wanted(ALL))) as opened:
        yield opened


@pytest.fixture
def rebuilt(database, sealer, hasher, clock):
    """Build another world with some parts exchanged: ``await rebuilt(answers=…)``."""

    async def make(**changed: Any) -> World:
        return await build(database, sealer, hasher, clock, lambda parts: replace(parts, **changed))

    return make
