"""privacyIDEA with e-mail tokens on SQLite, served by gunicorn.

*Send* is its ``triggerchallenge`` for a token, which sends the code before it answers; *check* its ``validate/check``
with the right code for that challenge.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.children import Child, ChildError
from benchmarks.figures import Target
from benchmarks.mail_sinks import mail_sink
from benchmarks.parts import FULL_ONLY, Arm, Part, Scale, Shown, Stage
from benchmarks.peers.asking import Errand
from benchmarks.peers.installing import ENVIRONMENTS, python_environment
from benchmarks.peers.loads import PREPARING, answered, kept_mails, person, rate, requests
from benchmarks.peers.ours import beside
from benchmarks.peers.tables import Beside
from benchmarks.report import Section
from benchmarks.rounds import Sample, Samples

PEER = "privacyIDEA"
#: Our rate over its rate.
TARGETS = {"send": Target(100, at_least=True, aim=150), "check": Target(300, at_least=True, aim=500)}
#: Connections: its workers, one a core, take one at a time, and what waits at the end of a load delays the next one.
_CONNECTIONS = 8
#: Seconds a start may take.
_START = 60.0
#: Seconds gunicorn has to end its workers.
_GRACE = 10.0
_SOURCE = Path(__file__).with_name("privacyidea")
_ADMIN = "admin"
_CONFIG = """\
import os
_HERE = os.path.dirname(os.path.abspath(__file__))
SQLALCHEMY_DATABASE_URI = "sqlite:///" + os.path.join(_HERE, "privacyidea.sqlite")
PI_ENCFILE = os.path.join(_HERE, "enckey")
PI_AUDIT_KEY_PRIVATE = os.path.join(_HERE, "private.pem")
PI_AUDIT_KEY_PUBLIC = os.path.join(_HERE, "public.pem")
PI_LOGFILE = os.path.join(_HERE, "privacyidea.log")
PI_UUID_FILE = os.path.join(_HERE, "uuid.txt")
SECRET_KEY = "{secret}"
PI_PEPPER = "{pepper}"
"""
#: What its documentation sets a server up with, before the first administrator.
_SETUP = (("setup", "create_enckey"), ("setup", "create_audit_keys"), ("setup", "create_tables"))


@dataclass(frozen=True, slots=True)
class PrivacyIdea:
    """An installed privacyIDEA whose tokens have codes."""

    folder: Path
    #: The environment's interpreter.
    python: Path
    password: str = field(repr=False)
    #: Seconds before answers count, for each worker's first requests are slow; and for which they do, for few are made.
    warm_up: float = 2.0
    seconds: float = 8.0
    #: Each another person's: more than its workers, one a core, challenge or check in a load.
    tokens: int = 80 * len(os.sched_getaffinity(0))
    #: Transaction and code of each token, by its serial number.
    challenges: Mapping[str, tuple[str, str]] = field(repr=False, default_factory=dict)

    def measured(self) -> Sample:
        """Return what is checked, and after that sent, a second. Raises ``ChildError``."""
        bodies = [
            {"serial": serial, "transaction_id": transaction, "pass": code}
            for serial, (transaction, code) in self.challenges.items()
        ]
        # One server for both, for its start takes longer than a load. The codes that were made beforehand come first:
        # a new challenge makes the old one of its token void.
        with mail_sink(self.folder) as end, self._copied(end.port) as (port, admin):
            checks = requests("/validate/check", bodies)
            checked = rate(
                self.folder, port, Errand({}, checks, 200, '"value":true', self.warm_up, self.seconds, _CONNECTIONS)
            )
            return {
                "send": rate(self.folder, port, self._triggers(admin, self.warm_up, self.seconds)),
                "check": checked,
            }

    def prepared(self) -> PrivacyIdea:
        """Set a server up, with tokens and a code for each. Raises ``ChildError``."""
        self._set_up()
        with kept_mails(self.folder) as kept, self._serving(self._home, kept.port) as (port, admin):
            # A code must outlive all rounds.
            self._told(port, admin, "/system/setConfig", {"email.identifier": "sink", "email.validtime": "86400"})
            tokens = [
                {"type": "email", "email": person(number), "serial": _serial(number), "genkey": 1}
                for number in range(self.tokens)
            ]
            enrolled = Errand(admin, requests("/token/init", tokens), 200, '"status":true', 0.0, PREPARING)
            answered(self.folder, port, enrolled)
            sent = answered(self.folder, port, self._triggers(admin, 0.0, PREPARING))
            codes = kept.codes(self.tokens)
        challenges = {
            _serial(number): (str(answer["detail"]["transaction_id"]), codes[person(number)])
            for number, answer in sent.items()
        }
        return replace(self, challenges=challenges)

    @property
    def _home(self) -> Path:
        return self.folder / "privacyidea"

    def _set_up(self) -> None:
        self._home.mkdir()
        config = _CONFIG.format(secret=secrets.token_hex(32), pepper=secrets.token_hex(16))
        (self._home / "pi.cfg").write_text(config, "utf-8")
        for arguments in (*_SETUP, ("admin", "add", "--password", self.password, _ADMIN)):
            self._managed(arguments)

    def _managed(self, arguments: Sequence[str]) -> None:
        """Run a command of ``pi-manage``. Only its first words are told, for a password may be among the others."""
        name = f"pi-manage {' '.join(arguments[:2])}"
        try:
            done = subprocess.run(
                [str(self.python.with_name("pi-manage")), *arguments],
                env=_environ(self._home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_START,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ChildError(f"{name} did not end within {_START:g} s") from None
        if done.returncode:
            raise ChildError(f"{name} ended with {done.returncode}")

    def _triggers(self, admin: Mapping[str, str], warm_up: float, seconds: float) -> Errand:
        triggers = requests("/validate/triggerchallenge", [{"serial": _serial(n)} for n in range(self.tokens)])
        # Sent is what it counts as one challenge: where the mail server refuses, it answers 200 too.
        return Errand(admin, triggers, 200, '"value":1', warm_up, seconds, _CONNECTIONS)

    @contextmanager
    def _copied(self, sink: int) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Serve on a fresh copy of what was prepared; yield what ``_serving`` does."""
        copy = self._home.with_name(f"privacyidea-{secrets.token_hex(4)}")
        shutil.copytree(self._home, copy)
        try:
            with self._serving(copy, sink) as served:
                yield served
        finally:
            shutil.rmtree(copy)

    @contextmanager
    def _serving(self, home: Path, sink: int) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Serve with mail going to the port ``sink``; yield the port and the administrator's header."""
        command = [str(self.python), "-m", "gunicorn", "--config", str(_SOURCE / "gunicorn_settings.py")]
        with Child(PEER, command, self.folder, environ=_environ(home)) as child:
            port = int(child.line(_START))
            told = self._told(port, {}, "/auth", {"username": _ADMIN, "password": self.password})
            admin = {"PI-Authorization": str(told["result"]["value"]["token"])}
            server = {"server": "127.0.0.1", "port": sink, "sender": "codes@example.org", "tls": "0", "timeout": 10}
            self._told(port, admin, "/smtpserver/sink", server)
            yield port, admin
            # Killed at once it would leave its workers behind for a moment.
            child.stop(_GRACE)

    def _told(self, port: int, headers: Mapping[str, str], path: str, body: Mapping[str, object]) -> Mapping[str, Any]:
        """Ask for one thing; return the answer."""
        errand = Errand(headers, requests(path, [body]), 200, '"status":true', 0.0, _START)
        answer: Mapping[str, Any] = answered(self.folder, port, errand)[0]
        return answer


def _serial(number: int) -> str:
    return f"PIEM{number:08}"


def _environ(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PRIVACYIDEA_CONFIGFILE": str(home / "pi.cfg")}


def _arms(stage: Stage) -> Mapping[str, Arm]:
    python = python_environment(_SOURCE / "requirements.txt", ENVIRONMENTS / "privacyidea")
    peer = PrivacyIdea(stage.folder, python, secrets.token_hex(16))
    return beside(stage, PEER, lambda: {PEER: peer.prepared().measured})


def _sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    return Beside(PEER, _TEXT, TARGETS).sections(samples)


_TEXT = (
    "privacyIDEA 3.14 with e-mail tokens on SQLite, as `pi-manage setup` makes it, served by gunicorn 27.0.1 with one "
    "worker a core and asked over 8 connections, for a worker takes one request at a time. Its answer waits for the "
    "mail, and its audit trail is on, as ours is."
)
PART = Part(PEER, _arms, _sections, weight=600, shown=Shown("send"), rounds=7, extents=FULL_ONLY)
