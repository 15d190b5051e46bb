from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.__main__ import QUICK
from benchmarks.figures import Verdict, again
from benchmarks.parts import SkippedError, Stage
from benchmarks.peers import better_auth
from benchmarks.peers.better_auth import PART, PEER, TUNED, BetterAuth
from benchmarks.peers.ours import GATEWAY
from benchmarks.served import Prepared

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def peer(tmp_path):
    """A peer whose node is Python, and whose program a stand-in with the table that the true one would make."""
    home = tmp_path / "home"
    home.mkdir()
    told = f"open({str(home / 'journals')!r}, 'a').write(f'{{sys.argv[3:]}}\\n')"
    program = f"import runpy, sys\n{told}\nsys.argv.pop(1)\nrunpy.run_path({str(STAND_IN)!r}, run_name='__main__')\n"
    (home / "server.mjs").write_text(program)
    with closing(sqlite3.connect(tmp_path / "better-auth.db")) as connection, connection:
        connection.execute('CREATE TABLE "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")')
    return BetterAuth(tmp_path, Path(sys.executable), home, dict(os.environ), 20.0, warm_up=0.0, users=12, made=5)


def test_codes_are_made_beforehand_and_sends_and_checks_run_on_copies(peer, tmp_path):
    prepared = peer.prepared()
    assert sorted(prepared.codes) == [f"person-{number}@example.org" for number in range(5)]
    sample = replace(prepared, wal=True).measured()
    assert min(sample["send"], sample["check"]) > 0
    assert [path.name for path in tmp_path.glob("*.db*")] == ["better-auth.db"]
    # The first two starts make the tables and the codes.
    assert (prepared.home / "journals").read_text().splitlines() == ["[]", "[]", "['wal']", "['wal']"]
    with closing(sqlite3.connect(tmp_path / "better-auth.db")) as connection:
        assert connection.execute('SELECT count(DISTINCT email) FROM "user"').fetchone() == (12,)


def test_what_does_not_start_is_left_out(tmp_path, monkeypatch):
    for name, text in {"node": "[ $1 = --version ] && echo v20", "npm": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(better_auth, "ENVIRONMENTS", tmp_path / "environments")
    with pytest.raises(SkippedError, match="it cannot be started: better-auth ended"):
        PART.arms(Stage(tmp_path, QUICK, Prepared(tmp_path, {}, "key"), None, None))


def test_our_rate_over_its_rate_is_held_to_the_targets():
    samples = {
        PEER: [{"send": 100.0, "check": 50.0}],
        TUNED: [{"send": 200.0, "check": 100.0}],
        GATEWAY: [{"send": 1200.0, "check": 1000.0}],
        again(PEER): [{"send": 100.0, "check": 50.0}],
    }
    sends, checks = PART.sections(samples, QUICK)
    assert [(row.name, row.reached) for section in (sends, checks) for row in section.rows if row.target] == [
        (GATEWAY, Verdict.REACHED),
        (GATEWAY, Verdict.MISSED),
    ]
    assert [(row.name, row.ratio and row.ratio.median) for row in (sends.rows[-1], checks.rows[-1])] == [
        (f"{GATEWAY} over {TUNED}", 6.0),
        (f"{GATEWAY} over {TUNED}", 10.0),
    ]
    assert (sends.unit, checks.unit) == ("sends/s", "checks/s")


def test_the_versions_that_are_told_are_those_that_are_installed():
    wanted = json.loads((Path(better_auth.__file__).with_name("better-auth") / "package.json").read_text())
    nothing = {name: [{"send": 1.0, "check": 1.0}] for name in (PEER, GATEWAY, again(PEER))}
    text = PART.sections(nothing, QUICK)[0].text
    assert [name for name, version in wanted["dependencies"].items() if f"{name} {version}" not in text] == []
