"""Ending at once, when somebody asks a second time."""

from __future__ import annotations

import os
import signal
from typing import NoReturn


def end_by(number: int) -> NoReturn:
    """End this process as the signal does by itself, without another word."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    # The first process of a container is not ended by a signal of its own (pid_namespaces(7)).
    os._exit(128 + number)
