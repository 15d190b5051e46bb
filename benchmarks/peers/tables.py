"""Tables of what is sent and checked beside a peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.figures import Target
from benchmarks.peers.ours import GATEWAY
from benchmarks.report import Section, compared
from benchmarks.rounds import Samples

_ASKED = "The same program asks both, over 32 connections where nothing else is said; mails go to the same sink; right answers count."


@dataclass(frozen=True, slots=True)
class Beside:
    """One peer's tables."""

    peer: str
    #: How it is set up.
    text: str
    #: For our rate over the peer's, by figure.
    targets: Mapping[str, Target]

    def sections(self, samples: Samples) -> tuple[Section, Section]:
        """Return a table of sends and one of checks."""
        return (
            self._section(f"Codes sent, beside {self.peer}", f"{self.text} {_ASKED}", "send", "sends/s", samples),
            self._section(
                f"Codes checked, beside {self.peer}",
                "Right codes, each once, of verifications made before the clock runs.",
                "check",
                "checks/s",
                samples,
            ),
        )

    def _section(self, title: str, text: str, figure: str, unit: str, samples: Samples) -> Section:
        targets = {GATEWAY: self.targets[figure]}
        return Section(title, text, unit, compared(samples, figure, self.peer, targets))
