"""A world with a bot that one person has opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.delivery.person import Reach
from gateway.delivery.revisions import Revisions
from gateway.storage.database import Database
from gateway.storage.postgresql import PostgresqlEngine
from gateway.storage.sealing import Sealer
from tests.world import Talker, World, two_channels

#: The chat of whoever is asked for.
CHAT = "4242"


async def everybody(*_: object) -> Reach:
    """Reach everybody in one chat."""
    return Reach(chat=CHAT)


@pytest.fixture
def bot() -> Talker:
    return Talker("telegram", ["telegram"])


@pytest.fixture
def make_chatty(database, clock, sealer, hasher, bot) -> Callable[..., World]:
    """Makes a node whose channels are the bot, SMS and e-mail."""

    def make(database: Database = database, **fields: Any) -> World:
        channels = {"telegram": bot, **two_channels()}
        return World(database, clock, sealer, hasher, channels, **{"resolve": everybody, **fields})

    return make


@pytest.fixture
def chatty(make_chatty: Callable[..., World]) -> World:
    return make_chatty()


@pytest.fixture
def make_revisions(database, clock, sealer) -> Callable[..., Revisions]:
    """Makes what a node sees of the due revisions."""

    def make(database: Database = database, sealer: Sealer = sealer) -> Revisions:
        several = isinstance(database._engine, PostgresqlEngine)
        return Revisions(database, sealer, clock, several_nodes=several)

    return make


@pytest.fixture
def revisions(make_revisions: Callable[..., Revisions]) -> Revisions:
    return make_revisions()


@pytest.fixture
def ask(chatty) -> Callable[..., object]:
    """Asks a node (the first, if none is named) for a code in the chat, and has it sent unless told otherwise."""

    async def ask(world=chatty, *, sent=True, **asked):
        view = await world.start({"telegram": "user-1"}, channels=("telegram",), **asked)
        if sent:
            await world.attempt()
        return view

    return ask
