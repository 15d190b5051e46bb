"""Which tests coverage watches: to be watched takes a test twice as long, and most lines are watched a hundred times.

What is left out can only make coverage's figure smaller: whatever it reports was executed by a test. Watched are the
imports, once, and the tests but for these: what is about processes or texts; properties, which go over the same lines
a hundred times; the turn of the second engine, where the engines are not what it is about; and what comes after the
first cases of a table. From Python 3.14 on coverage watches
without a trace function; then all is watched, and costs little.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import threading
from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any

import pytest
from hypothesis import is_hypothesis_test

#: What goes through whole gateways, whole courses of events, or files: its lines are those of other tests.
UNWATCHED = (
    "tests/attacks/",
    "tests/benchmarks/",
    "tests/breaking_in/",
    "tests/delivery/dispatching/test_dispatcher_faults.py",
    "tests/faults/",
    "tests/fuzz/",
    "tests/journeys/",
    "tests/test_architecture.py",
    "tests/test_docs.py",
)
#: Where both engines' turns are watched.
ENGINES = ("tests/app/", "tests/diagnosis/", "tests/housekeeping/", "tests/storage/")
#: How many cases of one test are watched.
CASES = 6
#: What is not imported: the one runs the program, the others are run by the migrations.
UNIMPORTED = ("gateway.__main__", "gateway.storage.migrations.")

_watched = pytest.StashKey[bool]()


class Watch:
    """What the interpreter tells coverage: held back and let through again, between tests.

    Coverage can be stopped and started too, but then looks through all modules for what was imported before.
    """

    def __init__(self) -> None:
        self._watching = True
        self._held: tuple[Any, Any] = (None, None)

    def over(self, watching: bool) -> None:
        """Let coverage watch what follows on this thread and on those it starts, or not."""
        if watching == self._watching:
            return
        self._watching = watching
        if not watching:
            self._held = sys.gettrace(), threading.gettrace()
        here, there = self._held if watching else (None, None)
        sys.settrace(here)
        threading.settrace(there)


_watch = Watch()


def is_worker(config: pytest.Config) -> bool:
    """Say whether this process is one of several that run the tests."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Let every worker import the tests unwatched: what they import is watched where they are sent from."""
    _watch.over(not is_worker(session.config))
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Import everything, watched, where the tests are sent from, while the workers are collecting them."""
    config = session.config
    if _is_covered(config) and config.getoption("numprocesses", None) and not is_worker(config):
        for package in ("gateway", "channels"):
            for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
                if not module.name.startswith(UNIMPORTED):
                    importlib.import_module(module.name)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: Sequence[pytest.Item]) -> None:
    """Decide of each test whether it is watched."""
    if _is_covered(config):
        for item, watched in zip(items, watched_of(items), strict=True):
            item.stash[_watched] = watched


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Watch this test, or do not."""
    _watch.over(item.stash.get(_watched, True))
    return (yield)


def watched_of(items: Sequence[Any]) -> list[bool]:
    """Return of each test whether it is watched."""
    cases: Counter[str] = Counter()
    found = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        found.append(_adds_lines(item) and cases[test] < CASES)
        cases[test] += found[-1]
    return found


def _adds_lines(item: Any) -> bool:
    callspec = getattr(item, "callspec", None)
    if callspec is not None and callspec.params.get("engine_name") == "postgresql":
        return bool(item.nodeid.startswith(ENGINES))
    return not item.nodeid.startswith(UNWATCHED) and not is_hypothesis_test(getattr(item, "obj", None))


def _is_covered(config: pytest.Config) -> bool:
    return bool(config.getoption("cov_source", None)) and not config.getoption("no_cov", False)
