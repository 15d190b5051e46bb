"""Programs of others, installed by the command where they disturb nobody: each in an environment of its own.

Versions and hashes are those of the lock file beside this module. What is installed already is not installed again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.parts import SkippedError
from benchmarks.rounds import tell

#: Where the environments are: ``make clean`` removes them too.
ENVIRONMENTS = Path(sys.prefix) / "peers"
#: Seconds one command of an installation may take: a native module is built from its source where none is published.
_INSTALLING = 900.0
#: Written with the fingerprint of what was asked for when an installation is whole.
_WHOLE = "installed"
#: How npm tells why it failed, in one word.
_CODE = "npm error code "


def node_environment(source: Path, home: Path) -> Path:
    """Install the packages of ``source``'s package-lock.json in ``home``; return the path of ``node``.

    The programs in ``source`` are copied beside them. Raises ``SkippedError``.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SkippedError("node and npm are needed and not installed")
    version = _run([node, "--version"], home.parent, 60.0, _plain())
    lock = (source / "package-lock.json").read_bytes()

    def install() -> None:
        shutil.copytree(source, home)
        _run([npm, "ci", "--no-audit", "--no-fund"], home, _INSTALLING, _building(Path(node)))

    _once(home, fingerprint(lock, version.encode()), install)
    for program in source.glob("*.mjs"):
        shutil.copy(program, home)
    return Path(node)


def python_environment(requirements: Path, home: Path) -> Path:
    """Install a file of requirements with hashes in ``home``; return its interpreter. Raises ``SkippedError``."""
    python = home / "bin" / "python"

    def install() -> None:
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes")
        _run([sys.executable, "-m", "venv", str(home)], home.parent, _INSTALLING, _plain())
        _run([*pip, "--requirement", str(requirements)], home.parent, _INSTALLING, _plain())

    _once(home, fingerprint(requirements.read_bytes(), sys.version.encode()), install)
    return python


def fingerprint(*contents: bytes) -> str:
    """Return what tells an installation from one of other contents."""
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def _once(home: Path, wanted: str, install: Callable[[], None]) -> None:
    """Install, unless it is done; what was left half done is removed first. Raises ``SkippedError``."""
    whole = home / _WHOLE
    if whole.exists() and whole.read_text() == wanted:
        return
    tell(f"installing {home.name} (minutes, once)")
    shutil.rmtree(home, ignore_errors=True)
    install()
    whole.write_text(wanted)


def _plain() -> dict[str, str]:
    """Return our variables without the gateway's: programs of others are no place for its secrets."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("OTP_GATEWAY_")}


def _building(node: Path) -> dict[str, str]:
    """Return variables that let a native module be built with the headers that lie beside ``node``.

    They would be downloaded otherwise, though many systems ship them.
    """
    beside = node.resolve().parents[1]
    if (beside / "include" / "node" / "node.h").exists():
        return {"npm_config_nodedir": str(beside), **_plain()}
    return _plain()


def _run(command: Sequence[str], folder: Path, within: float, environ: dict[str, str]) -> str:
    """Run a command of an installation; return what it says. Raises ``SkippedError``."""
    name = " ".join([Path(command[0]).name, *command[1:3]])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SkippedError(f"it cannot be installed: {name}: {type(error).__name__}") from None
    if done.returncode:
        # The rest may name hosts and folders, which are nobody's business in a report.
        codes = [line.removeprefix(_CODE) for line in done.stderr.splitlines() if line.startswith(_CODE)]
        raise SkippedError(f"it cannot be installed: {name} ended with {', '.join(codes) or done.returncode}")
    return done.stdout
