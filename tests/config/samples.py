"""What the configuration's tests share: a config file in a folder, sound keys, the faults of a bad start."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.config import Settings, diagnose, load_settings
from gateway.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

MINIMAL = """\
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""


def key(name: str = "k1", seed: int = 1) -> str:
    return f"{name}:{base64.b64encode(random.Random(seed).randbytes(32)).decode()}"


def write(folder: Path, text: str = MINIMAL) -> Path:
    file = folder / "config.toml"
    file.write_text(text, "utf-8")
    return file


def load(folder: Path, text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> Settings:
    return load_settings(write(folder, text), environ or {})


def faults(folder: Path, text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    return list(caught.value.faults)


def all_faults(folder: Path, text: str = MINIMAL, environ: Mapping[str, str] | None = None) -> list[str]:
    """The faults of the settings and of the adapters."""
    with pytest.raises(ConfigError) as caught:
        diagnose(write(folder, text), environ or {})
    return list(caught.value.faults)


def refusal(read: Callable[[str], object], text: str) -> ValueError | None:
    """What reading a text raises, if anything."""
    try:
        read(text)
    except ValueError as error:
        return error
    return None
