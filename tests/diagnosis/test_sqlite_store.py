"""A SQLite file looked over: whole, damaged, foreign, in use, and left as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from gateway.diagnosis.sqlite_store import Looked, _of_wiping, look
from gateway.storage import sqlite_file
from gateway.storage.migrations import head

WELL = {"integrity": "ok", "journal": "ok", "secure_delete": "ok"}
#: The same of a file with tables.
FULL = {**WELL, "nodes": "ok"}


@pytest.fixture
def path(tmp_path: Path, migrated_sqlite: Path) -> Path:
    path = Path(shutil.copy(migrated_sqlite, tmp_path / "odd ?#% name.db"))
    sqlite_file.connect(path).close()
    return path


def verdicts(looked: Looked) -> dict[str, str]:
    return {item.subject: item.verdict for item in looked.findings}


def test_a_file_that_is_whole_is_well_and_nothing_is_left_beside_it(path):
    before = path.read_bytes()
    looked = look(path)
    assert (verdicts(looked), looked.revision, looked.sealed, looked.opened) == (FULL, head(), None, True)
    assert (list(path.parent.iterdir()), path.read_bytes()) == ([path], before)


def test_a_file_in_use_is_read_with_what_its_log_holds(path):
    gateway = sqlite_file.connect(path)
    try:
        gateway.execute("INSERT INTO secret (name, sealed, created_at) VALUES ('index', x'00ff', 1.0)")
        looked = look(path)
    finally:
        gateway.close()
    assert (verdicts(looked), looked.sealed) == (FULL, b"\x00\xff")
    assert "sealed" not in repr(looked)


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    looked = look(tmp_path / "gateway.db")
    assert (verdicts(looked), looked.opened, list(tmp_path.iterdir())) == ({"file": "ok"}, False, [])


def test_a_folder_that_is_not_there_is_a_fault(tmp_path):
    assert verdicts(look(tmp_path / "no" / "gateway.db")) == {"file": "fault"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path):
    tmp_path.chmod(0o500)
    assert verdicts(look(tmp_path / "gateway.db")) == {"file": "fault"}


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\x00" * 50], ids=["text", "short"])
def test_what_is_no_database_is_a_fault(tmp_path, content):
    path = tmp_path / "gateway.db"
    path.write_bytes(content)
    [finding] = look(path).findings
    assert (finding.subject, finding.verdict, "restore a backup" in finding.told) == ("file", "fault", True)


def test_a_damaged_page_is_a_fault(path):
    with sqlite3.connect(path) as connection:
        [page] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'verification'").fetchone()
        [size] = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(path.read_bytes())
    content[(page - 1) * size : (page - 1) * size + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert "fault" in verdicts(look(path)).values()


def test_a_damaged_log_is_a_fault(path):
    path.with_name(f"{path.name}-wal").write_bytes(b"\x01" * 64)
    [finding] = look(path).findings
    assert (finding.verdict, "damaged" in finding.told) == ("fault", True)


def test_a_file_without_a_log_or_tables_is_told(tmp_path):
    path = tmp_path / "gateway.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    looked = look(path)
    assert (verdicts(looked), looked.revision, "yet" in looked.findings[1].told) == (WELL, None, True)


def test_an_empty_file_is_new(tmp_path):
    path = tmp_path / "gateway.db"
    path.touch()
    assert (verdicts(look(path)), look(path).revision) == (WELL, None)


def test_a_large_file_is_looked_over_in_part(path):
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO secret (name, sealed, created_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 20000) SELECT 'x' || i, zeroblob(20), 1.0 FROM n"
        )
    connection.close()
    looked = look(path, clock=iter(map(float, range(10_000))).__next__, seconds=1.0)
    assert (verdicts(looked), looked.findings[0].told) == (FULL, "well as far as could be looked at in 1 s")


def test_a_sqlite_that_cannot_wipe_is_a_fault():
    assert [_of_wiping(wipes=wipes).verdict for wipes in (True, False)] == ["ok", "fault"]
