"""How far something is: a bar on a terminal, a line for each tenth into a pipe; on standard error either way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Shown(Protocol):
    """What shows how far something is."""

    def moved(self, number: int) -> None:
        """So many more are done."""
        ...

    def tell(self, sentence: str) -> None:
        """Say something beside it."""
        ...


class _Bar:
    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress = progress
        self._bar = progress.add_task(what, total=total)

    def moved(self, number: int) -> None:
        self._progress.advance(self._bar, number)

    def tell(self, sentence: str) -> None:
        self._progress.console.print(sentence)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0

    def moved(self, number: int) -> None:
        tenths = 10 * self._done // max(self._total, 1)
        self._done += number
        if 10 * self._done // max(self._total, 1) > tenths:
            self.tell(f"{self._what}: {self._done} of {self._total}")

    def tell(self, sentence: str) -> None:
        typer.echo(sentence, err=True)


@contextmanager
def shown(what: str, total: int) -> Iterator[Shown]:
    """Show how far ``what`` is, of ``total`` steps, while the block runs."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        yield _Lines(what, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield _Bar(progress, what, total)
