"""The port between the gateway and the providers: what an adapter is given, answers and raises.

An adapter classifies and the core decides. ``Channel.deliver`` makes exactly one call to the provider and
either returns a ``Receipt`` or raises one of three errors::

    DeliveryError
    ├── TransientError   not accepted, worth another try (refused connection, 429, SMTP 4xx)
    ├── PermanentError   not accepted, and never will be (unknown mailbox, opted out, bad credentials)
    └── AmbiguousError   the request left and the answer was lost: the person may get the message
"""

from __future__ import annotations

import importlib
import ipaddress
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self, TypeGuard

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from channels.callback import CallbackRequest as CallbackRequest  # noqa: PLC0414 - a part of the port: adapters import it here
from channels.callback import ForgedCallbackError as ForgedCallbackError  # noqa: PLC0414 - the same
from channels.chat import Button, HandleInbound
from channels.findings import Finding


class Reason(StrEnum):
    """Why a delivery failed: a closed list, the same for every provider."""

    #: The address does not exist or cannot be used.
    INVALID_RECIPIENT = "invalid_recipient"
    #: The address exists and cannot be reached now (handset off, mailbox full).
    UNREACHABLE = "unreachable"
    #: The person or a carrier blocks us (opted out, bot blocked).
    BLOCKED = "blocked"
    #: The provider refused this content or this request.
    REJECTED = "rejected"
    #: The provider asks for fewer requests.
    RATE_LIMITED = "rate_limited"
    #: No answer in time.
    TIMEOUT = "timeout"
    #: The provider cannot be reached or answers with a fault of its own.
    UNAVAILABLE = "unavailable"
    #: Our credentials, sender or settings are wrong; every message of the channel would fail, so it is stopped.
    MISCONFIGURED = "misconfigured"
    #: The code died before it could be handed over.
    EXPIRED = "expired"
    #: Nothing above fits; the provider's own code says more.
    UNKNOWN = "unknown"


#: Characters of a provider's id that are kept.
MAX_ID = 256


def storable(text: str | None, most: int = 64) -> str | None:
    """Return what a provider said as every database takes it: no NUL, no half of a surrogate pair, nothing unprintable."""
    if text is None:
        return None
    text = text[:most]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


class DeliveryError(Exception):
    """A failed delivery. Its text never holds an address, a code or a key.

    ``provider_code`` is the provider's own code (``"21211"``, ``"550 5.1.1"``), at most 64 characters.
    """

    def __init__(self, reason: Reason, *, provider_code: str | None = None) -> None:
        self.reason = reason
        self.provider_code = storable(provider_code) or None
        super().__init__(f"{reason} ({self.provider_code})" if self.provider_code else str(reason))


class TransientError(DeliveryError):
    """The provider did not accept the message; another try may succeed.

    ``retry_after`` is what the provider asked us to wait, in seconds, or ``None``. ``whole_channel`` says
    whether that wait is meant for the channel (an account-wide 429) or for this recipient only.
    """

    def __init__(
        self,
        reason: Reason,
        *,
        retry_after: float | None = None,
        whole_channel: bool = False,
        provider_code: str | None = None,
    ) -> None:
        super().__init__(reason, provider_code=provider_code)
        self.retry_after = retry_after
        self.whole_channel = whole_channel


class PermanentError(DeliveryError):
    """The provider refused the message for good; only another channel can help."""


class AmbiguousError(DeliveryError):
    """The request was written and its answer lost: it may or may not have been accepted."""


class InvalidAddressError(ValueError):
    """An address that cannot be used. Its text says what is wrong and never repeats the address."""


class Address(Struct, frozen=True, gc=False):
    """One normalised address of one person: a struct, for one of each request is made (0.1 µs; a dataclass takes 1.5)."""

    #: The kind: ``phone``, ``email``, ``telegram`` or one an adapter declares.
    kind: str
    #: What the provider is given (E.164, an e-mail address, a chat's number).
    value: str
    #: What people and logs may see: ``+49•••••••678``.
    masked: str
    #: The form limits and look-ups are keyed by: spellings of one mailbox or number share it.
    canonical: str
    #: ISO 3166 region of a phone number, ``None`` where the kind has none.
    country: str | None = None
    #: The sort of a phone number (``mobile``, ``premium_rate`` …), ``None`` where the kind has none.
    number_type: str | None = None
    #: The block of 10,000 numbers it is one of, ``None`` where the kind has none.
    block: str | None = None

    def __repr__(self) -> str:
        """Show nothing that tells the address."""
        return f"Address({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, str | None]]:
        """Return the same for rich, which prints the locals of a traceback."""
        shown = "kind", "masked", "country", "number_type"
        return [(name, getattr(self, name)) for name in shown]


