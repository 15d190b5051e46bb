"""Group commit on both engines: what is acknowledged is written, and what fails, fails alone."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import NotFound
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.engine import Done
from gateway.storage.line import HEAVY, MAX_WEIGHT
from gateway.storage.statement import Statement, insert_into
from gateway.storage.unit import Connection, Move, StorageContendedError, StorageError, StorageUnavailableError

ADD = insert_into(models.Lease)
TAKE = Statement(
    "lease.take",
    {"name": "text", "node": "text", "until": "double precision"},
    """UPDATE lease SET node = r.node, until = r.until FROM r WHERE lease.name = r.name AND lease.node = ''
    RETURNING lease.name""",
    key=(0,),
)

FREE = Statement(
    "lease.free",
    {"name": "text"},
    "UPDATE lease SET node = '' FROM r WHERE lease.name = r.name AND lease.node <> '' RETURNING lease.name",
    key=(0,),
)


def add(name: str, node: str = "") -> Move:
    return Move(None, [(ADD, (name, node, 0.0))], notes=[f"added {name}"])


def take(name: str, node: str) -> Move:
    return Move((TAKE, (name, node, 1.0)), notes=[f"{node} took {name}"])


async def names(database: Database) -> list[str]:
    return [record["name"] for record in await database.fetch("SELECT name FROM lease ORDER BY name")]


async def test_a_write_is_there_when_it_is_acknowledged(database):
    assert await database.write(add("a"))
    assert await names(database) == ["a"]


async def test_many_writes_at_once_are_all_written(database):
    assert await asyncio.gather(*(database.write(add(f"n{number:03}")) for number in range(700))) == [True] * 700
    assert len(await names(database)) == 700


async def test_a_guard_holds_for_one_of_many(database, committed):
    await database.write(add("a"))
    held = await asyncio.gather(*(database.write(take("a", f"node{number}")) for number in range(20)))
    assert sum(held) == 1
    winner = f"node{held.index(True)}"
    [record] = await database.fetch("SELECT node FROM lease WHERE name = :name", name="a")
    assert record["node"] == winner
    assert committed == ["added a", f"{winner} took a"]


async def test_what_follows_a_guard_is_written_only_if_it_held(database):
    await database.write(add("a", node="taken"))
    move = Move((TAKE, ("a", "me", 1.0)), [(ADD, ("b", "", 0.0))])
    assert not await database.write(move)
    assert await names(database) == ["a"]


async def test_a_failing_write_fails_alone(database, committed):
    await database.write(add("a"))
    outcomes = await asyncio.gather(*(database.write(add(name)) for name in ("b", "a", "c")), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [bool, StorageError, bool]
    assert await names(database) == ["a", "b", "c"]
    assert committed == ["added a", "added b", "added c"]


async def test_an_error_of_the_database_holds_no_value(database):
    await database.write(add("secret-name"))
    with pytest.raises(StorageError) as caught:
        await database.write(add("secret-name"))
    assert "secret-name" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_work_that_raises_is_undone_and_the_others_are_not(database, committed):
    async def refused(connection):
        await connection.apply(add("lost"))
        raise NotFound("no")

    async def done(connection):
        await connection.apply(add("kept"))
        return "value"

    outcomes = await asyncio.gather(
        database.run(refused), database.run(done), database.write(add("also")), return_exceptions=True
    )
    assert isinstance(outcomes[0], NotFound)
    assert list(outcomes[1:]) == ["value", True]
    assert await names(database) == ["also", "kept"]
    assert "added lost" not in committed


async def test_a_work_reads_what_it_wrote(database):
    async def work(connection):
        await connection.apply(add("a"))
        return [record["name"] for record in await connection.fetch("SELECT name FROM lease")]

    assert await database.run(work) == ["a"]


async def test_a_failing_statement_in_a_work_undoes_the_work(database):
    async def work(connection):
        await connection.apply(add("a"))
        await connection.apply(add("a"))

    with pytest.raises(StorageError):
        await database.run(work)
    assert await names(database) == []


async def test_a_fault_of_ours_fails_its_unit_and_not_the_writer(database):
    async def work(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(work)
    assert await database.write(add("after"))


async def test_a_caller_who_goes_away_does_not_stop_the_write(database):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(database.write(add("a")))
        await asyncio.sleep(0)
        task.cancel()
    await database.write(add("b"))
    assert await names(database) == ["a", "b"]


async def test_a_closed_database_refuses_writes(make_engine):
    async with Database(make_engine()) as database:
        await database.write(add("a"))
    with pytest.raises(StorageUnavailableError):
        await database.write(add("b"))


async def test_what_waits_at_the_end_is_still_written(make_engine):
    async with Database(make_engine()) as database:
        writes = [asyncio.ensure_future(database.write(add(f"n{number}"))) for number in range(5)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*writes) == [True] * 5
    async with Database(make_engine()) as database:
        assert len(await names(database)) == 5


async def test_a_log_that_fails_does_not_undo_what_is_committed(make_engine):
    def broken(_):
        raise OSError

    async with Database(make_engine(), on_commit=broken) as database:
        assert await database.write(add("a"))
        assert await names(database) == ["a"]


async def test_two_databases_on_one_store_exclude_each_other(make_engine):
    async with Database(make_engine()) as one, Database(make_engine()) as two:
        await one.write(add("a"))
        held = await asyncio.gather(*(side.write(take("a", f"n{n}")) for n in range(10) for side in (one, two)))
        assert sum(held) == 1


class Failing:
    """An engine whose commits fail as a test says: one error for every batch that holds a certain unit."""

    def __init__(self, poison: object, error: BaseException) -> None:
        self.poison = poison
        self.error = error
        self.commits: list[int] = []

    async def open(self, wakes) -> None:
        pass

    def tell(self, topics) -> None:
        pass

    async def close(self) -> None:
        pass

    def splits(self, moves: int) -> bool:
        return False

    def begin(self, moves):
        raise AssertionError("it does not split")

    async def commit(self, units):
        self.commits.append(len(units))
        if self.poison in units:
            raise self.error
        return [Done(value=True) for _ in units]

    async def fetch(self, sql, values):
        return []

    look = fetch


@pytest.mark.parametrize(
    "error", [StorageError("no"), StorageContendedError("locked"), UnicodeEncodeError("a", "", 0, 1, "")]
)
async def test_a_unit_that_no_engine_can_write_fails_alone(error):
    poison = add("poison")
    async with Database(Failing(poison, error)) as database:
        outcomes = await asyncio.gather(
            *(database.write(move) for move in (add("a"), poison, add("b"))), return_exceptions=True
        )
    assert [isinstance(outcome, StorageError) for outcome in outcomes] == [False, True, False]


async def test_an_outage_fails_the_batch_at_once():
    poison = add("poison")
    engine = Failing(poison, StorageUnavailableError("full"))
    async with Database(engine) as database:
        outcomes = await asyncio.gather(
            *(database.write(move) for move in (add("a"), poison, add("b"))), return_exceptions=True
        )
    assert {type(outcome) for outcome in outcomes} == {StorageUnavailableError}
    assert engine.commits == [3]


async def test_a_fault_in_the_writer_is_told_without_its_text(database):
    poison = add("poison")
    async with Database(Failing(poison, ValueError("secret-name"))) as failing:
        with pytest.raises(StorageError) as caught:
            await failing.write(poison)
    assert str(caught.value) == "ValueError in the storage writer"


async def test_a_row_is_written_once_in_a_batch_and_in_the_order_asked(database, committed):
    await database.write(add("a", node="somebody"))
    freed = await asyncio.gather(*(database.write(Move((FREE, ("a",)), notes=[n])) for n in range(3)))
    assert freed == [True, False, False]
    assert committed == ["added a", 0]
    assert database.waiting == 0


class Flaky:
    """An engine that fails as a list says, commit by commit: an error, or ``None`` for one that is well."""

    def __init__(self, *script: BaseException | None) -> None:
        self._script = list(script)
        self.commits: list[int] = []

    async def open(self, wakes) -> None:
        pass

    def tell(self, topics) -> None:
        pass

    async def close(self) -> None:
        pass

    def splits(self, moves: int) -> bool:
        return False

    def begin(self, moves):
        raise AssertionError("it does not split")

    async def commit(self, units):
        self.commits.append(len(units))
        error = self._script.pop(0) if self._script else None
        # Whoever asks meanwhile waits behind this commit.
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return [Done(value=True) for _ in units]

    async def fetch(self, sql, values):
        return []

    look = fetch


async def three_and_one_behind(database: Database) -> list[object]:
    first = [asyncio.ensure_future(database.write(add(str(number)))) for number in range(3)]
    await asyncio.sleep(0)
    behind = asyncio.ensure_future(database.write(add("behind")))
    return [type(outcome) for outcome in await asyncio.gather(*first, behind, return_exceptions=True)]


async def test_who_waits_behind_an_outage_of_a_moment_is_tried():
    engine = Flaky(StorageUnavailableError("gone"))
    async with Database(engine) as database:
        assert await three_and_one_behind(database) == [StorageUnavailableError] * 3 + [bool]
    assert engine.commits == [3, 1]


async def test_who_waited_behind_a_long_outage_does_not_wait_for_the_same_again(monkeypatch):
    monkeypatch.setattr("gateway.storage.database.LONG", 0.0)
    engine = Flaky(StorageUnavailableError("locked"))
    async with Database(engine) as database:
        assert await three_and_one_behind(database) == [StorageUnavailableError] * 4
        assert await database.write(add("after"))
    assert engine.commits == [3, 1]


async def test_an_outage_while_units_are_tried_alone_fails_the_rest_at_once():
    engine = Flaky(StorageError("no"), None, StorageUnavailableError("gone"))
    async with Database(engine) as database:
        outcomes = await asyncio.gather(*(database.write(add(str(n))) for n in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [bool] + [StorageUnavailableError] * 4
    assert engine.commits == [5, 1, 1]


async def test_units_that_are_in_anothers_way_one_by_one_end_together(monkeypatch):
    monkeypatch.setattr("gateway.storage.database.ALONE", 0.0)
    engine = Flaky(StorageContendedError("locked"), None, StorageContendedError("locked"))
    async with Database(engine) as database:
        outcomes = await asyncio.gather(*(database.write(add(str(n))) for n in range(50)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [bool] + [StorageContendedError] * 49
    assert engine.commits == [50, 1, 1]


def written_of(notes):
    """What is written alongside: a row for every note that is told of."""
    return [(ADD, (f"told {note}", "", 0.0)) for note in notes if "secret" not in note]


@pytest.fixture
async def accompanied(make_engine):
    async with Database(make_engine(), alongside=written_of, alongside_wakes=("telling",)) as opened:
        yield opened


async def test_what_belongs_to_a_move_is_written_with_it(accompanied):
    assert await accompanied.write(add("a"))
    assert await names(accompanied) == ["a", "told added a"]


async def test_of_a_move_whose_guard_did_not_hold_nothing_is_told(accompanied):
    await accompanied.write(add("a", node="taken"))
    assert not await accompanied.write(take("a", "me"))
    assert await names(accompanied) == ["a", "told added a"]


async def test_what_belongs_to_a_works_moves_is_written_with_them(accompanied):
    async def work(connection):
        await connection.apply(add("a", node="taken"))
        await connection.apply(take("a", "me"))
        return [record["name"] for record in await connection.fetch("SELECT name FROM lease ORDER BY name")]

    async def refused(connection):
        await connection.apply(add("b"))
        raise NotFound("no")

    assert await accompanied.run(work) == ["a", "told added a"]
    with pytest.raises(NotFound):
        await accompanied.run(refused)
    assert await names(accompanied) == ["a", "told added a"]


async def test_what_is_written_alongside_wakes_who_sends_it(accompanied):
    woken: list[str] = []
    accompanied.wakes.subscribe("telling", lambda: woken.append("telling"))
    await accompanied.write(add("a secret"))
    await accompanied.write(Move(None, [(ADD, ("silent", "", 0.0))]))
    assert woken == []
    await accompanied.write(add("a"))
    assert woken == ["telling"]
    assert await names(accompanied) == ["a", "a secret", "silent", "told added a"]


async def test_a_fault_alongside_undoes_the_move(make_engine):
    def broken(_):
        raise ZeroDivisionError

    async with Database(make_engine(), alongside=broken) as database:
        with pytest.raises(ZeroDivisionError):
            await database.write(add("a"))
        assert await names(database) == []


async def test_a_move_waits_for_a_few_of_the_works_that_were_asked_for_before_it(database):
    """Each work reads before it decides: behind hundreds of one caller's, everybody else waited for seconds."""
    done: list[str] = []

    async def work(connection: Connection) -> None:
        await connection.fetch("SELECT name FROM lease")
        done.append("work")

    works = [asyncio.create_task(database.run(work)) for _ in range(5 * MAX_WEIGHT)]
    await asyncio.sleep(0)
    await database.write(add("moved"))
    done.append("move")
    await asyncio.gather(*works)
    assert done.index("move") <= 2 * MAX_WEIGHT
    assert len(done) == 5 * MAX_WEIGHT + 1


