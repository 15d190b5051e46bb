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
END_COOLDOWN = """DELETE FROM cooldown WHERE verification_id = :id RETURNING hash"""

COOLDOWN = """SELECT until, verification_id FROM cooldown WHERE service = :service AND hash = :hash"""

#: A check is spent, or there is none to spend. The row stays locked until the answer is written.
SPEND_CHECK = """UPDATE verification SET checks = checks + 1
    WHERE id = :id AND service = :service AND status = 'pending' AND checks < max_checks AND expires_at > :now
    RETURNING purpose, generation, checks, max_checks, code_sealed, created_at"""

#: A pending verification ends, and its code and parameters are wiped in the same write.
END = Statement(
    "verification.end",
    {"id": "text", "status": "text", "at": "double precision"},
    """UPDATE verification SET status = r.status, ended_at = r.at, code_sealed = NULL, params_sealed = NULL
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
        "resend_at": "double precision",
        "generation": "bigint",
        "code_sealed": "bytea",
    },
    """UPDATE verification SET sends = r.sends, resend_at = r.resend_at, generation = r.generation,
        code_sealed = COALESCE(r.code_sealed, verification.code_sealed)
    FROM r WHERE verification.id = r.id AND verification.status = 'pending' AND verification.expires_at > r.at
        AND verification.resend_at <= r.at AND verification.sends = r.sends - 1
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

ONE = "SELECT * FROM verification WHERE id = :id AND service = :service"

#: Whether a message of it may have reached the person.
ANYTHING_LEFT = """SELECT 1 FROM attempt WHERE verification_id = :id AND (outcome IN ('sent', 'unknown') OR outcome IS NULL)
    LIMIT 1"""

#: Whether a message of it may still be sent.
ANYTHING_OPEN = """SELECT 1 FROM message WHERE verification_id = :id AND status IN ('waiting', 'queued', 'sending')
    LIMIT 1"""

#: Cooldowns that are over, in small bites.
FORGET_COOLDOWNS = """DELETE FROM cooldown WHERE (service, hash) IN
    (SELECT service, hash FROM cooldown WHERE until <= :before LIMIT 500) RETURNING hash"""
