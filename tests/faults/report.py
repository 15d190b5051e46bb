"""docs/reliability.md: what is promised, how it was attacked, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.faults.figures import Figures
from tests.faults.mutation import Verdict
from tests.faults.trial import Trial


@dataclass(frozen=True, slots=True)
class Result:
    """One trial on one database: its figures, or why there are none."""

    trial: Trial
    engine: str
    figures: Figures | None = None
    #: What this machine lacks to inject it.
    skipped: str | None = None
    #: What went wrong with the script itself.
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether a bound did not hold, or the script broke off."""
        return self.error is not None or bool(self.figures and self.figures.broken)

    @property
    def verdict(self) -> str:
        """In a few words: ``held``, ``skipped`` or what is broken."""
        if self.skipped is not None:
            return "skipped"
        if self.error is not None or self.figures is None:
            return f"**broke off**: {self.error}"
        return "**" + "; ".join(self.figures.broken) + "**" if self.figures.broken else "held"


def order(result: Result) -> tuple[int, str]:
    """Sort results by the fault's number, then the database; the order of the scripts is kept within."""
    return int(result.trial.fault.removeprefix("F-")), ""


def line(result: Result) -> str:
    """Return a result as a line of the table."""
    found = result.figures
    cells = [result.trial.fault, result.trial.what, "SQLite" if result.engine == "sqlite" else "PostgreSQL"]
    if found is None:
        cells += ["-"] * 5
    else:
        recovery = "-" if found.recovery is None else f"{found.recovery:.1f}"
        twice = f"{found.duplicated} of {found.excused}" if found.excused else str(found.duplicated)
        others = ", ".join(f"{name} {value}" for name, value in found.others.items())
        cells += [str(found.lost), twice, str(found.late), recovery, others or "-"]
    cells += [result.trial.accept, result.verdict]
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def table(results: Sequence[Result]) -> str:
    """Return the table of all results."""
    head = "| F | what | database | lost | twice | late | recovery s | other figures | accepted | verdict |"
    return "\n".join([head, "|" + "---|" * 10, *(line(result) for result in sorted(results, key=order))])


def injections(results: Sequence[Result]) -> str:
    """Return how each fault is injected, once for both databases."""
    seen: dict[tuple[str, str], str] = {}
    for result in sorted(results, key=order):
        seen[result.trial.fault, result.trial.what] = result.trial.inject
    return "\n".join(f"- **{fault}**, {what}: {inject}" for (fault, what), inject in seen.items())


def skipped(results: Sequence[Result], absent: Mapping[str, str]) -> str:
    """Return what was not injected, and why."""
    lines = [
        f"- **{result.trial.fault}**, {result.trial.what} ({result.engine}): {result.skipped}"
        for result in sorted(results, key=order)
        if result.skipped is not None
    ]
    lines += [f"- **{fault}**: {why}" for fault, why in absent.items()]
    return "\n".join(lines) or "Nothing."


def mutations(verdicts: Sequence[Verdict] | None) -> str:
    """Return what became of the mutations; a note where they were not run."""
    if verdicts is None:
        return "Not run this time: `python -m tests.faults --mutations`."
    head = ["| guard | what was taken out of it | tests that must fail | verdict |", "|---|---|---|---|"]
    rows = [
        f"| {verdict.mutation.guard} | `{verdict.mutation.file}`: {verdict.mutation.what} "
        f"| {', '.join(f'`{test}`' for test in verdict.mutation.tests)} | {'killed' if verdict.killed else '**survived**'} |"
        for verdict in verdicts
    ]
    return "\n".join([*head, *rows])


