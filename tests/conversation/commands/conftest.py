"""Who writes to the bot."""

from __future__ import annotations

import pytest

from tests.conversation.writing import People


@pytest.fixture
def people(database, clock, sealer, hasher, texts) -> People:
    return People(database, clock, sealer, hasher, texts)
