"""Reading how long ago something was, as people write it: ``30m``, ``2h``, ``7d``."""

from __future__ import annotations

import re
from typing import Final

import typer

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGE: Final = re.compile(r"([0-9]{1,9})([smhd])")


def seconds_of(age: str, option: str) -> float:
    """Return the seconds of an age. Raises ``typer.BadParameter``, which names the option."""
    found = _AGE.fullmatch(age)
    if found is None:
        raise typer.BadParameter("a number and s, m, h or d, like 30m", param_hint=option)
    return float(int(found[1]) * _SECONDS[found[2]])
