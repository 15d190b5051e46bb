"""Tables of what is sent and checked beside a peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.figures import Target, again, ratios, spread
from benchmarks.peers.ours import GATEWAY
from benchmarks.report import Row, Section, compared
from benchmarks.rounds import Samples, column

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
        rows = compared(samples, figure, self.peer, {GATEWAY: self.targets[figure]})
        ours = column(samples[GATEWAY], figure)
        # What the peer does when it is set up otherwise than its documentation says has our ratio to it in a line of its own.
        for name in samples.keys() - {self.peer, GATEWAY, again(self.peer)}:
            beside = spread(ratios(ours, column(samples[name], figure)))
            rows.append(Row(f"{GATEWAY} over {name}", spread(ours), beside))
        return Section(title, text, unit, rows)