#: Turns what a caller wrote into an ``Address`` or raises ``InvalidAddressError``.
Normalize = Callable[[str], Address]


@dataclass(frozen=True, slots=True)
class Envelope:
    """Everything an adapter needs for one delivery. What must not be logged is not in its ``repr``."""

    #: The message's id (``msg_…``), the same for every attempt: the source of a stable Message-ID.
    message_id: str
    #: An opaque, unguessable token of this attempt, for the provider's callbacks.
    attempt_token: str = field(repr=False)
    #: Where it goes, as the adapter's kind normalised it.
    address: str = field(repr=False)
    #: Rendered parts by their name in the template's folder without the locale: ``subject.txt``.
    parts: Mapping[str, str] = field(repr=False)
    #: The code by itself, for a copy button.
    code: str = field(repr=False)
    #: The name the service signs with.
    brand: str
    #: The locale the parts were asked for, ``de-AT``.
    locale: str
    #: Seconds the code still lives; providers are told not to deliver later.
    lifetime: float
    #: What the person presses if they did not ask for it; ``None`` where nobody hears presses.
    report: Button | None = None
    #: Seconds this attempt may take, where that is less than the channel's timeout; ``None`` where it is not. An adapter
    #: that keeps to it can say whether anything had left when the time was up; one that is cut off cannot.
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider accepted the message."""

    #: The provider's id of it, for support and for later callbacks.
    provider_id: str | None = None
    #: Whether acceptance already means delivery (a console, a chat message with an id).
    delivered: bool = False
    #: The provider's own status or code, at most 64 characters.
    provider_code: str | None = None

    def __post_init__(self) -> None:
        # What cannot be written down would be sent again: its acceptance could not be either.
        object.__setattr__(self, "provider_id", storable(self.provider_id, MAX_ID))
        object.__setattr__(self, "provider_code", storable(self.provider_code))


class ReportedStatus(StrEnum):
    """What a provider's later report says of an attempt."""

    SENT = "sent"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"


