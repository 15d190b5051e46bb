"""The SQL of erasing a recipient. None of it writes a status: what is pending was ended before, by ``ending``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.storage.statement import Statement

_ID: Final = {"id": "text"}

#: Every verification that went to an address; an empty service is every one's.
VERIFICATIONS: Final = """SELECT v.id, v.service, v.purpose, v.status, v.created_at, v.route_sealed
    FROM address a JOIN verification v ON v.id = a.verification_id
    WHERE a.hash = :hash AND (CAST(:service AS text) = '' OR v.service = :service) ORDER BY v.id"""

#: Whether an attempt has begun and nobody has written how it ended, or a message is not over: a node may hold it, with
#: the masked address that it will tell when it drops it.
UNDER_WAY: Final = """SELECT 1 FROM attempt WHERE verification_id = :id AND outcome IS NULL
    UNION ALL SELECT 1 FROM message WHERE verification_id = :id AND status = 'queued' LIMIT 1"""

WEBHOOKS: Final = "SELECT id, body FROM webhook WHERE verification_id = :id"
#: The oldest verification there is.
OLDEST: Final = "SELECT created_at FROM verification ORDER BY id LIMIT 1"
#: Webhooks that outlive their verification: told late, or again. Theirs are older than every one there is; to look for
#: them among all, of which there are millions, takes longer than a statement may.
ORPHANS: Final = """SELECT id, verification_id, body FROM webhook
    WHERE verification_id >= :of AND verification_id < :before AND (verification_id > :of OR id > :after)
        AND NOT EXISTS (SELECT 1 FROM verification v WHERE v.id = webhook.verification_id)
    ORDER BY verification_id, id LIMIT 200"""
REWRITE_WEBHOOK: Final = Statement(
    "webhook.erase", {"id": "text", "body": "text"}, "UPDATE webhook SET body = r.body FROM r WHERE webhook.id = r.id"
)

#: What stays of a verification, and of what belongs to it. One that is pending is left alone, addresses and all: it came
#: in since, and is for the next time.
_ENDED: Final = "EXISTS (SELECT 1 FROM verification v WHERE v.id = r.id AND v.status <> 'pending')"
WIPE: Final = (
    Statement(
        "message.erase",
        _ID,
        f"""UPDATE message SET recipient = '', recipient_hash = NULL, block_hash = NULL, counted = NULL,
            provider_id = NULL, revise_at = NULL, confirm_by = NULL
        FROM r WHERE message.verification_id = r.id AND {_ENDED}""",  # noqa: S608 - a text of our own
    ),
    Statement(
        "attempt.erase",
        _ID,
        f"UPDATE attempt SET provider_id = NULL FROM r WHERE attempt.verification_id = r.id AND {_ENDED}",  # noqa: S608 - the same
    ),
    Statement(
        "event.erase",
        _ID,
        f"UPDATE event SET recipient = NULL FROM r WHERE event.verification_id = r.id AND {_ENDED}",  # noqa: S608 - the same
    ),
    Statement(
        "challenge.erase",
        _ID,
        f"DELETE FROM challenge WHERE verification_id IN (SELECT id FROM r WHERE {_ENDED})",  # noqa: S608 - the same
    ),
    Statement(
        "cooldown.erase_by_verification",
        _ID,
        f"DELETE FROM cooldown WHERE verification_id IN (SELECT id FROM r WHERE {_ENDED})",  # noqa: S608 - the same
    ),
    Statement(
        "verification.erase",
        _ID,
        """UPDATE verification SET to_masked = '{}', route_sealed = NULL, code_sealed = NULL, params_sealed = NULL,
            bind_sealed = NULL, bind_hash = NULL, session_hash = NULL, client_ip = NULL, client_reference = NULL,
            context = NULL
        FROM r WHERE verification.id = r.id AND verification.status <> 'pending'""",
    ),
)

FORGET_RECIPIENT: Final = Statement(
    "recipient.erase", {"hash": "bytea"}, "DELETE FROM recipient WHERE hash IN (SELECT hash FROM r)"
)
#: By what a verification is found. That of the address that is erased goes last: until then erasing can be taken up again.
FORGET_ADDRESS: Final = Statement(
    "address.erase",
    {"hash": "bytea", "verification_id": "text"},
    """DELETE FROM address WHERE (hash, verification_id) IN (SELECT hash, verification_id FROM r)
        AND NOT EXISTS (SELECT 1 FROM verification v WHERE v.id = address.verification_id AND v.status = 'pending')""",
)
#: What retention left of verifications that have gone.
FORGET_REST: Final = Statement(
    "address.erase_rest",
    {"hash": "bytea"},
    """DELETE FROM address WHERE hash IN (SELECT hash FROM r)
        AND NOT EXISTS (SELECT 1 FROM verification v WHERE v.id = address.verification_id)""",
)
#: Events of no verification (of a bot's people, of limits) have the masked address alone; a few others' may look the same.
FORGET_NAME: Final = Statement(
    "event.erase_name",
    {"recipient": "text"},
    """UPDATE event SET recipient = NULL FROM r
    WHERE event.verification_id IS NULL AND event.recipient = r.recipient""",
)

_OF_A_SERVICE: Final = "hash = :hash AND (CAST(:service AS text) = '' OR service = :service)"

#: What is counted by the address: what deletes a row, how rows are found, and their keys.
COUNTED: Final[Mapping[Statement, tuple[str, Sequence[str]]]] = {
    Statement(
        "guess.erase",
        {"service": "text", "purpose": "text", "hash": "bytea", "context": "text"},
        """DELETE FROM guess
        WHERE (service, purpose, hash, context) IN (SELECT service, purpose, hash, context FROM r)""",
    ): (
        f"SELECT service, purpose, hash, context FROM guess WHERE {_OF_A_SERVICE}",  # noqa: S608 - a text of our own
        ("service", "purpose", "hash", "context"),
    ),
    Statement(
        "trusted.erase",
        {"service": "text", "hash": "bytea", "context": "text"},
        "DELETE FROM trusted WHERE (service, hash, context) IN (SELECT service, hash, context FROM r)",
    ): (
        f"SELECT service, hash, context FROM trusted WHERE {_OF_A_SERVICE}",  # noqa: S608 - the same
        ("service", "hash", "context"),
    ),
    Statement(
        "cooldown.erase",
        {"service": "text", "hash": "bytea"},
        "DELETE FROM cooldown WHERE (service, hash) IN (SELECT service, hash FROM r)",
    ): (f"SELECT service, hash FROM cooldown WHERE {_OF_A_SERVICE}", ("service", "hash")),  # noqa: S608 - the same
}
TURNS: Final[Mapping[Statement, tuple[str, Sequence[str]]]] = {
    Statement(
        "turn.erase",
        {"channel": "text", "hash": "bytea"},
        "DELETE FROM turn WHERE (channel, hash) IN (SELECT channel, hash FROM r)",
    ): ("SELECT channel, hash FROM turn WHERE hash = :hash", ("channel", "hash")),
}

_THEIRS: Final = "reference_hash = :hash AND (CAST(:service AS text) = '' OR service = :service)"
DEVICES: Final = f"SELECT id, service FROM authenticator WHERE {_THEIRS}"  # noqa: S608 - a text of our own
#: Before its recovery codes: it waits for whoever makes those anew, and what they have written is seen after that.
FORGET_DEVICES: Final = f"DELETE FROM authenticator WHERE {_THEIRS} RETURNING id"  # noqa: S608 - the same
FORGET_CODES: Final = "DELETE FROM recovery_code WHERE authenticator_id = :id RETURNING hash"
FORGET_FAILURES: Final = f"DELETE FROM throttle WHERE {_THEIRS} RETURNING failures"  # noqa: S608 - the same
