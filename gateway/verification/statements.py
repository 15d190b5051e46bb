"""The SQL of verifications: every statement that writes a verification's status, guarded by the status it leaves."""

from __future__ import annotations

from gateway.storage import models
from gateway.storage.statement import Statement, insert_into

INSERT_VERIFICATION = insert_into(models.Verification)
INSERT_ADDRESS = insert_into(models.Address)

#: A recipient's cooldown begins, unless one still runs.
CLAIM_COOLDOWN = insert_into(
    models.Cooldown,
    conflict="""ON CONFLICT (service, hash) DO UPDATE SET since = excluded.since, until = excluded.until,
        verification_id = excluded.verification_id WHERE cooldown.until <= excluded.since""",
    key=("service", "hash"),
)

#: The cooldown a verification started ends with it: it was approved, or nothing ever left.
END_COOLDOWN = Statement(
    "cooldown.end", {"id": "text"}, "DELETE FROM cooldown WHERE verification_id IN (SELECT r.id FROM r)"
)

#: The same by the recipients of its messages: by their keys, several rows are taken in an order.
END_COOLDOWN_OF = Statement(
    "cooldown.end_of",
    {"service": "text", "hash": "bytea", "id": "text"},
    """DELETE FROM cooldown
    WHERE (service, hash, verification_id) IN (SELECT r.service, r.hash, r.id FROM r)""",
)

#: A cooldown's end, and the verification that began it where that is still pending.
COOLDOWN = """SELECT c.until, v.id AS verification_id FROM cooldown c
    LEFT JOIN verification v ON v.id = c.verification_id AND v.status || '' = 'pending' AND v.expires_at > :at
    WHERE c.service = :service AND c.hash = :hash"""

#: A check is spent, or there is none to spend: a reverse verification has no code. The row stays locked until the
#: answer is written.
SPEND_CHECK = """UPDATE verification SET checks = checks + 1
    WHERE id = :id AND service = :service AND status = 'pending' AND checks < max_checks AND expires_at > :now
        AND code_sealed IS NOT NULL
    RETURNING purpose, generation, checks, max_checks, code_sealed, created_at, alphabet, bind_hash, route_sealed,
        context, client_ip, client_reference, own_code"""

#: A given code was compared with what was read: right, it is ``approved`` and wiped, else it stays ``pending``. One
#: statement for both, so that which of two nodes is first never depends on which of them had the right code; and only
#: where nothing was counted, taken over, sent or made anew since: ``messages`` are all there were.
ANSWER = Statement(
    "verification.answer",
    {
        "id": "text",
        "service": "text",
        "checks": "bigint",
        "max_checks": "bigint",
        "generation": "bigint",
        "messages": "bigint",
        "status": "text",
        "at": "double precision",
    },
    """UPDATE verification SET checks = r.checks + 1, status = r.status,
        ended_at = CASE WHEN r.status = 'approved' THEN r.at END,
        code_sealed = CASE WHEN r.status = 'pending' THEN verification.code_sealed END,
        params_sealed = CASE WHEN r.status = 'pending' THEN verification.params_sealed END,
        bind_sealed = CASE WHEN r.status = 'pending' THEN verification.bind_sealed END,
        bind_hash = CASE WHEN r.status = 'pending' THEN verification.bind_hash END,
        session_hash = CASE WHEN r.status = 'pending' THEN verification.session_hash END
    FROM r WHERE verification.id = r.id AND verification.service = r.service AND verification.status = 'pending'
        AND verification.checks = r.checks AND verification.max_checks = r.max_checks
        AND verification.generation = r.generation AND verification.expires_at > r.at
        AND (SELECT COUNT(*) FROM message m WHERE m.verification_id = verification.id) = r.messages
    RETURNING verification.id""",
    key=(0,),
)

#: A pending verification ends; its code, its parameters and what it is bound to are wiped in the same write.
END = Statement(
    "verification.end",
    {"id": "text", "status": "text", "at": "double precision"},
    """UPDATE verification SET status = r.status, ended_at = r.at, code_sealed = NULL, params_sealed = NULL,
        bind_sealed = NULL, bind_hash = NULL, session_hash = NULL
    FROM r WHERE verification.id = r.id AND verification.status = 'pending'
    RETURNING verification.id""",
    key=(0,),
)

#: A pending verification whose cooldown is over is sent once more.
RESEND = Statement(
    "verification.resend",
    {
        "id": "text",
        "sends": "bigint",
        "at": "double precision",
        # Until when a cooldown may run: now, or where limits only observe, its end.
        "cooled": "double precision",
        "resend_at": "double precision",
        "generation": "bigint",
        "code_sealed": "bytea",
    },
    """UPDATE verification SET sends = r.sends, resend_at = r.resend_at, generation = r.generation,
        code_sealed = COALESCE(r.code_sealed, verification.code_sealed)
    FROM r WHERE verification.id = r.id AND verification.status = 'pending' AND verification.expires_at > r.at
        AND verification.resend_at <= r.cooled AND verification.sends = r.sends - 1
    RETURNING verification.id""",
    key=(0,),
)

