"""What a machine must let us do for a fault to be injected: each is tried, and named where it cannot be done."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

#: Seconds a try may take.
_PATIENCE = 10.0


class CannotInjectError(Exception):
    """This machine cannot inject the fault; the text says what it lacks."""


@dataclass(frozen=True)
class Need:
    """One ability. ``missing`` tries it and returns what is missing, ``None`` where all is there."""

    name: str
    missing: Callable[[], str | None]


def works(*command: str) -> str | None:
    """Try a command; return why it does not work, ``None`` where it does."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        return f"there is no {command[0]}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {type(error).__name__}"
    if done.returncode:
        told = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"{' '.join(command[:3])}: {told[-1] if told else f'exit {done.returncode}'}"
    return None


@functools.cache
def _no_strace() -> str | None:
    return works("strace", "-D", "-f", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=9999", "true")


@functools.cache
def _no_tmpfs() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        missing = works("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder)
        if missing is None:
            works("umount", "-l", folder)
        return missing


@functools.cache
def _no_namespaces() -> str | None:
    missing = works("ip", "netns", "add", "faults-probe")
    if missing is None:
        missing = works("ip", "netns", "exec", "faults-probe", "ip", "link", "set", "lo", "up")
        works("ip", "netns", "del", "faults-probe")
    return missing


@functools.cache
def _no_tbf() -> str | None:
    if missing := _no_namespaces():
        return missing
    works("ip", "netns", "add", "faults-probe")
    try:
        return works(
            *("ip", "netns", "exec", "faults-probe", "tc", "qdisc", "add", "dev", "lo", "root"),
            *("tbf", "rate", "64kbit", "burst", "2kb", "latency", "2s"),
        )
    finally:
        works("ip", "netns", "del", "faults-probe")


@functools.cache
def _no_mount_namespace() -> str | None:
    return works("unshare", "-m", "true")


def faketime_library() -> Path | None:
    """Return libfaketime's library, from its wheel or the system; ``None`` where there is none."""
    places = [Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"), Path("/usr/lib/faketime/libfaketime.so.1")]
    found = importlib.util.find_spec("libfaketime")
    if found is not None and found.origin:
        places = [*sorted(Path(found.origin).parent.rglob("libfaketime.so.1")), *places]
    return next((place for place in places if place.exists()), None)


def _no_faketime() -> str | None:
    return None if faketime_library() else "there is no libfaketime"


STRACE = Need("strace's fault injection", _no_strace)
TMPFS = Need("mounting a tmpfs", _no_tmpfs)
NETWORK = Need("network namespaces", _no_namespaces)
SHAPING = Need("a token bucket on a network device", _no_tbf)
MOUNTS = Need("a mount namespace", _no_mount_namespace)
FAKETIME = Need("libfaketime", _no_faketime)


@contextlib.contextmanager
def tmpfs(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount an empty file system of that size on ``folder``. Raises ``CannotInjectError``."""
    folder.mkdir(exist_ok=True)
    if missing := works("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)):
        raise CannotInjectError(missing)
    try:
        yield folder
    finally:
        works("umount", "-l", str(folder))
