from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks import starting_up
from benchmarks.__main__ import FULL
from benchmarks.children import ChildError
from benchmarks.scale.server import until_settled
from benchmarks.served import Prepared
from benchmarks.starting_up import filled, filled_server, full, until_ready
from tests.benchmarks.scale.test_filling import RING
from tests.conftest import aside, empty


class Starting(BaseHTTPRequestHandler):
    """Is not ready at first."""

    left: ClassVar[list[int]] = [2]

    def do_GET(self) -> None:
        self.left[0] -= 1
        self.send_response(200 if self.path == "/readyz" and self.left[0] < 0 else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    Starting.left[0] = 2
    with HTTPServer(("127.0.0.1", 0), Starting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_it_is_asked_again_until_it_is_ready(port):
    until_ready(port, 10.0)
    assert Starting.left == [-1]


def test_one_that_is_never_ready_is_not_waited_for_longer(port):
    with pytest.raises(ChildError, match="was not ready within 0 s"):
        until_ready(port, 0.0)


def test_a_filled_database_has_its_messages_due_and_sends_none(tmp_path, migrated_sqlite):
    prepared = Prepared(tmp_path / "prepared", RING, "key")
    prepared.folder.mkdir()
    shutil.copy(migrated_sqlite, prepared.folder / "bench.db")
    connection = sqlite3.connect(filled(prepared, tmp_path / "filled", 3) / "bench.db")
    due = "SELECT count(*) FROM message m JOIN verification v ON v.id = m.verification_id WHERE m.status = 'queued'"
    paused = "SELECT count(*) FROM pause WHERE channel = 'email' AND until > strftime('%s', 'now') + 3600"
    assert [connection.execute(question).fetchone() for question in (due, paused)] == [(3,), (1,)]
    connection.close()


def test_only_the_full_database_is_judged():
    names = (starting_up.YARDSTICK, full(1_000_000), starting_up.ON_POSTGRESQL, starting_up.AGAIN)
    [section] = starting_up.sections({name: [{"ready": 1.5}] for name in names}, FULL)
    assert [row.verdict for row in section.rows] == ["", "≤ 2: reached", "≤ 2: reached", ""]


def test_a_database_of_a_server_is_filled_and_started_with(migrated_postgresql):
    aside(empty(migrated_postgresql))
    environ = filled_server(Prepared(Path(), RING, "key"), migrated_postgresql, 3)
    assert (environ["OTP_GATEWAY_DATABASE__URL"], environ.keys() >= RING.keys()) == (migrated_postgresql, True)
    assert until_settled(migrated_postgresql, 0.0) == 3
