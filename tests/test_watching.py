from __future__ import annotations

import sys
import threading
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.watching import CASES, Watch, watched_of


def item(nodeid: str, **params: str) -> Any:
    callspec = {"callspec": SimpleNamespace(params=params)} if params else {}
    return SimpleNamespace(nodeid=nodeid, **callspec)


def test_the_first_cases_of_a_table_are_watched():
    table = [item(f"tests/api/test_body.py::test_it[{number}]") for number in range(CASES + 2)]
    other = item("tests/api/test_body.py::test_another")
    assert watched_of([*table, other]) == [True] * CASES + [False, False, True]


def test_the_second_engine_is_watched_where_it_is_what_a_test_is_about():
    tests = [
        item(f"tests/{place}/test_it.py::test_it[{engine}]", engine_name=engine)
        for place in ("delivery", "storage")
        for engine in ("sqlite", "postgresql")
    ]
    assert watched_of(tests) == [True, False, True, True]


def test_what_starts_gateways_and_what_reads_files_is_not_watched():
    tests = [item("tests/journeys/test_stop.py::test_it"), item("tests/test_docs.py::test_it")]
    assert watched_of(tests) == [False, False]


def test_a_property_is_not_watched():
    @given(st.none())
    def check(value):
        """Holds of everything."""

    tests = [SimpleNamespace(nodeid="tests/api/test_body.py::test_it", obj=obj) for obj in (check, print)]
    assert watched_of(tests) == [False, True]


def test_watching_ends_and_begins_again_here_and_on_new_threads():
    before = sys.gettrace(), threading.gettrace()
    watch = Watch()
    watch.over(False)
    without = sys.gettrace(), threading.gettrace()
    watch.over(True)
    assert without == (None, None)
    assert before == (sys.gettrace(), threading.gettrace())
