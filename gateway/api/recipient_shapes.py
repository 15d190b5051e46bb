"""What erasing a recipient takes and answers, as it goes over the wire."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gateway.api.shapes import Request

#: Characters of an address: more than any kind has (an e-mail address: 254).
MAX_ADDRESS = 1000


class EraseRecipient(Request, frozen=True):
    """Whom to erase."""

    to: Annotated[
        Annotated[str, Meta(max_length=MAX_ADDRESS)] | dict[str, Annotated[str, Meta(max_length=MAX_ADDRESS)]],
        Meta(description="An address as every kind that takes it, or addresses by kind."),
    ]


class ErasedShape(Struct, frozen=True):
    """What was erased."""

    verifications: Annotated[int, Meta(description="Verifications that name nobody any more; they stay as rows.")]
    canceled: Annotated[int, Meta(description="Of those, the ones that were pending and were ended.")]
    subscribers: int
    chats: int
    authenticators: int
    accounts: Annotated[
        int, Meta(description="Authenticators of other references, which go on without this address as their account.")
    ]
    webhooks: Annotated[int, Meta(description="Webhooks that are kept without the recipient.")]
    answers: Annotated[
        int, Meta(description="Answers kept for Idempotency-Keys, without what they told of the person.")
    ]
    under_way: Annotated[
        int, Meta(description="Verifications with an attempt that had not ended after 12 s: if not 0, erase again.")
    ]
    still_readable: Annotated[
        bool,
        Meta(
            description="Whether the database's files still hold what was erased, because something (a backup) has been "
            "reading them since before. It leaves them by itself within a minute of that reader's end."
        ),
    ]
