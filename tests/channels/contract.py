"""What every adapter must do, as tests that each adapter's own test class inherits.

An adapter that talks to a provider inherits ``ChannelContract``; one that does not (the console) inherits
``AdapterContract``, the part that needs no provider. The subclass gives three fixtures::

    provider   an open ``Provider``: a sandbox server whose faults can be set
    channel    an open Channel pointed at it, with a ``timeout`` that a busy machine keeps; the default does
    envelope   a factory of envelopes: ``envelope()``, ``envelope(address=…)``; ``an_envelope`` makes one

and sets the class attributes below. A test that does not hold for a provider is a fault of the adapter, not
of the contract, except where an attribute says how providers differ.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from channels.base import (
    AmbiguousError,
    Channel,
    DeliveryError,
    Envelope,
    InvalidAddressError,
    PermanentError,
    Reason,
    Receipt,
    TransientError,
)
from channels.findings import Verdict

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"

#: The channels this project ships, which hold to more than the contract: German texts, every key in config.toml.
SHIPPED_CHANNELS = ("console", "sms", "email", "telegram")

#: The code every envelope carries; found nowhere but in what the provider received.
CODE = "739164"

#: One good spelling of each kind an adapter may reach.
SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "phone": ("+49 (151) 123-456.78", "+15005550006"),
    "email": ("Ann.Smith+shop@Example.ORG", "a@bücher.example", "ann@shop.test"),
    "telegram": ("user-42", "7"),
}

#: What no kind takes.
RUBBISH = ("", " ", "\n", "a\x00b", "ann@example.org\r\nBcc: x@example.org", "\ud800", "x" * 2_000, " 7", "7\u2028")


class Provider(Protocol):
    """A sandbox server as the contract sees it. Each verb sets what the next requests meet."""

    async def accept(self) -> None:
        """Take every message (the state it starts in)."""

    async def refuse(self) -> None:
        """Refuse for good: the recipient does not exist or blocks us."""

    async def defer(self) -> None:
        """Refuse for now: SMTP 4xx, HTTP 5xx."""

    async def limit(self, retry_after: float) -> None:
        """Ask for fewer requests, and for a wait of so many seconds where the protocol can say it."""

    async def stall(self) -> None:
        """Read requests and never answer."""

    async def reset(self) -> None:
        """Read a whole request, then drop the connection without an answer."""

    async def garble(self) -> None:
        """Answer a whole request with nonsense."""

    async def unauthorized(self) -> None:
        """Refuse our credentials. May drop open connections where credentials are asked for once."""

    async def drop_idle(self) -> None:
        """Close the connections that wait for a next request, as servers do."""

    async def close(self) -> None:
        """Stop listening: connections are refused from now on."""

    def requests(self) -> int:
        """Return how many delivery requests (HTTP POSTs, SMTP MAIL commands) were seen so far."""

    def received(self) -> list[str]:
        """Return the texts of the messages accepted so far."""


class MakeEnvelope(Protocol):
    """The ``envelope`` fixture."""

    def __call__(self, *, address: str | None = None) -> Envelope:
        """Return an envelope; ``address`` instead of the usual one."""


def an_envelope(address: str, parts: Mapping[str, str], *, message_id: str = "msg_contract") -> Envelope:
    """Return an envelope that carries ``CODE``; ``parts`` should hold it too."""
    return Envelope(
        message_id=message_id,
        attempt_token="attempt-token-1",
        address=address,
        parts=parts,
        code=CODE,
        brand="Example Shop",
        locale="en",
        lifetime=300.0,
    )


def told(error: BaseException) -> str:
    """Return all that a log could print of an error: text, repr, arguments and traceback with its causes."""
    return "\n".join([*traceback.format_exception(error), *_chain(error)])


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r} {error.args!r}"
        error = error.__cause__


class AdapterContract:
    """What holds for every adapter, with a provider or without."""

    #: The adapter's name: its module and its folder of templates.
    adapter: ClassVar[str]
    #: Good spellings of the kinds only this adapter has.
    spellings: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def test_every_template_has_every_part(self, channel: Channel) -> None:
        # In the default locale, which a file's name does not say; others are added where somebody speaks them.
        folder = TEMPLATES / self.adapter
        templates = {"verification", *(child.name for child in folder.glob("*/"))}
        wanted = {f"{template}/{part}" for template in templates for part in channel.parts}
        assert {name for name in wanted if not (folder / name).is_file()} == set()

    def test_normalising_twice_changes_nothing(self, channel: Channel) -> None:
        for kind, normalize in channel.kinds.items():
            for spelling in {**SPELLINGS, **self.spellings}[kind]:
                once = normalize(spelling)
                twice = normalize(once.value)
                assert (twice.value, twice.canonical, twice.masked) == (once.value, once.canonical, once.masked)

    def test_masked_addresses_do_not_hold_the_address(self, channel: Channel) -> None:
        for kind, normalize in channel.kinds.items():
            for spelling in {**SPELLINGS, **self.spellings}[kind]:
                address = normalize(spelling)
                assert address.kind == kind
                assert address.value not in address.masked
                assert spelling not in repr(address)

    @pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda text: ascii(text)[:20])
    def test_rubbish_is_no_address_and_the_error_does_not_repeat_it(self, channel: Channel, rubbish: str) -> None:
        for normalize in channel.kinds.values():
            with pytest.raises(InvalidAddressError) as caught:
                normalize(rubbish)
            assert not rubbish.strip() or rubbish not in told(caught.value)

    async def test_an_accepted_message_is_a_receipt(self, channel: Channel, envelope: MakeEnvelope) -> None:
        assert isinstance(await channel.deliver(envelope()), Receipt)

    def test_an_envelope_shows_neither_code_nor_address(self, envelope: MakeEnvelope) -> None:
        shown = repr(envelope()) + str(envelope())
        assert CODE not in shown
        assert envelope().address not in shown

    async def test_it_opens_and_closes_twice(self, channel: Channel, envelope: MakeEnvelope) -> None:
        fresh = type(channel)(channel.name, channel.settings, callback_url=channel.callback_url)
        for _ in range(2):
            async with fresh as opened:
                assert opened is fresh
                assert isinstance(await fresh.deliver(envelope()), Receipt)

    async def test_it_closes_without_having_sent_anything(self, channel: Channel) -> None:
        async with type(channel)(channel.name, channel.settings):
            pass


class ChannelContract(AdapterContract):
    """What holds for every adapter that talks to a provider."""

    #: What must never be seen: keys, tokens, passwords of the ``channel`` fixture.
    credentials: ClassVar[tuple[str, ...]]
    #: Whether the provider answers an acceptance with an id.
    gives_id: ClassVar[bool] = True
    #: What a deferral is: TransientError where the provider says "not accepted", else AmbiguousError.
    deferral: ClassVar[type[DeliveryError]] = TransientError
    #: The seconds the contract asks the provider to ask for, or ``None`` where the protocol cannot say it.
    retry_after: ClassVar[float | None] = 7.0

    async def test_what_the_provider_received_holds_the_code(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        receipt = await channel.deliver(envelope())
        assert [CODE in text for text in provider.received()] == [True]
        assert bool(receipt.provider_id) == self.gives_id

    async def test_refused_for_good_is_permanent(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.refuse()
        error = await _failure(channel, envelope())
        assert type(error) is PermanentError
        assert error.reason in {Reason.INVALID_RECIPIENT, Reason.BLOCKED, Reason.REJECTED}
        assert error.provider_code

    async def test_refused_for_now_is_worth_another_try(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.defer()
        error = await _failure(channel, envelope())
        assert type(error) is self.deferral
        assert error.reason is Reason.UNAVAILABLE
        await provider.accept()
        assert isinstance(await channel.deliver(envelope()), Receipt)

    async def test_a_limit_keeps_the_wait_the_provider_asked_for(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.limit(self.retry_after or 1.0)
        error = await _failure(channel, envelope())
        assert isinstance(error, TransientError)
        assert (error.reason, error.retry_after) == (Reason.RATE_LIMITED, self.retry_after)

    async def test_no_answer_is_a_timeout(self, provider: Provider, channel: Channel, envelope: MakeEnvelope) -> None:
        await provider.stall()
        async with hasty(channel) as opened, asyncio.timeout(5.0):
            error = await _failure(opened, envelope())
        assert isinstance(error, AmbiguousError | TransientError)
        assert error.reason is Reason.TIMEOUT

    async def test_an_attempt_keeps_to_its_deadline(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await channel.deliver(envelope())
        await provider.stall()
        async with asyncio.timeout(5.0):
            error = await _failure(channel, replace(envelope(), deadline=0.5))
        assert isinstance(error, AmbiguousError | TransientError)
        assert error.reason is Reason.TIMEOUT

    async def test_without_time_nothing_is_sent(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        before = provider.requests()
        error = await _failure(channel, replace(envelope(), deadline=0.0))
        assert (type(error), error.reason) == (TransientError, Reason.TIMEOUT)
        assert provider.requests() == before

    async def test_a_lost_answer_is_ambiguous(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.reset()
        error = await _failure(channel, envelope())
        assert type(error) is AmbiguousError

    async def test_a_garbled_answer_is_ambiguous(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.garble()
        error = await _failure(channel, envelope())
        assert type(error) is AmbiguousError

    async def test_refused_credentials_are_our_fault(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.unauthorized()
        error = await _failure(channel, envelope())
        assert type(error) is PermanentError
        assert error.reason is Reason.MISCONFIGURED

    async def test_nothing_listening_is_worth_another_try(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await provider.close()
        error = await _failure(channel, envelope())
        assert type(error) is TransientError
        assert error.reason is Reason.UNAVAILABLE

    @pytest.mark.parametrize("verb", ["accept", "refuse", "defer", "limit", "reset", "garble"])
    async def test_one_delivery_is_one_request(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope, verb: str
    ) -> None:
        # On a connection already in use: the first one after a long pause must not be asked twice either.
        await channel.deliver(envelope())
        await _set(provider, verb)
        before = provider.requests()
        await _attempt(channel, envelope())
        assert provider.requests() - before == 1

    @pytest.mark.parametrize(
        "verb", ["accept", "refuse", "defer", "limit", "stall", "reset", "garble", "unauthorized", "close"]
    )
    async def test_nothing_secret_is_logged_or_raised(
        self,
        provider: Provider,
        channel: Channel,
        envelope: MakeEnvelope,
        caplog: pytest.LogCaptureFixture,
        verb: str,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        await _set(provider, verb)
        async with hasty(channel) if verb == "stall" else nullcontext(channel) as opened:
            error = await _attempt(opened, envelope())
        seen = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
        seen += repr(channel) + repr(channel.settings)
        seen += told(error) + repr(vars(error)) if error else ""
        for secret in (CODE, envelope().address, *self.credentials):
            assert secret not in seen

    @pytest.mark.parametrize("verb", ["accept", "unauthorized", "close"])
    async def test_an_examination_sends_nothing_sees_what_is_wrong_and_shows_no_secret(
        self, provider: Provider, channel: Channel, caplog: pytest.LogCaptureFixture, verb: str
    ) -> None:
        caplog.set_level(logging.DEBUG)
        await _set(provider, verb)
        found = await channel.examine()
        # An adapter that cannot ask finds nothing.
        verdicts = {finding.verdict for finding in found}
        assert not found or (Verdict.FAULT in verdicts) == (verb != "accept")
        assert provider.received() == []
        seen = caplog.text + "".join(repr(vars(record)) for record in caplog.records) + repr(found)
        assert [secret for secret in self.credentials if secret in seen] == []

    async def test_many_deliveries_at_once_all_arrive(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        many = 12
        receipts = await asyncio.gather(*(channel.deliver(envelope()) for _ in range(many)))
        assert [type(receipt) for receipt in receipts] == [Receipt] * many
        assert len(provider.received()) == many

    async def test_a_canceled_delivery_leaves_the_channel_usable(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await channel.deliver(envelope())
        await provider.stall()
        before = provider.requests()
        under_way = asyncio.create_task(channel.deliver(envelope()))
        async with asyncio.timeout(5.0):
            while provider.requests() == before:  # noqa: ASYNC110 - a provider has no event to wait for
                await asyncio.sleep(0)
        await asyncio.wait({under_way}, timeout=0.05)
        under_way.cancel()
        with pytest.raises(asyncio.CancelledError):
            await under_way
        await provider.accept()
        before = len(provider.received())
        assert isinstance(await channel.deliver(envelope()), Receipt)
        assert len(provider.received()) - before == 1

    async def test_a_delivery_after_the_server_closed_idle_connections_arrives(
        self, provider: Provider, channel: Channel, envelope: MakeEnvelope
    ) -> None:
        await channel.deliver(envelope())
        await provider.drop_idle()
        assert isinstance(await channel.deliver(envelope()), Receipt)
        assert len(provider.received()) == 2


def hasty(channel: Channel) -> Channel:
    """Return the same channel, not yet open, for a delivery that is to time out: in 0.5 s, half of it for connecting."""
    settings = channel.settings.model_copy(update={"timeout": 0.5})
    return type(channel)(channel.name, settings, callback_url=channel.callback_url)


async def _set(provider: Provider, verb: str) -> None:
    if verb == "limit":
        await provider.limit(1.0)
    else:
        await getattr(provider, verb)()


async def _attempt(channel: Channel, envelope: Envelope) -> DeliveryError | None:
    """Deliver once, whatever comes of it."""
    try:
        await channel.deliver(envelope)
    except DeliveryError as error:
        return error
    return None


async def _failure(channel: Channel, envelope: Envelope) -> DeliveryError:
    """Return the error a delivery must fail with."""
    with pytest.raises(DeliveryError) as caught:
        await channel.deliver(envelope)
    return caught.value
