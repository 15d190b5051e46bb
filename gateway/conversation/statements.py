"""The SQL of subscribers: every statement that writes a subscriber's status."""

from __future__ import annotations

from gateway.storage import models
from gateway.storage.statement import Statement, insert_into

#: A person who is not known yet; of two nodes that are asked at once, one makes the row.
INSERT = insert_into(models.Subscriber, conflict="ON CONFLICT (service, reference_hash) DO NOTHING", key=("id",))

#: A new link token for somebody who is known and not linked, or is to be linked anew.
RENEW_TOKEN = Statement(
    "subscriber.renew_token",
    {"id": "text", "token_hash": "bytea", "expires_at": "double precision", "person_sealed": "bytea"},
    """UPDATE subscriber SET link_token_hash = r.token_hash, link_expires_at = r.expires_at, asked_chat_hash = NULL,
        person_sealed = COALESCE(r.person_sealed, subscriber.person_sealed),
        status = CASE WHEN subscriber.status = 'unlinked' THEN 'pending' ELSE subscriber.status END
    FROM r WHERE subscriber.id = r.id RETURNING subscriber.id""",
    key=(0,),
)

#: The same for a stranger's request: not where they have linked since it looked them up, for whoever asked gets the link.
INVITE = Statement(
    "subscriber.invite",
    {"id": "text", "token_hash": "bytea", "expires_at": "double precision", "person_sealed": "bytea"},
    """UPDATE subscriber SET link_token_hash = r.token_hash, link_expires_at = r.expires_at, asked_chat_hash = NULL,
        person_sealed = COALESCE(r.person_sealed, subscriber.person_sealed), status = 'pending'
    FROM r WHERE subscriber.id = r.id AND subscriber.chat_hash IS NULL RETURNING subscriber.id""",
    key=(0,),
)

#: Whether somebody has linked, their row held until what follows is written.
HOLD = """UPDATE subscriber SET status = status WHERE service = :service AND reference_hash = :reference_hash
    RETURNING chat_hash"""

#: A chat opened the link and is asked to confirm. The token is used up: nobody else can open it.
ASK = Statement(
    "subscriber.ask",
    {"id": "text", "token_hash": "bytea", "chat_hash": "bytea", "at": "double precision"},
    """UPDATE subscriber SET link_token_hash = NULL, asked_chat_hash = r.chat_hash
    FROM r WHERE subscriber.id = r.id AND subscriber.link_token_hash = r.token_hash
        AND subscriber.link_expires_at > r.at RETURNING subscriber.id""",
    key=(0,),
)

#: The chat that was asked confirmed in time: by any bot, so the one that hands out links may be blocked there.
LINK = Statement(
    "subscriber.link",
    {
        "id": "text",
        "chat_hash": "bytea",
        "chat_sealed": "bytea",
        "display_name_sealed": "bytea",
        "at": "double precision",
    },
    """UPDATE subscriber SET status = CASE WHEN EXISTS (SELECT 1 FROM chat WHERE chat.hash = r.chat_hash
            AND chat.blocked_at IS NOT NULL) THEN 'blocked' ELSE 'linked' END,
        chat_sealed = r.chat_sealed, chat_hash = r.chat_hash,
        display_name_sealed = r.display_name_sealed, linked_at = r.at, asked_chat_hash = NULL, link_expires_at = NULL
    FROM r WHERE subscriber.id = r.id AND subscriber.asked_chat_hash = r.chat_hash
        AND subscriber.link_expires_at > r.at RETURNING subscriber.id""",
    key=(0,),
)

#: The chat that was asked said no.
DECLINE = Statement(
    "subscriber.decline",
    {"id": "text", "chat_hash": "bytea", "at": "double precision"},
    """UPDATE subscriber SET asked_chat_hash = NULL, link_expires_at = r.at
    FROM r WHERE subscriber.id = r.id AND subscriber.asked_chat_hash = r.chat_hash RETURNING subscriber.id""",
    key=(0,),
)

