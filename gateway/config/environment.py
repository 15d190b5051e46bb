"""Variables of the environment: ``OTP_GATEWAY_SERVER__PORT`` is ``[server] port``, ``…_FILE`` reads it from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.given import Findings, KeyPath

#: What every variable of the gateway starts with.
PREFIX = "OTP_GATEWAY_"
#: Names the config file.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
_FILE = "_FILE"
#: Bytes read of a ``…_FILE``: a PEM key fits many times, ``/dev/zero`` ends.
_MAX_FILE_BYTES = 65_536
_OTHERS_MAY_READ = 0o004


class UnreadableError(Exception):
    """A variable's value cannot be had; the text says why and what to do, without the value."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable that sets one key."""

    #: As the environment spells it.
    name: str
    #: The key it sets.
    path: KeyPath
    #: Whether ``raw`` names a file that holds the value.
    from_file: bool
    raw: str = field(repr=False)

    def read(self) -> str:
        """Return the value. Raises ``UnreadableError``."""
        text = _read_file(Path(self.raw)) if self.from_file else self.raw
        try:
            # What is not UTF-8 in the environment arrives as lone surrogates, which no provider could be sent.
            text.encode()
        except UnicodeEncodeError:
            raise UnreadableError("is not UTF-8") from None
        return text


def variable_name(path: KeyPath, *, from_file: bool = False) -> str:
    """Return the variable that sets a key: ``OTP_GATEWAY_CHANNELS__SMS_EU__AUTH_TOKEN``."""
    return f"{PREFIX}{'__'.join(path).upper()}{_FILE if from_file else ''}"


def target(name: str) -> tuple[KeyPath, bool] | None:
    """Return the key a variable sets and whether its value names a file; ``None`` for a variable of others."""
    if name[: len(PREFIX)].upper() != PREFIX or name.upper() == CONFIG_VARIABLE:
        return None
    rest = name[len(PREFIX) :].lower()
    from_file = rest.endswith(_FILE.lower())
    return tuple(rest.removesuffix(_FILE.lower()).split("__")), from_file


def read_variables(environ: Mapping[str, str], findings: Findings) -> list[Variable]:
    """Return the variables that set keys, the ones for whole tables first. A key set twice is a fault."""
    found: dict[KeyPath, Variable] = {}
    for name in sorted(environ):
        if (aim := target(name)) is None:
            continue
        path, from_file = aim
        if path in found:
            findings.refuse(path, f"{found[path].name} and {name}: both are set; keep one")
        else:
            found[path] = Variable(name, path, from_file, environ[name])
    return sorted(found.values(), key=lambda variable: len(variable.path))


def readable_by_all(mode: int) -> bool:
    """Whether a file of this mode can be read by every user of the machine."""
    return bool(mode & _OTHERS_MAY_READ)


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UnreadableError(f"the file it names cannot be read: {reason}") from None
    if readable_by_all(mode):
        raise UnreadableError(
            f"the file it names can be read by every user (mode {mode & 0o777:04o}); "
            "run chmod o-r on it, or mount the secret with mode 0400"
        )
    if len(content) > _MAX_FILE_BYTES:
        raise UnreadableError(f"the file it names is over {_MAX_FILE_BYTES} bytes")
    # One newline is the editor's or echo's; more would be the secret's own.
    return content.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
