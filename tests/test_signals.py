"""A signal that is obeyed at once, by the first process of a container too."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ENDING = """
import signal
from gateway.signals import end_by
{before}
end_by(signal.SIGTERM)
"""
#: As for the first process of a container: its own signals do nothing.
SPARED = "signal.raise_signal = lambda number: None"


@pytest.mark.parametrize(("before", "code"), [("", -signal.SIGTERM), (SPARED, 128 + signal.SIGTERM)])
def test_the_process_ends_by_the_signal_or_with_its_number(before, code):
    done = subprocess.run([sys.executable, "-c", ENDING.format(before=before)], check=False)
    assert done.returncode == code
