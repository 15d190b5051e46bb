"""The parts of a long run that other programs are measured in, in the order of the report."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.parts import Part
from benchmarks.peers import better_auth, pgqueuer, privacy_idea

PARTS: Sequence[Part] = (better_auth.PART, privacy_idea.PART, pgqueuer.PART)
