"""The SQL of the limits. What claims is one guarded statement each: it counts one more, or writes nothing."""

from __future__ import annotations

from typing import Final

from gateway.delivery.sends import AS_SEND, IN_BLOCK
from gateway.storage import models
from gateway.storage.statement import Statement, columns_of, insert_into
from gateway.verification.limits.windows import (
    APART,
    BLOCK_PART,
    BLOCK_SENDS,
    CODES_KEPT,
    DAY,
    HOUR,
    LATEST_CODES,
    MOST_WRONG,
    REST,
    TEN_MINUTES,
    one_more,
    running,
    taken_back,
)

#: A recipient's latest verifications, by their ``address`` rows: their ids begin with a time, so this is a range of a few.
_LATEST: Final = "FROM address a WHERE a.hash = {0}hash AND a.verification_id > {0}since"
#: Whose budget a verification's checks are of, at one of those it went to: its context's only where that one trusts it,
#: which a route's first does and whoever it turns to later may not. Trust that ends while it is pending moves nothing. Most
#: have no context, and then nothing is looked up (measured: 0.04 ms of the 0.95 that 32 claims take on PostgreSQL, within
#: the noise on SQLite).
BUDGET: Final = """CASE WHEN {1}context IS NULL THEN '' WHEN EXISTS (SELECT 1 FROM trusted t WHERE t.service = {1}service
        AND t.hash = {0}hash AND t.context = {1}context AND t.until > {1}created_at) THEN {1}context ELSE '' END"""
#: Checks that one of them holds back, ``NULL`` where none; a moment longer than it lives, for on another node, whose clock
#: is behind, it still does. Only a verification that a message was made in for that recipient does: a route that merely
#: names somebody takes nothing from them.
#: A sub-select, and a status that no index is by: as a join, both databases may begin with everything that is pending
#: (measured on PostgreSQL without statistics: 60 to 310 ms for a batch; on SQLite: 9 times the price of an accept).
_ANY_HELD_BACK: Final = f"""(SELECT v.max_checks - v.checks FROM verification v WHERE v.id = a.verification_id
    AND v.status || '' = 'pending' AND v.expires_at + {APART} > {{0}}at
    AND EXISTS (SELECT 1 FROM message m WHERE m.verification_id = v.id AND m.recipient_hash = {{0}}hash){{1}})"""  # noqa: S608 - only names of our own are put in, values are bound


def _held_back(place: str) -> str:
    """Return the same of one service, purpose and budget, of a request that is at a place: ``r.`` or ``:``."""
    ours = f""" AND v.service = {place}service AND v.purpose = {place}purpose
        AND {BUDGET.format(place, "v.")} = {place}context"""
    return _ANY_HELD_BACK.format(place, ours)


_HOUR_LEFT: Final = f"r.guesses_hour - COALESCE({running('g.hour', 'r.at')}, 0)"
_DAY_LEFT: Final = f"r.guesses_day - COALESCE({running('g.day', 'r.at')}, 0)"

_SHIFTED: Final = ", ".join(
    f"""CASE WHEN r.code IS NULL THEN recipient.code_{place}
            WHEN recipient.codes_until > r.at THEN recipient.code_{place - 1} END"""
    for place in range(2, LATEST_CODES + 1)
)
_UNSEEN: Final = " AND ".join(
    f"(recipient.code_{place} IS NULL OR recipient.code_{place} <> r.code)" for place in range(1, LATEST_CODES + 1)
)

