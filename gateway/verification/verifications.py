"""Starting a verification, sending its code again, and sending what waited for a person's link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from channels.base import Address, Channel, Normalize
from gateway.clock import Clock
from gateway.config import ServiceSettings
from gateway.delivery import routing
from gateway.delivery.births import NOBODY, Workers
from gateway.delivery.message import Message
from gateway.delivery.payload import Owner, open_route, seal_route
from gateway.delivery.person import Invite, IsTheirs, Locked, Reach, Resolve
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest
from gateway.randomness import random_below
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Move
from gateway.verification import codes, refusing, starting
from gateway.verification import statements as sql
from gateway.verification.accepting import Accepting
from gateway.verification.admission import Admission
from gateway.verification.drafting import Drafting, Wanted
from gateway.verification.limits.allowances import Allowances
from gateway.verification.references import own_kinds
from gateway.verification.request import Asked, addresses, code_policy, route_of
from gateway.verification.resending import Resending
from gateway.verification.reverse import Reverse, refuse_unlinked
from gateway.verification.starting import Prepared
from gateway.verification.view import VerificationView
from gateway.verification.wishes import Wishes

__all__ = ["Prepared", "Verifications"]

_NOBODY: Mapping[str, Reach] = {}

_WAITING = """SELECT v.id, v.purpose, v.route_sealed FROM verification v
    WHERE v.service = :service AND v.status = 'pending'
        AND v.id IN (SELECT a.verification_id FROM address a WHERE a.hash = :hash)
        AND EXISTS (SELECT 1 FROM message m WHERE m.verification_id = v.id AND m.status = 'waiting')"""


class Verifications:
    """Takes requests for codes.

    ``hand_over`` gives a fresh message to this node's dispatcher, ``has_room`` says whether it would take one of a
    channel and service, and ``workers`` take it with its first attempt where one of them waits for it. ``admission``
    refuses what would wait too long, ``allowances`` what is more than the service may have. ``resolve``, ``locked``,
    ``is_theirs`` and ``invite`` know the people who opened the bot, ``reverse`` starts what they answer there.
    """

    def __init__(
        self,
        *,
        database: Database,
        queue: Queue,
        sealer: Sealer,
        hasher: Hasher,
        clock: Clock,
        services: Mapping[str, ServiceSettings],
        channels: Mapping[str, Channel],
        kinds: Mapping[str, Normalize],
        hand_over: Callable[[Message], None],
        has_room: Callable[[str, str], bool],
        workers: Workers = NOBODY,
        resolve: Resolve,
        locked: Locked,
        is_theirs: IsTheirs,
        invite: Invite,
        reverse: Reverse,
        admission: Admission | None = None,
        allowances: Allowances | None = None,
        sandbox: bool = False,
        random_below: codes.RandomBelow = random_below,
    ) -> None:
        self._database = database
        self._queue = queue
        self._sealer = sealer
        self._hasher = hasher
        self._clock = clock
        self._services = services
        self._channels = channels
        self._kinds = kinds
        self._hand_over = hand_over
        self._workers = workers
        self._resolve = resolve
        self._invite = invite
        self._reverse = reverse
        self._admission = admission
        self._allowances = allowances
        self._sandbox = sandbox
        self._drafting = Drafting(hasher, own_kinds(channels), workers, has_room, random_below)
        self._accepting = Accepting(database, queue, sealer, hasher)
        bots = {name: channel for name, channel in channels.items() if channel.needs_subscriber}
        #: What people who opened a bot are found by; empty where there is no bot, and then nobody is looked up.
        self._chat_kinds = {kind for channel in bots.values() for kind in channel.kinds}
        self._wishes = Wishes(hasher, bots, locked, is_theirs)
        self._resending = Resending(
            queue,
            sealer,
            hasher,
            services,
            channels,
            self._wishes,
            has_room,
            random_below,
            admission,
            accepting=self._accepting,
            allowances=allowances,
        )

    async def prepare(self, service: str, asked: Asked) -> Prepared:
        """Make a verification without writing it.

        Raises ``InvalidRequest``, ``RecipientRefused``, ``RateLimited`` where the service may have no more,
        ``Unavailable`` where too much waits already; ``DeliveryError`` where the provider cannot be asked for its bot's
        name.
        """
        settings = self._services[service].for_purpose(asked.purpose)
        policy = code_policy(asked, settings)
        to = addresses(asked, settings, self._kinds, sandbox=self._sandbox)
        route = route_of(asked, settings, self._channels)
        reaches = await self._reaches(service, to) if self._chat_kinds else _NOBODY
        if asked.mode == "inbound":
            refuse_unlinked(reaches)
            reverse = await self._reverse.prepare(service, asked, to)
            observed = self._allow(service, None)
            reverse = self._accepting.visited(reverse, asked, settings.limits)
            return reverse if observed is None else starting.observed(reverse, observed)
        steps, invitation = self._plan(route, to, reaches), None
        if reaches:
            # A chat that nobody has opened is dropped before anybody is asked for money: what is next is what is sent by.
            steps = [step for step in steps if step.address is not None] or [steps[0]]
        observed = self._allow(service, steps[0])
        try:
            if steps[0].address is None:
                # Alone on its route, it waits for the person, who is to be invited.
                invitation = await self._invite(service, to[steps[0].kind])
            names = [step.channel for step in steps]
            if self._admission is not None and invitation is None:
                self._admission.check(service, names, policy.ttl)
        except Exception:
            self._disallow(service)
            raise
        now = self._clock.now()
        owner = Owner(new_id("ver", now), service, asked.purpose)
        draft = self._drafting.draft(Wanted(owner, now, asked, settings, policy, to, steps, names, invitation))
        if self._allowances is not None:
            self._allowances.hold(draft.message)
        prepared = starting.prepared(draft, self._queue, self._sealer, self._hasher)
        return prepared if observed is None else starting.observed(prepared, observed)

    async def start(self, prepared: Prepared) -> VerificationView:
        """Write a verification durably and hand its message over.

        Raises ``Cooldown``, ``RateLimited``, ``InvalidRequest`` for a service's own code that the recipient had
        already, or ``Unavailable``.
        """
        try:
            written = await self._accepting.accept(prepared)
        except Exception:
            self._disallow(prepared.service, prepared.message)
            raise
        self.started(written)
        return written.view

    async def hold_within(self, connection: Connection, prepared: Iterable[Prepared]) -> None:
        """Wait for everybody else who writes these recipients' verifications, before several are written in a transaction."""
        await self._accepting.hold(connection, prepared)

    async def start_within(self, connection: Connection, prepared: Prepared) -> Prepared:
        """Write a verification in a transaction of the caller's, who then calls ``started`` with what is returned.

        That is the verification as it was written: its limits may have allowed fewer checks, or taken another code.
        Raises what ``start`` does; then nothing was written, and the caller calls ``dropped`` in place of ``started``. Not
        here: a transaction may run twice, and what was reckoned with is taken back once.
        """
        return await self._accepting.accept_within(connection, prepared)

    def dropped(self, prepared: Prepared) -> None:
        """Take back what was reckoned with for a verification that was prepared and is not to be written."""
        self._disallow(prepared.service, prepared.message)

    def started(self, prepared: Prepared) -> None:
        """Hand a written verification's message over."""
        if prepared.message is None:
            return
        if self._allowances is not None:
            self._allowances.made(prepared.message)
        if prepared.begun is not None:
            self._workers.hand_over_begun(prepared.begun)
        else:
            (self._hand_over if prepared.leased else self._workers.left)(prepared.message)

    async def resend(self, service: str, verification_id: str, channel: str | None) -> None:
        """Send the code once more, from ``channel`` (or the latest message's) on along the route.

        Raises ``NotFound``, ``Gone``, ``AlreadyApproved``, ``Cooldown``, ``InvalidRequest``, ``RecipientRefused``,
        ``Unavailable``.
        """
        now = self._clock.now()
        # One, though the work may run twice: what it costs is reckoned with once.
        message_id = new_id("msg", now)

        async def work(connection: Connection) -> tuple[Message, bool]:
            return await self._resending.resend(connection, service, verification_id, channel, message_id, now)

        try:
            message, leased = await self._database.run(work)
        except Exception:
            self._resending.dropped(service, message_id)
            raise
        if self._allowances is not None:
            self._allowances.made(message)
        (self._hand_over if leased else self._workers.left)(message)

    async def on_link(
        self, connection: Connection, service: str, address_hash: bytes, chat: str, locale: str | None, now: float
    ) -> set[str]:
        """Send what waited for a person who has now linked ``chat``; return the channels that got something.

        ``locale`` is the person's, if known. Where they have locked codes, or muted the service there, it waits on.
        """
        channels, theirs = set[str](), address_hash.hex()
        for record in await connection.fetch(_WAITING, service=service, hash=address_hash):
            owner = Owner(record["id"], service, record["purpose"])
            stops = open_route(self._sealer, owner, record["route_sealed"])
            reached = [replace(stop, address=chat, locale=locale) if stop.hash == theirs else stop for stop in stops]
            # Also where it waits on: a resend, once they let it, comes to that chat.
            move = Move((sql.SET_ROUTE, (owner.id, seal_route(self._sealer, owner, reached))))
            unwanted = await self._wishes.against(connection, service, reached, 0, now)
            if await connection.apply(move) and unwanted is None:
                channels |= await self._queue.let_go(connection, owner.id, stops[0].recipient, now)
        return channels

    def _allow(self, service: str, step: routing.Step | None) -> str | None:
        """Ask the service's allowances for one more, sent by ``step``; return the limit that only observes.

        Raises ``RateLimited``.
        """
        if self._allowances is None:
            return None
        price = 0.0 if step is None else self._allowances.cost(service, step.channel, step.address or "")
        return self._allowances.check(service, price)

    def _disallow(self, service: str, message: Message | None = None) -> None:
        """Count what was allowed no more: it came to nothing, and a refusal costs nothing."""
        if self._allowances is not None:
            self._allowances.give_back(service, message)

    async def _reaches(self, service: str, to: Mapping[str, Address]) -> dict[str, Reach]:
        """Ask how a bot reaches the person. Raises ``RecipientRefused`` where they have locked codes."""
        reaches = {
            kind: await self._resolve(service, address) for kind, address in to.items() if kind in self._chat_kinds
        }
        refusing.refuse_locked(reaches.values(), self._clock.now())
        return reaches

    def _plan(
        self, route: Sequence[str], to: Mapping[str, Address], reaches: Mapping[str, Reach]
    ) -> list[routing.Step]:
        steps = routing.plan(route, self._channels, to, reaches)
        if not steps and routing.muted(route, self._channels, reaches):
            raise refusing.muted()
        if not steps and routing.blocked(route, self._channels, reaches):
            raise refusing.blocked()
        if not steps:
            raise InvalidRequest.field("/to", f"no address for any channel of the route ({', '.join(route)})")
        return steps
