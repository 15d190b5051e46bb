"""What a batch is on PostgreSQL: set statements over arrays, within a transaction that others begin and end.

Guards go kind by kind. What follows from those that held goes together: statements of which none touches another's table
are one, so that an accept's five tables cost one round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final, cast

from gateway.storage.connecting import FAILURES, Connected
from gateway.storage.engine import Done
from gateway.storage.statement import Row, Statement, fused, numbered
from gateway.storage.unit import Connection, Move, Record, Unit, Write

#: The values by which ``RETURNING`` names a row.
Key = tuple[Any, ...]

#: Characters of statements that become one text at most: the driver prepares one of more than 15,360 anew each time.
LONGEST: Final = 14_000

#: Tables whose rows the batches of several nodes write, in the order in which a claim takes them.
_SHARED: Final = {
    table: rank for rank, table in enumerate(("cooldown", "visitor", "block", "recipient", "guess", "trusted"))
}
_SAVEPOINT: Final = "SAVEPOINT work"
#: To the transaction's end each statement is planned by its values and by how much there is, as what a work looks for must be.
AS_IT_IS: Final = "SET LOCAL plan_cache_mode = force_custom_plan"

#: What two transactions may wait for crosswise: works take their rows in the order they came, and keep them to the end.
BRIEFLY: Final = "SET LOCAL lock_timeout = '100ms'"
PATIENTLY: Final = "SET LOCAL lock_timeout = DEFAULT"

#: A ``:name`` text as the driver wants it. There are few.
as_numbered = lru_cache(maxsize=512)(numbered)
_fused = lru_cache(maxsize=256)(fused)


async def write_all(writer: Connected, units: Sequence[Unit]) -> list[Done]:
    """Write all units: moves first, then the works, each in a savepoint. Raises one of ``FAILURES``."""
    outcomes: list[Done] = [Done()] * len(units)
    moves = {place: unit for place, unit in enumerate(units) if isinstance(unit, Move)}
    held = await _held(writer, moves)
    for place, row in held.items():
        move = moves[place]
        outcomes[place] = Done(value=row, notes=move.notes, wakes=move.wakes)
    await _follow(writer, [moves[place] for place in moves if place in held])
    begin = f"{AS_IT_IS}; {_SAVEPOINT}"
    for place, unit in enumerate(units):
        if not isinstance(unit, Move):
            outcomes[place] = await _run_work(writer, unit, begin)
            begin = _SAVEPOINT
    return outcomes


async def _held(writer: Connected, moves: Mapping[int, Move]) -> dict[int, Any]:
    """Write every guard, and return what the moves whose guards held are answered, by their places.

    The first guards of all moves go before the second ones, and so on: of each kind one statement. So a statement
    sees what others committed while the ones before it waited for their rows.
    """
    standing = {place: move.guards for place, move in moves.items()}
    held: dict[int, Any] = {place: True for place, guards in standing.items() if not guards}
    fallen: list[tuple[int, int]] = []
    turn = 0
    while asked := {place: guards[turn] for place, guards in standing.items() if turn < len(guards)}:
        found = await _asked(writer, asked)
        for place in asked:
            if place not in found:
                fallen.append((place, turn))
                held.pop(place, None)
                del standing[place]
        held.update(found)
        turn += 1
    await _undo(writer, [(moves[place], turn) for place, turn in fallen])
    return held


async def _asked(writer: Connected, guards: Mapping[int, Write]) -> dict[int, Any]:
    """Write guards, one statement a kind, and return the rows they wrote by their places."""
    kinds: dict[Statement, dict[Key, tuple[int, Row]]] = {}
    for place, (statement, row) in guards.items():
        kinds.setdefault(statement, {})[tuple([row[at] for at in statement.key])] = place, row
    found = {}
    for statement, rows in kinds.items():
        # In the order of their keys, so that two nodes never wait for each other's rows crosswise.
        written = await _execute(writer, statement, [rows[key][1] for key in sorted(rows)])
        width = len(statement.key)
        for record in written:
            found[rows[tuple(record)[:width]][0]] = record
    return found


async def _undo(writer: Connected, fallen: Sequence[tuple[Move, int]]) -> None:
    """Take back what the guards wrote that held before the one that did not: the ``turn``-th of its move."""
    for statement, rows in _by_kind(item.undo for move, turn in fallen for item in move.first[:turn]).items():
        await _execute(writer, statement, rows)


async def _follow(writer: Connected, moves: Iterable[Move]) -> None:
    kinds = _by_kind(write for move in moves for write in move.then)
    for together in rounds(tuple(kinds)):
        if len(together) == 1:
            rows = kinds[together[0]]
            # In their order, as those of guards are.
            await _execute(writer, together[0], sorted(rows, key=tuple) if _is_shared(together[0]) else rows)
        else:
            await writer.fetch(_fused(together), *chain.from_iterable(_arrays(kinds[one]) for one in together))


def _by_kind(writes: Iterable[Write]) -> dict[Statement, list[Row]]:
    kinds: dict[Statement, list[Row]] = {}
    for statement, row in writes:
        rows = kinds.get(statement)
        if rows is None:
            kinds[statement] = [row]
        else:
            rows.append(row)
    return kinds


@lru_cache(maxsize=512)
def rounds(kinds: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], ...]:
    """Return statements in rounds, each of which is one text: who touches a table is in a later round than who did before.

    What takes rows that other nodes' batches take too goes last, one by one: within a text the server begins where it likes.
    """
    shared = sorted((kind for kind in kinds if _is_shared(kind)), key=_rank)
    return (*_fusible([kind for kind in kinds if not _is_shared(kind)]), *((kind,) for kind in shared))


def _fusible(kinds: Iterable[Statement]) -> tuple[tuple[Statement, ...], ...]:
    found: list[list[Statement]] = []
    for statement in kinds:
        place = len(found)
        while place and all(statement.tables.isdisjoint(other.tables) for other in found[place - 1]):
            place -= 1
        while place < len(found) and sum(map(_length, found[place])) + _length(statement) > LONGEST:
            place += 1
        if place == len(found):
            found.append([])
        found[place].append(statement)
    # One text for all batches with these kinds in them, in whatever order they came.
    return tuple(tuple(sorted(one, key=_name)) for one in found)


def _is_shared(statement: Statement) -> bool:
    return len(statement.tables) == 1 and statement.tables <= _SHARED.keys()


def _rank(statement: Statement) -> int:
    return min(_SHARED[table] for table in statement.tables)


def _name(statement: Statement) -> str:
    return statement.name


def _length(statement: Statement) -> int:
    return len(statement.postgresql)


async def _execute(writer: Connected, statement: Statement, rows: Sequence[Row]) -> list[Any]:
    return await writer.fetch(statement.postgresql, *_arrays(rows))


def _arrays(rows: Sequence[Row]) -> list[Sequence[Any] | None]:
    """Return rows by their columns: the first one whole, of another one value where it has no other.

    The driver takes 0.35 µs for each value in an array, NULL or not, and of an accept's two thirds are alike in a batch.
    """
    first, *others = zip(*rows, strict=True)
    return [first, *map(_shortened, others)]


def _shortened(column: tuple[Any, ...]) -> tuple[Any, ...] | None:
    value = column[0]
    if column[-1] != value or column.count(value) < len(column):
        return column
    # An array that is not there is filled up with NULL.
    return None if value is None else (value,)


async def _run_work(writer: Connected, work: Callable[[Connection], Awaitable[Any]], begin: str) -> Done:
    connection = _PostgresqlConnection(writer)
    await writer.execute(begin)
    try:
        value = await work(connection)
    except (*FAILURES, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001 - it is handed to whoever asked for the work
        # The work itself said no: its savepoint is undone, and the others of the batch are not.
        await writer.execute("ROLLBACK TO work; RELEASE work")
        return Done(error=error)
    await writer.execute("RELEASE work")
    return Done(value=value, notes=connection.notes, wakes=connection.wakes)


class _PostgresqlConnection:
    def __init__(self, writer: Connected) -> None:
        self._writer = writer
        self.notes: list[object] = []
        self.wakes: list[str] = []

    async def fetch(self, sql: str, /, **values: Any) -> list[Record]:
        text, names = as_numbered(sql)
        return cast("list[Record]", await self._writer.fetch(text, *(values[name] for name in names)))

    async def apply(self, move: Move) -> bool:
        return bool(await self._write(move))

    async def claim(self, move: Move) -> Record | None:
        return cast("Record | None", await self._write(move))

    async def _write(self, move: Move) -> Any:
        held = (await _held(self._writer, {0: move})).get(0)
        if held:
            await _follow(self._writer, [move])
            self.notes.extend(move.notes)
            self.wakes.extend(move.wakes)
        return held
