from __future__ import annotations

import errno
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import FrameType
from unittest.mock import Mock

import pytest

from gateway.config import Settings, ensure_secrets, find_secrets, new_key, parse_key, rewrite_secrets, secrets_file
from gateway.config.keyring import SealingKey
from gateway.errors import ConfigError
from tests.config.samples import MINIMAL, key, load


@pytest.fixture
def settings(tmp_path):
    return load(tmp_path)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "otp-gateway.db.secrets"


def why(settings) -> str:
    with pytest.raises(ConfigError) as caught:
        ensure_secrets(settings)
    (fault,) = caught.value.faults
    return fault


def test_configured_keys_are_taken_and_no_file_is_made(tmp_path, file):
    settings = load(tmp_path, MINIMAL, {"OTP_GATEWAY_SECRETS__KEYS": f'["{key("k2", 2)}", "{key("k1", 1)}"]'})
    assert [item.id for item in ensure_secrets(settings)] == ["k2", "k1"]
    assert not file.exists()


def test_the_first_start_makes_a_key_that_later_starts_read(settings, file):
    first = ensure_secrets(settings)
    assert [(item.id, len(item.key)) for item in first] == [("k1", 32)]
    assert ensure_secrets(settings) == first
    assert secrets_file(settings.database.path) == file


def test_only_the_owner_may_read_the_file_and_nothing_else_is_left_behind(settings, file, tmp_path):
    old = os.umask(0)
    try:
        ensure_secrets(settings)
    finally:
        os.umask(old)
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config.toml", "otp-gateway.db.secrets"]
    assert file.read_text().startswith("# The keys that seal")


def test_every_one_of_many_starts_at_once_has_the_same_key(settings, tmp_path):
    together = Barrier(8)

    def start(_):
        together.wait(timeout=5)
        return ensure_secrets(settings)

    with ThreadPoolExecutor(8) as pool:
        rings = set(pool.map(start, range(8)))
    assert len(rings) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_looking_for_the_keys_makes_none(settings, file):
    assert (find_secrets(settings), file.exists()) == (None, False)
    made = ensure_secrets(settings)
    assert find_secrets(settings) == made
    lay_down(settings)
    file.unlink()
    with pytest.raises(ConfigError, match="is missing"):
        find_secrets(settings)


@pytest.mark.parametrize("content", [None, b""])
def test_an_empty_database_is_none_yet(settings, file, content):
    if content is not None:
        settings.database.path.write_bytes(content)
    assert ensure_secrets(settings)
    assert file.exists()


def test_a_database_that_lost_its_keys_is_given_no_new_ones(settings, file):
    database = settings.database.path
    old = ensure_secrets(settings)
    lay_down(settings)
    moved = file.rename(file.with_suffix(".moved"))
    assert why(settings) == (
        f"{file}: is missing, and without its keys nothing in {database} can be opened; restore it from a backup, or set "
        "OTP_GATEWAY_SECRETS__KEYS to the keys. To begin anew, move the database away, its -wal and -shm too"
    )
    assert not file.exists()
    moved.rename(file)
    assert ensure_secrets(settings) == old


def test_keys_by_the_environment_open_a_database_that_lost_its_file(tmp_path, file):
    settings = load(tmp_path, MINIMAL, {"OTP_GATEWAY_SECRETS__KEYS": f'["{key()}"]'})
    lay_down(settings)
    assert [item.id for item in ensure_secrets(settings)] == ["k1"]
    assert not file.exists()


def test_a_start_during_another_never_takes_its_database_for_one_that_lost_its_keys(tmp_path):
    """One start is held up at every call it makes in turn, and meanwhile another one runs from beginning to end."""
    reached, held_up_at = True, 0
    while reached:
        folder = tmp_path / str(held_up_at)
        folder.mkdir()
        settings = load(folder)
        other = OtherStart(settings, held_up_at)
        sys.setprofile(other)
        try:
            ring = ensure_secrets(settings)
        finally:
            sys.setprofile(None)
        reached = other.ring is not None
        assert other.ring in (None, ring)
        held_up_at += 1
    assert held_up_at > 20


