"""How likely a code is guessed: tries a day against how many codes there are, for each service and purpose.

The worst case: somebody who may start verifications for one recipient and guess at each, as a stranger and from one device
or IP address that was approved for the recipient before. The limits on wrong codes let them try

- as a stranger ``guesses_per_day`` times, 24 x ``guesses_per_hour``, or what a lock-out leaves, whichever is least, and
- 24 x ``context_per_hour`` times from the device that is trusted.

The limits on sends and the cooldown do not count: what never left is given back, so somebody who guesses faster than a slow
channel sends is not held up by them. A recipient who is approved in between starts the counts anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.config.given import Findings, KeyPath, label
from gateway.config.services import PurposeLimits, ServiceSettings
from gateway.config.settings import Settings
from gateway.value import Value
from gateway.verification.codes import FEWEST, combinations, entropy

#: The likeliest that a recipient's code is guessed in a day, unless ``allow_guessable``: one in a thousand.
LIKELIEST: Final = 1e-3

_ADVICE: Final = "make codes longer or limits lower, or set allow_guessable = true"
_DAY: Final = 86_400


class WorstCase(Value, frozen=True):
    """How likely a code of one service and purpose is guessed."""

    #: The table in the settings: ``("services", "shop", "purposes", "login")``.
    path: KeyPath
    service: str
    #: ``None`` for every purpose without a table of its own.
    purpose: str | None
    #: What codes are like: ``6 digits``.
    made_of: str
    #: How many codes there are.
    codes: int
    #: Bits of a code.
    entropy: float
    #: Tries a day for one recipient; ``None`` where nothing limits them.
    tries: int | None
    #: The keys and figures that make it so.
    because: str

    @property
    def chance(self) -> float:
        """How likely a recipient's code is guessed in a day, from 0 to 1."""
        return 1.0 if self.tries is None else min(1.0, self.tries / self.codes)

    @property
    def odds(self) -> str:
        """The same in words: ``1 in 10,000``."""
        return "certain" if self.chance == 1.0 else f"1 in {round(1 / self.chance):,}"


def worst_cases(settings: Settings) -> list[WorstCase]:
    """Return the arithmetic of every service, each followed by its purposes."""
    return [_worst_case(path, policy) for path, policy in settings.policies()]


def judge(settings: Settings, findings: Findings) -> None:
    """Note every policy that is impossible, or that lets codes be guessed and was not told to, with the arithmetic.

    A table that has the codes and limits of the one it inherits from is judged there.
    """
    for path, policy in settings.policies():
        above = [other for other in _above(path, settings) if other is not policy]
        if (policy.code, policy.limits) not in [(other.code, other.limits) for other in above]:
            for key, fault in (*_impossible(policy), *_guessable(path, policy)):
                _note((*path, "code", key), fault, findings)


def _above(path: KeyPath, settings: Settings) -> Iterator[ServiceSettings]:
    """Yield what a table inherits from: its service, and the same in ``[services.default]``."""
    default = settings.services.get("default")
    if len(path) > 2:
        yield settings.services[path[1]]
    if default is not None:
        yield default.for_purpose(path[3]) if len(path) > 2 else default


def _worst_case(path: KeyPath, policy: ServiceSettings) -> WorstCase:
    code = policy.code
    tries, because = _tries(policy.limits)
    return WorstCase(
        path=path,
        service=path[1],
        purpose=path[3] if len(path) > 2 else None,
        made_of=f"{code.length} {code.alphabet}" + (f" with {', '.join(code.classes)}" if code.classes else ""),
        codes=combinations(code.length, code.alphabet, code.classes),
        entropy=entropy(code.length, code.alphabet, code.classes),
        tries=tries,
        because=because,
    )


def _tries(limits: PurposeLimits) -> tuple[int | None, str]:
    """Return the tries a day for one recipient, ``None`` where nothing limits them, and why."""
    if limits.mode == "observe":
        return None, 'with mode = "observe" nothing is refused'
    strangers = min(_by_strangers(limits), default=None)
    if strangers is None:
        return None, "guesses_per_hour and guesses_per_day are off"
    if not limits.context_per_hour:
        return None, "context_per_hour is off, and with it the limit for devices that are trusted"
    tries, because = strangers
    return tries + 24 * limits.context_per_hour, f"{because} + 24 x {limits.context_per_hour:,} context_per_hour"


def _by_strangers(limits: PurposeLimits) -> Iterator[tuple[int, str]]:
    """Yield the tries a day that each limit on wrong codes lets a stranger make."""
    if limits.guesses_per_day:
        yield limits.guesses_per_day, f"{limits.guesses_per_day:,} guesses_per_day"
    if limits.guesses_per_hour:
        yield 24 * limits.guesses_per_hour, f"24 x {limits.guesses_per_hour:,} guesses_per_hour"
    if lockout := limits.lockout:
        rounds = -(-_DAY // lockout.for_)
        yield rounds * lockout.after, f"{rounds} x {lockout.after} of lockout"


def _impossible(policy: ServiceSettings) -> Iterator[tuple[str, str]]:
    """Yield key and fault of what cannot work: a verification reserves all of its checks before it starts."""
    limits, checks = policy.limits, policy.code.max_checks
    bounds = [
        ("guesses_per_hour", limits.guesses_per_hour, "no verification could start"),
        ("guesses_per_day", limits.guesses_per_day, "no verification could start"),
        ("context_per_hour", limits.context_per_hour, "nobody could start one from a device that is trusted"),
        ("lockout.after", limits.lockout.after if limits.lockout else 0, "no verification would have them all"),
    ]
    for key, bound, consequence in bounds:
        if 0 < bound < checks:
            fault = f"{checks} are more than {key} = {bound}, so {consequence}; lower it, or raise the limit"
            yield "max_checks", fault


def _guessable(path: KeyPath, policy: ServiceSettings) -> Iterator[tuple[str, str]]:
    case, code = _worst_case(path, policy), policy.code
    # Who allows short codes was told that they are easy to guess: they pass where six digits would.
    codes = max(case.codes, FEWEST) if code.allow_short else case.codes
    if code.allow_guessable or (case.tries is not None and case.tries <= LIKELIEST * codes):
        return
    yield "length", f"{_arithmetic(case)}; more than 1 in {round(1 / LIKELIEST):,} is refused: {_ADVICE}"


def _arithmetic(case: WorstCase) -> str:
    if case.tries is None:
        return f"any number of tries a day ({case.because}) guess a recipient's code of {case.made_of}"
    tries, codes = f"{case.tries:,} tries a day ({case.because})", f"{case.codes:,} codes ({case.made_of})"
    return f"{tries} at {codes} guess a recipient's code with a chance of {case.odds} a day"


def _note(path: KeyPath, fault: str, findings: Findings) -> None:
    entry = findings.given.get(path)
    findings.refuse(path, f"{entry.label if entry else label(path)}: {fault}")
