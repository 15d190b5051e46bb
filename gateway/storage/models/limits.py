"""What is counted: sends and wrong codes by recipient, blocks of numbers, visitors, and what services spend.

Windows have a fixed end: a count holds while its window runs, and the first one after it begins another.
"""

from __future__ import annotations

from sqlalchemy import Index
from sqlmodel import SQLModel

from gateway.storage.models.columns import (
    blob_or_null,
    hash_key,
    key,
    number,
    time,
    time_or_null,
)


class Recipient(SQLModel, table=True):
    """What one address was sent, over all services, and how often it was guessed at without an approval."""

    __table_args__ = (Index("ix_recipient_forget_at", "forget_at"),)

    #: Keyed hash of the address.
    hash: bytes = hash_key()
    #: Sends in the running window of ten minutes, and its end.
    ten_minutes: int = number()
    ten_minutes_until: float = time()
    #: Sends in the running hour, and its end.
    hour: int = number()
    hour_until: float = time()
    #: Sends in the running day, and its end.
    day: int = number()
    day_until: float = time()
    #: Wrong codes in a row, without an approval between them.
    wrong: int = number()
    #: Keyed hashes of its latest codes, the newest first, and until when they count.
    code_1: bytes | None = blob_or_null()
    code_2: bytes | None = blob_or_null()
    code_3: bytes | None = blob_or_null()
    code_4: bytes | None = blob_or_null()
    code_5: bytes | None = blob_or_null()
    codes_until: float = time()
    #: When nothing of it counts any more.
    forget_at: float = time()


class Guess(SQLModel, table=True):
    """Wrong codes for one recipient, service and purpose: from anywhere, or from one trusted context."""

    __table_args__ = (Index("ix_guess_forget_at", "forget_at"),)

    service: str = key()
    purpose: str = key()
    #: Keyed hash of the address.
    hash: bytes = hash_key()
    #: ``""``, or the trusted context: ``reference:device-7``, ``ip:203.0.113.9``.
    context: str = key()
    #: Wrong codes in the running hour, and its end.
    hour: int = number()
    hour_until: float = time()
    #: Wrong codes in the running day, and its end.
    day: int = number()
    day_until: float = time()
    #: Wrong codes in a row, for a lock-out.
    streak: int = number()
    #: Until when no code is sent, where the service locks out.
    locked_until: float | None = time_or_null()
    #: When nothing of it counts any more.
    forget_at: float = time()


class Trusted(SQLModel, table=True):
    """A context that was approved for a recipient: it has a budget of guesses of its own."""

    __table_args__ = (Index("ix_trusted_until", "until"),)

    service: str = key()
    #: Keyed hash of the address.
    hash: bytes = hash_key()
    #: ``reference:device-7``, ``ip:203.0.113.9``.
    context: str = key()
    until: float = time()


class Block(SQLModel, table=True):
    """A block of phone numbers, all but their last four digits: what was sent there, and what was approved."""

    __table_args__ = (Index("ix_block_forget_at", "forget_at"),)

    #: Keyed hash of the block.
    hash: bytes = hash_key()
    #: Sends in the running hour.
    sends: int = number()
    #: Of those, the ones an approval followed.
    approved: int = number()
    #: The end of the running hour.
    until: float = time()
    #: Until when nothing is sent there.
    rests_until: float | None = time_or_null()
    #: When nothing of it counts any more.
    forget_at: float = time()


class Visitor(SQLModel, table=True):
    """Who asks for codes: an IP address, or the /64 of an IPv6 address."""

    __table_args__ = (Index("ix_visitor_until", "until"),)

    #: Keyed hash of it.
    hash: bytes = hash_key()
    #: Codes asked for in the running hour.
    count: int = number()
    #: The end of the running hour.
    until: float = time()


class Tally(SQLModel, table=True):
    """What one node counted for a service; all nodes' together are what the service's allowances are compared with."""

    __table_args__ = (Index("ix_tally_window_at", "window_at"),)

    service: str = key()
    node: str = key()
    #: ``spend``: sends of the day that were accepted; ``held``: about to be sent; ``lent``: another's of that; ``requests``: some came lately.
    kind: str = key()
    #: When the window began that it counts in: the day, or the moment it was written.
    window_at: float = time()
    amount: float = time()
