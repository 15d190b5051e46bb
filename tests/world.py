"""A gateway without HTTP: real queue, verification and dispatcher, over channels whose provider is scripted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from channels.base import Channel, ChannelSettings, DeliveryError, Envelope, PermanentError, Reason, Receipt
from channels.callback import CallbackRequest, ForgedCallbackError
from channels.chat import Inbound, Menu, Reply, Revising
from channels.kinds import KINDS
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.dispatching.dispatcher import GRACE, Dispatcher
from gateway.delivery.message import Message
from gateway.delivery.person import Invitation, Reach
from gateway.delivery.queue import Queue, nobody, untold
from gateway.delivery.receipts import never, unobserved
from gateway.delivery.writing.rendering import Rendered
from gateway.storage.database import Database
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.unit import Connection
from gateway.verification.checking import Checking
from gateway.verification.limits.counting import LimitedSends
from gateway.verification.proof import Proofs
from gateway.verification.reading import Reading
from gateway.verification.reporting import Reporting
from gateway.verification.request import Asked
from gateway.verification.reverse import Reverse
from gateway.verification.sessions import Sessions
from gateway.verification.signing_keys import SigningKeys
from gateway.verification.verifications import Verifications
from gateway.verification.view import VerificationView
from gateway.verification.wishes import Wishes

PHONE = "+4915112345678"
EMAIL = "ann@example.org"
#: Where the gateway's proofs say they come from.
ISSUER = "https://otp.example.org"


class Scripted(Channel):
    """A channel whose answers a test writes down beforehand; what is left out is accepted."""

    kinds = KINDS
    parts = ("body.txt",)

    def __init__(self, name: str, kinds: Sequence[str], *, needs_subscriber: bool = False, **settings: Any) -> None:
        super().__init__(name, ChannelSettings(adapter="scripted", **settings))
        self.kinds = {kind: KINDS[kind] for kind in kinds}  # type: ignore[misc]
        self.needs_subscriber = needs_subscriber  # type: ignore[misc]
        self.script: list[DeliveryError | Receipt | Exception] = []
        self.sent: list[Envelope] = []
        #: What happens during a delivery, in place of the script.
        self.act: Callable[[Envelope], Awaitable[Any]] | None = None

    async def deliver(self, envelope: Envelope) -> Receipt:
        self.sent.append(envelope)
        if self.act is not None:
            return cast("Receipt", await self.act(envelope))
        answer = self.script.pop(0) if self.script else Receipt(f"{self.name}-{len(self.sent)}")
        if isinstance(answer, Receipt):
            return answer
        raise answer


async def instantly(_: float) -> None:
    """Wait for nothing."""


async def unknown_person(*_: Any) -> Reach:
    """Reach nobody."""
    return Reach()


async def to_open(*_: Any) -> Invitation:
    """Invite whoever is to open the bot by the same link, and write nothing."""
    return Invitation("https://bot.test/?start=token", unwritten, unwritten)


async def unwritten(_: Connection) -> None:
    """Write nothing."""


async def unlocked(*_: Any) -> bool:
    """Let everybody be sent to."""
    return False


async def unmoved(*_: Any) -> bool:
    """Leave everybody in their chat."""
    return True


class Talker(Scripted):
    """A scripted channel with a bot: it writes, edits and deletes, and notes down what it was asked to."""

    def __init__(self, name: str, kinds: Sequence[str], **settings: Any) -> None:
        super().__init__(name, kinds, needs_subscriber=True, **settings)
        #: What it did beside deliveries, in order: ``("say", chat, reply)``, ``("revise", address, id, reply)``,
        #: ``("remove", address, id)``, ``("introduce", menu)``.
        self.did: list[tuple[Any, ...]] = []
        #: Errors by the name of what raises them next; what is left out succeeds.
        self.failures: dict[str, list[DeliveryError]] = {}
        #: What ``read`` returns, or raises, for the next requests.
        self.updates: list[Inbound | ForgedCallbackError | None] = []
        #: Whether it hears what people write, and by what.
        self.webhook = False

    @property
    def listens(self) -> bool:
        return True

    @property
    def hears_callbacks(self) -> bool:
        return self.webhook

    async def link(self, token: str) -> str | None:
        return f"https://bot.test/?start={token}"

    async def say(self, chat: str, reply: Reply) -> None:
        self._do("say", chat, reply)

    async def revise(self, address: str, provider_id: str, reply: Reply) -> None:
        self._do("revise", address, provider_id, reply)

    async def remove(self, address: str, provider_id: str) -> None:
        self._do("remove", address, provider_id)

    async def introduce(self, menu: Menu) -> None:
        self._do("introduce", menu)

    def read(self, request: CallbackRequest) -> Inbound | None:
        update = self.updates.pop(0)
        if isinstance(update, ForgedCallbackError):
            raise update
        return update

    def _do(self, name: str, *what: Any) -> None:
        self.did.append((name, *what))
        if self.failures.get(name):
            raise self.failures[name].pop(0)


@dataclass
class World:
    """Everything between the API and the providers, on one database."""

    database: Database
    clock: Any
    sealer: Any
    hasher: Any
    channels: Mapping[str, Scripted]
    node: str = "node-a"
    #: The service's.
    name: str = "shop"
    service: ServiceSettings = field(
        default_factory=lambda: ServiceSettings(
            name="Shop",
            channels=("sms", "email"),
            code=CodeSettings(),
            # The numbers of these tests are neighbours.
            limits=LimitSettings(cooldown=30, prefix_per_hour=0),
        )
    )
    resolve: Any = unknown_person
    locked: Any = unlocked
    is_theirs: Any = unmoved
    invite: Any = to_open
    on_blocked: Any = nobody
    confirm_within: Any = never
    on_sent: Any = unobserved
    on_delivered: Any = unobserved
    has_room: bool = True
    grace: float = GRACE
    admission: Any = None
    allowances: Any = None
    #: Further options of the dispatcher: ``sleep``, ``paces``, ``write``, ``backlog``.
    dispatching: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.handed_over: list[Message] = []
        chats = {name for name, channel in self.channels.items() if channel.needs_subscriber}
        self.queue = Queue(
            self.database,
            self.sealer,
            self.clock,
            node=self.node,
            on_route_end=self._on_route_end,
            several_nodes=isinstance(self.database._engine, PostgresqlEngine),
            revising={name for name, channel in self.channels.items() if isinstance(channel, Revising)},
            chats=chats,
            on_blocked=self.on_blocked,
            confirm_within=self.confirm_within,
            on_sent=self.on_sent,
            on_delivered=self.on_delivered,
            on_accepted=untold if self.allowances is None else self.allowances.sent,
            sends=self._sends(),
            against=Wishes(self.hasher, chats, self.locked, self.is_theirs).against,
        )
        self.reverse = Reverse(
            database=self.database,
            sealer=self.sealer,
            hasher=self.hasher,
            queue=self.queue,
            clock=self.clock,
            channels=self.channels,
            services={self.name: self.service},
        )
        self.reporting = Reporting(self.sealer, self.queue)
        self.signing_keys = SigningKeys(self.database, self.sealer, self.clock)
        proofs = Proofs(self.signing_keys, self.hasher, ISSUER)
        self.checking = Checking(
            self.database, self.queue, self.sealer, self.clock, self.hasher, proofs, {self.name: self.service}
        )
        self.sessions = Sessions(self.database, self.queue, self.hasher, self.clock)
        self.reading = Reading(self.database, self.clock, {self.name: self.service})
        self.dispatcher = Dispatcher(
            self.queue,
            self.channels,
            lambda message, channel, lifetime: Rendered("Shop", {"body.txt": f"{message.code} is your code"}),
            self.clock,
            (self.name,),
            **{"jitter": lambda: 1.0, "sleep": instantly, "grace": self.grace, **self.dispatching},
        )
        self.verifications = Verifications(
            database=self.database,
            queue=self.queue,
            sealer=self.sealer,
            hasher=self.hasher,
            clock=self.clock,
            services={self.name: self.service},
            channels=self.channels,
            kinds=KINDS,
            hand_over=self.handed_over.append,
            has_room=lambda *_: self.has_room,
            resolve=self.resolve,
            locked=self.locked,
            is_theirs=self.is_theirs,
            invite=self.invite,
            reverse=self.reverse,
            admission=self.admission,
            allowances=self.allowances,
        )

    def _sends(self) -> LimitedSends:
        return LimitedSends({self.name: self.service}, self.allowances)

    async def _on_route_end(self, connection: Connection, verification_id: str, now: float, /) -> None:
        await self.checking.on_route_end(connection, verification_id, now)

    async def start(self, to: Mapping[str, str] | None = None, **asked: Any) -> VerificationView:
        prepared = await self.verifications.prepare(
            self.name, Asked(to={"phone": PHONE} if to is None else to, **asked)
        )
        return await self.verifications.start(prepared)

    async def attempt(self) -> None:
        """Make one attempt at the oldest message handed over, and at what follows from it on other channels."""
        await self.dispatcher.attempt(self.handed_over.pop(0))
        for lane in self.dispatcher._lanes.values():
            self.handed_over.extend(lane.drain())

    async def claim(self, channel: str) -> int:
        """Take what is due in the database."""
        messages = await self.queue.claim(channel, {self.name: 100})
        self.handed_over.extend(messages)
        return len(messages)

    async def look(self, view: VerificationView) -> VerificationView:
        return await self.reading.one(self.name, view.id)

    async def statuses(self, view: VerificationView) -> list[tuple[str, str]]:
        """The channel and status of each message, oldest first."""
        return [(message.channel, message.status) for message in (await self.look(view)).messages]

    async def events(self, view: VerificationView) -> list[str]:
        return [event.name for event in (await self.look(view)).events or ()]

    @property
    def code(self) -> str:
        """The code of the latest message that reached a provider."""
        latest = max(
            (channel.sent[-1] for channel in self.channels.values() if channel.sent), key=lambda e: e.message_id
        )
        return latest.code


def two_channels(**settings: Any) -> dict[str, Scripted]:
    return {"sms": Scripted("sms", ["phone"], **settings), "email": Scripted("email", ["email"], **settings)}


def refused(reason: Reason = Reason.INVALID_RECIPIENT) -> PermanentError:
    return PermanentError(reason, provider_code="21211")
