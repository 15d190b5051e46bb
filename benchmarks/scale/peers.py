"""Other queues on the same server: installed where they disturb nobody, and run with what ours is run with."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.children import Child, program
from benchmarks.rounds import Sample, tell
from benchmarks.scale.filling import fill, sealer_of
from benchmarks.scale.race import PATIENCE
from benchmarks.scale.server import Server, database_of
from benchmarks.served import Prepared
from gateway.config import variable_name

GATEWAY, AGAIN = "otp-gateway", "otp-gateway, again"
#: What is installed for each, exactly.
PINS: Mapping[str, tuple[str, ...]] = {
    "procrastinate": ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9", "uvloop==0.23.0"),
    "pgqueuer": ("pgqueuer==1.6.0", "asyncpg==0.32.0", "uvloop==0.23.0"),
}
#: Seconds an installation may take.
_INSTALLING = 150.0
#: Written when an installation is whole.
_WHOLE = "installed.json"
#: Beside the channel that does nothing no other is configured.
_CHANNEL = "nothing"
_CONFIG = """\
[server]
host = "127.0.0.1"
port = 0

[channels.nothing]
adapter = "nothing"
concurrency = 16

[services.default]
channels = ["nothing"]
templates = "templates"
"""


@dataclass(frozen=True, slots=True)
class Alone:
    """Our queue with the channel that does nothing: its config file, and the variables it runs with."""

    config: Path
    environ: Mapping[str, str] = field(repr=False)

    def drain(self, folder: Path, url: str, count: int) -> Sample:
        """Take ``count`` messages of those that wait in a database. Raises ``ChildError``."""
        return self._run(folder, url, "drain", count)

    def through(self, folder: Path, url: str, count: int) -> Sample:
        """Start ``count`` verifications and send them. Raises ``ChildError``."""
        return self._run(folder, url, "through", count)

    def _run(self, folder: Path, url: str, how: str, count: int) -> Sample:
        environ = {**self.environ, variable_name(("database", "url")): url}
        return raced(folder, program("scale.run_gateway", self.config, how, count), environ)


def alone(folder: Path, prepared: Prepared) -> Alone:
    """Write the config and the template of the channel that does nothing."""
    home = folder / "alone"
    text = home / "templates" / _CHANNEL / "verification" / "body.txt"
    text.parent.mkdir(parents=True)
    text.write_text("{{ code }} is your code for {{ brand }}.\n")
    (home / "config.toml").write_text(_CONFIG)
    # The channels of the other benchmarks are not configured here.
    others = variable_name(("channels", ""))
    environ = {name: value for name, value in prepared.environ.items() if not name.startswith(others)}
    return Alone(home / "config.toml", environ)


@dataclass(frozen=True, slots=True)
class Peers:
    """The race: everybody on a fresh database of the same server."""

    folder: Path
    server: Server
    prepared: Prepared
    ours: Alone
    #: The interpreters of those that could be installed, by name.
    pythons: Mapping[str, Path]
    #: Messages of one run.
    count: int

    def arms(self) -> Mapping[str, Callable[[], Sample]]:
        """Return what is measured, by name, the yardstick first."""
        arms: dict[str, Callable[[], Sample]] = {GATEWAY: self._ours}
        for name, python in self.pythons.items():
            arms[name] = partial(self._peer, name, python)
        return {**arms, AGAIN: self._ours}

    def _ours(self) -> Sample:
        template = database_of(self.prepared.url or "")
        with self.server.database(template) as url:
            asyncio.run(fill(url, sealer_of(self.ours.environ), _CHANNEL, self.count))
            drained = self.ours.drain(self.folder, url, self.count)
        with self.server.database(template) as url:
            return _both(drained, self.ours.through(self.folder, url, self.count))

    def _peer(self, name: str, python: Path) -> Sample:
        found = []
        for how in ("drain", "through"):
            with self.server.database() as url:
                command = [str(python), "-m", f"benchmarks.scale.run_{name}", url, how, str(self.count)]
                # Of our variables none, and of the modules only what stands beside this one.
                environ = {**_plain(), "PYTHONPATH": str(Path(__file__).parents[2])}
                found.append(raced(self.folder, command, environ))
        return _both(*found)


def raced(folder: Path, command: list[str], environ: Mapping[str, str]) -> Sample:
    """Run a program of the race; return its ``Race``. Raises ``ChildError``."""
    with Child("race", command, folder, environ=environ) as child:
        # Its own bound comes first; starting and stopping take their time.
        found: Sample = json.loads(child.line(PATIENCE + 30))
        child.wait(30)
    return found


def installed(cache: Path, pins: Mapping[str, tuple[str, ...]] = PINS) -> tuple[dict[str, Path], dict[str, str]]:
    """Install what is not there yet, each in an environment of its own in ``cache``.

    Returns the interpreters by name, and why the others could not be installed.
    """
    pythons: dict[str, Path] = {}
    skipped: dict[str, str] = {}
    for name, wanted in pins.items():
        home = cache / name
        python, whole = home / "bin" / "python", home / _WHOLE
        try:
            if not (whole.exists() and json.loads(whole.read_text()) == list(wanted)):
                tell(f"installing {' '.join(wanted)}")
                shutil.rmtree(home, ignore_errors=True)
                _install(home, python, wanted)
                whole.write_text(json.dumps(wanted))
            pythons[name] = python
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            skipped[name] = type(error).__name__
            tell(f"{name} is left out, it cannot be installed: {type(error).__name__}")
    return pythons, skipped


def _install(home: Path, python: Path, wanted: tuple[str, ...]) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", *quiet, *wanted],
    ):
        subprocess.run(
            command, check=True, timeout=_INSTALLING, env=_plain(), stdin=subprocess.DEVNULL, capture_output=True
        )


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.upper().startswith("OTP_GATEWAY_")}


def _both(drained: Sample, through: Sample) -> Sample:
    return {"drained": drained["rate"], "through": through["rate"]}
