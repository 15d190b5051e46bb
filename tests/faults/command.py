"""The command: options in, every trial run one after the other, a line for each, docs/reliability.md at the end."""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tests.faults import mutations
from tests.faults.needs import CannotInjectError
from tests.faults.report import Result, document, order, table
from tests.faults.scene import scene
from tests.faults.script import ABSENT, TRIALS
from tests.faults.stores import Cluster, Prepared, prepare
from tests.faults.stores import asked as ask
from tests.faults.trial import POSTGRESQL, SQLITE, Trial

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
#: Libraries whose versions matter to the figures.
_LIBRARIES = ("uvicorn", "uvloop", "aiohttp", "aiosmtplib", "asyncpg", "python-telegram-bot", "twilio")
#: What is multiplied in the long run: kills, stops and single failing writes.
LONG = 25
#: Seconds a trial may take before it counts as broken off; the long run and the soak have their own.
PATIENCE = 180.0
#: Trials that mostly wait, at once.
AT_ONCE = 2


def main() -> int:
    """Run what was asked for; return the exit code: 1 when something failed, 130 when it was stopped."""
    asked = _asked()
    # A plain "stop" unwinds everything that is open, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        return asyncio.run(_run(asked))
    except KeyboardInterrupt:
        print("stopped; everything that was started has ended", file=sys.stderr)
        return 130


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--long", action="store_true", help="100 kills and a long soak, not a sample")
    parser.add_argument("--soak", type=float, default=7200.0, metavar="SECONDS", help="how long --long soaks (7200)")
    parser.add_argument(
        "--only", default="", metavar="F-01,F-02", help="these faults, or scripts by name; writes nothing"
    )
    parser.add_argument("--database", choices=(SQLITE, POSTGRESQL), help="one database only; writes nothing")
    parser.add_argument("--mutations", action="store_true", help="take each guard out and run its tests, too")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md in any case")
    parser.add_argument("--logs", action="store_true", help="show what a failed trial's nodes logged last")
    return parser.parse_args()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


async def _run(asked: argparse.Namespace) -> int:
    chosen = _chosen(asked)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        # PostgreSQL runs as another user than root.
        os.chmod(name, 0o755)  # noqa: PTH101 - within a coroutine
        results, machine = await _run_trials(asked, chosen, Path(name))
    verdicts = await asyncio.to_thread(mutations.run, tell) if asked.mutations else None
    machine |= {
        "Time": f"{(time.monotonic() - began) / 60:.0f} minutes",
        "Load average at the end": f"{os.getloadavg()[0]:.1f}",
    }
    if asked.write or not (asked.only or asked.database):
        await asyncio.to_thread(DOCUMENT.write_text, document(machine, results, ABSENT, verdicts), "utf-8")
        tell(f"written: {DOCUMENT.parent.name}/{DOCUMENT.name}")
    else:
        print(table(results))
    failed = [result for result in results if result.failed]
    for result in sorted(failed, key=order):
        tell(f"failed: {result.trial.fault} {result.trial.name} on {result.engine}: {result.verdict}")
    survived = [verdict for verdict in verdicts or () if not verdict.killed]
    for verdict in survived:
        tell(f"survived: {verdict.mutation.guard}")
    return 1 if failed or survived else 0


def _chosen(asked: argparse.Namespace) -> list[tuple[Trial, str]]:
    wanted = {name.strip() for name in asked.only.split(",") if name.strip()}
    known = {trial.fault for trial in TRIALS} | {trial.name for trial in TRIALS}
    if unknown := wanted - known:
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return [
        (trial, engine)
        for trial in TRIALS
        for engine in trial.engines
        if (not wanted or wanted & {trial.fault, trial.name}) and asked.database in {None, engine}
    ]


