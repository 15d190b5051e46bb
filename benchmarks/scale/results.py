"""What a run of all measurements gave, as the sections of docs/scaling.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.figures import Spread, Target, ratios, spread
from benchmarks.report import Row, Section
from benchmarks.rounds import Sample, Samples, column
from benchmarks.scale import depth, nodes, peers
from benchmarks.scale.sink import Seen, span

#: Of each sort of trouble, as many are tolerated; a claim's cost, longest queue over shortest.
NONE = Target(0.0, at_least=False)
FLAT = Target(1.5, at_least=False)
#: Of a backlog, the part at its beginning and at its end that is looked at.
_PART = 0.2


@dataclass(frozen=True, slots=True)
class Backlog:
    """A long backlog, sent by several workers."""

    count: int
    workers: int
    sample: Sample
    seen: Seen


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured."""

    posted: Samples
    drained: Samples
    deep: Samples
    raced: Samples
    #: ``None`` where the time did not suffice.
    backlog: Backlog | None
    #: Why a queue is not beside ours, by its name.
    skipped: Mapping[str, str]
    #: Messages of one run of the first two, and of the race.
    count: int
    race: int
    sizes: Sequence[int]


def sections(results: Results) -> list[Section]:
    """Return the sections in order."""
    found = [_posted(results), _drained(results), _doubled(results)]
    if results.backlog is not None:
        found.append(_backlog(results.backlog))
    return [*found, _deep(results), *_raced(results)]


def rows(
    samples: Samples, figure: str, *, scale: float = 1.0, targets: Mapping[str, Target] | None = None
) -> list[Row]:
    """Return one line an arm; the first is the yardstick and has no ratio."""
    yardstick = next(iter(samples))
    beside = column(samples[yardstick], figure)
    found = []
    for name, taken in samples.items():
        values = column(taken, figure)
        ratio = None if name == yardstick else spread(ratios(values, beside))
        target = (targets or {}).get(name)
        found.append(Row(name, spread([value * scale for value in values]), ratio, target))
    return found


def _posted(results: Results) -> Section:
    return Section(
        "From the request to the mail",
        f"{results.count:,} verifications posted, 32 connections to every `serve` node, timed from the first request "
        "until the last mail is in the sink. The yardstick is one `serve`. What a `serve` node takes in it sends itself, "
        "as long as it has room in memory; `dispatch` nodes take what goes beyond that.",
        "messages/s",
        rows(results.posted, "rate"),
    )


def _drained(results: Results) -> Section:
    return Section(
        "A backlog shared by workers",
        f"{results.count:,} messages that appear in the database at once, sent by so many `dispatch` nodes that were "
        "idle; timed from the first mail to the last. The yardstick is one worker.",
        "messages/s",
        rows(results.drained, "rate"),
    )


def _doubled(results: Results) -> Section:
    found = []
    for title, figure in (("lost", "lost"), ("doubled", "doubled")):
        for name, samples in (("request to mail", results.posted), ("backlog", results.drained)):
            values = [sample[figure] for taken in samples.values() for sample in taken]
            # The sum says more than a median: one is too many.
            total = Spread(sum(values), min(values), max(values))
            found.append(Row(f"{name}: {title}, all runs", total, None, NONE, on_ratio=False))
    return Section(
        "Lost and doubled",
        "Mails are told apart by their Message-ID, which is the same for every attempt at a message. The figure is the "
        "sum over all runs, with the least and the most of one run.",
        "messages",
        found,
    )


def _backlog(backlog: Backlog) -> Section:
    first, last = (span(backlog.seen, _PART, at_end=at_end) for at_end in (False, True))
    one = (
        Row("all of it", _single(backlog.sample["rate"])),
        Row(f"the first {_PART:.0%}", _single(first)),
        Row(f"the last {_PART:.0%}", _single(last), _single(last / first)),
    )
    return Section(
        f"A backlog of {backlog.count:,}",
        f"Sent by {backlog.workers} `dispatch` nodes in {backlog.count / backlog.sample['rate']:.0f} s, once. Lost: "
        f"{backlog.sample['lost']:.0f}; doubled: {backlog.sample['doubled']:.0f}. The yardstick is its beginning.",
        "messages/s",
        one,
    )


def _deep(results: Results) -> Section:
    longest = f"{results.sizes[-1]:,} queued"
    return Section(
        "A message's cost by what waits behind it",
        f"Claimed, begun and settled as sent, on a channel that does nothing, by one node; {depth.TAKEN} messages a run. "
        "The time from one settled message to the next. The yardstick is the shortest queue.",
        "ms/message",
        rows(results.deep, "seconds", scale=1000.0, targets={longest: FLAT}),
    )


def _raced(results: Results) -> list[Section]:
    left_out = "".join(
        f" **{name} is left out: it could not be installed here ({why}).**" for name, why in results.skipped.items()
    )
    versions = ", ".join(" ".join(peers.PINS[name][:1]) for name in results.raced if name in peers.PINS)
    beside = f" Beside ours: {versions}." if versions else ""
    return [
        Section(
            "Beside other queues: enqueue to done",
            f"{results.race:,} messages that nobody has to carry anywhere, enqueued by 32 at a time, each in a transaction "
            "of its own, while a worker of the same process takes them; until the last is settled in the database."
            f"{beside}{left_out} Every one on a fresh database of the same server, fsync and synchronous_commit on.",
            "messages/s",
            rows(results.raced, "through"),
        ),
        Section(
            "Beside other queues: a backlog",
            f"The same {results.race:,}, there before the worker; from the first that is done until the last is settled.",
            "messages/s",
            rows(results.raced, "drained"),
        ),
    ]


def fastest(samples: Samples) -> dict[str, float]:
    """Return the median rate of each arm but the repeated one."""
    return {
        name: spread(column(taken, "rate")).median for name, taken in samples.items() if not name.endswith(", again")
    }


def modelled(results: Results) -> Sequence[Sample]:
    """Return the runs that the arithmetic is made of: those of the most nodes, from the request on."""
    arm = max((name for name in nodes.POSTED if name in results.posted), key=lambda name: sum(nodes.POSTED[name]))
    return results.posted[arm]


def _single(value: float) -> Spread:
    return Spread(value, value, value)
