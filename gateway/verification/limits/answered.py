"""What limits must know to count a given code, read beside the writer, and counting a wrong one among many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.storage.statement import Statement
from gateway.storage.unit import Write
from gateway.verification.limits.counting import ARRIVED
from gateway.verification.limits.statements import BUDGET
from gateway.verification.limits.windows import DAY, HOUR, WRONG_KEPT, running

#: A verification with a code that lives beyond ``after`` and a wrong answer that is not its last, once for each of its
#: messages; ``brought`` whether that one may have brought this code, ``budget`` whose guesses its checks are of. Whether
#: wrong codes are there to be forgiven is not looked up but taken for granted: the writer finds out for as much.
LOOK: Final = f"""SELECT v.purpose, v.generation, v.checks, v.max_checks, v.code_sealed, v.created_at AS begun_at, v.alphabet,
        v.bind_hash, v.route_sealed, v.client_ip, v.client_reference, v.own_code, m.id, m.step, m.status, m.created_at,
        m.recipient_hash AS hash, m.block_hash, m.counted, {BUDGET.format("m.recipient_", "v.")} AS budget,
        CASE WHEN m.generation = v.generation THEN 1 ELSE 0 END AS brought, 1 AS wrong, 1 AS guessed
    FROM verification v JOIN message m ON m.verification_id = v.id
    WHERE v.id = :id AND v.service = :service AND v.status = 'pending' AND v.code_sealed IS NOT NULL
        AND v.expires_at > :after AND v.checks + 1 < v.max_checks"""  # noqa: S608 - only names of our own are put in, values are bound

_AT: Final = f"excluded.forget_at - {DAY}"
#: Wrong codes where nothing locks out, several of one batch for one recipient among them. When they were given is told
#: by what was to be written, for a batch has no moment of its own.
COUNT_WRONG: Final = Statement(
    "guess.count",
    {"service": "text", "purpose": "text", "hash": "bytea", "context": "text", "at": "double precision"},
    f"""INSERT INTO guess (service, purpose, hash, context, hour, hour_until, day, day_until, streak, locked_until, forget_at)
    SELECT r.service, r.purpose, r.hash, r.context, COUNT(*), MAX(r.at) + {HOUR}, COUNT(*), MAX(r.at) + {DAY}, COUNT(*),
        CAST(NULL AS double precision), MAX(r.at) + {DAY}
    FROM r WHERE true GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (service, purpose, hash, context) DO UPDATE SET
        hour = {running("guess.hour", _AT)} + excluded.hour,
        hour_until = CASE WHEN guess.hour_until > {_AT} THEN guess.hour_until ELSE excluded.hour_until END,
        day = {running("guess.day", _AT)} + excluded.day,
        day_until = CASE WHEN guess.day_until > {_AT} THEN guess.day_until ELSE excluded.day_until END,
        streak = CASE WHEN guess.locked_until <= {_AT} THEN 0 ELSE guess.streak END + excluded.streak,
        locked_until = CASE WHEN guess.locked_until > {_AT} THEN guess.locked_until END,
        forget_at = excluded.forget_at""",  # noqa: S608 - only names of our own are put in, values are bound
)

#: The same codes in a row, over all services.
COUNT_WRONG_IN_A_ROW: Final = Statement(
    "recipient.count_wrong",
    {"hash": "bytea", "keep": "double precision"},
    """UPDATE recipient SET wrong = recipient.wrong + c.number,
        forget_at = CASE WHEN recipient.forget_at > c.keep THEN recipient.forget_at ELSE c.keep END
    FROM (SELECT r.hash AS hash, COUNT(*) AS number, MAX(r.keep) AS keep FROM r WHERE true GROUP BY r.hash
        ORDER BY r.hash) c
    WHERE recipient.hash = c.hash""",
)


def is_plain(found: Sequence[Any]) -> bool:
    """Whether no message is to be ended or given back, whatever the code: all that ``LOOK`` returned were sent."""
    sent = all(item["status"] in ARRIVED and item["hash"] is not None for item in found)
    return sent and any(item["brought"] for item in found)


def wrong(found: Sequence[Any], service: str, now: float) -> list[Write]:
    """Return what counts a wrong code against everybody a message was made for; ``found`` is what ``LOOK`` returned.

    As ``counting.wrong`` does for a service that locks nobody out.
    """
    purpose, budgets = found[0]["purpose"], {item["hash"]: item["budget"] for item in found}
    counted: list[Write] = [
        (COUNT_WRONG, (service, purpose, address_hash, budget, now)) for address_hash, budget in budgets.items()
    ]
    in_a_row: list[Write] = [(COUNT_WRONG_IN_A_ROW, (address_hash, now + WRONG_KEPT)) for address_hash in budgets]
    # In the order in which an approval takes their rows, so that neither waits for the other crosswise.
    return [*in_a_row, *counted]
