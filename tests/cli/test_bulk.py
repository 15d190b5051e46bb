"""A run over a list: in chunks, no faster than it may, stopped between two, and each row once."""

from __future__ import annotations

import csv

import pytest

from gateway.app.taking import Accepted
from gateway.cli.bulk import FULL, LATE, PATIENCE, Bulk
from gateway.cli.people import Row
from gateway.cli.results import Results
from gateway.errors import Cooldown, Problem, RecipientRefused
from gateway.events.census import Standing
from gateway.verification.request import Asked


def row(line: int, address: str = "") -> Row:
    address = address or f"p{line}@x.org"
    return Row(line, Asked(to={"email": address}), frozenset({address}))


class Taking:
    """What takes codes on, in memory: everything at once unless told otherwise."""

    def __init__(self, clock) -> None:
        self.clock = clock
        self.chunks: list[list[str]] = []
        self.times: list[float] = []
        self.refusals: dict[str, Problem] = {}
        self.standings = [[Standing()]]
        self.runs = True
        self.then = lambda: None

    async def all_of(self, service, rows):
        self.chunks.append([source.key for source, _ in rows])
        self.times.append(self.clock.monotonic())
        self.then()
        return [self.refusals.get(source.key) or self.accepted(source) for source, _ in rows]

    @staticmethod
    def accepted(source) -> Accepted:
        return Accepted(f"ver_{source.key}", "queued", "email", {"email": "p•••@x•••.org"})

    def masked(self, asked):
        return "p•••@x•••.org"

    async def node_runs(self):
        return self.runs

    async def standing(self):
        return self.standings.pop(0) if len(self.standings) > 1 else self.standings[0]


@pytest.fixture
def taking(clock):
    return Taking(clock)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.csv"


@pytest.fixture
def told():
    return []


@pytest.fixture
def send(taking, path, clock, told):
    """Run over rows; return the run."""

    async def sleep(seconds: float) -> None:
        clock.advance(seconds)

    async def run(rows, rate: float = 0.0, then=None) -> Bulk:
        with Results(path, "r1") as results:
            bulk = Bulk(
                taking,
                results,
                clock,
                service="shop",
                run="r1",
                rate=rate,
                told=told.append,
                moved=lambda _: None,
                sleep=sleep,
            )
            taking.then = then(bulk) if then else taking.then
            await bulk.send(rows)
        return bulk

    return run


def written(path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [[line["line"], line["to"], line["id"], line["status"], line["error"]] for line in csv.DictReader(file)]


async def test_rows_are_taken_in_chunks_of_a_hundred_and_written_down(send, taking, path):
    bulk = await send([row(line) for line in range(2, 252)])
    assert [len(chunk) for chunk in taking.chunks] == [100, 100, 50]
    assert bulk.became == {"queued": 250}
    assert written(path)[0] == ["2", "p•••@x•••.org", "ver_2", "queued", ""]


async def test_a_chunk_is_written_down_before_the_next_is_taken(send, taking, path):
    seen = []
    taking.then = lambda: seen.append(len(written(path)))
    await send([row(line) for line in range(2, 252)])
    assert seen == [0, 100, 200]


async def test_nobody_is_in_a_chunk_twice(send, taking):
    await send([row(2, "a@x.org"), row(3), row(4, "a@x.org")])
    assert taking.chunks == [["2", "3"], ["4"]]


async def test_what_is_finished_is_left_out_and_what_was_deferred_is_tried_again(send, taking, path):
    taking.refusals = {
        "3": Cooldown("sent a moment ago", retry_after=30.0),
        "4": RecipientRefused("this service does not send to that country"),
    }
    first = await send([row(2), row(3), row(4)])
    assert first.became == {"queued": 1, "deferred": 1, "refused": 1}
    taking.refusals = {}
    second = await send([row(2), row(3), row(4)])
    assert (second.became, taking.chunks[-1]) == ({"queued": 1}, ["3"])
    assert [line[3:] for line in written(path)] == [
        ["queued", ""],
        ["deferred", "cooldown: sent a moment ago"],
        ["refused", "recipient_refused: this service does not send to that country"],
        ["queued", ""],
    ]


@pytest.mark.parametrize(("rate", "sizes", "seconds"), [(2, [2, 2, 2], 2.0), (0.5, [1] * 6, 10.0), (200, [6], 0.0)])
async def test_a_rate_is_kept(send, taking, rate, sizes, seconds):
    await send([row(line) for line in range(2, 8)], rate=rate)
    assert sizes == [len(chunk) for chunk in taking.chunks]
    assert seconds == taking.times[-1] - taking.times[0]


async def test_it_stops_after_the_chunk_under_way(send, taking, path):
    bulk = await send([row(line) for line in range(2, 302)], then=lambda bulk: bulk.stop)
    assert (bulk.stopped, len(written(path))) == (True, 100)


async def test_it_stops_while_it_waits_for_its_rate(send, taking):
    bulk = await send([row(2), row(3), row(4)], rate=0.01, then=lambda bulk: bulk.stop)
    assert (bulk.stopped, taking.chunks) == (True, [["2"]])


@pytest.mark.parametrize("standing", [Standing(queued=FULL), Standing(oldest=LATE)])
async def test_a_queue_that_is_full_or_late_is_waited_for(send, taking, told, standing, clock):
    begun = clock.monotonic()
    taking.standings = [[standing], [standing, Standing()], [Standing()]]
    await send([row(2)])
    assert (clock.monotonic() - begun, told, taking.chunks) == (2.0, [], [["2"]])


@pytest.mark.parametrize(("runs", "word"), [(True, "the queue is full"), (False, "start `otp-gateway serve`")])
async def test_after_a_while_it_is_told_what_is_waited_for_once(send, taking, told, runs, word):
    taking.runs, taking.standings = runs, [[Standing(queued=FULL)]] * int(3 * PATIENCE) + [[Standing()]]
    await send([row(2)])
    assert (len(told), word in told[0]) == (1, True)


async def test_the_queue_is_not_looked_at_for_every_chunk(send, taking):
    looks = []
    standing = taking.standing

    async def counted():
        looks.append(1)
        return await standing()

    taking.standing = counted
    await send([row(line) for line in range(2, 502)])
    assert looks == [1]
