"""What would be counted under another policy: the tables of the limits, in memory, by the rules of ``windows``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, TypeVar

from gateway.verification import cooldown
from gateway.verification.limits.past import Cause, Place, Send
from gateway.verification.limits.refusals import CONSECUTIVE_WRONG, MOMENT
from gateway.verification.limits.run import Guessed, Run
from gateway.verification.limits.windows import (
    DAY,
    HOUR,
    MOST_WRONG,
    OFF,
    REST,
    TEN_MINUTES,
    TRUSTED_FOR,
    WRONG_KEPT,
    Window,
    quota,
    rests,
)

#: The key of a limit that refuses, and the seconds for which it does.
_Reason = tuple[str, float]

#: Checks that a verification holds back, behind when it ends at the latest.
_Held = tuple[float, int]

#: The windows of sends: the limit's key and seconds, in the order of a person's.
_SENDS: Final = (("sends_per_10m", TEN_MINUTES), ("sends_per_hour", HOUR), ("sends_per_day", DAY))
#: The windows of guesses.
_GUESSES: Final = (("guesses_per_hour", HOUR), ("guesses_per_day", DAY))
_NEVER: Final = Window()

_K = TypeVar("_K")


@dataclass(slots=True, eq=False)
class _Person:
    """One recipient."""

    windows: list[Window] = field(default_factory=lambda: [_NEVER] * len(_SENDS))
    wrong: int = 0
    wrong_until: float = 0.0


@dataclass(slots=True, eq=False)
class _Guesses:
    """Wrong codes for one recipient, service, purpose and context."""

    windows: list[Window] = field(default_factory=lambda: [_NEVER] * len(_GUESSES))
    streak: int = 0
    locked_until: float = 0.0

    def streak_at(self, now: float) -> int:
        """Return how many wrong codes in a row count: none, once a lock is over."""
        return 0 if 0 < self.locked_until <= now else self.streak


@dataclass(slots=True, eq=False)
class _Block:
    """One block of numbers."""

    sends: Window = _NEVER
    approved: int = 0
    rests_until: float = 0.0


class Shadow:
    """Everything that is counted. Each method is given the time; times must not go back."""

    def __init__(self) -> None:
        self._people: dict[bytes, _Person] = {}
        #: By what was guessed at, and the context.
        self._guesses: dict[Guessed, dict[str, _Guesses]] = {}
        self._pending: dict[Guessed, dict[str, Run]] = {}
        #: What is pending for each recipient, whichever service's and purpose's.
        self._alive: dict[bytes, dict[str, Run]] = {}
        self._blocks: dict[str, _Block] = {}
        self._visitors: dict[tuple[str, str], Window] = {}
        self._cooldowns: dict[tuple[str, bytes], tuple[float, str]] = {}
        self._trusted: dict[tuple[str, bytes, str], float] = {}

    def refusal(self, run: Run, send: Send) -> str | None:
        """Return the key of the limit that refuses a send, of several the longest; nothing is counted."""
        if send.cause is Cause.CREATE:
            run.context = self._context(run, send)
        if run.brings_checks(send):
            run.budgets[send.place.hash] = run.context if self._trusts(run, send, run.context) else ""
        found = [*self._reasons(run, send)]
        return max(found, key=itemgetter(1))[0] if found else None

    def block_refusal(self, run: Run, send: Send) -> str | None:
        """Return the key of the limit that refuses a send which counts in its block of numbers alone."""
        return next((key for key, _ in self._of_block(run, send)), None)

    def claim_in_block(self, run: Run, send: Send) -> None:
        """Count a send in its block of numbers alone."""
        if send.place.block is not None:
            run.in_block.append(send)
            run.places[send.place.hash] = send.place
            self._claim_block(send.place.block, send.at)

    def claim(self, run: Run, send: Send) -> None:
        """Count a send."""
        at, place = send.at, send.place
        run.claimed.append(send)
        run.places[place.hash] = place
        person = self._people.setdefault(place.hash, _Person())
        person.windows = [
            window.claimed(at, length) for window, (_, length) in zip(person.windows, _SENDS, strict=True)
        ]
        if place.block is not None:
            self._claim_block(place.block, at)
        for other, checks in run.takes:
            other.max_checks -= checks
        run.takes = []
        self._pending.setdefault(run.guessed(place), {})[run.past.id] = run
        self._alive.setdefault(place.hash, {})[run.past.id] = run
        if send.cause is Cause.CREATE and run.past.visitor is not None:
            visitor = run.past.service, run.past.visitor
            self._visitors[visitor] = self._visitors.get(visitor, _NEVER).claimed(at, HOUR)
        if send.cause is not Cause.FALLBACK:
            run.sends += 1
            if length := cooldown.length(run.limits.cooldown, run.sends):
                self._cooldowns[run.past.service, place.hash] = at + length, run.past.id

    def give_back(self, run: Run, send: Send) -> None:
        """Count a send no longer, for nothing of it left."""
        run.took_back(send)
        if send in run.in_block:
            run.in_block.remove(send)
        elif send in run.claimed:
            run.claimed.remove(send)
            self._give_back_to(send)
        else:
            return
        block = None if send.place.block is None else self._blocks.get(send.place.block)
        if block is not None:
            block.sends = block.sends.given_back(send.at, HOUR)
            block.approved = min(block.approved, block.sends.count)

    def _give_back_to(self, send: Send) -> None:
        person = self._people.get(send.place.hash)
        if person is not None:
            # After too many wrong codes in a row the day keeps what never left.
            kept = DAY if person.wrong >= MOST_WRONG else None
            person.windows = [
                window if length == kept else window.given_back(send.at, length)
                for window, (_, length) in zip(person.windows, _SENDS, strict=True)
            ]

    def wrong(self, run: Run, now: float) -> None:
        """Count a wrong code against everybody it was sent to."""
        run.checks += 1
        for place in run.places.values():
            person = self._people.setdefault(place.hash, _Person())
            person.wrong = person.wrong + 1 if person.wrong_until > now else 1
            person.wrong_until = now + WRONG_KEPT
            row = self._guesses.setdefault(run.guessed(place), {}).setdefault(run.budgets[place.hash], _Guesses())
            row.windows = [
                window.claimed(now, length) for window, (_, length) in zip(row.windows, _GUESSES, strict=True)
            ]
            row.streak = row.streak_at(now) + 1
            lockout = run.limits.lockout
            if lockout is not None and row.locked_until <= now:
                # A lock that runs is not prolonged.
                row.locked_until = now + lockout.for_ if row.streak >= lockout.after else 0.0

    def end(self, run: Run, now: float) -> None:
        """End a verification; an approval resets what was counted against its recipients."""
        run.ended = True
        for place in run.places.values():
            _end_among(self._pending, run.guessed(place), run.past.id)
            _end_among(self._alive, place.hash, run.past.id)
            if run.past.approved:
                self._approve(run, place, now)
            key = run.past.service, place.hash
            if (run.past.approved or run.past.undelivered) and self._cooldowns.get(key, (0.0, ""))[1] == run.past.id:
                del self._cooldowns[key]

    def clear(self, now: float) -> None:
        """Forget what counts no more."""
        self._people = {
            key: one
            for key, one in self._people.items()
            if _any(one.windows, now) or (one.wrong and one.wrong_until > now)
        }
        self._guesses = {
            key: rows
            for key, rows in self._guesses.items()
            if any(_any(row.windows, now) or row.locked_until > now for row in rows.values())
        }
        self._blocks = {
            key: block for key, block in self._blocks.items() if max(block.sends.until, block.rests_until) > now
        }
        self._visitors = {key: window for key, window in self._visitors.items() if window.until > now}
        self._cooldowns = {key: row for key, row in self._cooldowns.items() if row[0] > now}
        self._trusted = {key: until for key, until in self._trusted.items() if until > now}

    def _context(self, run: Run, send: Send) -> str:
        return next((context for context in run.past.contexts if self._trusts(run, send, context)), "")

    def _trusts(self, run: Run, send: Send, context: str) -> bool:
        return self._trusted.get((run.past.service, send.place.hash, context), 0.0) > send.at

    def _reasons(self, run: Run, send: Send) -> Iterator[_Reason]:
        at, limits = send.at, run.limits
        until, _ = self._cooldowns.get((run.past.service, send.place.hash), (0.0, ""))
        if send.cause is not Cause.FALLBACK and limits.cooldown and until > at:
            yield "cooldown", until - at
        yield from self._of_person(run, send)
        yield from self._of_guesses(run, send)
        yield from self._of_wrong(run, send)
        yield from self._of_block(run, send)
        visitor = self._visitors.get((run.past.service, run.past.visitor or ""), _NEVER)
        if send.cause is Cause.CREATE and visitor.at(at) >= quota(limits.ip_per_hour):
            yield "ip_per_hour", visitor.until - at

    def _of_block(self, run: Run, send: Send) -> Iterator[_Reason]:
        at, most = send.at, run.limits.prefix_per_hour
        block = None if send.place.block is None else self._blocks.get(send.place.block)
        if block is not None and most:
            if block.rests_until > at:
                yield "prefix_per_hour", block.rests_until - at
            elif block.sends.at(at) - block.approved >= most:
                yield "prefix_per_hour", block.sends.until - at

    def _claim_block(self, name: str, at: float) -> None:
        block = self._blocks.setdefault(name, _Block())
        if block.sends.until <= at:
            block.approved = 0
        block.sends = block.sends.claimed(at, HOUR)
        block.rests_until = at + REST if rests(block.sends.count, block.approved) else 0.0

    def _of_person(self, run: Run, send: Send) -> Iterator[_Reason]:
        person = self._people.get(send.place.hash)
        if person is None:
            return
        for window, (key, _) in zip(person.windows, _SENDS, strict=True):
            if window.at(send.at) >= quota(getattr(run.limits, key)):
                yield key, window.until - send.at

    def _of_wrong(self, run: Run, send: Send) -> Iterator[_Reason]:
        person, at = self._people.get(send.place.hash, _Person()), send.at
        day, wrong = person.windows[-1], person.wrong if person.wrong_until > send.at else 0
        if not wrong or not run.brings_checks(send) or not day.at(at):
            return
        others = [other for other in self._alive.get(send.place.hash, {}).values() if other is not run]
        room = MOST_WRONG - wrong - _wanted(run, send)
        held = [(other.past.expires_at, other.reserved) for other in others]
        if _guesses_at(at, _NEVER, held) > room:
            free = (end for end in sorted(end for end, _ in held) if _guesses_at(end, _NEVER, held) <= room)
            yield CONSECUTIVE_WRONG, min(next(free, day.until), day.until) - at

    def _of_guesses(self, run: Run, send: Send) -> Iterator[_Reason]:
        key, at, context = run.guessed(send.place), send.at, run.budgets[send.place.hash]
        row = self._guesses.get(key, {}).get(context, _Guesses())
        others = [
            other
            for other in self._pending.get(key, {}).values()
            if other is not run and other.budgets[send.place.hash] == context and other.reserved
        ]
        yield from _of_lockout(run, send, row, others)
        held = [(other.past.expires_at, other.reserved) for other in others]
        wanted = _wanted(run, send)
        for window, (name, length) in zip(row.windows, _GUESSES, strict=True):
            limit, most = _budget(run, name, context)
            if _guesses_at(at, window, held) + wanted > most:
                ends = sorted(end for end in {window.until, *(end for end, _ in held)} if end > at)
                free = (end for end in ends if _guesses_at(end, window, held) + wanted <= most)
                yield limit, next(free, at + length) - at

    def _approve(self, run: Run, place: Place, now: float) -> None:
        if not {send.place.hash for send in run.claimed} <= {place.hash}:
            # Of a code that several had, nobody knows whose it was.
            return
        self._forgive(run, place, now)
        block = None if place.block is None or run.past.own_code else self._blocks.get(place.block)
        if block is not None:
            block.approved += sum(
                send.place.block == place.block and block.sends.until - HOUR <= send.at < block.sends.until
                for send in (*run.claimed, *run.in_block)
            )
            if not rests(block.sends.count, block.approved):
                block.rests_until = 0.0

    def _forgive(self, run: Run, place: Place, now: float) -> None:
        person = self._people.get(place.hash)
        if person is not None and not run.past.own_code:
            person.wrong = 0
        self._guesses.pop(run.guessed(place), None)
        arrived = any(send.accepted for send in run.claimed)
        for context in run.past.contexts if arrived else ():
            self._trusted[run.past.service, place.hash, context] = now + TRUSTED_FOR


def _end_among(pending: dict[_K, dict[str, Run]], key: _K, verification_id: str) -> None:
    runs = pending.get(key, {})
    runs.pop(verification_id, None)
    if not runs:
        pending.pop(key, None)


def _wanted(run: Run, send: Send) -> int:
    """Return the checks that are held back with a send beyond those that are already."""
    wanted = max(0, run.max_checks if send.cause is Cause.CREATE else run.reserved)
    return wanted - sum(checks for _, checks in run.takes)


def _of_lockout(run: Run, send: Send, row: _Guesses, others: Sequence[Run]) -> Iterator[_Reason]:
    """Yield the lock-out that refuses a send; a new verification takes no more checks than are left before one.

    What the pending ones have beyond one each, it takes over.
    """
    lockout, at = run.limits.lockout, send.at
    if lockout is None:
        return
    if row.locked_until > at:
        yield "lockout", row.locked_until - at
        return
    left = lockout.after - row.streak_at(at) - sum(other.reserved for other in others)
    wanted = run.reserved
    if send.cause is Cause.CREATE:
        run.max_checks = min(run.max_checks, left + sum(other.reserved - 1 for other in others))
        wanted, run.takes = 1, _taken(others, run.max_checks - left)
        left += sum(checks for _, checks in run.takes)
    if run.brings_checks(send) and left < wanted:
        yield "lockout", min((other.past.expires_at - at for other in others), default=MOMENT)


def _taken(others: Sequence[Run], missing: int) -> list[tuple[Run, int]]:
    """Return what so many checks are taken over from: the oldest first, each of which keeps one."""
    found = []
    for other in others:
        if (checks := min(other.reserved - 1, missing)) > 0:
            found.append((other, checks))
            missing -= checks
    return found


def _budget(run: Run, name: str, context: str) -> tuple[str, int]:
    """Return the key and the number of a limit of guesses: a trusted context has one of its own, for the hour alone."""
    if not context:
        return name, quota(getattr(run.limits, name))
    return ("context_per_hour", quota(run.limits.context_per_hour)) if name == "guesses_per_hour" else (name, OFF)


def _guesses_at(at: float, window: Window, held: Sequence[_Held]) -> int:
    """Return the wrong codes of a window, and the checks that are held back, at a time."""
    return window.at(at) + sum(checks for end, checks in held if end > at)


def _any(windows: list[Window], now: float) -> bool:
    return any(window.until > now for window in windows)
