"""One command at a time in a folder, and no longer than its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli.alone import alone
from gateway.errors import GatewayError

HOLD = """
import sys
from pathlib import Path
from gateway.cli.alone import alone
with alone(Path(sys.argv[1]), "exchange"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_command_is_refused_until_the_first_is_gone_however_it_went(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(GatewayError, match="another `exchange` is under way here"), alone(tmp_path, "exchange"):
            pytest.fail("both went on")
        first.kill()
        first.wait()
    with alone(tmp_path, "exchange"):
        pass


def test_what_goes_wrong_in_the_command_is_told_as_it_is_and_ends_the_lock(tmp_path):
    with pytest.raises(BlockingIOError, match="its own"), alone(tmp_path, "exchange"):
        raise BlockingIOError("its own")
    with alone(tmp_path, "exchange"):
        pass


def test_where_no_folder_is_nothing_is_held(tmp_path):
    missing: Path = tmp_path / "none"
    with alone(missing, "exchange"):
        assert not missing.exists()
