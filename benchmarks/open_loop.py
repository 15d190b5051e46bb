"""A load that comes at its own pace: so many requests a second, whether or not the last ones are answered.

``python -m benchmarks.open_loop PORT --key KEY --seconds S RATE…`` offers each rate for S seconds, starting
verifications by e-mail, each for another person, and prints one line of JSON: a list of ``Offered``. A request that
finds no free connection waits for one, and its latency counts from when it was due. Loads go to 127.0.0.1 only and
end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import uvloop

from benchmarks.figures import quantile
from benchmarks.lines import Line
from benchmarks.load import HOST, PATH, PATIENCE, recipients

#: Connections at most: as many requests are under way.
CONNECTIONS = 128
#: Seconds between two looks at what is due: the finest step of the loop's own timer.
_STEP = 0.001


@dataclass(frozen=True, slots=True)
class Offered:
    """What came of one rate. Times in seconds."""

    #: Requests a second.
    rate: float
    #: Answers 201, and other answers by status.
    created: int
    refused: dict[str, int]
    median: float
    #: The 99th percentile.
    slowest: float


class Offer:
    """One rate, offered over connections that are open."""

    def __init__(self, lines: Sequence[Line], addresses: Iterator[str], count: int) -> None:
        self._free = list(lines)
        self._addresses = addresses
        self._left = count
        self._due: deque[float] = deque()
        self._whole = asyncio.Event()
        self.latencies: list[float] = []
        self.refused: Counter[str] = Counter()

    async def run(self, rate: float) -> None:
        """Ask that many times a second, and wait for the last answer. Raises ``TimeoutError``."""
        began_at, total, asked = time.monotonic(), self._left, 0
        while asked < total:
            now = time.monotonic()
            wanted = min(total, int((now - began_at) * rate) + 1)
            self._due.extend([now] * (wanted - asked))
            asked = wanted
            self._ask()
            await asyncio.sleep(_STEP)
        async with asyncio.timeout(PATIENCE):
            await self._whole.wait()

    def _ask(self) -> None:
        while self._due and self._free:
            line = self._free.pop()
            request = (PATH, b'{"to":"%b"}' % next(self._addresses).encode())
            line.ask(request).add_done_callback(partial(self._answered, line, self._due.popleft()))

    def _answered(self, line: Line, due_at: float, answer: asyncio.Future[tuple[int, bytes]]) -> None:
        status = answer.result()[0]
        if status == 201:
            self.latencies.append(time.monotonic() - due_at)
        else:
            self.refused[str(status)] += 1
        self._free.append(line)
        self._left -= 1
        if not self._left:
            self._whole.set()
        self._ask()


async def run(port: int, rates: Sequence[float], *, key: str, seconds: float) -> list[Offered]:
    """Offer each rate and return what came of it. Raises ``OSError`` or ``TimeoutError``."""
    loop, addresses = asyncio.get_running_loop(), recipients("email")
    lines = [(await loop.create_connection(lambda: Line(key), HOST, port))[1] for _ in range(CONNECTIONS)]
    try:
        return [await _offered(lines, addresses, rate, seconds) for rate in rates]
    finally:
        for line in lines:
            line.close()


async def _offered(lines: Sequence[Line], addresses: Iterator[str], rate: float, seconds: float) -> Offered:
    offer = Offer(lines, addresses, max(1, round(rate * seconds)))
    await offer.run(rate)
    # Where nothing was created there is no latency, and who reads the refusals says so.
    taken = offer.latencies or [0.0]
    return Offered(rate, len(offer.latencies), dict(offer.refused), quantile(taken, 0.5), quantile(taken, 0.99))


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("rates", type=float, nargs="+")
    parser.add_argument("--key", default="")
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    done = uvloop.run(run(asked.port, asked.rates, key=asked.key, seconds=asked.seconds))
    print(json.dumps([asdict(offered) for offered in done]), flush=True)


if __name__ == "__main__":
    _main()
