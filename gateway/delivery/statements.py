"""The SQL of the queue: every statement that writes a message's status, each guarded by the status it leaves.

Only ``queue.py``, ``births.py``, ``standing.py``, ``succession.py`` and ``receipts.py`` write by them. A claim and a lease
are one thing: ``due_at`` is when anybody may take the row, so a row that is held is simply due later, and a dead node's
rows become due by themselves.
"""

from __future__ import annotations

from gateway.delivery.lifecycle import MessageStatus, sources
from gateway.storage import models
from gateway.storage.statement import Statement, insert_into

INSERT_MESSAGE = insert_into(models.Message)

#: An attempt that begins. What only its end tells is left out: each NULL that is bound costs 0.3 µs.
INSERT_ATTEMPT = Statement(
    "attempt.insert",
    {
        "message_id": "text",
        "number": "bigint",
        "verification_id": "text",
        "token_hash": "bytea",
        "node": "text",
        "started_at": "double precision",
    },
    """INSERT INTO attempt (message_id, number, verification_id, token_hash, node, started_at)
    SELECT message_id, number, verification_id, token_hash, node, started_at FROM r WHERE true""",
)

#: Whether the code a message carries is still wanted.
_WANTED = """EXISTS (SELECT 1 FROM verification v WHERE v.id = message.verification_id
                    AND v.status = 'pending' AND v.generation = message.generation)"""