#: A recipient is sent one more: unless a window of sends is full, too many codes in a row were wrong or may be once the
#: checks of every service are used up, the wrong codes with the checks held back leave too little for ``need`` more, or
#: ``code`` (``NULL``: no new one) is among the latest.
#: Asked last, after the cooldown's row: that is what two claims for one service and recipient wait for, so this
#: statement sees what the other committed. Those of two services wait for the recipient's row alone, and PostgreSQL then
#: shows that row as it has become, and all others as they were: where the sum of what is held back matters, a row that has
#: changed since refuses, and who asks again at once sees everything.
CLAIM_RECIPIENT = Statement(
    "recipient.claim",
    {
        "hash": "bytea",
        "service": "text",
        "purpose": "text",
        "context": "text",
        "at": "double precision",
        "since": "text",
        "code": "bytea",
        "need": "bigint",
        "ten_minutes": "bigint",
        "hour": "bigint",
        "day": "bigint",
        "wrong": "bigint",
        "guesses_hour": "bigint",
        "guesses_day": "bigint",
    },
    f"""INSERT INTO recipient (hash, ten_minutes, ten_minutes_until, hour, hour_until, day, day_until, wrong, code_1,
        codes_until, forget_at)
    SELECT r.hash, 1, r.at + {TEN_MINUTES}, 1, r.at + {HOUR}, 1, r.at + {DAY}, 0, r.code, r.at + {CODES_KEPT},
        r.at + {DAY}
    FROM r LEFT JOIN guess g ON g.service = r.service AND g.purpose = r.purpose AND g.hash = r.hash
        AND g.context = r.context
    WHERE (SELECT COALESCE(SUM({_held_back("r.")}), 0) {_LATEST.format("r.")}) + r.need
        <= CASE WHEN {_HOUR_LEFT} < {_DAY_LEFT} THEN {_HOUR_LEFT} ELSE {_DAY_LEFT} END
    ON CONFLICT (hash) DO UPDATE SET
        (ten_minutes, ten_minutes_until, hour, hour_until, day, day_until, code_1, code_2, code_3, code_4, code_5,
            codes_until, forget_at)
        = (SELECT {one_more("recipient.ten_minutes", "r.at", TEN_MINUTES)}, {one_more("recipient.hour", "r.at", HOUR)},
            {one_more("recipient.day", "r.at", DAY)}, COALESCE(r.code, recipient.code_1), {_SHIFTED},
            CASE WHEN r.code IS NULL THEN recipient.codes_until ELSE r.at + {CODES_KEPT} END,
            CASE WHEN recipient.forget_at > r.at + {DAY} THEN recipient.forget_at ELSE r.at + {DAY} END
            FROM r WHERE r.hash = excluded.hash)
    WHERE EXISTS (SELECT 1 FROM r WHERE r.hash = excluded.hash
        AND {running("recipient.ten_minutes", "r.at")} < r.ten_minutes
        AND {running("recipient.hour", "r.at")} < r.hour AND {running("recipient.day", "r.at")} < r.day
        AND (recipient.wrong = 0 OR {running("recipient.day", "r.at")} = 0 OR (recipient.wrong + r.need
            + (SELECT COALESCE(SUM({_ANY_HELD_BACK.format("r.", "")}), 0) {_LATEST.format("r.")}) <= r.wrong
            AND (r.need = 0 OR EXISTS (SELECT 1 FROM recipient seen WHERE seen.hash = excluded.hash
                AND seen.day = recipient.day AND seen.day_until = recipient.day_until
                AND seen.forget_at = recipient.forget_at))))
        AND (r.code IS NULL OR recipient.codes_until <= r.at OR ({_UNSEEN})))
    RETURNING hash, ten_minutes, hour, day""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

_AT: Final = {"hash": "bytea", "at": "double precision"}

#: A send that was counted at ``at`` never left: it counts no more, where its windows still run. After too many wrong codes
#: in a row the day keeps it: its code may have been guessed at before it could leave, and one a day is all there is then.
#: Several of one batch may be of one recipient.
SEND_BACK = Statement(
    "recipient.send_back",
    _AT,
    f"""UPDATE recipient SET {taken_back("ten_minutes", "recipient", TEN_MINUTES)},
        {taken_back("hour", "recipient", HOUR)},
        {taken_back("day", "recipient", DAY, only=f"recipient.wrong < {MOST_WRONG}")}
    FROM (SELECT DISTINCT r.hash AS hash FROM r WHERE true ORDER BY hash) c WHERE recipient.hash = c.hash""",  # noqa: S608 - only names of our own are put in, values are bound
)

_SENDS: Final = "CASE WHEN block.until > r.at THEN block.sends ELSE 0 END"
_APPROVED: Final = "CASE WHEN block.until > r.at THEN block.approved ELSE 0 END"

_RESTS: Final = f"{_SENDS} + 1 >= {BLOCK_SENDS} AND ({_APPROVED}) * {BLOCK_PART} < {_SENDS} + 1"
_BLOCK: Final = {**_AT, "most": "bigint"}
_ONE_MORE_OF_BLOCK: Final = f"""INSERT INTO block (hash, sends, approved, until, forget_at)
    SELECT r.hash, 1, 0, r.at + {HOUR}, r.at + {HOUR} FROM r WHERE true
    ON CONFLICT (hash) DO UPDATE SET (sends, approved, until, rests_until, forget_at)
        = (SELECT {_SENDS} + 1, {_APPROVED}, CASE WHEN block.until > r.at THEN block.until ELSE r.at + {HOUR} END,
            CASE WHEN {_RESTS} THEN r.at + {REST} END,
            CASE WHEN block.until > r.at AND NOT ({_RESTS}) THEN block.forget_at ELSE r.at + {HOUR} END
            FROM r WHERE r.hash = excluded.hash)"""  # noqa: S608 - only names of our own are put in, values are bound

#: A block of numbers is sent one more, unless it rests or too many of its sends wait for an approval.
CLAIM_BLOCK = Statement(
    "block.claim",
    _BLOCK,
    f"""{_ONE_MORE_OF_BLOCK}
    WHERE EXISTS (SELECT 1 FROM r WHERE r.hash = excluded.hash
        AND (block.rests_until IS NULL OR block.rests_until <= r.at) AND {_SENDS} - {_APPROVED} < r.most)
    RETURNING hash""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

#: The same where limits only observe.
FORCE_BLOCK = Statement("block.force", _AT, f"{_ONE_MORE_OF_BLOCK} RETURNING hash", key=(0,))

_OF_THEN: Final = f"block.until > r.at AND block.until <= r.at + {HOUR}"
_LEFT: Final = "CASE WHEN block.sends > c.number THEN block.sends - c.number ELSE 0 END"

#: A send to a block that was counted at ``at`` is taken back; the block rests no more where that was what it rested for.
#: An approval that followed it is too, or it would let one more be sent that nobody approves. Several of one batch may be
#: of one block: of a message that is given back with another, or of two claims that are undone.
BLOCK_BACK = Statement(
    "block.send_back",
    _AT,
    f"""UPDATE block SET sends = {_LEFT},
        approved = CASE WHEN block.approved > {_LEFT} THEN {_LEFT} ELSE block.approved END,
        until = CASE WHEN block.sends <= c.number THEN c.latest ELSE block.until END,
        rests_until = CASE WHEN {_LEFT} >= {BLOCK_SENDS} AND block.approved * {BLOCK_PART} < {_LEFT}
            THEN block.rests_until END
    FROM (SELECT r.hash AS hash, COUNT(*) AS number, MAX(r.at) AS latest FROM r LEFT JOIN block ON block.hash = r.hash
        WHERE {_OF_THEN} GROUP BY r.hash ORDER BY r.hash) c
    WHERE block.hash = c.hash AND block.sends > 0 AND block.until > c.latest AND block.until <= c.latest + {HOUR}""",  # noqa: S608 - only names of our own are put in, values are bound
)

#: A send to a block that was counted at ``at`` was followed by an approval; enough of them end its rest. Several of one
#: batch may be for one block.
BLOCK_APPROVED = Statement(
    "block.approved",
    _AT,
    f"""UPDATE block SET approved = CASE WHEN block.approved + c.number < block.sends THEN block.approved + c.number
            ELSE block.sends END,
        rests_until = CASE WHEN (block.approved + c.number) * {BLOCK_PART} < block.sends THEN block.rests_until END
    FROM (SELECT r.hash AS hash, COUNT(*) AS number FROM r LEFT JOIN block ON block.hash = r.hash
        WHERE {_OF_THEN} GROUP BY r.hash ORDER BY r.hash) c
    WHERE block.hash = c.hash AND block.approved < block.sends""",  # noqa: S608 - only names of our own are put in, values are bound
)

#: A visitor asks for one more, unless they asked for too many in their hour.
CLAIM_VISITOR = Statement(
    "visitor.claim",
    {**_AT, "most": "bigint"},
    f"""INSERT INTO visitor (hash, count, until) SELECT r.hash, 1, r.at + {HOUR} FROM r WHERE true
    ON CONFLICT (hash) DO UPDATE SET (count, until)
        = (SELECT CASE WHEN visitor.until > r.at THEN visitor.count + 1 ELSE 1 END,
            CASE WHEN visitor.until > r.at THEN visitor.until ELSE r.at + {HOUR} END
            FROM r WHERE r.hash = excluded.hash)
    WHERE EXISTS (SELECT 1 FROM r WHERE r.hash = excluded.hash
        AND (visitor.until <= r.at OR visitor.count < r.most))
    RETURNING hash""",  # noqa: S608 - only names of our own are put in, values are bound
    key=(0,),
)

#: What a visitor asked for at ``at`` came to nothing.
VISITOR_BACK = Statement(
    "visitor.back",
    _AT,
    """UPDATE visitor SET count = visitor.count - 1,
        until = CASE WHEN visitor.count = 1 THEN r.at ELSE visitor.until END
    FROM r WHERE visitor.hash = r.hash AND visitor.count > 0 AND visitor.until > r.at""",
)

#: A cooldown begins although one still runs: where limits only observe.
#: One that ends later stays: it may be of a purpose that does not observe.
FORCE_COOLDOWN = insert_into(
    models.Cooldown,
    conflict="""ON CONFLICT (service, hash) DO UPDATE SET
        since = CASE WHEN cooldown.until > excluded.until THEN cooldown.since ELSE excluded.since END,
        verification_id = CASE WHEN cooldown.until > excluded.until THEN cooldown.verification_id
            ELSE excluded.verification_id END,
        until = CASE WHEN cooldown.until > excluded.until THEN cooldown.until ELSE excluded.until END""",
    key=("service", "hash"),
)

#: A cooldown of no length: the row is waited for, whatever runs in it stays, and refuses nothing.
KEEP_COOLDOWN = insert_into(
    models.Cooldown,
    conflict="ON CONFLICT (service, hash) DO UPDATE SET until = cooldown.until",
    key=("service", "hash"),
)

#: The cooldown that a verification has just begun is taken back.
UNCLAIM_COOLDOWN = Statement(
    "cooldown.unclaim",
    {"service": "text", "hash": "bytea", "verification_id": "text"},
    """DELETE FROM cooldown WHERE (service, hash, verification_id) IN
        (SELECT r.service, r.hash, r.verification_id FROM r)""",
)

#: The row that claims for one service and recipient wait for, taken without claiming anything.
HOLD = """INSERT INTO cooldown (service, hash, since, until, verification_id)
    VALUES (:service, :hash, :at, 0, '')
    ON CONFLICT (service, hash) DO UPDATE SET until = cooldown.until RETURNING until"""

#: The same of who asks and of a block of numbers.
HOLD_VISITOR = """INSERT INTO visitor (hash, count, until) VALUES (:hash, 0, :at)
    ON CONFLICT (hash) DO UPDATE SET count = visitor.count RETURNING hash"""
HOLD_BLOCK = """INSERT INTO block (hash, sends, approved, until, forget_at) VALUES (:hash, 0, 0, :at, :at)
    ON CONFLICT (hash) DO UPDATE SET sends = block.sends RETURNING hash"""

RECIPIENT = "SELECT * FROM recipient WHERE hash = :hash"
BLOCK = "SELECT * FROM block WHERE hash = :hash"
VISITOR = "SELECT * FROM visitor WHERE hash = :hash"
GUESS = """SELECT * FROM guess WHERE service = :service AND purpose = :purpose AND hash = :hash
    AND context = :context"""


def _reserved(checks: str) -> str:
    return f"""SELECT * FROM (SELECT a.verification_id AS id, {checks} AS checks, (SELECT v.expires_at + {APART}
        FROM verification v WHERE v.id = a.verification_id) AS expires_at {_LATEST.format(":")}) held
    WHERE checks IS NOT NULL ORDER BY id"""  # noqa: S608 - only names of our own are put in, values are bound


#: What holds checks back, and until when; and what does for a recipient whichever service it is of.
RESERVED = _reserved(_held_back(":"))
RESERVED_BY_ANY = _reserved(_ANY_HELD_BACK.format(":", ""))

_CHECKS: Final = {"id": "text", "checks": "bigint"}

#: A new verification takes over so many checks of one that is pending, which keeps one at least. One that is wrong
#: meanwhile is one less to take and one more in a row: neither the look before nor the time between them can add any.
TAKE_CHECKS = Statement(
    "verification.take_checks",
    _CHECKS,
    """UPDATE verification SET max_checks = verification.max_checks - r.checks
    FROM r WHERE verification.id = r.id AND verification.status = 'pending'
        AND verification.max_checks - verification.checks > r.checks
    RETURNING verification.id""",
    key=(0,),
)

#: What was taken over is given back.
RETURN_CHECKS = Statement(
    "verification.return_checks",
    _CHECKS,
    """UPDATE verification SET max_checks = verification.max_checks + r.checks FROM r WHERE verification.id = r.id""",
)

#: Whether a verification made a message for a recipient: then its checks are held back for them already.
ADDRESSED = """SELECT 1 FROM message WHERE verification_id = :id AND recipient_hash = :hash LIMIT 1"""

#: What is left of a verification's checks, its context and purpose, and when it began.
CHECKS = "SELECT purpose, context, created_at, max_checks - checks AS checks FROM verification WHERE id = :id"

_RECIPIENTS: Final = """SELECT DISTINCT recipient_hash FROM message WHERE verification_id = :id
    AND recipient_hash IS NOT NULL"""
_STREAK: Final = """CASE WHEN guess.locked_until <= CAST(:at AS double precision) THEN 1 ELSE guess.streak + 1 END"""

#: A wrong code, counted for everybody a message was made for, in the budget its checks are held back in; ``after``
#: (``NULL``: never) in a row lock. A lock that runs is not prolonged, and once it is over they are counted anew.
COUNT_WRONG = f"""INSERT INTO guess (service, purpose, hash, context, hour, hour_until, day, day_until, streak,
        locked_until, forget_at)
    SELECT v.service, CAST(:purpose AS text), m.recipient_hash, {BUDGET.format("m.recipient_", "v.")},
        1, CAST(:at AS double precision) + {HOUR}, 1, CAST(:at AS double precision) + {DAY}, 1,
        CASE WHEN CAST(:after AS bigint) <= 1 THEN CAST(:locked AS double precision) END,
        CAST(:at AS double precision) + {DAY}
    FROM ({_RECIPIENTS}) m, (SELECT CAST(:service AS text) AS service, CAST(:context AS text) AS context,
        CAST(:created_at AS double precision) AS created_at) v WHERE true
    ON CONFLICT (service, purpose, hash, context) DO UPDATE SET
        hour = {running("guess.hour", "CAST(:at AS double precision)")} + 1,
        hour_until = CASE WHEN guess.hour_until > CAST(:at AS double precision) THEN guess.hour_until
            ELSE excluded.hour_until END,
        day = {running("guess.day", "CAST(:at AS double precision)")} + 1,
        day_until = CASE WHEN guess.day_until > CAST(:at AS double precision) THEN guess.day_until
            ELSE excluded.day_until END,
        streak = {_STREAK},
        locked_until = CASE WHEN guess.locked_until > CAST(:at AS double precision) THEN guess.locked_until
            WHEN {_STREAK} >= CAST(:after AS bigint) THEN CAST(:locked AS double precision) END,
        forget_at = excluded.forget_at
    RETURNING hash"""  # noqa: S608 - only names of our own are put in, values are bound

#: One more wrong code in a row, over all services.
COUNT_WRONG_IN_A_ROW = f"""UPDATE recipient SET wrong = wrong + 1,
        forget_at = CASE WHEN forget_at > CAST(:keep AS double precision) THEN forget_at
            ELSE CAST(:keep AS double precision) END
    WHERE hash IN ({_RECIPIENTS}) RETURNING hash"""  # noqa: S608 - only names of our own are put in, values are bound

#: Whether nothing of a message left, nor ever will.
_NEVER_LEFT: Final = """{0}.status IN ('failed', 'expired', 'canceled') AND COALESCE({0}.unknowns, 0) = 0
    AND NOT EXISTS (SELECT 1 FROM attempt a WHERE a.message_id = {0}.id
        AND (a.outcome IS NULL OR a.outcome IN ('sent', 'unknown')))"""

#: What an approval may have to put right: who was sent a message, where, what is counted against them, and whether that
#: message may have brought the code.
COUNTED = f"""SELECT m.recipient_hash AS hash, m.block_hash, m.counted, m.created_at, m.status,
        CASE WHEN m.generation = :generation AND NOT ({_NEVER_LEFT.format("m")}) THEN 1 ELSE 0 END AS brought,
        COALESCE(w.wrong, 0) AS wrong,
        EXISTS (SELECT 1 FROM guess g WHERE g.service = :service AND g.purpose = :purpose
            AND g.hash = m.recipient_hash) AS guessed
    FROM message m LEFT JOIN recipient w ON w.hash = m.recipient_hash
    WHERE m.verification_id = :id AND m.recipient_hash IS NOT NULL ORDER BY m.id"""  # noqa: S608 - only names of our own are put in, values are bound

#: An approval wipes the wrong codes of its service and purpose, from wherever they came, and those in a row.
FORGIVE_GUESSES = Statement(
    "guess.forgive",
    {"service": "text", "purpose": "text", "hash": "bytea"},
    """DELETE FROM guess WHERE (service, purpose, hash) IN (SELECT r.service, r.purpose, r.hash FROM r)""",
)
FORGIVE_RECIPIENT = Statement(
    "recipient.forgive",
    {"hash": "bytea"},
    """UPDATE recipient SET wrong = 0 FROM r WHERE recipient.hash = r.hash AND recipient.wrong > 0""",
)

#: What never left of a verification's messages, and has not been given back; ``counted`` is 0 of what counted as a send
#: and ``NULL`` of what did in its block alone. Where another channel took over to the same address, that was not counted
#: again: as long as it may have left, the one before it counts in its place.
GIVE_BACK = f"""UPDATE message SET counted = CASE counted WHEN {AS_SEND} THEN 0 END
    WHERE verification_id = :id AND counted IN ({AS_SEND}, {IN_BLOCK}) AND {_NEVER_LEFT.format("message")}
        AND NOT EXISTS (SELECT 1 FROM message f WHERE f.verification_id = message.verification_id
            AND f.recipient_hash = message.recipient_hash AND COALESCE(f.counted, {IN_BLOCK}) = {IN_BLOCK}
            AND f.created_at >= message.created_at AND NOT ({_NEVER_LEFT.format("f")}))
    RETURNING recipient_hash, block_hash, created_at, counted"""  # noqa: S608 - only names of our own are put in, values are bound

#: Several of one batch may be for one context.
TRUST = Statement(
    "trusted.insert",
    columns_of(models.Trusted),
    """INSERT INTO trusted (service, hash, context, until) SELECT r.service, r.hash, r.context, MAX(r.until) FROM r WHERE true
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 ON CONFLICT (service, hash, context) DO UPDATE SET until = excluded.until""",
)
TRUSTED = "SELECT context FROM trusted WHERE service = :service AND hash = :hash AND until > :at"

#: What counts no more, in small bites.
FORGET_RECIPIENTS = """DELETE FROM recipient WHERE forget_at <= :now AND hash IN
    (SELECT hash FROM recipient WHERE forget_at <= :now LIMIT 500) RETURNING hash"""
FORGET_GUESSES = """DELETE FROM guess WHERE forget_at <= :now AND (service, purpose, hash, context) IN
    (SELECT service, purpose, hash, context FROM guess WHERE forget_at <= :now LIMIT 500) RETURNING hash"""
FORGET_TRUSTED = """DELETE FROM trusted WHERE until <= :now AND (service, hash, context) IN
    (SELECT service, hash, context FROM trusted WHERE until <= :now LIMIT 500) RETURNING hash"""
FORGET_BLOCKS = """DELETE FROM block WHERE forget_at <= :now AND hash IN
    (SELECT hash FROM block WHERE forget_at <= :now LIMIT 500) RETURNING hash"""
FORGET_VISITORS = """DELETE FROM visitor WHERE until <= :now AND hash IN
    (SELECT hash FROM visitor WHERE until <= :now LIMIT 500) RETURNING hash"""
