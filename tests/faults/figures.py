"""What a fault did to the codes: the figures of one run, joined from what was promised and what the providers got."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.sandbox.inbox import Letter
from gateway.sandbox.shapes import code_of


@dataclass(frozen=True, slots=True)
class Promise:
    """One acknowledged request: what the gateway answered 201 to."""

    #: The recipient.
    to: str
    #: The verification's id.
    id: str
    #: When it was acknowledged, and when its code dies; seconds since the Unix epoch.
    at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Joined:
    """The promises against the providers' logs."""

    #: Recipients that were promised a code and never got one.
    lost: Collection[str] = ()
    #: Sends beyond the first, summed over the recipients.
    duplicated: int = 0
    #: Recipients that got two different codes.
    other_codes: Collection[str] = ()
    #: Recipients that were sent to after the code's death.
    late: Collection[str] = ()


def joined(promises: Iterable[Promise], letters: Iterable[Letter], *, excused: Collection[str] = ()) -> Joined:
    """Join what was promised with what arrived. ``excused`` are recipients who rightly got nothing."""
    promised = {promise.to: promise for promise in promises}
    codes: defaultdict[str, set[str | None]] = defaultdict(set)
    times: Counter[str] = Counter()
    late = set()
    for letter in letters:
        if letter.to not in promised:
            continue
        times[letter.to] += 1
        codes[letter.to].add(code_of(letter))
        if letter.received_at > promised[letter.to].expires_at:
            late.add(letter.to)
    return Joined(
        lost=sorted(promised.keys() - times.keys() - set(excused)),
        duplicated=times.total() - len(times),
        other_codes=sorted(to for to, found in codes.items() if len(found) > 1),
        late=sorted(late),
    )


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of one fault on one database, with the bounds it is held to."""

    #: Acknowledged requests that were neither sent in time nor told to have ended; sends after the code's death.
    lost: int = 0
    late: int = 0
    #: Sends beyond the first, and how many the fault excuses: those whose answer it took away.
    duplicated: int = 0
    excused: int = 0
    #: Recipients that were sent two different codes; never excused.
    other_codes: int = 0
    #: Seconds from the end of the fault until everything was sent; ``None`` where nothing had to recover.
    recovery: float | None = None
    #: The longest recovery that is accepted.
    recovery_within: float = 25.0
    #: Other figures, by name, as they are shown.
    others: Mapping[str, object] = field(default_factory=dict)
    #: The fault's own bounds and whether each held.
    held: Mapping[str, bool] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        """The bounds that did not hold; empty where all is well."""
        found = [name for name, count in (("lost", self.lost), ("late", self.late)) if count]
        if self.other_codes:
            found.append("two codes for one verification")
        if self.duplicated > self.excused:
            found.append(f"duplicated {self.duplicated}, excused {self.excused}")
        if self.recovery is not None and self.recovery > self.recovery_within:
            found.append(f"recovery {self.recovery:.1f} s, accepted {self.recovery_within:g} s")
        return [*found, *(f"not so: {name}" for name, well in self.held.items() if not well)]


def figures(
    promises: Iterable[Promise],
    letters: Iterable[Letter],
    *,
    expected_silent: Collection[str] = (),
    excused: int = 0,
    recovery: float | None = None,
    recovery_within: float = 25.0,
    others: Mapping[str, object] | None = None,
    held: Mapping[str, bool] | None = None,
) -> Figures:
    """Return the figures of a run; ``expected_silent`` are recipients who rightly got nothing."""
    found = joined(promises, letters, excused=expected_silent)
    return Figures(
        lost=len(found.lost),
        late=len(found.late),
        duplicated=found.duplicated,
        excused=excused,
        other_codes=len(found.other_codes),
        recovery=recovery,
        recovery_within=recovery_within,
        others=others or {},
        held=held or {},
    )


def summed(runs: Sequence[Figures]) -> Figures:
    """Return several runs of one fault as one: counts added up, the longest recovery, what held in all of them."""
    others: dict[str, object] = {"runs": len(runs)}
    for name in dict.fromkeys(name for run in runs for name in run.others):
        values = [run.others[name] for run in runs if name in run.others]
        numbers = [value for value in values if isinstance(value, int)]
        others[name] = sum(numbers) if len(numbers) == len(values) else values[-1]
    recoveries = [run.recovery for run in runs if run.recovery is not None]
    return Figures(
        lost=sum(run.lost for run in runs),
        late=sum(run.late for run in runs),
        duplicated=sum(run.duplicated for run in runs),
        excused=sum(run.excused for run in runs),
        other_codes=sum(run.other_codes for run in runs),
        recovery=max(recoveries, default=None),
        recovery_within=runs[-1].recovery_within,
        others=others,
        held={name: all(run.held.get(name, True) for run in runs) for run in runs for name in run.held},
    )
