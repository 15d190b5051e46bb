"""What the four people meet: one node on SQLite or two on PostgreSQL, two services with a key each, mail, SMS and a bot.

Everything listens on 127.0.0.1 and ends with the world it was opened in.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import random
import re
import struct
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp

from gateway.sandbox.inbox import Letter
from gateway.sandbox.telegram import TelegramSandbox
from tests.breaking_in.verdicts import Verdicts
from tests.faults.nodes import Node, free_port
from tests.faults.scene import Scene, scene
from tests.faults.stores import KEYS, Cluster, prepare
from tests.faults.trial import POSTGRESQL

#: An answer: its status, and its body.
Told = tuple[int, dict[str, Any]]

#: Limits that would stand before what is tried; those on sends and guesses are left as they are.
OPEN = "cooldown = 0\nprefix_per_hour = 0\nip_per_hour = 0"
#: The same, with any number of sends: guesses alone are limited.
SENDS_FREELY = OPEN + "\nsends_per_10m = 0\nsends_per_hour = 0\nsends_per_day = 0"
#: ``public_url``: whom proofs are from, and where a provider's reports would go.
PUBLIC_URL = "http://127.0.0.1:1"
#: Seconds a request may take, and connections at once.
TIMEOUT, CONNECTIONS = 30.0, 300
#: Seconds something that is to come may take on a busy machine.
PATIENCE = 30.0
#: Seconds in which what must not come would have come.
SETTLE = 1.2
#: Where chance begins, so that a run's requests are those of the run before.
SEED = 17

_CODE = re.compile(r"(?<!\d)(\d{6})(?!\d)")


class Calls(Protocol):
    """A service that calls with its key."""

    async def __call__(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        """Make a request to any node; return its answer."""
        ...


@dataclass
class World:
    """Nodes that serve, and the means of whoever attacks them: a wire, two keys, and what the providers took."""

    scene: Scene
    nodes: list[Node]
    bot: TelegramSandbox
    session: aiohttp.ClientSession = field(repr=False)
    #: The keys of the services ``default`` and ``shop``; both may call all but what needs ``admin``.
    keys: tuple[str, str] = field(repr=False)
    verdicts: Verdicts
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def verdict(self, name: str, held: bool, figures: object = "") -> None:
        """Judge one attempt."""
        self.verdicts.tell(name, held, figures)

    @property
    def url(self) -> str:
        """The first node's URL."""
        return self.nodes[0].url

    async def call(
        self,
        key: str | None,
        method: str,
        path: str,
        body: object = None,
        *,
        node: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Told:
        """Make a request with a key to one node, or to any that runs. Raises ``aiohttp.ClientError`` where it dies."""
        running = [each.url for each in self.nodes if each.runs] or [self.url]
        url = self.chance.choice(running) if node is None else self.nodes[node].url
        bearer = {"Authorization": f"Bearer {key}"} if key else {}
        async with self.session.request(
            method, url + path, json=body, headers={**bearer, **(headers or {})}, allow_redirects=False
        ) as answer:
            read = await answer.read()
            try:
                told = json.loads(read)
            except ValueError:
                told = {"raw": read[:200].decode("latin-1")}
            return answer.status, told if isinstance(told, dict) else {"list": told}

    async def ours(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        """Call as the service ``default``."""
        return await self.call(self.keys[0], method, path, body, headers=headers)

    async def theirs(self, method: str, path: str, body: object = None, **headers: str) -> Told:
        """Call as the service ``shop``."""
        return await self.call(self.keys[1], method, path, body, headers=headers)

    async def started(self, to: object, **more: Any) -> dict[str, Any]:
        """Begin a verification of the service ``default``; return it."""
        status, told = await self.ours("POST", "/v1/verifications", {"to": to, **more})
        assert status == 201, (status, told.get("code"))
        return told

    async def fetched(self, verification: Mapping[str, Any]) -> dict[str, Any]:
        """Return a verification as its service is shown it now."""
        return (await self.ours("GET", f"/v1/verifications/{verification['id']}"))[1]

    async def check(self, verification: Mapping[str, Any], code: object, **more: object) -> Told:
        """Check a code of the service ``default``."""
        return await self.ours("POST", f"/v1/verifications/{verification['id']}/check", {"code": code, **more})

    def letters(self, to: str) -> list[Letter]:
        """Return what came to an address."""
        return self.scene.inbox.to(to)

    def texts(self) -> int:
        """Return how many SMS were sent, and so are paid."""
        return sum(letter.protocol == "twilio" for letter in self.scene.inbox.letters)

    async def code(self, to: str, number: int = 1) -> str:
        """Wait for an address's letter with that number that has a code; return the newest code."""
        await self.scene.until(lambda: len(self._codes(to)) >= number, PATIENCE)
        found = self._codes(to)
        assert len(found) >= number, "no code came"
        return found[-1]

    def _codes(self, to: str) -> list[str]:
        return [found[1] for letter in self.letters(to) if (found := _CODE.search(letter.text))]

    def wrong(self, code: str) -> str:
        """Return a code that is another."""
        return f"{(int(code) + self.chance.randrange(1, 10**6)) % 10**6:06d}"

    def guess(self) -> str:
        """Return any code."""
        return f"{self.chance.randrange(10**6):06d}"

    async def new_key(self, *words: str) -> str:
        """Make another key of the service ``default``."""
        return (await self.nodes[0].run("keys", "create", "--service", "default", *words)).split()[-1]

    async def unlocked(self, authenticator: str) -> None:
        """Lift an authenticator's lock, as an operator would; of one that has none this is refused."""
        with contextlib.suppress(AssertionError):
            await self.nodes[0].run("unlock", "--authenticator", authenticator)

    def log(self) -> str:
        """Return what all nodes logged so far."""
        return "".join(node.said_in_log() for node in self.nodes)


@dataclass
class Stage:
    """Where worlds are opened, one after the other, each with a database and providers of its own."""

    scene: Scene
    #: How many nodes each has.
    number: int
    verdicts: Verdicts

    @contextlib.asynccontextmanager
    async def world(
        self,
        limits: str = OPEN,
        *,
        server: str = "",
        more: str = "",
        log: str = "info",
        environ: Mapping[str, str] | None = None,
    ) -> AsyncIterator[World]:
        """Open a world: ``limits`` are both services', the others lines of the configuration, and variables beside it."""
        async with self.scene.again() as own, TelegramSandbox(own.inbox) as bot:
            file = own.folder / "config.toml"
            await asyncio.to_thread(file.write_text, _configuration(own, bot, limits, server, more, log), "utf-8")
            variables = {
                "CONFIG": str(file),
                "SECRETS__KEYS": KEYS,
                "CHANNELS__SMS__AUTH_TOKEN": own.twilio.auth_token,
                "CHANNELS__FLAT__AUTH_TOKEN": own.twilio.auth_token,
                "CHANNELS__TELEGRAM__TOKEN": bot.token,
                **(environ or {}),
            }
            # Ports of their own: a node that was killed comes back where it was.
            nodes = [await own.started(variables, port=free_port()) for _ in range(self.number)]
            shop = (await nodes[0].run("keys", "create", "--service", "shop")).split()[-1]
            # Kept for less long than the server does: a request never meets its closing.
            connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=2.0)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield World(own, nodes, bot, session, (own.prepared.key, shop), self.verdicts)


def _configuration(own: Scene, bot: TelegramSandbox, limits: str, server: str, more: str, log: str) -> str:
    return f"""
[server]
public_url = "{PUBLIC_URL}"
{server}
[log]
level = "{log}"
[database]
url = "{own.store.url}"
[channels.email]
adapter = "email"
host = "127.0.0.1"
port = {own.smtp.port}
tls = "none"
from = "codes@example.com"
[channels.sms]
adapter = "sms"
account_sid = "{own.twilio.account_sid}"
from = "+15005550006"
base_url = "{own.twilio.base_url}"
price = 0.1
[channels.flat]
adapter = "sms"
account_sid = "{own.twilio.account_sid}"
from = "+15005550007"
base_url = "{own.twilio.base_url}"
[channels.telegram]
adapter = "telegram"
base_url = "{bot.base_url}"
[services.default]
channels = ["email"]
[services.default.limits]
{limits}
[services.shop]
channels = ["email"]
[services.shop.limits]
{limits}
{more}
"""


@contextlib.asynccontextmanager
async def stage(database: str, verdicts: Verdicts) -> AsyncIterator[Stage]:
    """Open a stage in a temporary folder: one node on SQLite, two on a PostgreSQL server of its own."""
    with tempfile.TemporaryDirectory(prefix="otp-gateway-breaking-in-") as name:
        folder = Path(name)
        # PostgreSQL runs as another user than root.
        await asyncio.to_thread(os.chmod, folder, 0o755)
        async with contextlib.AsyncExitStack() as stack:
            cluster = None
            if database == POSTGRESQL:
                cluster = Cluster(folder / "pg")
                await cluster.start()
                stack.push_async_callback(cluster.stop)
            for place in ("prepared", "scene"):
                await asyncio.to_thread((folder / place).mkdir)
            prepared = await prepare(folder / "prepared", None if cluster is None else cluster.url)
            opened = await stack.enter_async_context(scene(folder / "scene", prepared, cluster=cluster))
            yield Stage(opened, 1 if cluster is None else 2, verdicts)


async def every(calls: Iterable[Awaitable[Told]]) -> list[Told]:
    """Make calls at once; return their answers in the calls' order."""
    return list(await asyncio.gather(*calls))


def taken(answers: Iterable[Told]) -> int:
    """Return how many were answered 200."""
    return sum(status == 200 for status, _ in answers)


def compared(answers: Iterable[Told]) -> int:
    """Return how many codes were compared and found wrong."""
    return sum(told.get("code") == "wrong_code" for _, told in answers)


def failed(answers: Iterable[Told]) -> int:
    """Return how many answers admit a fault of the gateway's own."""
    return sum(status >= 500 for status, _ in answers)


def tally(answers: Iterable[Told]) -> dict[tuple[int, object], int]:
    """Return how often each status came with each problem's code or verification's status."""
    return dict(Counter((status, told.get("code" if status >= 400 else "status")) for status, told in answers))


def one_time(secret: str, counter: int) -> str:
    """Return the six digits that an authenticator app shows (RFC 4226, 5.3)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", counter), hashlib.sha1).digest()
    at = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[at : at + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


async def spoken(url: str, data: bytes, *, within: float, pieces: int = 1, pause: float = 0.0) -> bytes:
    """Write bytes to a node, in pieces with ``pause`` seconds between; return what it says ``within`` seconds."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    said = b""
    step = -(-len(data) // pieces)
    try:
        for begin in range(0, len(data), step):
            writer.write(data[begin : begin + step])
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(within):
            while part := await reader.read(65_536):
                said += part
    except (TimeoutError, ConnectionError):
        # It hung up, or has nothing more to say: what it said before is the answer.
        pass
    finally:
        writer.close()
    return said
