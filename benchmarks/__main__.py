"""``python -m benchmarks``: measure everything and write docs/benchmarks.md; ``scale`` is a run of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks import accepts, claims, end_to_end, idle, sections
from benchmarks.children import ChildError
from benchmarks.machine import described, postgresql
from benchmarks.report import document, number
from benchmarks.rounds import Budget, Sample, Samples, measure, tell
from benchmarks.scale import command as several_nodes
from benchmarks.served import Prepared, prepare

_DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"
#: Of the budget, what may be gone when a measurement begins its last round.
_ACCEPTS_UNTIL, _END_TO_END_UNTIL, _IDLE_UNTIL, _CLAIMS_UNTIL = 0.5, 0.75, 0.85, 0.98


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    rounds: int
    #: Seconds of everything; rounds that do not fit are left out.
    budget: float
    #: Seconds of one load, and before it counts.
    seconds: float
    warm_up: float
    #: Mails of one end-to-end run: more than the 2,000 a gateway holds in memory, so that some go through the queue.
    mails: int
    #: Requests of one idle run.
    requests: int
    #: Turns of eight claims a round.
    repeats: int
    sizes: Sequence[int] = claims.SIZES


NORMAL = Scale(rounds=5, budget=570, seconds=3.0, warm_up=0.5, mails=3000, requests=60, repeats=3)
FULL = Scale(
    rounds=9, budget=3600, seconds=5.0, warm_up=1.0, mails=10_000, requests=200, repeats=3, sizes=claims.FULL_SIZES
)
QUICK = Scale(rounds=2, budget=110, seconds=1.5, warm_up=0.3, mails=1000, requests=20, repeats=1)


def main() -> int:
    """Run the benchmarks; return the exit code."""
    if sys.argv[1:2] == ["scale"]:
        return several_nodes.main(sys.argv[2:])
    asked = _asked()
    scale = FULL if asked.full else QUICK if asked.quick else NORMAL
    # A plain "stop" unwinds everything that is open, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as folder:
            text = _run(Path(folder), scale)
    except (ChildError, OSError) as error:
        print(f"the benchmarks failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; everything that was started has ended", file=sys.stderr)
        return 130
    if asked.write or not asked.quick:
        _DOCUMENT.write_text(text, "utf-8")
        tell(f"written: {_DOCUMENT.parent.name}/{_DOCUMENT.name}")
    print(text)
    return 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="at most 2 minutes; fewer rounds, nothing written")
    extent.add_argument("--full", action="store_true", help="more rounds and a million queued messages; up to an hour")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md after --quick too")
    parser.add_argument("--folder", type=Path, help="where the databases are made: the disk that is measured")
    return parser.parse_args()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(folder: Path, scale: Scale) -> str:
    budget = Budget(scale.budget)
    with postgresql(folder / "pg") as url:
        machine = described(folder, url)
        sqlite = prepare(folder / "sqlite")
        prepared = prepare(folder / "postgresql", url) if url else None
        tell(f"prepared, {budget.spent:.0f} s gone")
        accepted = _accepts(folder, sqlite, prepared, scale, budget)
        sent = _end_to_end(folder, sqlite, scale, budget)
        alone = _idle(folder, sqlite, scale, budget)
        until = _IDLE_UNTIL + (_CLAIMS_UNTIL - _IDLE_UNTIL) / 2
        claimed = {"SQLite": _claims(folder, None, scale, budget, "SQLite", until)}
        if url:
            claimed["PostgreSQL"] = _claims(folder, url, scale, budget, "PostgreSQL", _CLAIMS_UNTIL)
    # Who else used the cores meanwhile: our own processes are about two.
    machine["Load average at the end"] = f"{os.getloadavg()[0]:.1f}"
    made = [len(next(iter(samples.values()))) for samples in (accepted, sent, alone, *claimed.values())]
    rounds = f"{min(made)} to {max(made)}" if min(made) < max(made) else str(made[0])
    return document(
        machine,
        rounds,
        [
            sections.accepted(accepted, scale.seconds),
            sections.latencies(accepted),
            sections.sent(sent, scale.mails),
            sections.cpu(sent),
            sections.idle_section(alone),
            *(sections.claimed(engine, samples, scale.sizes) for engine, samples in claimed.items()),
            sections.memory(accepted, sent, alone),
        ],
    )


def _accepts(folder: Path, sqlite: Prepared, other: Prepared | None, scale: Scale, budget: Budget) -> Samples:
    arms = accepts.Accepts(folder, sqlite, other, scale.seconds, scale.warm_up).arms()
    return measure(
        "accepts", arms, rounds=scale.rounds, budget=budget, share=_ACCEPTS_UNTIL, summary=_summary("rate", "/s")
    )


def _end_to_end(folder: Path, sqlite: Prepared, scale: Scale, budget: Budget) -> Samples:
    arms = end_to_end.EndToEnd(folder, sqlite, end_to_end.sample_mail(folder, sqlite), scale.mails).arms()
    return measure(
        "end to end", arms, rounds=scale.rounds, budget=budget, share=_END_TO_END_UNTIL, summary=_summary("rate", "/s")
    )


def _idle(folder: Path, sqlite: Prepared, scale: Scale, budget: Budget) -> Samples:
    arms = idle.Idle(folder, sqlite, scale.requests).arms()
    return measure(
        "idle",
        arms,
        rounds=scale.rounds,
        budget=budget,
        share=_IDLE_UNTIL,
        summary=_summary("answered", " ms", scale=1000),
    )


def _claims(folder: Path, url: str | None, scale: Scale, budget: Budget, engine: str, until: float) -> Samples:
    async def run() -> Samples:
        samples: dict[str, list[Sample]] = {name: [] for name in claims.names(scale.sizes)}
        show = _summary("median", " ms", scale=1000)
        async with claims.tables(folder, url, scale.sizes) as opened:
            for round_number in range(scale.rounds):
                if round_number and not budget.fits(0.0, until):
                    break
                latest = await claims.measure_round(opened, round_number, scale.repeats)
                for name, sample in latest.items():
                    samples[name].append(sample)
                tell(
                    f"claims, {engine}: round {round_number + 1} of {scale.rounds}, {budget.spent:.0f} s gone: {show(latest)}"
                )
        return samples

    return asyncio.run(run())


def _summary(figure: str, unit: str, *, scale: float = 1.0) -> Callable[[Mapping[str, Sample]], str]:
    def summary(latest: Mapping[str, Sample]) -> str:
        return "; ".join(f"{name} {number(sample[figure] * scale)}{unit}" for name, sample in latest.items())

    return summary


if __name__ == "__main__":
    sys.exit(main())
