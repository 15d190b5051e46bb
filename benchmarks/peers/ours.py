"""The gateway's own share of the comparison: codes sent and right codes checked, by the same load as the peers'."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.carrying import settle
from benchmarks.children import ChildError
from benchmarks.figures import again
from benchmarks.load import PATH
from benchmarks.mail_sinks import mail_sink
from benchmarks.parts import Arm, SkippedError, Stage
from benchmarks.peers.asking import Errand
from benchmarks.peers.loads import PREPARING, WARM_UP, KeptMails, answered, kept_mails, person, rate, requests
from benchmarks.rounds import Sample
from benchmarks.served import Prepared, Served, serving

GATEWAY = "otp-gateway"
#: Verifications that are asked for in a second at most: more than it starts.
_STARTS = 6000


@dataclass(frozen=True, slots=True)
class Ours:
    """Our gateway, with everything on that it has on by default."""

    folder: Path
    prepared: Prepared
    #: Seconds of one load, and of sends before they count.
    seconds: float
    warm_up: float = WARM_UP
    #: Right codes that are checked; a load of them ends before its time where it has checked all.
    checks: int = 5000

    def measured(self) -> Sample:
        """Return what is sent and checked a second. Raises ``ChildError``."""
        return {"send": self.sent(), "check": self.checked()}

    def sent(self) -> float:
        """Return the verifications that are started a second while their mails go out."""
        with mail_sink(self.folder) as end, serving(self.prepared, sink=end.port) as served:
            count = int(_STARTS * (self.warm_up + self.seconds))
            return rate(self.folder, served.port, self._starts(served, count, self.warm_up, self.seconds))

    def checked(self) -> float:
        """Return the right codes that are taken a second."""
        with kept_mails(self.folder) as kept, serving(self.prepared, sink=kept.port) as served:
            return self.taken(served, kept)

    def taken(self, served: Served, kept: KeptMails) -> float:
        """Return the right codes a second that a gateway takes whose mails are kept."""
        answers = answered(self.folder, served.port, self._starts(served, self.checks, 0.0, PREPARING))
        codes = kept.codes(self.checks)
        # What came of their mails is written down before the clock runs: it is no part of a check.
        settle(served.child)
        # An answer has the address masked; who was asked for is known by the request's place.
        checks = [
            (f"{PATH}/{answer['id']}/check", json.dumps({"code": codes[person(place)]}))
            for place, answer in answers.items()
        ]
        errand = Errand(_headers(served), checks, 200, '"status":"approved"', 0.0, self.seconds)
        return rate(self.folder, served.port, errand)

    def _starts(self, served: Served, count: int, warm_up: float, seconds: float) -> Errand:
        starts = requests(PATH, [{"to": person(number)} for number in range(count)])
        return Errand(_headers(served), starts, 201, '"status":"pending"', warm_up, seconds)


def beside(stage: Stage, peer: str, prepared: Callable[[], Mapping[str, Arm]]) -> Mapping[str, Arm]:
    """Return a peer's arms and ours, by name; ``prepared`` sets the peer up and returns its arms, the yardstick among them.

    Raises ``SkippedError`` where it cannot be set up.
    """
    try:
        peers = prepared()
    except ChildError as error:
        raise SkippedError(f"it cannot be started: {error}".splitlines()[0]) from error
    ours = Ours(stage.folder, stage.sqlite, stage.scale.seconds)
    return {**peers, GATEWAY: ours.measured, again(peer): peers[peer]}


def _headers(served: Served) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {served.key}"}
