"""Which limit is in a claim's way, for how long, and the refusal that says so.

Asked after a claim was not written, and beforehand where limits only observe. A refusal costs nothing: what it is made
from is read, and a log line and a count in the metrics are all it leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from gateway.config.services import LockoutSettings
from gateway.errors import RateLimited, Refused
from gateway.storage.unit import Fetch, Record
from gateway.value import Value
from gateway.verification import cooldown
from gateway.verification import statements as rows
from gateway.verification.limits import statements as sql
from gateway.verification.limits.claims import Claim
from gateway.verification.limits.windows import (
    DAY,
    HOUR,
    LATEST_CODES,
    MOST_WRONG,
    TEN_MINUTES,
    Window,
)

_log = logging.getLogger(__name__)

#: The limit that has no key, for it is fixed: wrong codes in a row, over all services.
CONSECUTIVE_WRONG: Final = "consecutive_wrong"
#: The limit that counts wrong codes in a row as well, and closes for a time.
LOCKOUT: Final = "lockout"
#: Seconds after which a caller returns where what was in the way was gone by the time it was looked for.
MOMENT: Final = 1.0


class Reason(Value, frozen=True):
    """One limit that is in the way."""

    #: Its key in the service's table.
    limit: str
    #: How many it allows in how many seconds.
    most: int
    window: float
    #: Seconds after which it is in the way no more, if nothing else is counted.
    wait: float
    #: The pending verification whose cooldown it is.
    verification: str | None = None


class Found(Value, frozen=True):
    """What is counted against a claim: rows, ``None`` where there is none."""

    hidden: ClassVar[frozenset[str]] = frozenset({"recipient", "guess", "block", "visitor"})

    recipient: Record | None = None
    guess: Record | None = None
    #: Checks that are held back by verifications, their ids and when they end at the latest; the oldest first.
    reserved: Sequence[Record] = ()
    #: The same, whichever service's they are; not looked for where no code was wrong.
    pending: Sequence[Record] = ()
    block: Record | None = None
    visitor: Record | None = None
    cooldown: Record | None = None


async def look(fetch: Fetch, claim: Claim) -> Found:
    """Read what is counted against a claim, within a transaction or beside one."""
    hashed = {"service": claim.service, "hash": claim.hash}
    guesses = {**hashed, "purpose": claim.purpose, "context": claim.context}
    lately = {"since": claim.since, "at": claim.at}
    reserved = await fetch(sql.RESERVED, **guesses, **lately)
    recipient = _one(await fetch(sql.RECIPIENT, hash=claim.hash))
    wrong = recipient is not None and recipient["wrong"] and claim.brings_checks
    return Found(
        recipient=recipient,
        pending=await fetch(sql.RESERVED_BY_ANY, hash=claim.hash, **lately) if wrong else (),
        guess=_one(await fetch(sql.GUESS, **guesses)),
        reserved=reserved,
        block=None if claim.block is None else _one(await fetch(sql.BLOCK, hash=claim.block)),
        visitor=None if claim.visitor is None else _one(await fetch(sql.VISITOR, hash=claim.visitor)),
        cooldown=_one(await fetch(rows.COOLDOWN, **hashed, at=claim.at)) if claim.cools else None,
    )


def reasons(claim: Claim, found: Found) -> list[Reason]:
    """Return every limit that is in the way of a claim."""
    return [
        *_of_cooldown(claim, found.cooldown),
        *_of_sends(claim, found.recipient),
        *_of_wrong(claim, found),
        *_of_guesses(claim, found),
        *_of_lockout(claim, found),
        *of_block(claim, found.block),
        *_of_visitor(claim, found.visitor),
    ]


def repeats(claim: Claim, found: Found) -> bool:
    """Whether a claim's code is one of the recipient's latest."""
    latest = found.recipient
    if claim.code is None or latest is None or latest["codes_until"] <= claim.at:
        return False
    return claim.code in [latest[f"code_{place}"] for place in range(1, LATEST_CODES + 1)]


def bounded(claim: Claim, found: Found) -> Claim:
    """Return the claim of a new verification with no more checks than are left before its service locks the recipient out.

    Pending ones hold those back that they have. What they have beyond one each it takes over, the oldest's first: else a
    person who asks once more, for the first code never came, would be locked out by nobody's wrong code.
    """
    lockout = claim.limits.lockout
    if lockout is None or claim.observes:
        return claim
    free = _left(claim, found, lockout)
    need, takes = min(claim.need, free + _spare(found)), []
    for row in found.reserved:
        if (taken := min(row["checks"] - 1, need - free)) > 0:
            takes.append((row["id"], taken))
            free += taken
    return replace(claim, need=need, takes=takes)


def refusal(claim: Claim, found: Sequence[Reason]) -> Refused:
    """Return the refusal for what is in the way: of the limit that is longest, so that who obeys it gets through."""
    # It may have gone between the refused write and the look.
    longest = max(found, key=lambda reason: reason.wait, default=Reason("cooldown", 1, claim.cooldown or 0, MOMENT))
    _log.info("refused by the limit %s", longest.limit, extra={"service": claim.service})
    if longest.limit == "cooldown":
        return cooldown.refusal(longest.wait, longest.verification, base=claim.limits.cooldown)
    seconds = max(1, -int(-longest.wait // 1))
    headers = {
        "RateLimit-Policy": f'"{longest.limit}";q={longest.most};w={int(longest.window)}',
        "RateLimit": f'"{longest.limit}";r=0;t={seconds}',
    }
    detail = f"{longest.limit}: {_allowed(longest)}; again in {seconds} s"
    return RateLimited(detail, retry_after=longest.wait, headers=headers, limit=longest.limit)


def _allowed(reason: Reason) -> str:
    if reason.limit == LOCKOUT:
        return f"no more than {reason.most} wrong codes in a row, then locked for {int(reason.window)} s"
    allowed = f"no more than {reason.most} in {int(reason.window)} s"
    return f"{allowed} after {MOST_WRONG} wrong codes in a row" if reason.limit == CONSECUTIVE_WRONG else allowed


def _one(found: Sequence[Record]) -> Record | None:
    return found[0] if found else None


def _window(row: Any, name: str) -> Window:
    return Window() if row is None else Window(row[name], row[f"{name}_until"])


def _of_cooldown(claim: Claim, row: Record | None) -> Iterator[Reason]:
    # A purpose without one is not refused by that of another.
    if row is not None and row["until"] > claim.at and claim.cooldown:
        wait = row["until"] - claim.at
        yield Reason("cooldown", 1, claim.limits.cooldown, wait, row["verification_id"])


def _of_sends(claim: Claim, row: Record | None) -> Iterator[Reason]:
    limits = claim.limits
    for key, name, most, length in (
        ("sends_per_10m", "ten_minutes", limits.sends_per_10m, TEN_MINUTES),
        ("sends_per_hour", "hour", limits.sends_per_hour, HOUR),
        ("sends_per_day", "day", limits.sends_per_day, DAY),
    ):
        window = _window(row, name)
        if most and window.at(claim.at) >= most:
            yield Reason(key, most, length, window.until - claim.at)


def _of_wrong(claim: Claim, found: Found) -> Iterator[Reason]:
    """Yield the limit of wrong codes in a row: those that were, and those that may be once all checks are used up."""
    row, day = found.recipient, _window(found.recipient, "day")
    if row is None or not row["wrong"] or not claim.brings_checks or not day.at(claim.at):
        return
    room = MOST_WRONG - row["wrong"] - claim.adds
    if _held_back(found.pending, claim.at) > room:
        ends = sorted(item["expires_at"] for item in found.pending if item["expires_at"] > claim.at)
        free = next((end for end in ends if _held_back(found.pending, end) <= room), day.until)
        yield Reason(CONSECUTIVE_WRONG, 1, DAY, min(free, day.until) - claim.at)


def _of_guesses(claim: Claim, found: Found) -> Iterator[Reason]:
    hour = "context_per_hour" if claim.context else "guesses_per_hour"
    for key, name, most, length in (
        (hour, "hour", claim.guesses_per_hour, HOUR),
        ("guesses_per_day", "day", claim.guesses_per_day, DAY),
    ):
        window = _window(found.guess, name)
        if window.at(claim.at) + _held_back(found.reserved, claim.at) + claim.adds > most:
            yield Reason(key, most, length, _frees(claim, found, window, most, length))


def _frees(claim: Claim, found: Found, window: Window, most: int, length: float) -> float:
    """Return the seconds until enough checks are free: a window ends, or verifications that hold some back do."""
    ends = {window.until, *(row["expires_at"] for row in found.reserved)}
    for at in sorted(end for end in ends if end > claim.at):
        if window.at(at) + _held_back(found.reserved, at) + claim.adds <= most:
            return float(at - claim.at)
    return length


def _held_back(reserved: Sequence[Record], now: float) -> int:
    return sum(row["checks"] for row in reserved if row["expires_at"] > now)


def _of_lockout(claim: Claim, found: Found) -> Iterator[Reason]:
    lockout, row = claim.limits.lockout, found.guess
    if lockout is None:
        return
    until = 0.0 if row is None else row["locked_until"] or 0.0
    if until > claim.at:
        yield Reason(LOCKOUT, lockout.after, lockout.for_, until - claim.at)
    elif claim.brings_checks and _locks(claim, found, lockout):
        ends = [held["expires_at"] - claim.at for held in found.reserved if held["expires_at"] > claim.at]
        yield Reason(LOCKOUT, lockout.after, lockout.for_, min(ends, default=MOMENT))


def _locks(claim: Claim, found: Found, lockout: LockoutSettings) -> bool:
    """Whether a claim's checks could be more wrong codes in a row than are left."""
    left = _left(claim, found, lockout)
    # A new verification makes do with one and may take it over; one that turns to somebody else has all of its own.
    return left + _spare(found) < 1 if claim.starts else left < claim.need


