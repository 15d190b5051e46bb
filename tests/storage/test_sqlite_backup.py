"""A backup is of one moment, whole, its owner's alone, and ends however much is written meanwhile."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gateway.storage import sqlite_backup
from gateway.storage.sqlite_backup import back_up
from gateway.storage.sqlite_file import connect
from gateway.storage.unit import StorageDamagedError, StorageUnavailableError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "odd ?#% name.db"
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE part (number INTEGER PRIMARY KEY, content BLOB)")
        connection.executemany("INSERT INTO part (content) VALUES (?)", [(bytes(4000),)] * 400)
    return path


def parts(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        [number] = connection.execute("SELECT count(*) FROM part").fetchone()
    return int(number)


def test_a_copy_ends_though_another_process_writes_between_any_two_steps(path, tmp_path, monkeypatch):
    """Without a snapshot of its own SQLite begins anew at each of these writes."""
    monkeypatch.setattr(sqlite_backup, "STEP", 10)
    lefts: list[int] = []
    with closing(connect(path)) as gateway:

        def written(left: int, of: int) -> None:
            lefts.append(left)
            assert len(lefts) <= of, "it begins anew"
            gateway.execute("INSERT INTO part (content) VALUES (x'00')")

        size = back_up(path, tmp_path / "copy.db", written)
    assert (lefts == sorted(lefts, reverse=True), lefts[-1], len(lefts) > 30) == (True, 0, True)
    assert (parts(tmp_path / "copy.db"), parts(path)) == (400, 400 + len(lefts))
    assert size == (tmp_path / "copy.db").stat().st_size


def test_what_stands_in_the_log_alone_is_in_the_copy(path, tmp_path):
    with closing(connect(path)) as gateway:
        gateway.execute("INSERT INTO part (content) VALUES (x'00')")
        back_up(path, tmp_path / "copy.db")
    assert parts(tmp_path / "copy.db") == 401


def test_a_copy_is_its_owners_alone_and_leaves_nothing_else(path, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    back_up(path, folder / "copy.db")
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]


def test_a_file_that_is_there_stays_as_it_is(path, tmp_path):
    copy, link = tmp_path / "copy.db", tmp_path / "link.db"
    copy.write_bytes(b"mine")
    link.symlink_to("nowhere")
    for there in (copy, link):
        with pytest.raises(FileExistsError):
            back_up(path, there)
    assert (copy.read_bytes(), link.readlink(), (tmp_path / "nowhere").exists()) == (b"mine", Path("nowhere"), False)


@pytest.fixture(params=[True, False], ids=["with links", "without links"])
def _links(request, monkeypatch):
    """File systems with hard links and without."""

    def no_links(*_: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not request.param:
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.usefixtures("_links")
def test_a_copy_can_be_made_on_every_file_system(path, tmp_path):
    back_up(path, tmp_path / "copy.db")
    assert (parts(tmp_path / "copy.db"), list(tmp_path.glob(".*"))) == (400, [])


@pytest.mark.usefixtures("_links")
def test_a_file_that_somebody_made_meanwhile_stays_as_it_is(path, tmp_path):
    copy = tmp_path / "copy.db"
    with pytest.raises(FileExistsError):
        back_up(path, copy, lambda *_: copy.write_bytes(b"theirs"))
    assert (copy.read_bytes(), list(tmp_path.glob(".*"))) == (b"theirs", [])


def test_a_copy_of_a_damaged_file_is_none(path, tmp_path):
    page = 4096 * 20
    content = bytearray(path.read_bytes())
    content[page : page + 4096] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(StorageDamagedError):
        back_up(path, tmp_path / "copy.db")
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_copy_that_fails_leaves_nothing(path, tmp_path, monkeypatch):
    def full(*_: int) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(StorageUnavailableError, match="full"):
        back_up(path, tmp_path / "copy.db", full)
    assert [file for file in tmp_path.iterdir() if "copy" in file.name] == []
