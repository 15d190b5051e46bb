"""Every table is emptied by a duty that is there and told of, or there is a reason why it is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlmodel import SQLModel

from gateway.app import beside, opened_store, upkeep
from gateway.config import load_settings
from gateway.webhooks.rows import Webhooks

PAGE = (Path(__file__).parents[2] / "docs" / "retention.md").read_text("utf-8")

#: The duty that empties a table of what is over.
DUTIES = {
    **dict.fromkeys(("verification", "message", "attempt"), "verifications"),
    "event": "events",
    "address": "addresses",
    "challenge": "challenges",
    "cooldown": "cooldowns",
    "reply": "replies",
    "subscriber": "subscribers",
    "idempotent_answer": "answers",
    "webhook": "webhooks",
    "heard": "heard",
    "turn": "turns",
    "recipient": "recipients",
    "guess": "guesses",
    "trusted": "trusted",
    "block": "blocks",
    "visitor": "visitors",
    "tally": "tallies",
    "authenticator": "authenticators",
    "throttle": "throttles",
    "signing_key": "signing_keys",
}
#: Why a table needs none, in the words of its line.
REASONS = {
    "chat": "until its person stops the bot",
    "mute": "until they take it back or stop the bot",
    "recovery_code": "until used",
    "endpoint": "until the service has another URL",
    "pause": "overwritten by the next",
    "share": "until another shares its channel",
    "lease": "overwritten by the next holder",
    "service_key": "for good",
    "secret": "for good",
}


@pytest.fixture
async def duties(tmp_path) -> set[str]:
    """The duties of a gateway on PostgreSQL and SQLite, by name."""
    config = tmp_path / "config.toml"
    config.write_text('[channels.console]\nadapter = "console"\n[services.default]\nchannels = ["console"]\n', "utf-8")
    settings = load_settings(config)
    async with opened_store(settings):
        pass  # it is there now
    async with beside(settings) as gateway:
        rows = Webhooks(gateway.store.database, gateway.store.clock, node=gateway.node)
        # Turns are shared where nodes are, on PostgreSQL.
        return {*upkeep._house(settings, gateway, rows).rows, "turns"}


def test_every_table_has_a_duty_or_a_reason():
    assert set(SQLModel.metadata.tables) == {*DUTIES, *REASONS}
    assert not DUTIES.keys() & REASONS.keys()


def test_every_reason_is_told():
    lines = dict(re.findall(r"^\| `([a-z_]+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert [table for table, reason in REASONS.items() if reason not in lines[table]] == []


async def test_every_duty_is_there_and_told_of(duties):
    assert set(DUTIES.values()) <= duties
    rows = re.findall(r"^\| ((?:`[a-z_]+`(?:, )?)+) \|", PAGE.partition("## The duties")[2], re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == duties
