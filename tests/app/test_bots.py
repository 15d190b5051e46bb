"""Two bots of one gateway: the first configured hands out links, and who blocks that one alone is remembered."""

from __future__ import annotations

from typing import Any

from channels.chat import Contact, Inbound
from channels.kinds import KINDS
from gateway.app import beside, opened_store
from gateway.config import load_settings
from tests.world import PHONE

BOTS = """
[channels.telegram]
adapter = "telegram"
[channels.alt]
adapter = "telegram"
[services.default]
channels = ["telegram"]
"""
TOKENS = {f"OTP_GATEWAY_CHANNELS__{name}__TOKEN": f"123456:{name}" for name in ("TELEGRAM", "ALT")}


async def test_who_blocks_the_first_configured_bot_alone_is_remembered(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(BOTS, "utf-8")
    settings = load_settings(config, TOKENS)
    async with opened_store(settings):
        pass  # it is there now
    async with beside(settings) as gateway:
        number = KINDS["phone"](PHONE)
        seen: list[tuple[str | None, str | None]] = []

        async def hear(channel: str, **written: Any) -> None:
            update: dict[str, Any] = {
                "command": None,
                "text": "",
                "display_name": "Ann",
                "language": "en",
                "private": True,
            }
            await gateway.bots.inbox.handle(channel, Inbound(update_id=len(seen), chat="7001", **update | written))
            reach = await gateway.parts.subscribers.resolve("default", number)
            seen.append((reach.chat, reach.blocked))

        await hear("telegram", contact=Contact(PHONE, own=True))
        await hear("alt", blocked=True)
        await hear("telegram", blocked=True)
        await hear("alt", text="hello")
        await hear("telegram", text="hello")
        assert seen == [("7001", None), ("7001", None), ("7001", "telegram"), ("7001", "telegram"), ("7001", None)]
