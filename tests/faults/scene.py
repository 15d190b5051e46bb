"""What every trial plays in: providers that log, a database of its own, gateways as processes, and an application."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.twilio import TwilioSandbox
from tests.faults.load import Load
from tests.faults.nodes import Node
from tests.faults.stores import KEYS, Cluster, Prepared, Store, copied
from tests.journeys.node import by_email

#: Letters the providers keep.
_CAPACITY = 50_000
#: Limits that a load would meet.
_UNLIMITED = {
    f"SERVICES__DEFAULT__LIMITS__{name}": "0"
    for name in ("COOLDOWN", "SENDS_PER_10M", "SENDS_PER_HOUR", "SENDS_PER_DAY", "PREFIX_PER_HOUR")
}


@dataclass
class Scene:
    """One trial's surroundings; everything it starts ends with it."""

    folder: Path
    prepared: Prepared
    store: Store
    inbox: Inbox
    smtp: SmtpSandbox
    twilio: TwilioSandbox
    #: The PostgreSQL server, where it may be maltreated; ``None`` elsewhere.
    cluster: Cluster | None
    #: How much of what may be repeated is done: 1 for a sample, more for the long run.
    scale: int = 1
    #: Seconds a soak takes.
    seconds: float = 60.0
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack, repr=False)
    nodes: list[Node] = field(default_factory=list)
    _runs: int = 0

    def by_email(self, *others: Mapping[str, str], port: int | None = None, **more: str) -> dict[str, str]:
        """Return the settings of a gateway that sends mail to this scene's server, or to another port."""
        found = by_email("127.0.0.1", self.smtp.port if port is None else port)
        found |= {"DATABASE__URL": self.store.url, "SECRETS__KEYS": KEYS, **_UNLIMITED}
        for other in others:
            found |= other
        return {**found, **more}

    def node(self, environ: Mapping[str, str] | None = None, **how: Any) -> Node:
        """Return a gateway, not yet started, that sends by e-mail unless told otherwise."""
        made = Node(self.folder, self.by_email() if environ is None else environ, **how)
        self.nodes.append(made)
        return made

    async def started(self, environ: Mapping[str, str] | None = None, **how: Any) -> Node:
        """Return a gateway that serves."""
        made = self.node(environ, **how)
        await made.start()
        return made

    async def load(self, url: Callable[[], str] | Node, **how: Any) -> Load:
        """Return an application that calls a gateway."""
        where = (lambda node=url: node.url) if isinstance(url, Node) else url
        return await self.stack.enter_async_context(Load(self.prepared.key, where, **how))

    async def arrived(self, load: Load, within: float, *, silent: Collection[str] = ()) -> float:
        """Wait until each promised recipient got a letter; return the seconds that took, ``within`` at most."""
        began = time.monotonic()
        missing = load.promises.keys() - {letter.to for letter in self.inbox.letters} - set(silent)
        while missing and time.monotonic() - began < within:
            await asyncio.sleep(0.05)
            missing = load.promises.keys() - {letter.to for letter in self.inbox.letters} - set(silent)
        return time.monotonic() - began

    async def told(self, load: Load) -> list[str]:
        """Return the recipients whose verification has ended for a reason that the application is told."""
        over = dict(await self.store.rows("SELECT id, status FROM verification WHERE status IN ('failed', 'expired')"))
        return [promise.to for promise in load.promises.values() if promise.id in over]

    async def until(self, fact: Callable[[], bool | Awaitable[bool]], within: float, *, every: float = 0.05) -> float:
        """Wait until something is so; return the seconds that took, infinity where it never was."""
        began = time.monotonic()
        while time.monotonic() - began < within:
            found = fact()
            if found if isinstance(found, bool) else await found:
                return time.monotonic() - began
            await asyncio.sleep(every)
        return float("inf")

    def again(self) -> contextlib.AbstractAsyncContextManager[Scene]:
        """Open a fresh scene of the same kind, for one more run."""
        self._runs += 1
        folder = self.folder / f"run{self._runs}"
        folder.mkdir()
        return scene(folder, self.prepared, cluster=self.cluster, scale=self.scale, seconds=self.seconds)

    def when_received(self, act: Callable[[Letter], None]) -> None:
        """Do something at the moment a provider has taken a letter, before it answers."""
        self.inbox.on_letter = act

    async def end(self) -> None:
        """End every gateway, whatever state it is in."""
        for node in self.nodes:
            with contextlib.suppress(TimeoutError, ProcessLookupError):
                await node.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def scene(
    folder: Path, prepared: Prepared, *, cluster: Cluster | None = None, scale: int = 1, seconds: float = 60.0
) -> AsyncIterator[Scene]:
    """Open a scene in an empty folder."""
    inbox = Inbox(_CAPACITY)
    async with (
        SmtpSandbox(inbox) as smtp,
        TwilioSandbox(inbox, callbacks=False) as twilio,
        copied(prepared, folder) as store,
    ):
        made = Scene(folder, prepared, store, inbox, smtp, twilio, cluster, scale, seconds)
        try:
            async with made.stack:
                yield made
        finally:
            await made.end()
