"""A provider's call to the gateway: the request as it came, and how an adapter says that it is forged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """A provider's HTTP request to ``/callbacks/<channel>``, read whole."""

    method: str
    #: Path and query as they arrived, without scheme and host: ``/callbacks/sms?attempt=…``.
    target: str
    #: By their names in lower case.
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class ForgedCallbackError(Exception):
    """A callback that does not prove it comes from the provider; answered with 403."""
