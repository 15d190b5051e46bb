"""A trial: one fault of the table, as a script that injects it and returns its figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.figures import Figures
from tests.faults.needs import Need
from tests.faults.scene import Scene

SQLITE, POSTGRESQL = "sqlite", "postgresql"
BOTH = (SQLITE, POSTGRESQL)

Script = Callable[[Scene], Awaitable[Figures]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One scripted fault."""

    #: ``F-17``.
    fault: str
    #: What happens, how it is made to happen, and what is accepted; as the report shows it.
    what: str
    inject: str
    accept: str
    run: Script = field(repr=False)
    engines: Sequence[str] = BOTH
    #: Whether it takes a few seconds only, and runs with every other test.
    fast: bool = False
    needs: Sequence[Need] = ()
    #: Whether it mostly waits, for leases and codes to run out, and so runs beside others of its kind.
    patient: bool = False

    @property
    def missing(self) -> str | None:
        """What this machine lacks to inject it; ``None`` where nothing is."""
        return next((told for need in self.needs if (told := need.missing())), None)

    @property
    def name(self) -> str:
        """The script's name."""
        return str(getattr(self.run, "__name__", self.fault))


#: Every trial, in the order they are written down.
TRIALS: list[Trial] = []


def trial(
    fault: str,
    what: str,
    *,
    inject: str,
    accept: str,
    engines: Sequence[str] = BOTH,
    fast: bool = False,
    needs: Sequence[Need] = (),
    patient: bool = False,
) -> Callable[[Script], Script]:
    """Enter a script into the table."""

    def entered(run: Script) -> Script:
        TRIALS.append(Trial(fault, what, inject, accept, run, engines, fast, needs, patient))
        return run

    return entered
