"""better-auth with its e-mail OTP plugin, on Node and better-sqlite3: ``better-auth/server.mjs``.

*Send* is its ``send-verification-otp`` for a user's address, *check* its ``verify-email`` with the right code, which
consumes the code and writes down that the address is proved, as our check does. Of its endpoints that consume a code
it is the one that does least.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.children import Child
from benchmarks.figures import Target
from benchmarks.mail_sinks import mail_sink
from benchmarks.parts import FULL_ONLY, Arm, Part, Scale, Shown, Stage
from benchmarks.peers.asking import Errand
from benchmarks.peers.installing import ENVIRONMENTS, node_environment
from benchmarks.peers.loads import PREPARING, answered, kept_mails, person, rate, requests
from benchmarks.peers.ours import beside
from benchmarks.peers.tables import Beside
from benchmarks.report import Section
from benchmarks.rounds import Sample, Samples
from benchmarks.served import PATIENCE

PEER = "better-auth"
#: The same with a write-ahead log, which its documentation does not speak of: what it can do at its best.
TUNED = f"{PEER}, write-ahead log"
#: Our rate over its rate.
TARGETS = {"send": Target(10, at_least=True, aim=15), "check": Target(40, at_least=True, aim=70)}
_SOURCE = Path(__file__).with_name("better-auth")
_PATH = "/api/auth/email-otp"
_PURPOSE = "email-verification"
_USER = """INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt") VALUES (?, '', ?, 0, ?, ?)"""
_SINCE = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True, slots=True)
class BetterAuth:
    """An installed better-auth with a database in which users have codes."""

    folder: Path
    node: Path
    #: Where its packages are.
    home: Path
    environ: Mapping[str, str] = field(repr=False)
    #: Seconds of one load.
    seconds: float
    #: Seconds before answers count: its code is compiled while it runs, and it has its full speed after two to three.
    warm_up: float = 3.0
    #: Users that are asked for, and for how many of them a code is made beforehand: more than it does in a load.
    users: int = 9000
    made: int = 3000
    #: Whether its database has a write-ahead log; else a rollback journal, as it makes it.
    wal: bool = False
    #: Code by address.
    codes: Mapping[str, str] = field(repr=False, default_factory=dict)

    def measured(self) -> Sample:
        """Return what is sent and checked a second. Raises ``ChildError``."""
        return {"send": self._sent(), "check": self._checked()}

    def prepared(self) -> BetterAuth:
        """Make the database with its users, and codes for some. Raises ``ChildError``."""
        with self._serving(self._database, 0):
            pass
        with closing(sqlite3.connect(self._database)) as connection, connection:
            rows = [(f"user-{number}", person(number), _SINCE, _SINCE) for number in range(self.users)]
            connection.executemany(_USER, rows)
        with kept_mails(self.folder) as kept, self._serving(self._database, kept.port) as port:
            answered(self.folder, port, _sends(range(self.made), 0.0, PREPARING))
            return replace(self, codes=kept.codes(self.made))

    def _sent(self) -> float:
        with mail_sink(self.folder) as end, self._copied(end.port) as port:
            return rate(self.folder, port, _sends(range(self.made, self.users), self.warm_up, self.seconds))

    def _checked(self) -> float:
        bodies = [{"email": address, "otp": code} for address, code in self.codes.items()]
        errand = Errand({}, requests(f"{_PATH}/verify-email", bodies), 200, '"status":true', self.warm_up, self.seconds)
        with mail_sink(self.folder) as end, self._copied(end.port) as port:
            return rate(self.folder, port, errand)

    @property
    def _database(self) -> Path:
        return self.folder / "better-auth.db"

    @contextmanager
    def _copied(self, sink: int) -> Iterator[int]:
        """Serve on a fresh copy of the prepared database; yield the port."""
        copy = self._database.with_name(f"better-auth-{secrets.token_hex(4)}.db")
        shutil.copy(self._database, copy)
        try:
            with self._serving(copy, sink) as port:
                yield port
        finally:
            for left in copy.parent.glob(f"{copy.name}*"):
                left.unlink()

    @contextmanager
    def _serving(self, database: Path, sink: int) -> Iterator[int]:
        journal = ["wal"] if self.wal else []
        command = [str(self.node), str(self.home / "server.mjs"), str(database), str(sink), *journal]
        with Child(PEER, command, self.folder, environ=self.environ) as child:
            yield int(child.line(PATIENCE))


def _sends(numbers: Sequence[int], warm_up: float, seconds: float) -> Errand:
    bodies = [{"email": person(number), "type": _PURPOSE} for number in numbers]
    return Errand({}, requests(f"{_PATH}/send-verification-otp", bodies), 200, '"success":true', warm_up, seconds)


def _arms(stage: Stage) -> Mapping[str, Arm]:
    home = ENVIRONMENTS / PEER
    node = node_environment(_SOURCE, home)
    environ = {"PATH": os.environ["PATH"], "NODE_ENV": "production", "BETTER_AUTH_SECRET": secrets.token_hex(32)}
    peer = BetterAuth(stage.folder, node, home, environ, stage.scale.seconds)

    def prepared() -> Mapping[str, Arm]:
        made = peer.prepared()
        return {PEER: made.measured, TUNED: replace(made, wal=True).measured}

    return beside(stage, PEER, prepared)


def _sections(samples: Samples, _scale: Scale) -> Sequence[Section]:
    return Beside(PEER, _TEXT, TARGETS).sections(samples)


_TEXT = (
    "better-auth 1.7.25 with its e-mail OTP plugin, better-sqlite3 12.11.1 (built here where no build is published for "
    "this system) and nodemailer 10.6.0 over 16 kept connections, in one Node process with `NODE_ENV=production`. As its "
    "documentation advises, the answer does not wait for the mail. Its rate limit is off, since all requests come from "
    "one address; ours are on. The database is as it makes it, with a rollback journal and every commit synced; beside "
    "it, without a target, the same with a write-ahead log, synced as well: it makes and removes no file for each commit, "
    "so that its rate depends less on what else writes to the disk. Its answers count after 3 s, when Node has compiled "
    "what runs."
)
PART = Part(PEER, _arms, _sections, weight=420, shown=Shown("send"), rounds=7, extents=FULL_ONLY)
