"""Standard output that nobody reads any more: every verb ends as it would have ended, without a word about that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.standard_output import outlive_the_reader, reader_left
from tests.cli.databases import migrated

CONFIG = '[channels.pager]\nadapter = "console"\n[services.default]\nchannels = ["pager"]\n'
MAIL = '[channels.mail]\nadapter = "email"\nhost = "127.0.0.1"\nport = 1\ntls = "none"\nfrom = "a@shop.example"\n'


@pytest.fixture
def unread(tmp_path):
    """Returns exit code and standard error of a verb whose standard output nobody reads."""

    def call(text: str, *words: str) -> tuple[int, str]:
        config = tmp_path / "config.toml"
        config.write_text(text)
        migrated(config)
        out, into = os.pipe()
        os.close(out)
        environ = {**os.environ, "OTP_GATEWAY_CONFIG": str(config)}
        program = [sys.executable, "-m", "gateway", *words]
        done = subprocess.run(program, stdout=into, stderr=subprocess.PIPE, env=environ, timeout=60, check=False)
        os.close(into)
        return done.returncode, done.stderr.decode()

    return call


@pytest.mark.parametrize(
    "words", [("doctor",), ("stats", "--json"), ("check-config",), ("keys", "list"), ("keys", "--help")], ids=" ".join
)
def test_a_verb_with_nothing_at_fault_ends_with_0_however_little_of_it_is_read(unread, words):
    assert unread(CONFIG, *words) == (0, "")


def test_more_than_a_pipe_takes_is_dropped_too(unread):
    code, told = unread(CONFIG, "generate", "--count", "100000")
    assert (code, told.count("\n")) == (0, 1)


def test_what_doctor_finds_is_its_exit_code_however_little_of_it_is_read(unread):
    assert unread(CONFIG + MAIL, "doctor", "--only", "channels") == (1, "")


def test_where_a_program_has_its_own_standard_output_that_is_left_alone(monkeypatch, tmp_path: Path):
    with (tmp_path / "out").open("w") as own:
        monkeypatch.setattr(sys, "stdout", own)
        outlive_the_reader()
        assert sys.stdout is own
        assert reader_left() is False
    monkeypatch.setattr(sys, "stdout", None)
    outlive_the_reader()
    assert reader_left() is False
