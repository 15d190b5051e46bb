"""The results file: what it was given is there after a kill, and a half line is not."""

from __future__ import annotations

import os
import resource
import signal

import pytest

from gateway.cli.results import COLUMNS, Result, Results, Status
from gateway.errors import ConfigError

HEAD = ",".join(COLUMNS) + "\n"


def result(line: int, status: str = Status.QUEUED, error: str = "") -> Result:
    return Result(line, "a•••@x•••.org", f"ver_{line}" if status == "queued" else "", status, "email", error)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "people.results.csv"


def opened(path, run="r1") -> dict[int, str]:
    with Results(path, run) as results:
        return results.finished


def test_it_is_a_csv_file_of_what_became_of_each_line(path):
    with Results(path, "r1") as results:
        results.write([result(2), result(3, Status.REFUSED, 'recipient_refused: "no", never')])
    assert path.read_text("utf-8") == (
        HEAD + "2,a•••@x•••.org,ver_2,queued,email,,r1\n"
        '3,a•••@x•••.org,,refused,email,"recipient_refused: ""no"", never",r1\n'
    )


def test_what_was_written_is_on_the_disk_when_write_returns(path, monkeypatch):
    synced: list[bytes] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.read_bytes()))
    with Results(path, "r1") as results:
        before = len(synced)
        results.write([result(2)])
    assert [path.read_bytes()] == synced[before:]
    # The heading, and the folder that names the file.
    assert before == 2


def test_a_second_run_knows_what_is_finished_and_tries_what_was_deferred_again(path):
    with Results(path, "r1") as results:
        results.write([result(2), result(3, Status.DEFERRED), result(4, Status.REFUSED), result(5, Status.WAITING)])
        results.write([result(6, Status.FAULTY)])
    assert opened(path) == {2: "queued", 4: "refused", 5: "waiting", 6: "faulty"}
    with Results(path, "r1") as results:
        results.write([result(3)])
    assert opened(path)[3] == "queued"


@pytest.mark.parametrize("cut", range(1, 34))
def test_a_line_that_was_cut_off_anywhere_is_dropped(path, cut):
    with Results(path, "r1") as results:
        results.write([result(2), result(3)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Results(path, "r1") as results:
        assert results.finished == {2: "queued"}
        results.write([result(3)])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "l", HEAD[:-1]])
def test_a_file_whose_heading_was_cut_off_is_a_new_one(path, text):
    path.write_text(text)
    assert opened(path) == {}
    assert path.read_text() == HEAD


@pytest.mark.parametrize("text", ["name,age\nAnn,3\n", "\n", "no heading", HEAD.replace("run", "ran")])
def test_a_file_that_is_something_else_is_left_alone(path, text):
    path.write_text(text)
    with pytest.raises(ConfigError, match="is no results file"):
        opened(path)
    assert path.read_text() == text


@pytest.mark.parametrize("row", ["2,,,queued,,,r2\n", "x,,,queued,,,r1\n"])
def test_another_runs_file_is_refused(path, row):
    path.write_text(HEAD + row)
    with pytest.raises(ConfigError, match="another list, or of other options"):
        opened(path)
    assert path.read_text() == HEAD + row


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none/people.results.csv: No such file"):
        opened(tmp_path / "none" / "people.results.csv")


def test_a_disk_that_is_full_in_the_middle_of_a_row_is_told_with_what_to_do(path):
    """What it did not take is in the file's buffer still, and closing tries it once more."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with Results(path, "r1") as results:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, most))
            with pytest.raises(ConfigError, match="the same command goes on"):
                results.write([result(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_told_with_what_to_do(path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with Results(path, "r1") as results:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left on device; the same command goes on"):
            results.write([result(2)])