#: The address of a person who has just linked.
SET_ROUTE = Statement(
    "verification.set_route",
    {"id": "text", "route_sealed": "bytea"},
    """UPDATE verification SET route_sealed = r.route_sealed
    FROM r WHERE verification.id = r.id AND verification.status = 'pending' RETURNING verification.id""",
    key=(0,),
)

OVERDUE = """SELECT id, service FROM verification WHERE status = 'pending' AND expires_at <= :now
    ORDER BY expires_at LIMIT 200"""

#: Whatever is pending, some at a time.
PENDING = "SELECT id, service FROM verification WHERE status = 'pending' ORDER BY expires_at LIMIT 200"

#: What ends with a session, some at a time.
OF_SESSION = """SELECT id FROM verification WHERE session_hash = :hash AND status = 'pending' AND expires_at > :now
    ORDER BY id LIMIT CAST(:number AS bigint)"""

ONE = "SELECT * FROM verification WHERE id = :id AND service = :service"

#: A verification, its row locked until what follows is written: of two people who press at once, one is first.
HOLD = "UPDATE verification SET checks = checks WHERE id = :id RETURNING *"
#: The same of a service's own.
HOLD_OWN = "UPDATE verification SET checks = checks WHERE id = :id AND service = :service RETURNING *"

#: Whether its person has said that they did not ask for it.
REPORTED = "SELECT 1 FROM event WHERE verification_id = :id AND name = 'verification.reported' LIMIT 1"

#: Whether the person of a chat wants a service's messages elsewhere.
MUTED = "SELECT 1 FROM mute WHERE chat_hash = :chat_hash AND service = :service"

#: A way to open a reverse verification, unless another reads the same.
INSERT_CHALLENGE = insert_into(models.Challenge, conflict="ON CONFLICT (hash) DO NOTHING", key=("hash",))

#: A chat opens a pending verification by one of its ways, and takes all of them: no other chat can open any.
OPEN_CHALLENGE = """UPDATE challenge SET asked_chat_hash = :chat_hash
    WHERE verification_id IN (SELECT given.verification_id FROM challenge given WHERE given.hash = :hash)
        AND expires_at > :now AND (asked_chat_hash IS NULL OR asked_chat_hash = :chat_hash)
        AND EXISTS (SELECT 1 FROM verification v WHERE v.id = challenge.verification_id AND v.status = 'pending')
    RETURNING verification_id"""

#: What a chat has opened and may answer; one of it with its row locked.
_OPENED = "SELECT c.verification_id FROM challenge c WHERE c.asked_chat_hash = :chat_hash"
OPENED = f"""SELECT * FROM verification WHERE id IN ({_OPENED}) AND status = 'pending' AND expires_at > :now
    ORDER BY id DESC LIMIT CAST(:number AS bigint)"""  # noqa: S608 - only names of our own are put in, values are bound
OPENED_ONE = f"""UPDATE verification SET checks = checks WHERE id = :id AND id IN ({_OPENED}) RETURNING *"""  # noqa: S608 - the same

PENDING_ONE = "SELECT * FROM verification WHERE id = :id AND status = 'pending' AND expires_at > :now"

#: Whether a person's reference is linked to another chat than this one.
LINKED_ELSEWHERE = """SELECT 1 FROM subscriber WHERE service = :service AND reference_hash = :hash
    AND chat_hash IS NOT NULL AND chat_hash <> :chat_hash"""

#: Whether a reference is linked to this chat.
LINKED_HERE = (
    """SELECT 1 FROM subscriber WHERE service = :service AND reference_hash = :hash AND chat_hash = :chat_hash"""
)

#: Challenges whose time is over, in small bites.
FORGET_CHALLENGES = """DELETE FROM challenge WHERE expires_at <= :now AND hash IN
    (SELECT hash FROM challenge WHERE expires_at <= :now LIMIT 500) RETURNING hash"""

#: A pending verification whose time is not over, its row locked until what follows is written: of two messages that end
#: at once, the second then sees the end of the first.
HOLD_PENDING = """UPDATE verification SET checks = checks WHERE id = :id AND status = 'pending' AND expires_at > :now
    RETURNING service"""

#: Whether a message of it may still be sent, or was and is not reported as undelivered.
ANYTHING_HOPED_FOR = """SELECT 1 FROM message WHERE verification_id = :id
    AND status IN ('waiting', 'queued', 'sending', 'sent', 'delivered') LIMIT 1"""

#: Whether the person may have its code although nobody knows: an attempt's answer was lost, or is not there yet.
ANYTHING_UNKNOWN = """SELECT 1 FROM attempt WHERE verification_id = :id AND (outcome = 'unknown' OR outcome IS NULL)
    LIMIT 1"""

#: Whether a provider took any of it.
ANYTHING_ACCEPTED = """SELECT 1 FROM attempt WHERE verification_id = :id AND outcome = 'sent' LIMIT 1"""

#: Cooldowns that are over, in small bites.
FORGET_COOLDOWNS = """DELETE FROM cooldown WHERE until <= :before AND (service, hash) IN
    (SELECT service, hash FROM cooldown WHERE until <= :before LIMIT 500) RETURNING hash"""
