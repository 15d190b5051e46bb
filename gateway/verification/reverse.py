"""Reverse verification: the person proves an address by opening a link, or typing a challenge, in the bot.

Nothing is sent. Whoever opens the challenge first is asked, and approves if the address is theirs.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import orjson

from channels.base import Address, Channel
from gateway.clock import Clock
from gateway.config import ServiceSettings
from gateway.delivery.lifecycle import VerificationStatus
from gateway.delivery.payload import Owner, Stop, seal_route
from gateway.delivery.person import Question, Reach, Reported, Unheard, Verdict
from gateway.delivery.queue import Queue
from gateway.errors import InvalidRequest
from gateway.events.event import EventName, event, recorded
from gateway.randomness import random_below
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.sealing import Hasher, Sealer, token_hash
from gateway.storage.statement import Row
from gateway.storage.unit import Connection, Move, Record
from gateway.value import Value
from gateway.verification import binding, challenges, codes, ending
from gateway.verification import statements as sql
from gateway.verification.limits import counting
from gateway.verification.limits.claims import visitor_guard
from gateway.verification.references import counted_hash, own_kinds
from gateway.verification.reporting import canceled, opened_route, reported
from gateway.verification.request import Asked, code_policy, route_of
from gateway.verification.starting import Prepared
from gateway.verification.view import ID, VerificationView, status_at

#: Random bytes of a link's token: 128 bits, 22 characters of the 64 that Telegram's deep links take
#: (core.telegram.org/bots/features#deep-linking).
TOKEN_BYTES = 16
#: What may be a token: nothing else is looked up.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Characters of what a person is shown that their yes is bound to: a message in a chat has 4,096 at most.
MAX_SHOWN = 1000
#: Challenges an hour that one chat may type and that open nothing. Each is right by a chance of one in 2.6e10 for every one
#: that is pending: of 10,000, a chat opens one in 29 years, and has then only kept somebody from it, who asks for another.
#: It counts nobody else's, and a link is opened all the same: 128 bits are not guessed.
MAX_MISSES = 10
#: Verifications that a chat is asked about anew, once it has proved its number: one message each, whoever began them.
MOST_OPENED = 5
#: The address kind a chat proves by sharing its person's contact.
PHONE = "phone"

#: Generation, checks, checks allowed, sends: there is no code to check and no message.
_COUNTS = (1, 0, 0, 0)


class _Draft(Value, frozen=True):
    """A reverse verification decided on and not yet put into rows."""

    hidden: ClassVar[frozenset[str]] = frozenset({"asked", "hashes", "route"})

    owner: Owner
    asked: Asked
    #: Address kind → masked address.
    to: Mapping[str, str]
    #: The addresses' keyed hashes, sorted.
    hashes: Sequence[bytes]
    #: One for each address, by the bot that proves it; none has a chat.
    route: Sequence[Stop]
    locale: str
    #: Seconds since the Unix epoch.
    created_at: float
    expires_at: float


class Reverse:
    """Starts reverse verifications and takes people's answers, these within a transaction of the caller's."""

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        hasher: Hasher,
        queue: Queue,
        clock: Clock,
        channels: Mapping[str, Channel],
        services: Mapping[str, ServiceSettings],
        random_below: codes.RandomBelow = random_below,
        make_token: Callable[[], str] = lambda: secrets.token_urlsafe(TOKEN_BYTES),
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._hasher = hasher
        self._queue = queue
        self._clock = clock
        self._channels = channels
        self._own_kinds = own_kinds(channels)
        self._services = services
        self._random_below = random_below
        self._make_token = make_token

    async def prepare(self, service: str, asked: Asked, to: Mapping[str, Address]) -> Prepared:
        """Make a reverse verification without writing it, its link and challenge in its view.

        Raises ``InvalidRequest``, or ``DeliveryError`` where the provider cannot be asked for the bot's name.
        """
        settings = self._services[service].for_purpose(asked.purpose)
        _refuse_code(asked)
        _refuse_long(asked.bind)
        bot = self._bot(asked, settings, to)
        token = self._make_token()
        link = await bot.link(token)
        if link is None:
            raise InvalidRequest.field("/mode", f"the channel {bot.name} has no bot to open")
        now, challenge = self._clock.now(), challenges.make(self._random_below)
        hashes = {kind: self._hasher.hash(kind, address.canonical) for kind, address in to.items()}
        draft = _Draft(
            owner=Owner(new_id("ver", now), service, asked.purpose),
            asked=asked,
            to={kind: address.masked for kind, address in to.items()},
            hashes=sorted({*hashes.values()}),
            route=[self._stop(bot, service, address, hashes[kind]) for kind, address in to.items()],
            locale=asked.locale or settings.locale,
            created_at=now,
            expires_at=now + code_policy(asked, settings).ttl,
        )
        move = self._move(draft, token_hash(token), self._hash(challenge))
        view = _view(draft, link, challenges.shown(challenge))
        return Prepared(view, move, None, service, leased=False)

    def _stop(self, bot: Channel, service: str, address: Address, hashed: bytes) -> Stop:
        own = address.kind in self._own_kinds
        counted = counted_hash(self._hasher, service, hashed).hex() if own else None
        return Stop(bot.name, None, address.masked, hashed.hex(), counted=counted)

    async def open(
        self, connection: Connection, given: str, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Question | Unheard | None:
        """Give the verification of a link's token, or of a typed challenge, to the chat that opens it first.

        ``phone_hash`` is the hash of the phone the chat has proved. ``None``: there is none, or it is another chat's.
        """
        challenge = challenges.read(given)
        if challenge is None:
            known = _TOKEN.fullmatch(given)
            return await self._open(connection, token_hash(given), chat_hash, phone_hash, now) if known else None
        # Counted first and taken back: of what is typed at once, no more is looked up than may be.
        miss = visitor_guard(self._hasher.hash("typing", chat_hash.hex()), now, MAX_MISSES)
        if not await connection.apply(Move((miss.statement, miss.row))):
            return Unheard.TOO_OFTEN
        question = await self._open(connection, self._hash(challenge), chat_hash, phone_hash, now)
        if question is not None:
            await connection.apply(Move(None, [miss.undo]))
        return question

    async def _open(
        self, connection: Connection, hashed: bytes, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Question | None:
        taken = await connection.fetch(sql.OPEN_CHALLENGE, hash=hashed, chat_hash=chat_hash, now=now)
        if not taken:
            return None
        found = await connection.fetch(sql.PENDING_ONE, id=taken[0]["verification_id"], now=now)
        return self._question(found[0], phone_hash) if found else None

    async def opened(
        self, connection: Connection, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> list[Question]:
        """Return the pending verifications that a chat has opened, the latest ``MOST_OPENED`` of them, the oldest first."""
        records = await connection.fetch(sql.OPENED, chat_hash=chat_hash, now=now, number=MOST_OPENED)
        questions = (self._question(record, phone_hash) for record in reversed(records))
        return [question for question in questions if question is not None]

    async def answer(
        self, connection: Connection, verification_id: str, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Verdict:
        """Approve a verification that this chat has opened, if the address asked for is its person's."""
        record = await self._held(connection, verification_id, chat_hash)
        question = None if record is None else self._question(record, phone_hash)
        if record is None or question is None or status_at(record, now) != VerificationStatus.PENDING:
            return Verdict.GONE
        if question.needs_phone:
            return Verdict.NEEDS_PHONE
        if not await self._is_theirs(connection, record, chat_hash, phone_hash):
            return Verdict.WRONG_PERSON
        took, status = (now - record["created_at"]) * 1000, VerificationStatus.APPROVED
        await ending.end(connection, self._queue, verification_id, record["service"], status, now, milliseconds=took)
        proved = await self._proved(connection, record, chat_hash, phone_hash)
        await counting.approved_in_chat(connection, record, proved, now)
        return Verdict.APPROVED

    async def decline(
        self, connection: Connection, verification_id: str, chat_hash: bytes, phone_hash: bytes | None, now: float
    ) -> Reported | None:
        """Cancel a verification that this chat has opened; ``None`` where it has not.

        It is reported only where the address asked for is its person's: a stranger who opens the link that they asked for
        could tell an application otherwise that somebody else was attacked.
        """
        record = await self._held(connection, verification_id, chat_hash)
        stops = [] if record is None else opened_route(self._sealer, record)
        if record is None or not stops:
            return None
        if not await self._is_theirs(connection, record, chat_hash, phone_hash):
            return await canceled(connection, self._queue, record, now)
        return await reported(connection, self._queue, record, stops[0], now)

    async def forget(self) -> int:
        """Delete challenges whose time is over and return how many there were, a few hundred at a time."""
        now = self._clock.now()
        return len(await self._database.run(lambda connection: connection.fetch(sql.FORGET_CHALLENGES, now=now)))

    def _bot(self, asked: Asked, settings: ServiceSettings, to: Mapping[str, Address]) -> Channel:
        """Return the first bot of the route. Raises ``InvalidRequest``, also for addresses no bot can prove."""
        route = route_of(asked, settings, self._channels)
        bots = [self._channels[name] for name in route if self._channels[name].needs_subscriber]
        bot = next((bot for bot in bots if bot.listens), None)
        if bot is None:
            raise InvalidRequest.field("/mode", f"no channel of the route has a bot that listens ({', '.join(route)})")
        for kind in to:
            if kind not in bot.kinds:
                provable = " and ".join(bot.kinds)
                raise InvalidRequest.field(f"/to/{kind}", f"nobody can prove that in the chat; only {provable}")
        return bot

    async def _held(self, connection: Connection, verification_id: str, chat_hash: bytes) -> Record | None:
        """Return a verification that the chat has opened, its row locked."""
        if not ID.fullmatch(verification_id):
            return None
        found = await connection.fetch(sql.OPENED_ONE, id=verification_id, chat_hash=chat_hash)
        return found[0] if found else None

    async def _is_theirs(
        self, connection: Connection, record: Record, chat_hash: bytes, phone_hash: bytes | None
    ) -> bool:
        """Whether every address asked for is the chat's person's, as far as anybody knows.

        A phone must be the one they proved; beside it a reference must not be another chat's. Alone, a reference must be
        linked to this very chat: whoever sees the link could approve it otherwise, and at a sign-in that is whoever
        asked for it.
        """
        hashes = [bytes.fromhex(stop.hash) for stop in opened_route(self._sealer, record)]
        by_phone = PHONE in orjson.loads(record["to_masked"])
        if not hashes or (by_phone and phone_hash not in hashes):
            return False
        for hashed in hashes:
            values = {"service": record["service"], "hash": hashed, "chat_hash": chat_hash}
            found = await connection.fetch(sql.LINKED_ELSEWHERE if by_phone else sql.LINKED_HERE, **values)
            if bool(found) is by_phone:
                return False
        return True

    async def _proved(
        self, connection: Connection, record: Record, chat_hash: bytes, phone_hash: bytes | None
    ) -> list[bytes]:
        """Return what the addresses asked for are counted by that this chat is known to be of.

        A reference that nobody linked passes beside a proved phone, and is not among them: else whoever names somebody's
        beside an own phone could have the guesses at it forgiven, as often as they like, and their device trusted.
        """
        proved = []
        for stop in opened_route(self._sealer, record):
            hashed = bytes.fromhex(stop.hash)
            values = {"service": record["service"], "hash": hashed, "chat_hash": chat_hash}
            if hashed == phone_hash or await connection.fetch(sql.LINKED_HERE, **values):
                proved.append(stop.counted_by)
        return proved

    def _question(self, record: Record, phone_hash: bytes | None) -> Question | None:
        """Return what a chat is asked; ``None`` where nobody can tell what the answer would be for."""
        to: dict[str, str] = orjson.loads(record["to_masked"])
        bind = binding.opened(self._sealer, record)
        if bind is None:
            return None
        account = to.get(PHONE) or next(iter(to.values()), "")
        needs_phone = PHONE in to and phone_hash is None
        return Question(record["id"], record["service"], account, needs_phone, binding.shown(bind))

    def _move(self, draft: _Draft, token_hash: bytes, challenge_hash: bytes) -> Move:
        owner, now, first = draft.owner, draft.created_at, draft.route[0]
        created = event(
            EventName.VERIFICATION_CREATED,
            now,
            owner.service,
            verification_id=owner.id,
            channel=first.channel,
            recipient=first.recipient,
        )
        then = [
            (sql.INSERT_CHALLENGE, (token_hash, owner.id, draft.expires_at, None)),
            (sql.INSERT_VERIFICATION, self._row(draft)),
            *((sql.INSERT_ADDRESS, (address_hash, owner.id)) for address_hash in draft.hashes),
        ]
        # Of two that read the same, the first stays: nobody must be asked another's question.
        return recorded((sql.INSERT_CHALLENGE, (challenge_hash, owner.id, draft.expires_at, None)), then, [created])

    def _row(self, draft: _Draft) -> Row:
        owner = draft.owner
        return (
            owner.id,
            owner.service,
            VerificationStatus.PENDING.value,
            owner.purpose,
            draft.locale,
            orjson.dumps(draft.to).decode(),
            seal_route(self._sealer, owner, draft.route),
            None,
            None,
            orjson.dumps([draft.route[0].channel]).decode(),
            *_COUNTS,
            draft.created_at,
            draft.expires_at,
            draft.expires_at,
            None,
            draft.asked.client_ip,
            draft.asked.client_reference,
            None,
            *binding.columns(self._hasher, self._sealer, owner, draft.asked.bind),
            None,
            None,
        )

    def _hash(self, challenge: str) -> bytes:
        return self._hasher.hash("challenge", challenge)


