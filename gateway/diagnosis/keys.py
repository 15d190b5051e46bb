"""Keys and secrets: who can read the file, whether they look random, and whether they open the database."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from channels.findings import Finding, fault, ok, warning
from gateway.config import SealingKey, Settings, find_secrets, parse_webhook_secret
from gateway.errors import ConfigError

#: Different bytes that a random key of 32 bytes has at least: fewer come up less than once in 10^9 keys.
_DIFFERENT: Final = 20
#: The same of a shorter secret, of 24 bytes at least.
_DIFFERENT_SHORT: Final = 14
_PRINTABLE: Final = frozenset(string.printable.encode())
#: Bytes of a period that is noticed.
_PERIOD: Final = 16
#: Characters of a token that cannot be tried out over the network.
_TOKEN: Final = 16


def weakness(key: bytes) -> str | None:
    """Say why so many bytes (24 at least) cannot have come from a generator of random ones; ``None`` if they may have."""
    steps = {(second - first) % 256 for first, second in pairwise(key)}
    if len(steps) == 1:
        return "its bytes follow a rule, as in an example"
    if any(key == (key[:period] * len(key))[: len(key)] for period in range(1, _PERIOD + 1)):
        return "it repeats itself"
    if _PRINTABLE.issuperset(key):
        return "it is text, which somebody can guess, and not random bytes"
    if len(set(key)) < (_DIFFERENT if len(key) >= 32 else _DIFFERENT_SHORT):
        return "it has too few different bytes to be random"
    return None


def ring_findings(ring: Sequence[SealingKey]) -> list[Finding]:
    """Return what there is to say of a key ring. Keys are named by their ids, which are no secret."""
    weak = [(key.id, why) for key in ring if (why := weakness(key.key)) is not None]
    found = [
        fault("sealing ring", f"key {name}: {why}; put a new one first (`openssl rand -base64 32`)")
        for name, why in weak
    ]
    if len({key.key for key in ring}) < len(ring):
        found.append(warning("sealing ring", "two ids have the same key, so nothing was rotated; put a new key first"))
    number = len(ring)
    return found or [ok("sealing ring", f"{number} key{'s' * (number != 1)} of 256 bits, random as far as can be seen")]


def examine(settings: Settings) -> tuple[list[Finding], tuple[SealingKey, ...]]:
    """Return what there is to say of all keys, and the ring, empty where it cannot be had. Makes no file."""
    findings, ring = _of_ring(settings)
    return [*findings, *_of_webhooks(settings), *_of_tokens(settings)], ring


def _of_ring(settings: Settings) -> tuple[list[Finding], tuple[SealingKey, ...]]:
    try:
        ring = find_secrets(settings)
    except ConfigError as error:
        return [fault("sealing ring", told) for told in error.faults], ()
    if ring is None:
        return [ok("sealing ring", "none yet: the first serve makes it, beside the database, for its owner alone")], ()
    where = "given by the environment" if settings.secrets.keys else "in a file that its owner alone can read"
    return [ok("sealing ring", where), *ring_findings(ring)], ring


def _of_webhooks(settings: Settings) -> Iterator[Finding]:
    for name, service in settings.services.items():
        secrets = [parse_webhook_secret(secret.get_secret_value()) for secret in service.webhook_secret]
        faults = [why for secret in secrets if (why := weakness(secret)) is not None]
        subject = f"[services.{name}] webhook_secret"
        yield from (fault(subject, f"{why}; `openssl rand -base64 32` makes what goes behind whsec_") for why in faults)
        if secrets and not faults:
            bits = min(map(len, secrets)) * 8
            yield ok(subject, f"{bits} bits, random as far as can be seen")


def _of_tokens(settings: Settings) -> Iterable[Finding]:
    token = settings.metrics.token
    if token is None:
        return []
    if len(token.get_secret_value()) < _TOKEN:
        return [fault("[metrics] token", f"under {_TOKEN} characters, which can be tried out; make it longer")]
    return [ok("[metrics] token", "long enough")]
