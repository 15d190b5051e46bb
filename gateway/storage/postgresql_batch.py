"""What a batch is on PostgreSQL: set statements, within a transaction that others begin and end.

Guards go kind by kind, and what follows goes with the last of them: statements of which none touches another's table are
one, so that an accept's recipient and its four tables cost one round trip. Where a guard fell nothing has followed yet,
and what follows from those that held goes by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from gateway.storage.connecting import FAILURES, Connected
from gateway.storage.engine import Done
from gateway.storage.postgresql_rows import Shapes, alone, following, in_turn, together, written
from gateway.storage.statement import Row, Statement, numbered
from gateway.storage.unit import Connection, Move, Record, Unit, Write

#: The values by which ``RETURNING`` names a row.
Key: TypeAlias = tuple[Any, ...]
#: Guards of one kind, by their keys: the places of their moves, and their rows.
Asked: TypeAlias = dict[Key, tuple[int, Row]]
#: Statements that are one text, with their rows.
Round: TypeAlias = Mapping[Statement, Sequence[Row]]

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


async def write_all(writer: Connected, units: Sequence[Unit], shapes: Shapes) -> list[Done]:
    """Write all units: moves first, then the works, each in a savepoint. Raises one of ``FAILURES``."""
    outcomes: list[Done] = [Done()] * len(units)
    moves = {place: unit for place, unit in enumerate(units) if isinstance(unit, Move)}
    for place, row in (await _Moves(writer, shapes, moves).write()).items():
        move = moves[place]
        outcomes[place] = Done(value=row, notes=move.notes, wakes=move.wakes)
    begin = f"{AS_IT_IS}; {_SAVEPOINT}"
    for place, unit in enumerate(units):
        if not isinstance(unit, Move):
            outcomes[place] = await _run_work(_PostgresqlConnection(writer, shapes), writer, unit, begin)
            begin = _SAVEPOINT
    return outcomes


class _Moves:
    """The moves that are written together, by their places."""

    def __init__(self, writer: Connected, shapes: Shapes, moves: Mapping[int, Move]) -> None:
        self._writer = writer
        self._shapes = shapes
        self._moves = moves
        #: The guards of those of which none has fallen.
        self._standing = {place: move.guards for place, move in moves.items()}
        #: What those whose guards held are answered.
        self._held: dict[int, Any] = {place: True for place, guards in self._standing.items() if not guards}
        #: Those of which one has fallen, and which of its guards it was.
        self._fallen: list[tuple[Move, int]] = []
        self._turns = self._planned()

    async def write(self) -> dict[int, Any]:
        """Write every guard and what follows; return what the moves whose guards held are answered.

        The first guards of all moves go before the second ones, and so on: of each kind one statement. So a statement
        sees what others committed while the ones before it waited for their rows.
        """
        turn, left = 0, None
        while turn < len(self._turns):
            kinds, last = self._turns[turn], turn + 1 == len(self._turns)
            if len(simple := self._simple(turn)) > 1:
                turn = await self._ask_in_turn(simple, turn)
                continue
            found: dict[int, Any] = {}
            if len(kinds) == 1 and last:
                [(guard, asked)] = kinds.items()
                found, left = await self._ask_last(guard, asked)
            else:
                for guard, asked in kinds.items():
                    found.update(await self._ask(guard, asked))
            self._stand([place for asked in kinds.values() for place, _ in asked.values()], found, turn)
            turn += 1
        await self._undo()
        for one in self._rounds() if left is None else left:
            await self._follow(one)
        return self._held

    def _planned(self) -> list[dict[Statement, Asked]]:
        """Return what is asked turn by turn, as long as no guard falls."""
        turns = range(max(map(len, self._standing.values()), default=0))
        return [
            _by_key({place: guards[turn] for place, guards in self._standing.items() if turn < len(guards)})
            for turn in turns
        ]

    def _simple(self, turn: int) -> list[tuple[Statement, Asked]]:
        """Return guards from this turn on that may be one text: of one kind each, none of which reads anything but its row.

        The last one of all is not among them: it may have to see what was committed while those before it waited.
        """
        found: list[tuple[Statement, Asked]] = []
        for kinds in self._turns[turn:-1]:
            [(guard, asked), *others] = kinds.items()
            if others or not _is_shared(guard) or (found and len(asked) != len(found[0][1])):
                break
            if any(guard.tables == other.tables for other, _ in found):
                break
            found.append((guard, asked))
        return found

    async def _ask_in_turn(self, guards: Sequence[tuple[Statement, Asked]], turn: int) -> int:
        """Ask guards in one text, each if all before it held; return the turn that comes after the last one asked."""
        bound = [self._shapes.bound(guard, _in_order(asked)) for guard, asked in guards]
        parameters = [value for one in bound for value in one.parameters]
        text = in_turn(*[one.kind for one in bound])
        records = [tuple(record) for record in await self._writer.fetch(text, *parameters, len(guards[0][1]))]
        start = 1
        for number, (guard, asked) in enumerate(guards):
            end = start + len(guard.key)
            found = {asked[record[start:end]][0]: True for record in records if record[0] == number}
            self._stand([place for place, _ in asked.values()], found, turn)
            start, turn = end, turn + 1
            if len(found) < len(asked):
                break
        return turn

    def _stand(self, asked: Collection[int], found: Mapping[int, Any], turn: int) -> None:
        for place in asked:
            if place not in found:
                self._fallen.append((self._moves[place], turn))
                self._held.pop(place, None)
                del self._standing[place]
        self._held.update(found)
        if len(found) < len(asked):
            self._turns = self._planned()

    async def _ask(self, guard: Statement, asked: Asked) -> dict[int, Any]:
        """Write guards of one kind, and return the rows they wrote by their places."""
        return _found(guard, asked, await self._execute(guard, _in_order(asked)))

    async def _ask_last(self, guard: Statement, asked: Asked) -> tuple[dict[int, Any], list[Round] | None]:
        """Write what is asked last of all, and with it what follows, if all of it holds.

        Returns the rows the guards wrote by their places, and what is left to follow; ``None`` where nothing has.
        """
        rounds_ = self._rounds()
        if not rounds_ or not _goes_with(guard, rounds_[0]):
            return await self._ask(guard, asked), None
        rows = [self._shapes.bound(guard, _in_order(asked))]
        rows += [self._shapes.bound(statement, of_it) for statement, of_it in rounds_[0].items()]
        parameters = [value for one in rows for value in one.parameters]
        records = await self._writer.fetch(following(*[one.kind for one in rows]), *parameters, len(asked))
        found = _found(guard, asked, records)
        return found, rounds_[1:] if len(found) == len(asked) else None

    async def _undo(self) -> None:
        """Take back what the guards wrote that held before the one that did not."""
        for statement, rows in _by_kind(one.undo for move, turn in self._fallen for one in move.first[:turn]).items():
            await self._execute(statement, rows)

    def _rounds(self) -> list[Round]:
        """Return what follows from the moves of which no guard has fallen."""
        kinds = _by_kind(write for place in self._standing for write in self._moves[place].then)
        return [{statement: kinds[statement] for statement in one} for one in rounds(tuple(kinds))]

    async def _follow(self, one: Round) -> None:
        if len(one) == 1:
            [(statement, rows)] = one.items()
            # In their order, as those of guards are.
            await self._execute(statement, sorted(rows, key=tuple) if _is_shared(statement) else rows)
            return
        bound = [self._shapes.bound(statement, rows) for statement, rows in one.items()]
        parameters = [value for rows in bound for value in rows.parameters]
        await self._writer.fetch(together(*[rows.kind for rows in bound]), *parameters)

    async def _execute(self, statement: Statement, rows: Sequence[Row]) -> list[Any]:
        bound = self._shapes.bound(statement, rows)
        return await self._writer.fetch(alone(bound.kind), *bound.parameters)


def _by_key(guards: Mapping[int, Write]) -> dict[Statement, Asked]:
    kinds: dict[Statement, Asked] = {}
    for place, (statement, row) in guards.items():
        kinds.setdefault(statement, {})[tuple([row[at] for at in statement.key])] = place, row
    return kinds


def _in_order(asked: Asked) -> list[Row]:
    # In the order of their keys, so that two nodes never wait for each other's rows crosswise.
    return [asked[key][1] for key in sorted(asked)]


def _found(guard: Statement, asked: Asked, records: Iterable[Any]) -> dict[int, Any]:
    width = len(guard.key)
    return {asked[tuple(record)[:width]][0]: record for record in records}


def _goes_with(guard: Statement, one: Round) -> bool:
    """Return whether a round may be one text with the guard before it: it neither reads nor writes what that writes."""
    table = written(guard)
    return not any(table in statement.tables or _is_shared(statement) for statement in one)


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


async def _run_work(
    connection: _PostgresqlConnection, writer: Connected, work: Callable[[Connection], Awaitable[Any]], begin: str
) -> Done:
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
    def __init__(self, writer: Connected, shapes: Shapes) -> None:
        self._writer = writer
        self._shapes = shapes
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
        held = (await _Moves(self._writer, self._shapes, {0: move}).write()).get(0)
        if held:
            self.notes.extend(move.notes)
            self.wakes.extend(move.wakes)
        return held