#: An attempt begins, if this node still holds the message and its code may still be sent.
BEGIN = Statement(
    "message.begin",
    {"id": "text", "node": "text", "number": "bigint", "at": "double precision", "until": "double precision"},
    f"""UPDATE message SET status = 'sending', attempts = r.number, due_at = r.until,
        started_at = COALESCE(message.started_at, r.at)
    FROM r WHERE message.id = r.id AND message.status IN ({sources(MessageStatus.SENDING)})
        AND message.lease = r.node AND message.attempts = r.number - 1 AND message.expires_at > r.at
        AND message.followed_at IS NULL
        AND {_WANTED}
    RETURNING message.id""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

_FINISH = {
    "id": "text",
    "node": "text",
    "number": "bigint",
    "status": "text",
    "at": "double precision",
    "reason": "text",
    "provider_id": "text",
    "confirm_by": "double precision",
}
_FINISHED = """UPDATE message SET status = r.status, lease = '', finished_at = r.at, reason = r.reason,
        provider_id = r.provider_id, confirm_by = r.confirm_by"""
_IF_UNDER_WAY = """FROM r WHERE message.id = r.id AND message.status = 'sending'
        AND message.lease = r.node AND message.attempts = r.number
    RETURNING message.id"""

#: An attempt ends the message: sent, delivered, failed or expired.
FINISH = Statement("message.finish", _FINISH, f"{_FINISHED} {_IF_UNDER_WAY}", key=(0,))

#: The same on a channel that can change what it sent. It is put right at once where its code is over already, else
#: looked at again soon: an end that crossed this on another node was not seen here, nor this there.
FINISH_REVISABLE = Statement(
    "message.finish_revisable",
    {**_FINISH, "look_at": "double precision"},
    f"""{_FINISHED}, revise_at = CASE WHEN {_WANTED} THEN r.look_at ELSE r.at END
    {_IF_UNDER_WAY}""",
    key=(0,),
)

#: What the same verification sent before is to be taken out of the chat. By the index of verifications alone: one of
#: channels is as long as the channel is busy.
SUPERSEDE = Statement(
    "message.supersede",
    {"id": "text", "verification_id": "text", "at": "double precision"},
    """UPDATE message SET revise_at = r.at
    FROM r WHERE message.verification_id = r.verification_id AND message.id < r.id AND message.revise_at IS NOT NULL""",
)

#: An attempt failed and another follows (``unknowns`` = 1: its answer was lost); or it is given back (``skipped`` = 1)
#: before anything left.
REQUEUE = Statement(
    "message.requeue",
    {
        "id": "text",
        "node": "text",
        "number": "bigint",
        "due_at": "double precision",
        "skipped": "bigint",
        "unknowns": "bigint",
    },
    """UPDATE message SET status = 'queued', lease = '', due_at = r.due_at, skipped = message.skipped + r.skipped,
        unknowns = COALESCE(message.unknowns, 0) + r.unknowns
    FROM r WHERE message.id = r.id AND message.status = 'sending'
        AND message.lease = r.node AND message.attempts = r.number
    RETURNING message.id""",
    key=(0,),
)

#: A message that this node holds and has not begun is anybody's again.
UNLEASE = Statement(
    "message.unlease",
    {"id": "text", "node": "text", "due_at": "double precision"},
    """UPDATE message SET lease = '', due_at = r.due_at
    FROM r WHERE message.id = r.id AND message.status = 'queued' AND message.lease = r.node
    RETURNING message.id""",
    key=(0,),
)

#: A message ends without an attempt: its code is dead, or nothing can send it.
END_QUEUED = Statement(
    "message.end_queued",
    {"id": "text", "node": "text", "status": "text", "at": "double precision", "reason": "text"},
    """UPDATE message SET status = r.status, lease = '', finished_at = r.at, reason = r.reason
    FROM r WHERE message.id = r.id AND message.status = 'queued' AND message.lease = r.node
    RETURNING message.id""",
    key=(0,),
)

#: The next channel of the route takes over from a message, once: unless something newer has taken its place.
FOLLOW = Statement(
    "message.follow",
    {"id": "text", "at": "double precision"},
    f"""UPDATE message SET followed_at = r.at
    FROM r WHERE message.id = r.id AND message.followed_at IS NULL AND {_WANTED}
    RETURNING message.id""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

#: Nothing took over after all: every channel after it was refused by a limit.
UNFOLLOW = Statement(
    "message.unfollow",
    {"id": "text"},
    """UPDATE message SET followed_at = NULL FROM r WHERE message.id = r.id""",
)

#: The same where a message was sent and no report of its delivery came in the time its service allows.
UNCONFIRM = Statement(
    "message.unconfirm",
    {"id": "text", "at": "double precision"},
    f"""UPDATE message SET followed_at = r.at, confirm_by = NULL
    FROM r WHERE message.id = r.id AND message.status = 'sent' AND message.confirm_by <= r.at
        AND message.followed_at IS NULL AND {_WANTED}
    RETURNING message.id""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

#: Nothing follows a message whose report has not come in time: it came meanwhile, or the code is no longer wanted.
CONFIRM_NO_MORE = Statement(
    "message.confirm_no_more",
    {"id": "text", "at": "double precision"},
    """UPDATE message SET confirm_by = NULL FROM r WHERE message.id = r.id AND message.confirm_by <= r.at""",
)

#: Whether attempt ``r.number`` may have left and nobody knows it yet: its answer was lost, or is not there.
_OPEN_QUESTION = """EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = message.id AND a.number = r.number
            AND (a.outcome IS NULL OR a.outcome = 'unknown'))"""

#: What a provider reports later. ``delivered`` wins over everything. ``sent`` settles an attempt nobody knew of, so that
#: it is not made again. ``undelivered`` ends a message if nothing else of it may arrive: no other attempt was accepted,
#: and none that was made later is open, or has failed and is to be repeated.
REPORT = Statement(
    "message.report",
    {
        "id": "text",
        "number": "bigint",
        "status": "text",
        "at": "double precision",
        "reason": "text",
        "provider_id": "text",
        "confirm_by": "double precision",
    },
    f"""UPDATE message SET status = r.status, finished_at = r.at, lease = '', reason = r.reason,
        provider_id = CASE WHEN message.recipient <> '' THEN COALESCE(message.provider_id, r.provider_id) END,
        confirm_by = r.confirm_by
    FROM r WHERE message.id = r.id AND (
        (r.status = 'delivered' AND message.status IN ({sources(MessageStatus.DELIVERED)}))
        OR (r.status = 'sent' AND message.status IN ({sources(MessageStatus.SENT)}) AND {_OPEN_QUESTION})
        OR (r.status = 'undelivered' AND message.status = 'sent'
            AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = message.id AND a.number <> r.number
                AND a.outcome = 'sent'))
        OR (r.status = 'undelivered' AND message.status IN ('queued', 'sending') AND {_OPEN_QUESTION}
            AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = message.id AND a.number > r.number
                AND (a.outcome IS NULL OR a.outcome <> 'skipped'))))
    RETURNING message.id""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

#: The provider's answer to an attempt, written with the move that follows from it.
END_ATTEMPT = Statement(
    "attempt.end",
    {
        "message_id": "text",
        "number": "bigint",
        "at": "double precision",
        "outcome": "text",
        "reason": "text",
        "provider_id": "text",
        "provider_code": "text",
    },
    """UPDATE attempt SET finished_at = r.at, outcome = r.outcome, reason = r.reason, provider_id = r.provider_id,
        provider_code = r.provider_code
    FROM r WHERE attempt.message_id = r.message_id AND attempt.number = r.number AND attempt.outcome IS NULL""",
)

