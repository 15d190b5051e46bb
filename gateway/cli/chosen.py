"""The settings a verb works with. Whose file nobody chose is told so: the database beside it is seldom the one that is meant."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gateway.cli.faults import warn
from gateway.config import Settings, load_settings


def chosen(config: Path | None, environ: Mapping[str, str] | None = None, *, database: bool = True) -> Settings:
    """Read the settings, from ``os.environ`` where none is passed. Raises ``ConfigError``.

    ``database``: whether the verb works with one, which is named too.
    """
    settings = load_settings(config, os.environ if environ is None else environ)
    if not settings.chosen:
        used = f"; the database is {settings.database.path}" if database else ""
        warn(f"using {settings.read_from}{used}")
    return settings
