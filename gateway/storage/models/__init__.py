"""The tables. Times are seconds since the Unix epoch (UTC) as double precision, on both engines.

Nothing in here can be read by who holds the database alone: codes, parameters and addresses are sealed
(``sealing.py``), look-ups go by keyed hashes, and what people may see is stored masked.
"""

from __future__ import annotations

from gateway.storage.models.authenticators import Authenticator, RecoveryCode, Throttle
from gateway.storage.models.limits import Block, Guess, Recipient, Tally, Trusted, Visitor
from gateway.storage.models.nodes import Lease, Pause, Secret, Share, Turn
from gateway.storage.models.people import Chat, Heard, Mute, OutgoingReply, Subscriber
from gateway.storage.models.proofs import SigningKey
from gateway.storage.models.queue import Attempt, Event, Message
from gateway.storage.models.services import IdempotentAnswer, ServiceKey
from gateway.storage.models.verifications import Address, Challenge, Cooldown, Verification
from gateway.storage.models.webhooks import Endpoint, Webhook

__all__ = [
    "Address",
    "Attempt",
    "Authenticator",
    "Block",
    "Challenge",
    "Chat",
    "Cooldown",
    "Endpoint",
    "Event",
    "Guess",
    "Heard",
    "IdempotentAnswer",
    "Lease",
    "Message",
    "Mute",
    "OutgoingReply",
    "Pause",
    "Recipient",
    "RecoveryCode",
    "Secret",
    "ServiceKey",
    "Share",
    "SigningKey",
    "Subscriber",
    "Tally",
    "Throttle",
    "Trusted",
    "Turn",
    "Verification",
    "Visitor",
    "Webhook",
]
