"""What every program here is asked by: people, their requests, a sink that keeps their codes, and the load itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.children import Child, ChildError, program
from benchmarks.peers.asking import Errand
from benchmarks.served import PATIENCE

#: Seconds before answers count.
WARM_UP = 0.5
#: Seconds that preparing one kind of thing may take: the slowest of the programs makes a few a second.
PREPARING = 240.0


class KeptMails:
    """A running ``benchmarks.peers.codes``."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self.port = int(child.line(PATIENCE))

    def codes(self, count: int) -> Mapping[str, str]:
        """Wait for so many mails; return the latest code of each address. Raises ``ChildError``."""
        for line in (f"wait {count}", "codes"):
            self._child.tell(line)
            told = self._child.line(PREPARING)
        found: Mapping[str, str] = json.loads(told)
        return found


@contextmanager
def kept_mails(folder: Path) -> Iterator[KeptMails]:
    """Run a sink that keeps what it takes."""
    with Child("codes", program("peers.codes"), folder) as child:
        yield KeptMails(child)


def person(number: int) -> str:
    """Return the address of the person with a number, of a reserved domain."""
    return f"person-{number}@example.org"


def rate(folder: Path, port: int, errand: Errand) -> float:
    """Ask; return the right answers a second. Raises ``ChildError`` where one was wrong, or none came."""
    told = _asked(folder, port, errand)
    if not told["right"]:
        raise ChildError(f"nothing was answered within {errand.seconds:g} s")
    return float(told["right"] / told["seconds"])


def answered(folder: Path, port: int, errand: Errand) -> Mapping[int, Any]:
    """Ask for everything there is; return the answers by their request's place. Raises ``ChildError``."""
    path = folder / "answers"
    told = _asked(folder, port, errand, "--answers", path)
    if told["all_right"] < len(errand.requests):
        raise ChildError(f"only {told['all_right']} of {len(errand.requests)} requests were answered")
    return {int(place): json.loads(answer) for place, answer in json.loads(path.read_text("utf-8")).items()}


def _asked(folder: Path, port: int, errand: Errand, *arguments: object) -> dict[str, Any]:
    path = folder / "errand"
    errand.write(path)
    with Child("asking", program("peers.asking", port, path, *arguments), folder) as child:
        told: dict[str, Any] = json.loads(child.line(errand.warm_up + errand.seconds + PATIENCE))
        child.wait(PATIENCE)
    if told["wrong"]:
        raise ChildError(f"answers were wrong: {told['wrong']}: {told['shown']}")
    return told


def requests(path: str, bodies: Sequence[Mapping[str, object]]) -> list[tuple[str, str]]:
    """Return one request a body, all to one path."""
    return [(path, json.dumps(body)) for body in bodies]
