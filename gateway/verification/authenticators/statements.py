"""The SQL of authenticators: every statement that writes an authenticator's status, guarded by what it must not undo."""

from __future__ import annotations

from gateway.storage import models
from gateway.storage.statement import Statement, insert_into

INSERT = insert_into(models.Authenticator)
INSERT_CODE = insert_into(models.RecoveryCode)

_LEFT = "(SELECT count(*) FROM recovery_code c WHERE c.authenticator_id = a.id) AS codes_left"

#: An authenticator with the number of its recovery codes.
ONE = f"SELECT a.*, {_LEFT} FROM authenticator a WHERE a.id = :id AND a.service = :service"  # noqa: S608 - only names of our own are put in, values are bound
PAGE = f"""SELECT a.*, {_LEFT} FROM authenticator a WHERE a.service = :service AND a.id < :cursor
    ORDER BY a.id DESC LIMIT CAST(:number AS bigint)"""  # noqa: S608 - the same
PAGE_OF = f"""SELECT a.*, {_LEFT} FROM authenticator a
    WHERE a.service = :service AND a.reference_hash = :hash AND a.id < :cursor
    ORDER BY a.id DESC LIMIT CAST(:number AS bigint)"""  # noqa: S608 - the same

#: An authenticator, its row locked until what follows is written: of two that replace its codes, the second sees the
#: first's.
HOLD = "UPDATE authenticator SET counter = counter WHERE id = :id AND service = :service RETURNING *"

#: A right code: its step or counter and all below are used up, and the authenticator is active, if it was not before.
ACCEPT = Statement(
    "authenticator.accept",
    {"id": "text", "used": "bigint", "at": "double precision"},
    """UPDATE authenticator SET status = 'active', counter = r.used + 1, ahead = NULL, used_at = r.at,
        activated_at = COALESCE(authenticator.activated_at, r.at)
    FROM r WHERE authenticator.id = r.id AND authenticator.counter <= r.used
        AND authenticator.status IN ('pending', 'active')
    RETURNING authenticator.id""",
    key=(0,),
)

#: What a wrong code says of how far the device is ahead.
SET_AHEAD = Statement(
    "authenticator.set_ahead",
    {"id": "text", "ahead": "bigint"},
    """UPDATE authenticator SET ahead = r.ahead FROM r WHERE authenticator.id = r.id RETURNING authenticator.id""",
    key=(0,),
)

#: A recovery code is used: of any number that give it at once, one is right.
USE_CODE = Statement(
    "recovery_code.use",
    {"hash": "bytea", "authenticator_id": "text"},
    """DELETE FROM recovery_code WHERE (hash, authenticator_id) IN (SELECT hash, authenticator_id FROM r)
    RETURNING hash""",
    key=(0,),
)

CODES_LEFT = "SELECT count(*) AS number FROM recovery_code WHERE authenticator_id = :id"

DELETE_CODES = "DELETE FROM recovery_code WHERE authenticator_id = :id RETURNING hash"
DELETE = "DELETE FROM authenticator WHERE id = :id AND service = :service RETURNING person_sealed"

#: A person's turn, unless a lock runs. The row stays locked until the answer is written, so all checks of a person, on
#: whatever node and of whichever authenticator, come one after the other, and each sees what the one before counted.
TAKE_TURN = """INSERT INTO throttle (service, reference_hash, authenticator_id, failures, locked_until, forget_at)
    VALUES (:service, :hash, '', 0, NULL, :forget_at)
    ON CONFLICT (service, reference_hash, authenticator_id) DO UPDATE
    SET locked_until = NULL, forget_at = excluded.forget_at
    WHERE throttle.locked_until IS NULL OR throttle.locked_until <= :now
    RETURNING failures"""
LOCKED_UNTIL = """SELECT locked_until FROM throttle
    WHERE service = :service AND reference_hash = :hash AND authenticator_id = ''"""
#: A person's failures, at all authenticators together.
FAILURES = """SELECT CAST(COALESCE(SUM(failures), 0) AS bigint) AS number FROM throttle
    WHERE service = :service AND reference_hash = :hash AND forget_at > :now"""
COUNT_FAILURE = """INSERT INTO throttle
        (service, reference_hash, authenticator_id, failures, locked_until, forget_at)
    VALUES (:service, :hash, :id, 1, NULL, :forget_at)
    ON CONFLICT (service, reference_hash, authenticator_id) DO UPDATE SET forget_at = excluded.forget_at,
        failures = CASE WHEN throttle.forget_at <= :now THEN 1 ELSE throttle.failures + 1 END
    RETURNING failures"""
LOCK = """UPDATE throttle SET locked_until = :until
    WHERE service = :service AND reference_hash = :hash AND authenticator_id = '' RETURNING failures"""
#: A right answer: the failures at this authenticator count no more, those at others do.
RESET = """DELETE FROM throttle WHERE service = :service AND reference_hash = :hash AND authenticator_id IN (:id, '')
    RETURNING failures"""

#: Whose an authenticator is, whichever service's.
OWNER = "SELECT id, service, reference_hash, person_sealed FROM authenticator WHERE id = :id"
#: An operator lifts a person's lock, then what counts towards it. In this order: the first waits for a check under way,
#: and so the second sees what that counted.
LIFT_LOCK = """DELETE FROM throttle WHERE service = :service AND reference_hash = :hash AND authenticator_id = ''
    RETURNING locked_until"""
LIFT_FAILURES = """DELETE FROM throttle WHERE service = :service AND reference_hash = :hash
    RETURNING failures, forget_at"""

#: Authenticators that nobody activated in time, and failures that count no more, in small bites.
OVERDUE = """SELECT id, service FROM authenticator WHERE status = 'pending' AND created_at <= :before
    ORDER BY created_at LIMIT 100"""
DELETE_OVERDUE = """DELETE FROM authenticator WHERE id = :id AND status = 'pending' RETURNING person_sealed"""
FORGET_THROTTLES = """DELETE FROM throttle WHERE forget_at <= :now AND (service, reference_hash, authenticator_id) IN
    (SELECT service, reference_hash, authenticator_id FROM throttle WHERE forget_at <= :now LIMIT 500)
    RETURNING failures"""
