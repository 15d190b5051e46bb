"""Our queue alone: a gateway whose only channel does nothing, so that what is left is claiming and settling.

The program ``python -m benchmarks.scale.run_gateway CONFIG drain|through COUNT`` prints one line of JSON, a ``Race``.
``drain`` takes COUNT messages of those that wait in the database; ``through`` starts COUNT verifications meanwhile,
by the code behind ``POST /v1/verifications``. It runs with the settings of CONFIG and of its environment.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import uvloop

import channels
from benchmarks.scale.race import PATIENCE, PRODUCERS, Race, Tally, produce
from gateway.app import running
from gateway.config import load_settings
from gateway.errors import Unavailable
from gateway.events.event import Event, EventName
from gateway.verification.request import Asked

#: Seconds before a refused request is followed by another.
_PAUSE = 0.02
_ENDINGS = {EventName.MESSAGE_SENT, EventName.MESSAGE_DELIVERED}


async def run(config: Path, how: str, count: int) -> Race:
    """Run to the end of ``count`` messages. Raises ``TimeoutError``."""
    channels.__path__.append(str(Path(__file__).parent / "adapters"))
    tally = Tally(count)

    def on_commit(notes: Sequence[object]) -> None:
        tally.add(sum(isinstance(note, Event) and note.name in _ENDINGS for note in notes))

    async with running(load_settings(config), on_commit=on_commit) as gateway, asyncio.timeout(PATIENCE):
        verifications = gateway.parts.verifications

        async def enqueue(number: int) -> None:
            asked = Asked(to={"email": f"person-{number}@example.org"})
            started = False
            while not started:
                try:
                    await verifications.start(await verifications.prepare("default", asked))
                    started = True
                except Unavailable:
                    await asyncio.sleep(_PAUSE)

        if how == "through":
            await produce(tally, enqueue, count, PRODUCERS)
        await tally.complete.wait()
        return tally.race()


if __name__ == "__main__":
    _, where, what, number = sys.argv
    print(json.dumps(asdict(uvloop.run(run(Path(where), what, int(number))))), flush=True)