@pytest.fixture
def sizes(database, monkeypatch) -> list[int]:
    """How many units each commit was of."""
    found: list[int] = []
    commit = database._engine.commit

    async def counted(units):
        found.append(len(units))
        return await commit(units)

    monkeypatch.setattr(database._engine, "commit", counted)
    return found


def finding(done: list[str], name: str):
    """A work that tells when it was done."""

    async def work(connection: Connection) -> None:
        await connection.fetch("SELECT name FROM lease")
        done.append(name)

    return work


async def test_a_batch_of_works_is_bounded_by_what_they_weigh(database, sizes):
    done: list[str] = []
    weight = HEAVY - 1
    works = [database.run(finding(done, "work"), weight=weight) for _ in range(3 * MAX_WEIGHT // weight)]
    await asyncio.gather(*works)
    assert sizes == [MAX_WEIGHT // weight] * 3


async def test_a_heavy_work_is_a_transaction_of_its_own(database, sizes):
    done: list[str] = []
    heavy = [database.run(finding(done, "heavy"), weight=HEAVY) for _ in range(3)]
    await asyncio.gather(*heavy, *(database.write(add(str(number))) for number in range(5)))
    assert sorted(sizes) == [1, 1, 1, 5]


async def test_a_heavy_move_is_a_transaction_of_its_own(database, sizes):
    writes = [database.write(add("heavy"), weight=HEAVY), *(database.write(add(str(number))) for number in range(5))]
    assert await asyncio.gather(*writes) == [True] * 6
    assert sorted(sizes) == [1, 5]


async def test_whoever_asks_waits_for_one_of_many_heavy_works(database, sizes):
    done: list[str] = []
    heavy = [asyncio.create_task(database.run(finding(done, "heavy"), weight=HEAVY)) for _ in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(database.write(add("moved")), database.run(finding(done, "light")), *heavy)
    # The one that was under way, and what both asked for together.
    assert sizes[:3] == [1, 2, 1]
    assert done[:3] == ["heavy", "light", "heavy"]


async def test_a_heavy_work_that_fails_fails_alone(database):
    async def refused(connection: Connection) -> None:
        await connection.apply(add("undone"))
        raise NotFound("no")

    outcomes = await asyncio.gather(
        database.run(refused, weight=HEAVY), database.write(add("a")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [NotFound, bool]
    assert await names(database) == ["a"]


async def test_what_is_heavy_fails_with_all_that_waited_behind_a_long_outage(monkeypatch):
    monkeypatch.setattr("gateway.storage.database.LONG", 0.0)
    engine = Flaky(StorageUnavailableError("locked"))
    async with Database(engine) as database:
        writes = [database.write(add("a")), *(database.write(add("heavy"), weight=HEAVY) for _ in range(2))]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert (database.waiting, await database.write(add("after"))) == (0, True)
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailableError] * 3
    assert engine.commits == [1, 1]


async def test_what_is_heavy_and_waits_at_the_end_is_still_written(make_engine):
    async with Database(make_engine()) as database:
        waiting = [asyncio.create_task(database.write(add(str(n)), weight=HEAVY)) for n in range(3)]
        await asyncio.sleep(0)
        assert database.waiting == 3
    assert await asyncio.gather(*waiting) == [True] * 3
