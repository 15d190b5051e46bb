"""Where the config file is, and what travels with the gateway: its own config.toml and templates."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.config.environment import CONFIG_VARIABLE
from gateway.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
_FILE_NAME = "config.toml"
_TWICE = re.compile(r"Cannot declare (\(.*?\)) twice")
_NAMED = re.compile(r"'([^']*)'")


@dataclass(frozen=True, slots=True)
class Location:
    """A config file and the folder that relative paths in it start from."""

    file: Path
    folder: Path
    #: Whether somebody chose it; the shipped one is read where nobody did.
    chosen: bool = True


def shipped(name: str, *, package: Path = _PACKAGE) -> Path:
    """Return ``config.toml`` or ``templates`` as they travel with the gateway.

    An installed wheel has them in ``gateway/shipped``, a checkout at its root.
    """
    inside = package / "shipped" / name
    return inside if inside.exists() else package.parent / name


def find_config(path: Path | None, environ: Mapping[str, str], *, package: Path = _PACKAGE) -> Location:
    """Return the config file: the one named, ``OTP_GATEWAY_CONFIG``, ``./config.toml``, else the shipped one.

    Relative paths start at the file's folder; at the working directory where nobody chose a file, for the shipped
    one's folder belongs to the installation. Raises ``ConfigError`` where a file was named and cannot be read.
    """
    for named, by in ((path, "--config"), (_named(environ), CONFIG_VARIABLE)):
        if named is not None:
            return _readable(named, by)
    here = Path.cwd() / _FILE_NAME
    if here.is_file():
        return _located(here)
    return Location(shipped(_FILE_NAME, package=package), Path.cwd(), chosen=False)


def read_toml(file: Path) -> dict[str, object]:
    """Read a config file. Raises ``ConfigError`` with the line where it is not TOML."""
    try:
        # A byte order mark is what some editors write in front; TOML 1.1 allows it, tomllib does not.
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{file}: is not UTF-8"]) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{file}: is not valid TOML: {_plainly(str(error))}"]) from None


def _plainly(told: str) -> str:
    """Say of a table that stands in a file twice what was meant; the parser names it as Python does."""
    return _TWICE.sub(lambda found: f"[{'.'.join(_NAMED.findall(found[1]))}] stands there twice", told)


def _named(environ: Mapping[str, str]) -> Path | None:
    name = environ.get(CONFIG_VARIABLE)
    return Path(name) if name else None


def _readable(file: Path, by: str) -> Location:
    try:
        file.stat()
    except OSError as error:
        raise ConfigError([f"{by}: {file} cannot be read: {error.strerror}"]) from None
    return _located(file)


def _located(file: Path) -> Location:
    absolute = file.absolute()
    return Location(absolute, absolute.parent)