#: Everything that a chat had linked is forgotten.
UNLINK_CHAT = """UPDATE subscriber SET status = 'unlinked', chat_sealed = NULL, chat_hash = NULL,
    display_name_sealed = NULL, linked_at = NULL, link_expires_at = :at
    WHERE chat_hash = :chat_hash AND status IN ('linked', 'blocked') RETURNING id, service, reference_hash"""

#: One of them.
UNLINK_ONE = """UPDATE subscriber SET status = 'unlinked', chat_sealed = NULL, chat_hash = NULL,
    display_name_sealed = NULL, linked_at = NULL, link_expires_at = :at
    WHERE id = :id AND chat_hash = :chat_hash AND status IN ('linked', 'blocked') RETURNING id"""

#: Links that a backup had open end: one that was used since would link somebody else.
END_LINKS = """UPDATE subscriber SET asked_chat_hash = NULL, link_expires_at = :at
    WHERE link_expires_at > :at RETURNING id"""

#: A chat that was asked and has not answered.
FORGET_ASKED = """UPDATE subscriber SET asked_chat_hash = NULL, link_expires_at = :at
    WHERE asked_chat_hash = :chat_hash RETURNING id"""

#: A person blocked the bot, or let it in again.
BLOCK_CHAT = """UPDATE subscriber SET status = 'blocked' WHERE chat_hash = :chat_hash AND status = 'linked'
    RETURNING id, service"""
UNBLOCK_CHAT = """UPDATE subscriber SET status = 'linked' WHERE chat_hash = :chat_hash AND status = 'blocked'
    RETURNING id, service"""

_UNLINKED_LONG = "chat_hash IS NULL AND link_expires_at < :before"
#: Those who have no chat and whose link ended long ago. Outside, the same is asked of what another node wrote while this
#: waited for the row.
FORGET_UNLINKED = f"""DELETE FROM subscriber WHERE {_UNLINKED_LONG} AND id IN
    (SELECT id FROM subscriber WHERE {_UNLINKED_LONG} LIMIT CAST(:number AS bigint)) RETURNING id"""  # noqa: S608 - only text of our own is put in, values are bound

DELETE = "DELETE FROM subscriber WHERE id = :id AND service = :service RETURNING service, reference_hash, chat_hash"

BY_ID = "SELECT * FROM subscriber WHERE id = :id AND service = :service"
BY_REFERENCE = "SELECT * FROM subscriber WHERE service = :service AND reference_hash = :reference_hash"
BY_TOKEN = "SELECT * FROM subscriber WHERE link_token_hash = :token_hash"  # noqa: S105 - a column, not a password
ANY_BY_ID = "SELECT * FROM subscriber WHERE id = :id"
#: Those of a chat, which may be one with another bot than theirs who blocked.
OF_CHAT = """SELECT * FROM subscriber WHERE chat_hash = :chat_hash AND status IN ('linked', 'blocked')
    ORDER BY linked_at, id"""

#: How a bot reaches whom a service calls by a reference; ``left`` names the lock that may have outlived a chat of theirs.
REACH_BY_REFERENCE = """SELECT subscriber.id, chat.hash, subscriber.chat_sealed,
    CASE WHEN kept.locked_until > COALESCE(chat.locked_until, 0) THEN kept.locked_until
        ELSE chat.locked_until END AS locked_until,
    COALESCE(chat.language, chat.told_language) AS language, mute.service AS muted,
    subscriber.status <> 'linked' OR chat.blocked_at IS NOT NULL AS blocked
    FROM subscriber LEFT JOIN chat ON chat.hash = subscriber.chat_hash LEFT JOIN chat kept ON kept.hash = :left
    LEFT JOIN mute ON mute.chat_hash = subscriber.chat_hash AND mute.service = subscriber.service
    WHERE subscriber.service = :service AND subscriber.reference_hash = :hash"""

#: How it reaches whoever proved a phone, whatever service asks.
REACH_BY_PHONE = """SELECT NULL AS id, chat.hash, chat.chat_sealed, chat.locked_until,
    COALESCE(chat.language, chat.told_language) AS language, mute.service AS muted,
    chat.blocked_at IS NOT NULL AS blocked
    FROM chat LEFT JOIN mute ON mute.chat_hash = chat.hash AND mute.service = :service
    WHERE chat.phone_hash = :hash"""