def document(
    machine: Mapping[str, str],
    results: Sequence[Result],
    absent: Mapping[str, str],
    verdicts: Sequence[Verdict] | None,
) -> str:
    """Return docs/reliability.md."""
    properties = "\n".join(f"| {name} | {value} |" for name, value in machine.items())
    parts = [
        _HEAD,
        "## What came of it",
        _READING,
        table(results),
        "## What was not injected",
        skipped(results, absent),
        "## How each fault is injected",
        injections(results),
        "## Mutations",
        _MUTATIONS,
        mutations(verdicts),
        "## The machine",
        "| | |\n|---|---|\n" + properties,
        _FOOT,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


_HEAD = """\
<!-- Written by `make chaos`: change tests/faults/, not this file. -->
# Reliability

## What is promised

1. A request that was answered 201 is never lost: its code is handed to a provider before it expires, or the verification
   ends with a reason that the application is told.
2. No send starts after a code has expired, was used or was canceled.
3. A code is sent twice only where a provider's answer was lost: by a crash, a cut connection or a timeout after the
   request had left. The second send carries the same code. An answer that cannot be written down is kept until the
   database is back, however long that takes, and other nodes wait for it: none takes over what is under way in the first
   10 s after its start, nor in the 10 s after the database can be written again. Two things are like a crash: a node that
   is stopped while the database is away, which waits 11 s for it, and one that alone is cut off from the database for
   longer than its lease of 20 s.
4. After `kill -9` everything a node held is sent within 25 s: by the node once it is started again, or by another one.
5. While the database cannot be written, requests are answered 503 with `Retry-After`; once it can, the gateway goes on
   by itself.

What makes the first four true is one row for each message and two times in it:

```mermaid
sequenceDiagram
    participant A as Application
    participant N1 as Node 1
    participant D as Database
    participant N2 as Node 2
    participant P as Provider
    A->>N1: POST /v1/verifications
    N1->>D: verification, message leased to node 1 for 20 s, event (one commit)
    N1-->>A: 201
    N1->>D: attempt begins (only if the lease is held, the code alive)
    N1->>P: the code
    Note over N1: kill -9
    P--xN1: yes
    Note over D: 20 s later the lease has lapsed
    N2->>D: the attempt ended as unknown, the message is anybody's
    N2->>D: attempt begins
    N2->>P: the same code
    P-->>N2: yes
    N2->>D: sent
```

A paused node that wakes up after that finds its lease gone and writes nothing: every write names the lease it needs.

## How it is attacked

Each trial runs gateways as their operators do (`otp-gateway serve`, processes of their own), providers that speak the real
protocols and log what they take (when, to whom, which code), and a careful application: it asks at a fixed rate, with an
`Idempotency-Key`, obeys `Retry-After`, and asks again until it is answered. Then the acknowledged requests are joined with
the providers' logs.

```mermaid
flowchart LR
    application -->|"fixed rate, Idempotency-Key"| node1["node: serve"] & node2["node: serve"]
    fault(["a fault"]) -.-> node1 & database & network
    node1 & node2 --> database[("SQLite or PostgreSQL")]
    node1 & node2 --> network["proxy"] --> providers["providers that log"]
    application -->|"what was acknowledged"| checker
    providers -->|"what arrived, and when"| checker
```
"""

_READING = """\
*lost*: acknowledged and never sent. *twice*: sends beyond the first; "1 of 3" is one where three were excused, because
the fault took the answers of three attempts away. *late*: sent after the code's end. *recovery*: seconds from the end of
the fault until everything promised was sent, 25 at most after a crash (a lease of 20 s, and a look every second). Two
different codes for one verification fail a trial, whatever its figures are.
"""

_MUTATIONS = """\
A test that cannot fail proves nothing. So each guard is taken out of a copy of the sources, and the tests named here are
run on it: they must fail.
"""

_FOOT = """\
## How to repeat it

```sh
make chaos                                # sampled, both databases, at most 20 minutes; rewrites this file
make chaos-long                           # 100 kills and a soak of 2 hours at ten times the rate
python -m tests.faults --only F-17,F-18   # some of them; shows the table, writes nothing
python -m tests.faults --mutations        # takes each guard out and runs its tests
```

The quick ones are part of `make test`. Linux is needed, root for some of them; what a machine cannot inject is skipped by
name above.
"""