def _left(claim: Claim, found: Found, lockout: LockoutSettings) -> int:
    """Return how many wrong codes in a row neither were given nor may be by pending verifications."""
    return lockout.after - _streak(claim, found.guess, lockout) - _held_back(found.reserved, claim.at)


def _spare(found: Found) -> int:
    """Return the checks that pending verifications have beyond one each."""
    return sum(row["checks"] - 1 for row in found.reserved if row["checks"] > 1)


def _streak(claim: Claim, row: Record | None, lockout: LockoutSettings) -> int:
    """Return the wrong codes in a row that count towards the lock.

    More of them than begin one, and none begun, were counted while nothing locked: one is left then, whose miss locks.
    With none left nobody would be sent anything, and as nothing could be checked, that would have no end.
    """
    if row is None:
        return 0
    streak: int = row["streak"]
    if row["locked_until"] is None:
        return min(streak, lockout.after - 1)
    return 0 if row["locked_until"] <= claim.at else streak


def of_block(claim: Claim, row: Record | None) -> Iterator[Reason]:
    """Yield the limit of a block of numbers, where it is in the way of a claim."""
    most = claim.limits.prefix_per_hour
    if row is None or not most:
        return
    if (row["rests_until"] or 0.0) > claim.at:
        yield Reason("prefix_per_hour", most, HOUR, row["rests_until"] - claim.at)
    elif row["until"] > claim.at and row["sends"] - row["approved"] >= most:
        yield Reason("prefix_per_hour", most, HOUR, row["until"] - claim.at)


def _of_visitor(claim: Claim, row: Record | None) -> Iterator[Reason]:
    most = claim.limits.ip_per_hour
    if claim.starts and row is not None and most and row["until"] > claim.at and row["count"] >= most:
        yield Reason("ip_per_hour", most, HOUR, row["until"] - claim.at)
