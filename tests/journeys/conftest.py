"""What journeys share: a mail server and a Bot API, their inbox, and processes that end with the test, whatever happens."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

import pytest

from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.telegram import TelegramSandbox
from tests.journeys.node import Node


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def smtp(inbox):
    async with SmtpSandbox(inbox) as server:
        yield server


@pytest.fixture
async def telegram(inbox):
    async with TelegramSandbox(inbox) as server:
        yield server


@pytest.fixture
async def make_node(tmp_path):
    """Makes gateways, not yet started."""
    made: list[Node] = []

    def make(environ: Mapping[str, str]) -> Node:
        made.append(Node(tmp_path, environ))
        return made[-1]

    maker: Callable[[Mapping[str, str]], Node] = make
    yield maker
    for node in made:
        await node.end(signal.SIGKILL)
