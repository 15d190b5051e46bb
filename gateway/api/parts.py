"""What the API is made of: the things it calls, built elsewhere and passed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from channels.base import Channel, Normalize
from channels.chat import Inbound
from gateway.api.drawing import Drawing
from gateway.api.keys.keys import Keys
from gateway.conversation.subscribers import Subscribers
from gateway.delivery.queue import Queue
from gateway.events.metrics import Metrics
from gateway.storage.answers import Answers
from gateway.storage.sealing import Hasher
from gateway.verification.authenticators.parts import Authenticators
from gateway.verification.checking import Checking
from gateway.verification.erasing import Erasing
from gateway.verification.reading import Reading
from gateway.verification.sessions import Sessions
from gateway.verification.signing_keys import SigningKeys
from gateway.verification.verifications import Verifications


@dataclass(frozen=True, slots=True)
class Health:
    """How the gateway is."""

    #: Whether it can be written to now.
    database: bool
    #: Whether its tables are this version's.
    migrations: bool
    #: Whether this node is stopping: it takes no new work.
    draining: bool
    #: How each channel is, in the words of ``gateway.events.gauges.STATES``; it decides nothing, for a dead channel is no
    #: reason to stop the others.
    channels: Mapping[str, str]

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self.database and self.migrations and not self.draining


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything ``create_api`` needs."""

    verifications: Verifications
    checking: Checking
    reading: Reading
    sessions: Sessions
    signing_keys: SigningKeys
    subscribers: Subscribers
    authenticators: Authenticators
    keys: Keys
    answers: Answers
    erasing: Erasing
    queue: Queue
    channels: Mapping[str, Channel]
    kinds: Mapping[str, Normalize]
    hasher: Hasher
    #: The configured services by name; keys of others are refused.
    services: Container[str]
    #: Tells how the gateway is.
    ready: Callable[[], Awaitable[Health]]
    #: Without a slash at its end; ``None`` where it is not known.
    public_url: str | None
    #: Takes in what a person wrote to the bot of a channel. Raises ``StorageError``: nothing was kept.
    hear: Callable[[str, Inbound], Awaitable[None]]
    #: What ``/metrics`` shows, and what refusals are counted by.
    metrics: Metrics = field(default_factory=Metrics)
    #: Draws QR codes.
    drawing: Drawing = field(default_factory=Drawing)
    #: What has to be shown for ``/metrics``; without one it is open.
    metrics_token: SecretStr | None = None
