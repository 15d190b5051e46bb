"""Of whom was erased nothing is left in the database's files, and everything of others is: the bytes are looked for."""

from __future__ import annotations

import base64
import ipaddress
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel

from channels.kinds import KINDS
from gateway.app.erasing import _emptying
from gateway.config import load_settings
from gateway.conversation.erasing import Forgetting
from gateway.conversation.replies import Replies
from gateway.housekeeping import Checkpoint
from gateway.storage import models
from gateway.storage.answers import Answers, Source
from gateway.storage.database import Database
from gateway.storage.ids import new_id
from gateway.storage.sqlite import SqliteEngine
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move
from gateway.verification.erasing import Erasing
from gateway.verification.references import own_kinds
from tests.rows import row
from tests.world import World, two_channels

EMAIL = "ann.of.green.gables@example.org"
OTHERS = [f"reader-{number}@example.org" for number in range(40)]
#: Tables whose rows of a recipient are looked for, and what holds nothing of them.
PERSONAL = (
    *("verification", "message", "address", "event", "attempt", "webhook", "recipient", "guess", "trusted"),
    *("cooldown", "subscriber", "chat", "idempotent_answer", "authenticator", "throttle"),
)


@pytest.fixture
def path(tmp_path, migrated_sqlite) -> Path:
    copied: Path = tmp_path / "gateway.db"
    shutil.copy(migrated_sqlite, copied)
    return copied


@pytest.fixture
async def database(path):
    async with Database(SqliteEngine(path)) as opened:
        yield opened


def ip_of(to: str) -> str:
    """Everybody has an address of their own: one may ask for so many codes only."""
    return str(ipaddress.IPv4Address(zlib.crc32(to.encode()) | 0x80000000))


async def lived(world: World, answers: Answers, to: str) -> None:
    """Have somebody be sent codes, counted, linked and told of, in every table there is."""
    view = await world.start({"email": to}, client_ip=ip_of(to), client_reference=f"device of {to}")
    await world.attempt()
    address = KINDS["email"](to)
    hashed = world.hasher.hash("email", address.canonical)
    reference = world.hasher.hash("telegram", to)
    rows = (
        (models.Webhook, {"id": new_id("whk", 1.0), "verification_id": view.id, "body": _body(address.masked)}),
        (models.Guess, {"service": "shop", "hash": hashed, "context": f"reference:device of {to}"}),
        (models.Trusted, {"service": "shop", "hash": hashed, "context": f"reference:device of {to}"}),
        (models.Subscriber, _subscriber(world, to, reference)),
        (models.Chat, {"hash": world.hasher.hash("chat", to), "chat_sealed": world.sealer.seal(to.encode(), "chat")}),
        (models.Authenticator, {"id": new_id("auth", 1.0), "service": "shop", "reference_hash": reference}),
        (models.Throttle, {"service": "shop", "reference_hash": reference}),
        (models.Event, {"id": new_id("evt", 1.0), "recipient": address.masked}),
    )
    # In one transaction: the disk would be waited for ten times.
    await world.database.write(Move(None, [(insert_into(model), row(model, **fields)) for model, fields in rows]))

    async def create(_: Any) -> bytes:
        return b'{"body": {"id": "%s", "to": {"email": "%s"}}}' % (view.id.encode(), to.encode())

    await answers.once("shop", Source("POST", "/", to), b"f" * 32, create)


def _body(masked: str) -> str:
    return f'{{"type": "message.sent", "data": {{"recipient": "{masked}"}}}}'


def _subscriber(world: World, to: str, reference: bytes) -> dict[str, Any]:
    made = new_id("sub", 1.0)
    person = world.sealer.seal(b'{"reference": "%s", "masked": "x"}' % to.encode(), f"subscriber.person/{made}")
    return {
        "id": made,
        "service": "shop",
        "reference_hash": reference,
        "person_sealed": person,
        "chat_hash": world.hasher.hash("chat", to),
        "link_token_hash": reference[::-1],
    }


async def traces(database: Database) -> dict[str, set[bytes]]:
    """Return every text and blob of the personal tables that is long enough to be somebody's, by table and column."""
    found: dict[str, set[bytes]] = {}
    for table in PERSONAL:
        columns = [column.name for column in SQLModel.metadata.tables[table].columns]
        for record in await database.fetch(f"SELECT * FROM {table}"):
            for name in columns:
                value = record[name]
                data = value.encode() if isinstance(value, str) else value
                if isinstance(data, bytes) and len(data) >= 12:
                    found.setdefault(f"{table}.{name}", set()).add(data)
    return found


def files(path: Path) -> bytes:
    """Return what is in the database's files, its log among them."""
    return b"\0".join(each.read_bytes() for each in sorted(path.parent.glob(f"{path.name}*")))


async def test_nothing_of_whom_was_erased_is_left_in_any_file(path, database, clock, sealer, hasher):
    world = World(database, clock, sealer, hasher, two_channels())
    answers = Answers(database, sealer, clock)
    for to in OTHERS[:20]:
        await lived(world, answers, to)
    others = await traces(database)
    await lived(world, answers, EMAIL)
    theirs = {name: values - others[name] for name, values in (await traces(database)).items()}
    for to in OTHERS[20:]:
        await lived(world, answers, to)
    forgetting = Forgetting(
        database=database,
        sealer=sealer,
        hasher=hasher,
        replies=Replies(database, sealer, clock, "node"),
    )
    erasing = Erasing(
        database=database,
        sealer=sealer,
        hasher=hasher,
        clock=clock,
        answers=answers,
        kinds=KINDS,
        own_kinds=own_kinds({}),
        services=(),
        cancel=world.checking.cancel,
        expire_overdue=world.checking.expire_overdue,
        known=forgetting.known,
        forget=forgetting.forget,
        empty_log=Checkpoint(path).clear,
    )
    gone = await erasing.erase(erasing.whom(EMAIL, None))
    assert (gone.verifications, gone.subscribers, gone.chats, gone.authenticators) == (1, 1, 1, 1)
    # The server goes on: its connections and its log are open.
    left = files(path)
    kept = await ids(database)
    found = {name: [value for value in values if value in left] for name, values in theirs.items()}
    assert {name: values for name, values in found.items() if values and not set(values) <= kept} == {}
    for name, values in others.items():
        if name.endswith(("_hash", ".hash", "to_masked", "route_sealed", "context", "client_reference")):
            assert [value for value in values if value not in left] == [], name


async def ids(database: Database) -> set[bytes]:
    """Return what of a verification stays: ids, names, times."""
    kept: set[bytes] = set()
    for table, names in {
        "verification": ("id", "route"),
        "message": ("id", "verification_id"),
        "event": ("id", "name", "verification_id", "message_id"),
        "attempt": ("message_id", "verification_id", "token_hash"),
        "webhook": ("id", "verification_id"),
        "idempotent_answer": ("key_hash",),
    }.items():
        for record in await database.fetch(f"SELECT {', '.join(names)} FROM {table}"):
            kept.update(
                value.encode() if isinstance(value, str) else value
                for value in (record[name] for name in names)
                if value
            )
    return kept


async def test_a_servers_files_are_its_own_affair(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[channels.console]\nadapter = "console"\n[services.default]\nchannels = ["console"]\n')
    ring = f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]'
    environ = {"DATABASE__URL": "postgresql://otp@127.0.0.1/otp", "SECRETS__KEYS": ring}
    settings = load_settings(config, {f"OTP_GATEWAY_{name}": value for name, value in environ.items()})
    assert await _emptying(settings)()
