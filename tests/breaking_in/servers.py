"""A caller who has the gateway call them: receivers of webhooks whose answer does not end; and bots' servers that hold no polls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from tests.breaking_in.answering import SECRET, Bot, Receiver
from tests.breaking_in.beside import beside
from tests.breaking_in.world import PATIENCE, SENDS_FREELY, Stage, World

#: Codes that a receiver is told of, and seconds that it answers.
CODES, ANSWERING = 10, 4.0
#: MiB of one answer that may be taken: what the system keeps between the two is most of it.
TAKEN = 16
#: Seconds in which polls are counted, how many there may be of one bot, and the KiB of log that all of them may bring.
COUNTED, POLLS, LOGGED = 4.0, 10, 64

_BLOCK = 64 * 1024
_INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
#: What receivers answer, by the service that has them.
_RECEIVERS = {
    "interim": (b"", _INTERIM * (_BLOCK // len(_INTERIM)), 0.0),
    "extended": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * _BLOCK, 0.0),
    "slow": (b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.2),
}
_ANSWERS = {
    "interim": "100 Continue without end",
    "extended": "a chunk's extension without end",
    "slow": "a byte at a time",
}
#: What bots' servers answer, by the channel.
_BOTS: dict[str, list[Mapping[str, Any]]] = {
    "empty": [],
    "same": [{"update_id": 7}],
    "unreadable": [{"update_id": 7, "message": {"chat": 5}}],
}


async def servers(stage: Stage) -> None:
    """Play the one who runs them."""
    async with AsyncExitStack() as stack:
        bots = {name: await stack.enter_async_context(Bot(updates)) for name, updates in _BOTS.items()}
        receivers = {name: await stack.enter_async_context(Receiver(*answer)) for name, answer in _RECEIVERS.items()}
        lines = [f'[channels.{name}]\nadapter = "telegram"\nbase_url = "{bot.url}"' for name, bot in bots.items()]
        lines += [
            f'[services.{name}]\nchannels = ["email"]\nwebhook_url = "{each.url}"' for name, each in receivers.items()
        ]
        environ = {"WEBHOOKS__ALLOW_PRIVATE": "true"}
        environ |= {f"CHANNELS__{name.upper()}__TOKEN": Bot.token for name in bots}
        environ |= {f"SERVICES__{name.upper()}__WEBHOOK_SECRET": SECRET for name in receivers}
        async with stage.world(SENDS_FREELY, more="\n".join(lines), environ=environ) as world:
            await polled(world, bots)
            for name, receiver in receivers.items():
                await told(world, name, receiver)


async def polled(world: World, bots: dict[str, Bot]) -> None:
    """Have nodes busy with polls, and with saying what is wrong with their answers."""
    await world.scene.until(lambda: all(bot.polls for bot in bots.values()), PATIENCE)
    before, logged = {name: bot.polls for name, bot in bots.items()}, len(world.log())
    await asyncio.sleep(COUNTED)
    polls = {name: bot.polls - before[name] for name, bot in bots.items()}
    grown = (len(world.log()) - logged) / 1024
    for bot in bots.values():
        bot.holds = True
    world.verdict(
        "bots' servers that answer polls at once, with nothing or always the same, are asked now and then",
        all(before.values()) and all(0 < number <= POLLS for number in polls.values()) and grown < LOGGED,
        f"polls in {COUNTED:.0f} s {polls}, {grown:.1f} KiB of log",
    )


async def told(world: World, service: str, receiver: Receiver) -> None:
    """Have everybody wait for a receiver whose answer does not end."""
    key = (await world.nodes[0].run("keys", "create", "--service", service)).split()[-1]
    async with beside(world, world.ours) as found:
        for number in range(CODES):
            status, refused = await world.call(
                key, "POST", "/v1/verifications", {"to": f"{service}{number}@example.org"}
            )
            assert status == 201, (status, refused.get("code"))
        await asyncio.sleep(ANSWERING)
    receiver.over = True
    taken = receiver.longest / 2**20
    world.verdict(
        f"a receiver that answers {_ANSWERS[service]} holds nobody up, and little of it is taken",
        found.quick and receiver.requests > 0 and taken < TAKEN,
        f"{found}; {receiver.requests} webhooks, {taken:.1f} MiB of an answer at most",
    )