@dataclass(frozen=True, slots=True)
class Report:
    """What a provider's callback says of one attempt."""

    attempt_token: str = field(repr=False)
    status: ReportedStatus
    provider_id: str | None = None
    provider_code: str | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an adapter says of rendered parts at their longest values, for ``templates lint``."""

    #: One line for people: ``GSM-7, 97 of 160 characters, 1 segment``.
    summary: str
    #: What would go wrong; empty when nothing would.
    faults: tuple[str, ...] = ()
    #: Into how many parts the provider cuts it, and bills them.
    segments: int = 1


#: A country, or the region of numbers of none.
_COUNTRY = re.compile(r"[A-Z]{2}|001")


class ChannelSettings(BaseModel):
    """The keys every ``[channels.<name>]`` has. Adapters extend it; unknown keys are refused by name."""

    # A fault in a section must not print the secret beside it.
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    adapter: str
    #: Seconds one attempt may take.
    timeout: float = Field(default=10.0, gt=0, le=60)
    #: Deliveries under way at once.
    concurrency: int = Field(default=10, ge=1, le=1000)
    #: Deliveries started per second; 0 is no limit.
    rate: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    #: What a message costs, in the operator's own currency, where ``prices`` does not say.
    price: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    #: What one to a country costs, by its code (ISO 3166-1 alpha-2, as libphonenumber tells it): ``{"DE": 0.075}``.
    prices: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)

    @field_validator("prices")
    @classmethod
    def _check_prices(cls, prices: dict[str, float]) -> dict[str, float]:
        # The environment's names are written in any case.
        found = {country.upper(): price for country, price in prices.items()}
        if not all(_COUNTRY.fullmatch(country) for country in found):
            raise ValueError('must be prices by two-letter country codes, like {"DE" = 0.075}')
        return found

    def price_in(self, country: str | None) -> float:
        """Return what a message to a country costs; ``None`` is an address of no country."""
        return self.prices.get(country, self.price) if country is not None else self.price


class Channel(ABC):
    """A configured way to reach people. Open it with ``async with``; ``deliver`` may run concurrently."""

    #: The settings of this adapter's section in config.toml.
    Settings: ClassVar[type[ChannelSettings]] = ChannelSettings
    #: The address kinds it reaches, best first, and how each is normalised.
    kinds: ClassVar[Mapping[str, Normalize]]
    #: The template parts it needs: ``("subject.txt", "body.txt", "body.html")``.
    parts: ClassVar[tuple[str, ...]]
    #: Whether an address must first be resolved to a chat that the person opened with the bot.
    needs_subscriber: ClassVar[bool] = False
    #: Whether it may only run where ``public_url`` is loopback.
    loopback_only: ClassVar[bool] = False
    #: Seconds between two sends to one recipient; 0 where the provider sets no such limit.
    recipient_pause: ClassVar[float] = 0.0

    def __init__(self, name: str, settings: ChannelSettings, *, callback_url: str | None = None) -> None:
        """``callback_url`` is the public URL of ``/callbacks/<name>``; ``None`` asks for no callbacks."""
        self.name = name
        self.settings = settings
        self.callback_url = callback_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    @abstractmethod
    async def deliver(self, envelope: Envelope) -> Receipt:
        """Hand one message to the provider, in one call. Raises ``DeliveryError``."""

    def time_for(self, envelope: Envelope) -> float:
        """Return the seconds an attempt may take. Raises ``TransientError`` where none are left."""
        seconds = self.settings.timeout
        if envelope.deadline is not None:
            seconds = min(seconds, envelope.deadline)
        if not seconds > 0:
            raise TransientError(Reason.TIMEOUT)
        return seconds

    def report(self, request: CallbackRequest) -> Report | None:
        """Read a provider's callback; ``None`` where it says nothing of an attempt.

        Raises ``ForgedCallbackError``. A channel without callbacks refuses every one.
        """
        raise ForgedCallbackError

    async def listen(self, handle: HandleInbound) -> None:
        """Receive what people write until canceled. A channel that cannot listen returns at once.

        ``handle`` makes the update durable; call it again where it raises; confirm after it returned.
        """
        return

    async def link(self, token: str) -> str | None:
        """Return the URL by which a person opens the bot with ``token``; ``None`` if it has no bot."""
        return None

    async def examine(self) -> Sequence[Finding]:
        """Ask the provider whether credentials and sender work; nothing is sent to anybody. For ``otp-gateway doctor``.

        It needs no open channel and raises nothing that a provider can cause. A channel that cannot tell finds nothing.
        """
        return ()

    @property
    def mail_domains(self) -> Sequence[str]:
        """The domains whose DNS has to speak for what this channel sends; none for what is no mail."""
        return ()

    @property
    def reports(self) -> bool:
        """Whether the provider tells later what became of a delivery, with these settings."""
        return False

    @property
    def listens(self) -> bool:
        """Whether ``listen`` would receive anything with these settings."""
        return False

    @property
    def hears_callbacks(self) -> bool:
        """Whether ``/callbacks/<name>`` carries what people write: the channel is ``Conversing`` and reads it."""
        return False

    @classmethod
    def inspect(cls, parts: Mapping[str, str]) -> Inspection:
        """Measure rendered parts for ``templates lint``."""
        return Inspection(summary=f"{sum(map(len, parts.values()))} characters")


def is_loopback(host: str) -> bool:
    """Tell whether a URL's or a server's host is this machine: an address of its own, or a name RFC 6761 6.3 gives it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # "localhost", everything below it, and either as a full name with its dot.
        return f".{host.lower().removesuffix('.')}".endswith(".localhost")


_ADAPTER_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class UnknownAdapterError(LookupError):
    """No module ``channels.<adapter>`` holds a ``Channel``."""


def load(adapter: str) -> type[Channel]:
    """Return the one ``Channel`` that ``channels/<adapter>.py`` defines.

    Raises ``UnknownAdapterError`` where the name is malformed, the module missing or without an adapter. An
    ``ImportError`` inside the module (its library is not installed) passes through.
    """
    if not _ADAPTER_NAME.fullmatch(adapter):
        raise UnknownAdapterError(adapter)
    module_name = f"{__package__}.{adapter}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name:
            raise UnknownAdapterError(adapter) from None
        raise
    found = [item for item in vars(module).values() if _is_adapter(item, module_name)]
    if len(found) != 1:
        raise UnknownAdapterError(adapter)
    return found[0]


def _is_adapter(item: Any, module_name: str) -> TypeGuard[type[Channel]]:
    # The port's own class is not an adapter: "base" is no name for one.
    found = isinstance(item, type) and issubclass(item, Channel) and item is not Channel
    return found and item.__module__ == module_name
