"""``otp-gateway keys rotate-secrets``: everything sealed anew by a new key, beside running nodes.

A node that does not know a key cannot open what it sealed. So with nodes running it takes three steps: ``--add`` (all
know the new key once they are restarted), the command alone (it seals, everything), ``--finish`` (nothing is left that
needs the old ones). Each looks first at what the running nodes say they know, and says what to do where that is not enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from gateway.app import Store, opened_store
from gateway.cli.alone import alone
from gateway.cli.chosen import chosen
from gateway.cli.numbers import counted
from gateway.cli.running import run, told
from gateway.config import (
    SealingKey,
    Settings,
    ensure_secrets,
    key_text,
    new_key,
    newest,
    next_id,
    parse_key,
    rewrite_secrets,
    variable_name,
)
from gateway.errors import ConfigError, GatewayError
from gateway.housekeeping import Checkpoint
from gateway.storage.resealing import Progress, Resealing
from gateway.storage.rings import Ring, Rings
from gateway.storage.sealing import Sealer

#: Seconds between two writes: whoever accepts codes meanwhile has the writer for most of the time.
REST: Final = 0.02
#: Times everything is gone through at most, until nothing by an old key is found.
ROUNDS: Final = 3

_VARIABLE: Final = variable_name(("secrets", "keys"))
_COMMAND: Final = "`otp-gateway keys rotate-secrets"


@dataclass(frozen=True, slots=True)
class _Work:
    """What a step works with."""

    settings: Settings
    store: Store
    ring: tuple[SealingKey, ...]
    #: What the running nodes know.
    nodes: Sequence[Ring]

    @property
    def file(self) -> Path | None:
        """The database beside whose file the ring is kept; ``None`` where the settings hold the ring."""
        return None if self.settings.secrets.keys else self.settings.database.path


def rotate_secrets(
    config: Annotated[
        Path | None, typer.Option("--config", help="The config file; else OTP_GATEWAY_CONFIG, else ./config.toml.")
    ] = None,
    *,
    add: Annotated[bool, typer.Option("--add", help="Only make a new key that opens and does not seal yet.")] = False,
    finish: Annotated[bool, typer.Option("--finish", help="Drop the old keys, once nothing needs them.")] = False,
) -> None:
    """Seal everything in the database anew with a new key. It may be stopped at any time and goes on when begun again.

    With no node running it makes the key as well. Else: --add, restart every node, then without an option, restart
    every node, then --finish.
    """
    if add and finish:
        raise typer.BadParameter("--add or --finish, not both")
    with told():
        settings = chosen(config)
    run(_rotate(settings, add=add, finish=finish))


async def _rotate(settings: Settings, *, add: bool, finish: bool) -> None:
    file = None if settings.secrets.keys else settings.database.path
    # Of two keys that are made for one file at once one would be lost, with all that it sealed.
    with nullcontext() if file is None else alone(file.absolute().parent, _COMMAND.strip("`")):
        await _step(settings, add=add, finish=finish)


async def _step(settings: Settings, *, add: bool, finish: bool) -> None:
    async with opened_store(settings, existing=True) as store:
        nodes = await Rings(store.database).live(store.clock.now())
        work = _Work(settings, store, ensure_secrets(settings), nodes)
        if add:
            _add(work)
        elif finish:
            await _finish(work)
        else:
            await _reseal(work)


def _add(work: _Work) -> None:
    """Make a key that opens and does not seal."""
    if (added := newest(work.ring)) is not work.ring[0]:
        _refuse_unknown(work, added.id, then=f"run {_COMMAND}`")
        raise GatewayError(f"{added.id} was added before and does not seal yet; go on with {_COMMAND}`")
    made = parse_key(new_key(next_id(work.ring)))
    if work.file is None:
        typer.echo(key_text(made))
        _say(
            f"Put this key last in {_VARIABLE} of every node and restart them one by one; then put it first and restart "
            f"them again; then run {_COMMAND}` with the same keys, and with --finish. It is not shown again."
        )
        return
    rewrite_secrets(work.file, (*work.ring, made))
    _say(f"{made.id} opens from the next start on. Restart the gateway, then run {_COMMAND}`.")


async def _reseal(work: _Work) -> None:
    """Have the newest key seal, everything anew."""
    ring = _with_new_key_first(work)
    progress = await _sealed_anew(work, ring)
    _say(f"{counted(progress.sealed, 'value was', 'values were')} sealed anew by {ring[0].id}.")
    _tell_unreadable(progress)
    if any(node.ids[0] != ring[0].id for node in work.nodes):
        _say(f"Restart the gateway, so that it seals with {ring[0].id} too; then run {_COMMAND} --finish`.")
    else:
        _say(f"Run {_COMMAND} --finish` to drop the old keys.")


def _with_new_key_first(work: _Work) -> tuple[SealingKey, ...]:
    """Return the ring to seal with, made and written down where need be. Raises ``GatewayError`` or ``ConfigError``."""
    ring, made = work.ring, newest(work.ring)
    if work.file is None:
        if made is not ring[0] or len(ring) == 1:
            what = f"{made.id} is not first in it" if len(ring) > 1 else f"make a new one with {_COMMAND} --add`"
            raise ConfigError([f"{_VARIABLE}: {what}; the first key seals, and the old ones must stay behind it"])
    elif len(ring) == 1:
        made = parse_key(new_key(next_id(ring)))
    _refuse_unknown(work, made.id)
    ring = (made, *(key for key in ring if key is not made))
    if work.file is not None and ring != work.ring:
        rewrite_secrets(work.file, ring)
    return ring


async def _finish(work: _Work) -> None:
    """Drop the old keys, if nothing is sealed by them and nothing will be."""
    first = work.ring[0]
    if newest(work.ring) is not first:
        raise GatewayError(f"{newest(work.ring).id} does not seal yet; run {_COMMAND}` first")
    if len(work.ring) == 1:
        raise GatewayError(f"{first.id} is the only key; there is nothing to drop")
    _refuse_unknown(work, first.id)
    behind = [node for node in work.nodes if node.ids[0] != first.id]
    if behind:
        still = (
            f"{counted(len(behind), 'running node still seals', 'running nodes still seal')} with {behind[0].ids[0]}"
        )
        raise GatewayError(f"{still}; restart first (and let a `send --from` end)")
    progress = await _sealed_anew(work, work.ring)
    if progress.left:
        _tell_unreadable(progress)
        left = ", ".join(f"{number} by {key}" for key, number in sorted(progress.left.items()))
        raise GatewayError(f"the old keys stay: values are left that {first.id} does not open ({left})")
    old = " and ".join(key.id for key in work.ring[1:])
    if work.file is None:
        _say(f"Nothing is sealed by {old} any more: take it out of {_VARIABLE} of every node, and restart them.")
    else:
        rewrite_secrets(work.file, (first,))
        _say(
            f"{old} is dropped. Backups made before now need it: keep the keys with them for as long as you keep those."
        )


def _refuse_unknown(work: _Work, key: str, *, then: str = "run this again") -> None:
    """Refuse to seal with a key that a running node could not open with, and say what is left to do. Raises ``GatewayError``."""
    without = sum(key not in node.ids for node in work.nodes)
    if not without:
        return
    if all(key != known.id for known in work.ring):
        # Only now would it be made.
        first = f"run {_COMMAND} --add`, restart"
    elif work.file is None:
        first = f"put it into their {_VARIABLE} and restart"
    else:
        first = "restart"
    raise GatewayError(
        f"{without} of {counted(len(work.nodes), 'running node')} cannot open what {key} seals: "
        f"{first} them (a `send --from` is to end first), then {then}"
    )


async def _sealed_anew(work: _Work, ring: Sequence[SealingKey]) -> Progress:
    """Go through everything until nothing by an old key is found, and empty SQLite's log; return the last round."""
    resealing, sealed = Resealing(work.store.database, Sealer(ring)), 0
    progress = Progress()
    for _ in range(ROUNDS):
        progress = await _round(resealing, nodes=bool(work.nodes))
        sealed += progress.sealed
        if not progress.sealed:
            break
    progress.sealed = sealed
    path = work.settings.database.path
    # What the old keys sealed is overwritten in the pages, and must leave the log as well.
    if path is not None and not await Checkpoint(path).clear():
        _say("What the old keys sealed is still in the file's log, for something reads it; it leaves once that ends.")
    return progress


async def _round(resealing: Resealing, *, nodes: bool) -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("Sealing anew"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    latest = Progress()
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        row = bar.add_task("rows", total=None)
        async for latest in resealing.run(lambda: asyncio.sleep(REST if nodes else 0)):
            bar.update(row, total=max(latest.rows, latest.looked_at), completed=latest.looked_at)
    return latest


def _tell_unreadable(progress: Progress) -> None:
    for place, number in sorted(progress.unreadable.items()):
        _say(
            f"{counted(number, 'value')} in {place} cannot be opened with any of the keys: changed since, or the key was "
            "lost. What cannot be opened stays."
        )


def _say(text: str) -> None:
    typer.echo(text, err=True)
