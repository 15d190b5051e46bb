from __future__ import annotations

import shutil

from benchmarks.people import with_people
from benchmarks.served import Prepared
from channels.base import Address
from channels.kinds import phone, reference
from gateway.app.store import opened_store
from gateway.config import load_settings
from gateway.conversation.subscribers import Subscribers
from gateway.delivery.person import Reach
from tests.benchmarks.scale.test_filling import RING
from tests.conftest import aside

CONFIG = '[database]\nurl = "sqlite:///bench.db"\n\n[services.default]\nchannels = ["console"]\n\n[channels.console]\nadapter = "console"\n'


def test_people_who_are_filled_in_are_reached_in_a_chat_of_their_own(tmp_path, migrated_sqlite):
    prepared = Prepared(tmp_path / "prepared", RING, "key")
    prepared.folder.mkdir()
    (prepared.folder / "config.toml").write_text(CONFIG)
    shutil.copy(migrated_sqlite, prepared.folder / "bench.db")
    filled = with_people(prepared, tmp_path / "people", 3)
    reaches: list[Reach] = []

    async def resolve() -> None:
        async with opened_store(load_settings(filled.folder / "config.toml", filled.environ)) as store:
            people = Subscribers(
                database=store.database,
                sealer=store.sealer,
                hasher=store.hasher,
                clock=store.clock,
                bot=None,
                phone=phone,
            )
            addresses: list[Address] = [reference(f"person-{number}") for number in range(4)]
            reaches.extend([await people.resolve("default", address) for address in addresses])

    aside(resolve())
    assert [(reach.chat, reach.locale, reach.blocked) for reach in reaches] == [
        ("1", "en", None),
        ("2", "en", None),
        ("3", "en", None),
        (None, None, None),
    ]
    assert prepared.folder != filled.folder
