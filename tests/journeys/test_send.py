"""``otp-gateway send --from`` killed without a word: the same command goes on, and nobody is sent two codes."""

from __future__ import annotations

import asyncio
import csv
import signal
import sqlite3
import sys
from pathlib import Path

from tests.journeys.node import ROOT

PEOPLE = 600
#: Seconds to wait for what comes within one.
PATIENCE = 60.0


async def test_a_list_whose_sending_was_killed_is_sent_whole_and_once(tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("to\n" + "".join(f"p{number}@example.org\n" for number in range(PEOPLE)), encoding="utf-8")
    killed = await started(tmp_path, people)
    async with asyncio.timeout(PATIENCE):
        while count(tmp_path) < 1 and killed.returncode is None:  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.002)
    killed.kill()
    assert await killed.wait() == -signal.SIGKILL
    assert 0 < count(tmp_path) < PEOPLE
    assert await (await started(tmp_path, people)).wait() == 0
    with people.with_suffix(".results.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert count(tmp_path) == len({line["id"] for line in found}) == PEOPLE
    assert {line["line"] for line in found} == {str(line) for line in range(2, PEOPLE + 2)}


async def started(folder: Path, people: Path) -> asyncio.subprocess.Process:
    environ = {
        "PYTHONPATH": str(ROOT),
        "OTP_GATEWAY_CONFIG": str(ROOT / "config.toml"),
        "OTP_GATEWAY_DATABASE__URL": f"sqlite:///{folder}/gateway.db",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "send", "--from", str(people)),
        env=environ,
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


def count(folder: Path) -> int:
    """Return how many verifications there are; 0 before the tables are made."""
    try:
        with sqlite3.connect(folder / "gateway.db") as connection:
            return int(connection.execute("SELECT count(*) FROM verification").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