#: A provider's report proves that an attempt was accepted whose answer was lost, or has yet to be read. Another one under
#: way ends as unknown: its message is no longer under way, so its answer could not be written down any more.
PROVE_ATTEMPT = Statement(
    "attempt.prove",
    {
        "message_id": "text",
        "number": "bigint",
        "at": "double precision",
        "provider_id": "text",
        "provider_code": "text",
    },
    """UPDATE attempt SET finished_at = COALESCE(attempt.finished_at, r.at),
        outcome = CASE WHEN attempt.number = r.number THEN 'sent' ELSE 'unknown' END,
        reason = CASE WHEN attempt.number = r.number THEN NULL ELSE 'unknown' END,
        provider_id = CASE WHEN attempt.number = r.number AND EXISTS (SELECT 1 FROM message m
            WHERE m.id = r.message_id AND m.recipient <> '') THEN COALESCE(attempt.provider_id, r.provider_id) END,
        provider_code = CASE WHEN attempt.number = r.number THEN COALESCE(r.provider_code, attempt.provider_code) END
    FROM r WHERE attempt.message_id = r.message_id
        AND (attempt.outcome IS NULL OR (attempt.outcome = 'unknown' AND attempt.number = r.number))""",
)

#: An attempt whose node died settles as unknown, once.
ABANDON_ATTEMPT = Statement(
    "attempt.abandon",
    {"message_id": "text", "number": "bigint", "at": "double precision"},
    """UPDATE attempt SET finished_at = r.at, outcome = 'unknown', reason = 'unknown'
    FROM r WHERE attempt.message_id = r.message_id AND attempt.number = r.number AND attempt.outcome IS NULL""",
)

#: What must be known of a message to send it, its verification's sealed columns included.
_PAYLOAD = """id, verification_id, service, channel, step, generation, attempts, skipped, unknowns, created_at,
    expires_at, started_at, recipient,
    (SELECT v.purpose FROM verification v WHERE v.id = message.verification_id) AS purpose,
    (SELECT v.locale FROM verification v WHERE v.id = message.verification_id) AS locale,
    (SELECT v.expires_at - v.created_at FROM verification v WHERE v.id = message.verification_id) AS ttl,
    (SELECT v.code_sealed FROM verification v WHERE v.id = message.verification_id) AS code_sealed,
    (SELECT v.params_sealed FROM verification v WHERE v.id = message.verification_id) AS params_sealed,
    (SELECT v.bind_sealed FROM verification v WHERE v.id = message.verification_id) AS bind_sealed,
    (SELECT v.route_sealed FROM verification v WHERE v.id = message.verification_id) AS route_sealed"""

_DUE = "SELECT id FROM message WHERE status = 'queued' AND channel = :channel"

#: Take what is due of one service on one channel, the oldest first, as a lease.
CLAIM_SQLITE = f"""UPDATE message SET lease = :node, due_at = :until WHERE id IN (
        {_DUE} AND service = :service AND due_at <= :now ORDER BY due_at LIMIT CAST(:number AS bigint))
    RETURNING {_PAYLOAD}"""  # noqa: S608 - only names of our own are put in, values are bound

#: The same of several services in one statement, where others claim at the same time: what they hold is skipped, and
#: the join goes by key. Each service's part is read off the index, however long the queue of another is.
CLAIM_POSTGRESQL = f"""WITH due AS MATERIALIZED (
        SELECT taken.id FROM unnest(CAST(:services AS text[]), CAST(:numbers AS bigint[])) AS room(service, number)
        CROSS JOIN LATERAL ({_DUE} AND message.service = room.service AND due_at <= :now ORDER BY due_at
            LIMIT room.number FOR UPDATE SKIP LOCKED) AS taken)
    UPDATE message SET lease = :node, due_at = :until WHERE id = ANY(ARRAY(SELECT id FROM due)) RETURNING {_PAYLOAD}"""  # noqa: S608 - only names of our own are put in, values are bound

#: Prolong the lease on a message this node has in memory and has not lost.
RENEW = Statement(
    "message.renew",
    {"id": "text", "node": "text", "at": "double precision", "until": "double precision"},
    """UPDATE message SET due_at = r.until
    FROM r WHERE message.id = r.id AND message.lease = r.node
        AND message.status IN ('queued', 'sending') AND message.due_at > r.at""",
)

#: Attempts under way whose lease lapses by then: their node died, is paused, or cannot write.
LAPSED = """SELECT id, verification_id, service, channel, attempts, recipient, lease, due_at FROM message
    WHERE status = 'sending' AND due_at <= :now ORDER BY due_at LIMIT 500"""

#: What must be known of a message's verification to go on along its route, or to say how the message ended.
STANDING = """SELECT v.status, v.generation, v.locale, v.route_sealed, m.followed_at
    FROM message m JOIN verification v ON v.id = m.verification_id WHERE m.id = :id"""