async def _run_trials(
    asked: argparse.Namespace, chosen: Sequence[tuple[Trial, str]], folder: Path
) -> tuple[list[Result], dict[str, str]]:
    cluster, why = await _cluster(folder) if any(engine == POSTGRESQL for _, engine in chosen) else (None, None)
    try:
        machine = await _machine(cluster, why)
        prepared: dict[str, Prepared] = {SQLITE: await prepare(folder)}
        if cluster is not None:
            prepared[POSTGRESQL] = await prepare(folder, cluster.url)
        runs = Runs(asked, folder, cluster, why, prepared, len(chosen))
        # What mostly waits goes first, a few at once; the others need the machine for themselves.
        gate = asyncio.Semaphore(AT_ONCE)

        async def beside(trial: Trial, engine: str) -> Result:
            async with gate:
                return await runs.one(trial, engine)

        patient = [beside(trial, engine) for trial, engine in chosen if trial.patient]
        results = [*await asyncio.gather(*patient)]
        for trial, engine in chosen:
            if not trial.patient:
                results.append(await runs.one(trial, engine))
        return results, machine
    finally:
        if cluster is not None:
            await cluster.stop()


@dataclass
class Runs:
    """The runs of one command."""

    asked: argparse.Namespace
    folder: Path
    cluster: Cluster | None
    #: Why there is no PostgreSQL.
    why: str | None
    prepared: Mapping[str, Prepared]
    #: How many runs there are, and how many have ended.
    total: int
    done: int = 0

    async def one(self, trial: Trial, engine: str) -> Result:
        """Run one trial on one database, and say what came of it."""
        began = time.monotonic()
        missing = await asyncio.to_thread(lambda: trial.missing) or (self.why if engine == POSTGRESQL else None)
        if missing is not None:
            result = Result(trial, engine, skipped=missing)
        else:
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                result = await self._tried(trial, self.prepared[engine], Path(name))
        self.done += 1
        took = time.monotonic() - began
        tell(f"{self.done}/{self.total} {trial.fault} {trial.what}, {engine}: {result.verdict} ({took:.0f} s)")
        return result

    async def _tried(self, trial: Trial, prepared: Prepared, folder: Path) -> Result:
        long: bool = self.asked.long
        scale, seconds = (LONG, self.asked.soak) if long else (1, 60.0)
        try:
            async with (
                asyncio.timeout(3600 + seconds if long else PATIENCE),
                scene(folder, prepared, cluster=self.cluster, scale=scale, seconds=seconds) as opened,
            ):
                found = await trial.run(opened)
                if self.asked.logs and found.broken:
                    for node in opened.nodes:
                        tell("\n".join(node.said_in_log().splitlines()[-40:]))
                return Result(trial, prepared.engine, found)
        except CannotInjectError as error:
            return Result(trial, prepared.engine, skipped=str(error))
        except Exception as error:  # noqa: BLE001 - a script that breaks off has failed, and the others are to run
            told = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            return Result(trial, prepared.engine, error=told)


async def _cluster(folder: Path) -> tuple[Cluster | None, str | None]:
    place = folder / "pg"
    place.mkdir()
    cluster = Cluster(place)
    try:
        await cluster.start()
    except Exception as error:  # noqa: BLE001 - whatever hinders it, SQLite is tried
        return None, f"no PostgreSQL could be started here: {type(error).__name__}"
    return cluster, None


async def _machine(cluster: Cluster | None, why: str | None) -> dict[str, str]:
    """Return what the figures were taken on."""
    return {
        "Date": time.strftime("%Y-%m-%d", time.gmtime()),
        "Cores": str(len(os.sched_getaffinity(0))),
        "System": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": platform.python_version(),
        "Libraries": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES),
        "SQLite": sqlite3.sqlite_version,
        "PostgreSQL": why or (await _version(cluster) if cluster is not None else "not asked for"),
        "Load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


async def _version(cluster: Cluster) -> str:
    return await ask(cluster.url, "SHOW server_version")


def tell(line: str) -> None:
    """Show a line of progress."""
    print(line, file=sys.stderr, flush=True)
