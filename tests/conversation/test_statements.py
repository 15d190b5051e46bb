"""What anybody can make the gateway ask, as often as they like, is found by an index: no table is read whole."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.conversation import chats
from gateway.conversation import statements as sql
from gateway.conversation.commands import choosing, codes
from gateway.storage.unit import Connection
from gateway.verification import statements as verification

HASH = b"h" * 32
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "locked": (
        chats._LOCKED.format(hashes=":one, :other", left=":one, :other"),
        {"one": HASH, "other": HASH, "now": 1.0, "service": "s"},
    ),
    "theirs": (chats._THEIRS, {"chat_hash": HASH, "address_hash": HASH, "service": "s"}),
    "muted": (chats._MUTED, {"hash": HASH}),
    "taken phone": (chats._TAKE_PHONE, {"hash": HASH, "phone_hash": HASH}),
    "reach by reference": (sql.REACH_BY_REFERENCE, {"service": "s", "hash": HASH, "left": HASH}),
    "reach by phone": (sql.REACH_BY_PHONE, {"service": "s", "hash": HASH}),
    "token": (sql.BY_TOKEN, {"token_hash": HASH}),
    "services": (sql.OF_CHAT, {"chat_hash": HASH}),
    "stop": (sql.UNLINK_CHAT, {"chat_hash": HASH, "at": 1.0}),
    "stop while asked": (sql.FORGET_ASKED, {"chat_hash": HASH, "at": 1.0}),
    "never linked": (sql.FORGET_UNLINKED, {"before": 1.0, "number": 500}),
    "block": (sql.BLOCK_CHAT, {"chat_hash": HASH}),
    "unblock": (sql.UNBLOCK_CHAT, {"chat_hash": HASH}),
    "codes": (codes._LAST, {"chat_hash": HASH, "before": 1.0}),
    "services of a phone": (choosing._BY_PHONE, {"phone_hash": HASH, "since": 1.0}),
    "challenge": (verification.OPEN_CHALLENGE, {"hash": HASH, "chat_hash": HASH, "now": 1.0}),
    "questions": (verification.OPENED, {"chat_hash": HASH, "now": 1.0, "number": 5}),
    "question": (verification.OPENED_ONE, {"id": "ver_1", "chat_hash": HASH}),
    "an opened question": (verification.PENDING_ONE, {"id": "ver_1", "now": 1.0}),
    "linked elsewhere": (verification.LINKED_ELSEWHERE, {"service": "s", "hash": HASH, "chat_hash": HASH}),
}


@pytest.mark.parametrize("name", ASKED)
async def test_what_people_ask_reads_no_whole_table(database, engine_name, name):
    text, values = ASKED[name]

    async def work(connection: Connection) -> list[str]:
        if engine_name == "sqlite":
            return [record["detail"] for record in await connection.fetch(f"EXPLAIN QUERY PLAN {text}", **values)]
        # So that it reads a table of a few rows as it would a long one; what has no index has no other way.
        await connection.fetch("SET LOCAL enable_seqscan = off")
        return [record["QUERY PLAN"] for record in await connection.fetch(f"EXPLAIN {text}", **values)]

    plan = await database.run(work)
    whole = [line for line in plan if "Seq Scan" in line or (line.startswith("SCAN") and "last" not in line)]
    assert [line for line in whole if "subquery" not in line.lower()] == []
