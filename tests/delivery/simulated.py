"""Minutes in milliseconds: a loop whose time jumps to the next thing that is due as soon as nothing else is to be done.

Whatever waits by asyncio waits in that time: sleeps, timeouts, duties. What works in a thread (SQLite's commits) is
waited for in earnest, and takes no simulated time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

from tests.conftest import START

T = TypeVar("T")

#: Real seconds after which a simulation that waits for a thread is given up.
STUCK = 30.0


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        #: Calls that are in a thread.
        self.away = 0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self.away or timeout is None:
            found = super().select(STUCK)
            assert found, "nothing more will ever happen"
            return found
        self.time += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its seconds begin at 0."""

    def __init__(self) -> None:
        self._clock_and_selector = _Selector()
        super().__init__(self._clock_and_selector)

    def time(self) -> float:
        return self._clock_and_selector.time

    def jump(self, seconds: float) -> None:
        """Let time pass in which nothing of this process runs: as when it is stopped and goes on."""
        self._clock_and_selector.time += seconds

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        future = super().run_in_executor(executor, func, *args)
        self._clock_and_selector.away += 1
        future.add_done_callback(self._back)
        return future

    def _back(self, _: object) -> None:
        self._clock_and_selector.away -= 1


class SimulatedClock:
    """The loop's time, ``skew`` seconds off."""

    def __init__(self, skew: float = 0.0) -> None:
        self.skew = skew

    def now(self) -> float:
        return START + self.skew + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return 1000.0 + asyncio.get_running_loop().time()

    world = now


def simulate(scenario: Callable[[SimulatedLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a scenario to its end."""
    loop = SimulatedLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(scenario(loop))
