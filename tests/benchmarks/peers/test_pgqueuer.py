from __future__ import annotations

import pytest

from benchmarks.__main__ import QUICK
from benchmarks.figures import Verdict, again
from benchmarks.parts import SkippedError, Stage
from benchmarks.peers import pgqueuer
from benchmarks.peers.pgqueuer import GATEWAY, ON_SQLITE, PART, PEER, AtRest
from benchmarks.scale.peers import PINS
from benchmarks.scale.server import Server, database_of
from benchmarks.served import Prepared

#: In the place of the interpreter that has PgQueuer: it says what it was asked, and two figures.
FAKE = """\
#!/bin/sh
echo "$@" "$PYTHONPATH" >> "$(dirname "$0")/asked"
echo '{"median": 0.012, "slowest": 0.04}'
"""


@pytest.fixture
def python(tmp_path):
    program = tmp_path / "python"
    program.write_text(FAKE)
    program.chmod(0o700)
    return program


def test_it_is_run_on_an_empty_database_of_the_same_server(python, tmp_path, postgresql_url):
    sample = AtRest(tmp_path, python, Server(postgresql_url, tmp_path), 20).measured()
    assert sample == {"begun": 0.012, "slowest": 0.04}
    module, url, count = (tmp_path / "asked").read_text().split()[1:4]
    assert (module, count) == ("benchmarks.peers.run_pgqueuer", "20")
    assert database_of(url).startswith("scale_")


def test_without_postgresql_it_is_left_out(tmp_path):
    with pytest.raises(SkippedError, match="no PostgreSQL"):
        PART.arms(Stage(tmp_path, QUICK, Prepared(tmp_path, {}, "key"), None, None))


def test_what_cannot_be_installed_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(pgqueuer, "ENVIRONMENTS", tmp_path / "file")
    prepared = Prepared(tmp_path, {}, "key")
    with pytest.raises(SkippedError, match="it cannot be installed: "):
        PART.arms(Stage(tmp_path, QUICK, prepared, prepared, "postgresql://nobody@localhost/none"))


def test_our_time_over_its_time_is_held_to_the_target():
    samples = {
        PEER: [{"begun": 0.012, "slowest": 0.04}],
        GATEWAY: [{"begun": 0.003, "slowest": 0.01}],
        ON_SQLITE: [{"begun": 0.006, "slowest": 0.01}],
        again(PEER): [{"begun": 0.012, "slowest": 0.04}],
    }
    (section,) = PART.sections(samples, QUICK)
    judged = [(row.name, row.figure.median, row.reached) for row in section.rows if row.target]
    assert judged == [(f"{GATEWAY}: p50", 3.0, Verdict.REACHED), (f"{ON_SQLITE}: p50", 6.0, Verdict.MISSED)]
    assert f"PgQueuer {PINS[PEER][0].removeprefix('pgqueuer==')} " in section.text
