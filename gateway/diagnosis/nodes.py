"""Whether a node works on the database, and whether messages wait where none does."""

from __future__ import annotations

from typing import Final

from channels.findings import Finding, fault, ok

#: Messages that are counted at most: more say no more.
MOST: Final = 1000

_SUBJECT: Final = "nodes"


def question(now: str) -> str:
    """Return the SQL that asks for both, at a time whose placeholder is ``now``.

    Every node keeps house or waits to; the one that does holds that lease, and of one that was killed it holds for 20 s more.
    A message whose code has died waits for nobody.
    """
    return f"""SELECT EXISTS (SELECT 1 FROM lease WHERE name = 'house' AND until > {now}) AS runs,
        (SELECT count(*) FROM (SELECT 1 FROM message WHERE status = 'queued' AND expires_at > {now} LIMIT {MOST}) AS w)
            AS waiting"""  # noqa: S608 - a placeholder and a number of our own


def of_nodes(*, runs: bool, waiting: int) -> Finding:
    """Return what it means that a node works on the database or none does, while so many messages wait."""
    if runs:
        return ok(_SUBJECT, "a node works on it")
    if not waiting:
        return ok(_SUBJECT, "none works on it now, and nothing waits to be sent")
    number = f"{MOST} or more messages wait" if waiting >= MOST else f"{waiting} messages wait"
    told = "1 message waits" if waiting == 1 else number
    return fault(_SUBJECT, f"{told} and no node sends what is queued in this database: start `otp-gateway serve`")
