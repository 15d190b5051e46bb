"""What a message costs, claimed and settled, with few and with very many waiting behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.rounds import Sample, tell
from benchmarks.scale.filling import fill, sealer_of
from benchmarks.scale.peers import Alone
from benchmarks.scale.server import Server, database_of, tidy
from benchmarks.served import Prepared

#: Messages that wait; the first is the yardstick, and is there twice for the noise.
SIZES = (1_000, 100_000, 1_000_000)
#: Of them, how many one run takes: so few that the shortest queue is never empty.
TAKEN = 700
_CHANNEL = "nothing"


def names(sizes: Sequence[int]) -> dict[str, int]:
    """Return the queues' names and lengths, the yardstick first and once more at the end."""
    return {**{f"{size:,} queued": size for size in sizes}, f"{sizes[0]:,} queued, again": sizes[0]}


@dataclass(frozen=True, slots=True)
class Depth:
    """Filled queues, and who takes from them."""

    folder: Path
    ours: Alone
    #: The database of each queue, by its name.
    urls: Mapping[str, str]

    def arms(self) -> Mapping[str, Callable[[], Sample]]:
        """Return what is measured, by name, the yardstick first."""
        return {name: partial(self._measured, url) for name, url in self.urls.items()}

    def _measured(self, url: str) -> Sample:
        sample = self.ours.drain(self.folder, url, TAKEN)
        # As long as it was, for the next round.
        asyncio.run(fill(url, sealer_of(self.ours.environ), _CHANNEL, TAKEN))
        return {"seconds": 1 / sample["rate"]}


@contextmanager
def queues(
    folder: Path, server: Server, prepared: Prepared, ours: Alone, sizes: Sequence[int] = SIZES
) -> Iterator[Depth]:
    """Fill a queue of each length; yield them, and drop them at the end."""
    with ExitStack() as stack:
        urls = {}
        for name, size in names(sizes).items():
            url = stack.enter_context(server.database(database_of(prepared.url or "")))
            asyncio.run(fill(url, sealer_of(ours.environ), _CHANNEL, size))
            tidy(url)
            urls[name] = url
            tell(f"filled: {name}")
        yield Depth(folder, ours, urls)
