"""What came of each attempt: one line, `held` or `FAULT`, and an exit code that says whether anything fell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_tb

_HERE = Path(__file__).parent


def _shown(line: str) -> None:
    print(line, flush=True)


@dataclass
class Verdicts:
    """The attempts of one run. ``show`` takes each line; figures in it never hold a code, a key or an address."""

    show: Callable[[str], None] = _shown
    #: How many attempts were judged.
    judged: int = 0
    #: The names of those that got somebody what is not theirs.
    fallen: list[str] = field(default_factory=list)

    def tell(self, name: str, held: bool, figures: object = "") -> None:
        """Judge one attempt: ``held`` is whether it got nothing that the documents do not grant."""
        self.judged += 1
        if not held:
            self.fallen.append(name)
        self.show(f"{'held ' if held else 'FAULT'} {name}: {figures}".removesuffix(": "))

    def broke(self, part: str, error: Exception) -> None:
        """Count a part that could not be played to its end as fallen: what was not tried is not known to hold."""
        # Where in our own lines; what the error says may hold what was sent.
        lines = [f"{Path(frame.f_code.co_filename).name}:{line}" for frame, line in walk_tb(error.__traceback__)]
        ours = [line for line in lines if (_HERE / line.partition(":")[0]).is_file()]
        self.tell(f"{part} is played to its end", False, f"{type(error).__name__} at {', '.join(ours)}")

    @property
    def exit_code(self) -> int:
        """1 where anything fell, 0 else."""
        return 1 if self.fallen else 0