class OtherStart:
    """Runs a whole start of its own when the one that is watched has made so many calls."""

    def __init__(self, settings: Settings, after: int) -> None:
        self._settings = settings
        self._left = after
        self.ring: tuple[SealingKey, ...] | None = None

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "c_return" or self.ring is not None:
            return
        self._left -= 1
        if self._left < 0:
            sys.setprofile(None)
            self.ring = ensure_secrets(self._settings)
            lay_down(self._settings)


def lay_down(settings: Settings) -> None:
    """Make a database that holds something."""
    assert settings.database.path is not None
    settings.database.path.write_bytes(b"SQLite format 3")


def test_a_key_put_first_by_hand_seals(settings, file):
    (old,) = ensure_secrets(settings)
    file.write_text(f"{key('k2', 2)}\n\n{file.read_text()}")
    assert [item.id for item in ensure_secrets(settings)] == ["k2", old.id]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601])
def test_a_file_open_to_others_is_refused(settings, file, mode):
    ensure_secrets(settings)
    file.chmod(mode)
    assert why(settings) == f"{file}: can be read by others (mode {mode:04o}); run chmod 600 on it"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"# nothing\n", "holds no key; restore it from a backup"),
        (b"", "holds no key; restore it from a backup"),
        (b"k1:AAAA\n", "key 1 must hold 32 bytes after the colon, it holds 3"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_a_damaged_file_is_refused_and_left_as_it_is(settings, file, content, fault):
    file.write_bytes(content)
    file.chmod(0o600)
    assert why(settings) == f"{file}: {fault}"
    assert file.read_bytes() == content


def test_a_folder_that_is_not_there_is_named_by_the_databases_key_whatever_keys_are_set(tmp_path):
    text = MINIMAL + '[database]\nurl = "sqlite:///no/such/folder/otp.db"\n'
    told = f"[database] url: there is no folder {tmp_path}/no/such/folder; make it, or correct the path"
    assert why(load(tmp_path, text)) == told
    assert why(load(tmp_path, text, {"OTP_GATEWAY_SECRETS__KEYS": f'["{key()}"]'})) == told


def test_a_folder_that_cannot_be_written_is_told_as_such(settings, file, monkeypatch):
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert why(settings) == (
        f"{file}: cannot be made: Permission denied; make its folder writable or set OTP_GATEWAY_SECRETS__KEYS"
    )


def test_postgresql_needs_configured_keys(tmp_path):
    settings = load(tmp_path, MINIMAL + '[database]\nurl = "postgresql://u@h/n"\n')
    assert why(settings).startswith("OTP_GATEWAY_SECRETS__KEYS: is missing, and PostgreSQL has no file")


def test_a_ring_is_rewritten_whole_and_for_the_owner_alone(settings, file, tmp_path):
    [first] = ensure_secrets(settings)
    ring = (parse_key(new_key("k2")), first)
    rewrite_secrets(settings.database.path, ring)
    assert ring == ensure_secrets(settings)
    assert (0o600, [file]) == (file.stat().st_mode & 0o777, sorted(tmp_path.glob("*.secrets")))


def test_what_a_killed_command_left_of_a_ring_goes_with_the_next_one(settings, file, tmp_path, monkeypatch):
    """It has every key, those too that are dropped since, and lies where a backup of the database's folder takes it."""
    [first] = ensure_secrets(settings)
    ring = (parse_key(new_key("k2")), first)
    killed = Mock(side_effect=KeyboardInterrupt)
    with monkeypatch.context() as patched:
        patched.setattr(type(file), "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            rewrite_secrets(settings.database.path, ring)
    [left] = tmp_path.glob(".*")
    assert left.name.startswith(f".{file.name}.")
    rewrite_secrets(settings.database.path, ring[:1])
    assert [*tmp_path.glob(".*")] == []


def test_a_ring_that_cannot_be_rewritten_stays_as_it_is(settings, file, tmp_path, monkeypatch):
    ring = ensure_secrets(settings)

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
            rewrite_secrets(settings.database.path, (parse_key(new_key("k2")), *ring))
    assert ring == ensure_secrets(settings)
    assert sorted(tmp_path.glob("*.secrets")) == [file]