def refuse_unlinked(reaches: Mapping[str, Reach]) -> None:
    """Refuse to ask in the chat for references alone of which nobody knows whose they are.

    Whoever opened the link would be taken for that person. Raises ``InvalidRequest``.
    """
    if PHONE in reaches:
        return
    for kind, reach in reaches.items():
        if reach.chat is None:
            detail = "nobody has linked this; link it first, or give the phone that the person is to prove"
            raise InvalidRequest.field(f"/to/{kind}", detail)


def _refuse_code(asked: Asked) -> None:
    if (asked.length, asked.alphabet, asked.value) != (None, None, None):
        raise InvalidRequest.field("/code", "nothing is sent with mode inbound")
    if asked.params:
        raise InvalidRequest.field("/params", "nothing is sent with mode inbound")


def _refuse_long(bind: Mapping[str, str]) -> None:
    if sum(len(name) + len(value) for name, value in binding.shown(bind)) > MAX_SHOWN:
        raise InvalidRequest.field(
            "/bind", f"with mode inbound, at most {MAX_SHOWN} characters in all beside the session"
        )


def _view(draft: _Draft, link: str, challenge: str) -> VerificationView:
    return VerificationView(
        id=draft.owner.id,
        status=VerificationStatus.PENDING,
        service=draft.owner.service,
        purpose=draft.owner.purpose,
        locale=draft.locale,
        to=draft.to,
        channel=draft.route[0].channel,
        next_channels=(),
        created_at=draft.created_at,
        expires_at=draft.expires_at,
        resend_at=draft.expires_at,
        checks_left=0,
        link=link,
        challenge=challenge,
    )