#: The message an attempt's token belongs to, and the attempt.
REPORTED = f"""SELECT {_PAYLOAD}, status, finished_at,
    (SELECT a.number FROM attempt a WHERE a.token_hash = :token_hash) AS number,
    (SELECT a.started_at FROM attempt a WHERE a.token_hash = :token_hash) AS begun_at,
    (SELECT a.provider_id FROM attempt a WHERE a.token_hash = :token_hash) AS known_as
    FROM message WHERE id = (SELECT a.message_id FROM attempt a WHERE a.token_hash = :token_hash)"""  # noqa: S608 - only names of our own are put in, values are bound

#: A message as it is named in what is told of it, its row held until that is written.
HOLD_MESSAGE = """UPDATE message SET recipient = recipient WHERE id = :id
    RETURNING id, verification_id, service, channel, recipient"""

#: The messages of a verification, and of which anything may have left. All of them, which are few: asked for what came since
#: one of them, PostgreSQL may look for that from the table's end, past everybody else's.
MAY_HAVE_LEFT = """SELECT m.id, m.step, m.counted, EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = m.id
        AND (a.outcome IS NULL OR a.outcome IN ('sent', 'unknown'))) AS may_have_left
    FROM message m WHERE m.verification_id = :verification_id"""

#: What was sent and has waited long enough for a report of its delivery.
UNCONFIRMED = f"SELECT {_PAYLOAD} FROM message WHERE confirm_by <= :now ORDER BY confirm_by LIMIT 500"  # noqa: S608 - only names of our own are put in, values are bound

#: An attempt whose node died is given back, as one whose answer was lost: of lost answers a person may get the code twice.
RESCUE = Statement(
    "message.rescue",
    {"id": "text", "node": "text", "number": "bigint", "at": "double precision"},
    """UPDATE message SET status = 'queued', lease = '', due_at = r.at, unknowns = COALESCE(message.unknowns, 0) + 1
    FROM r WHERE message.id = r.id AND message.status = 'sending' AND message.lease = r.node
        AND message.attempts = r.number AND message.due_at <= r.at
    RETURNING message.id""",
    key=(0,),
)

#: An attempt that has lapsed, or will soon, is left to its node, but for a millisecond of its lease: whoever writes that
#: knows that the database can be written. Written as it was, SQLite would write nothing, and succeed on a full disk.
PROBE = Statement(
    "message.probe",
    {"id": "text", "node": "text", "number": "bigint", "at": "double precision"},
    """UPDATE message SET due_at = message.due_at - 0.001
    FROM r WHERE message.id = r.id AND message.status = 'sending' AND message.lease = r.node
        AND message.due_at <= r.at AND message.attempts = r.number
    RETURNING message.id""",
    key=(0,),
)

#: The messages of a verification that ended, or is sent anew, so far as they have not begun. One under way is left to
#: its attempt, which then finds no code. Where the verification goes on (it is sent anew), what was sent or is under way
#: has its place taken: no other channel follows it, and it is not tried again.
CLOSE = f"""UPDATE message SET confirm_by = NULL,
        status = CASE WHEN status IN ('waiting', 'queued') THEN CAST(:status AS text) ELSE status END,
        finished_at = CASE WHEN status IN ('waiting', 'queued') THEN :now ELSE finished_at END,
        lease = CASE WHEN status = 'sending' THEN lease ELSE '' END,
        followed_at = CASE WHEN status IN ('sending', 'sent') THEN :now ELSE followed_at END
    WHERE verification_id = :verification_id
        AND CAST(:status AS text) IN ('{MessageStatus.CANCELED}', '{MessageStatus.EXPIRED}')
        AND (status IN ('waiting', 'queued') OR (status IN ('sending', 'sent') AND followed_at IS NULL AND EXISTS (
            SELECT 1 FROM verification v WHERE v.id = message.verification_id AND v.status = 'pending')))
    RETURNING id, verification_id, service, channel, recipient, status"""  # noqa: S608 - only names of our own are put in, values are bound

#: What people see of a verification that ended is to be put right. Also where that is under way or overdue: whoever
#: looks at it has not seen the end, which is not committed yet.
REVISE = Statement(
    "message.revise",
    {"verification_id": "text", "at": "double precision"},
    """UPDATE message SET revise_at = r.at
    FROM r WHERE message.verification_id = r.verification_id AND message.revise_at IS NOT NULL""",
)

#: A message whose subscriber has linked.
RELEASE = """UPDATE message SET status = 'queued', due_at = :now, recipient = :recipient
    WHERE verification_id = :verification_id AND status = 'waiting' AND expires_at > :now
    RETURNING id, verification_id, service, channel, recipient"""
