"""docs/scaling.md: the figures, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.report import number, table
from benchmarks.scale.arithmetic import BUSY, CORES, RATES, Cost, ceiling, cost, deployments, need
from benchmarks.scale.results import Results, fastest, modelled, sections

_MIB, _GIB = 2**20, 2**30


def document(machine: Mapping[str, str], rounds: str, results: Results) -> str:
    """Return docs/scaling.md."""
    each = cost(modelled(results))
    properties = "\n".join(f"| {name} | {value} |" for name, value in machine.items())
    tables = "\n\n".join(f"### {found.title}\n\n{found.text}\n\n{table(found)}" for found in sections(results))
    return "\n".join(
        (
            _HEAD.format(**_summary(results, each)),
            f"## The machine\n\n| | |\n|---|---|\n{properties}\n| Rounds | {rounds} |\n",
            f"## What was measured\n\n{_plot(results)}\n\n{tables}\n",
            _READING,
            f"## What one message costs\n\n{_costs(each)}\n\n{_COSTS}",
            f"## What one PostgreSQL carries\n\n{_CARRIES.format(busy=BUSY)}\n\n{_needs(each)}\n\n{_ceilings(each)}\n",
            _PAST.format(**_past(each)),
            _FOOT,
        )
    )


def _summary(results: Results, each: Cost) -> dict[str, str]:
    rates = fastest(results.drained)
    return {
        "best": number(max([*rates.values(), *fastest(results.posted).values()])),
        "wal": number(each.wal / 1024),
        "server": number(each.server * 1000),
        "eight": number(_rounded(ceiling(each, 8))),
    }


def _plot(results: Results) -> str:
    """Return a bar chart of both measurements with several nodes."""
    bars = {**fastest(results.posted), **{f"backlog, {name}": rate for name, rate in fastest(results.drained).items()}}
    labels = ", ".join(f'"{name}"' for name in bars)
    top = _rounded(max(bars.values()) * 1.1)
    return "\n".join(
        (
            "```mermaid",
            "xychart-beta horizontal",
            '    title "Messages per second by nodes on one PostgreSQL"',
            f"    x-axis [{labels}]",
            f'    y-axis "messages/s" 0 --> {top:.0f}',
            f"    bar [{', '.join(f'{rate:.0f}' for rate in bars.values())}]",
            "```",
        )
    )


def _costs(each: Cost) -> str:
    lines = (
        ("CPU of the nodes", f"{number(each.node * 1000)} ms"),
        ("CPU of PostgreSQL", f"{number(each.server * 1000)} ms"),
        ("Write-ahead log", f"{number(each.wal / 1024)} KiB"),
        ("fsyncs of the log", f"{number(each.syncs)} (one for {number(1 / max(each.syncs, 1e-9))} messages)"),
        ("Transactions, reading ones too", number(each.commits)),
        ("Kept, indexes and all", f"{number(each.kept / 1024)} KiB"),
        ("Connections of a node", number(each.connections)),
    )
    return "\n".join(("| each message | |", "|---|---|", *(f"| {name} | {value} |" for name, value in lines)))


def _needs(each: Cost) -> str:
    lines = (
        f"| {found.rate:,} | {number(found.server)} | {found.nodes:,} | {number(found.wal / _MIB)} | "
        f"{number(found.kept / _GIB)} | {found.connections:,} |"
        for found in (need(each, rate) for rate in RATES)
    )
    head = "| messages/s | cores for PostgreSQL | nodes | log, MiB/s | kept, GiB/day | connections |"
    return "\n".join((head, "|---|---|---|---|---|---|", *lines))


def _ceilings(each: Cost) -> str:
    shown = "; ".join(f"{cores} cores: {number(_rounded(ceiling(each, cores)))} messages/s" for cores in CORES)
    return (
        f"Turned round, {shown}. These are bounds by CPU alone, and the last is beyond what was seen: past some thousands "
        "a second the one log of a server, its checkpoints and its vacuum deserve a measurement of your own first."
    )


def _past(each: Cost) -> dict[str, str]:
    rate, cores = 10_000, 8
    return {
        "rate": f"{rate:,}",
        "cores": str(cores),
        "ceiling": number(_rounded(ceiling(each, cores))),
        "deployments": str(deployments(each, rate, cores)),
        "days": number(need(each, 1_000).kept / _GIB * 30),
    }


def _rounded(value: float) -> float:
    """Return a figure with two digits that count: more would claim too much."""
    return float(f"{value:.1e}")


_HEAD = """\
<!-- Written by `make bench-scale`: change benchmarks/scale/, not this file. -->
# Scaling

Any number of `otp-gateway serve` and `otp-gateway dispatch` processes share one PostgreSQL. None of them is special:
each claims what is due with `FOR UPDATE SKIP LOCKED` and holds it by a lease of 20 s, so a node that dies loses
nothing, and a row that one node works on is invisible to the others. `serve` answers requests and does all the work
besides; `dispatch` does the work alone.

On the machine below, which runs PostgreSQL, the nodes, the load and the receiving mail server on the same cores,
up to {best} messages/s went through. A message costs PostgreSQL {server} ms of CPU and {wal} KiB of log; by that, a
server of 8 cores of its own carries about {eight} messages/s.
"""

_READING = """\
How to read it: all of it shares the cores of one machine, so more nodes can be faster only as long as a core is idle;
here they can show whether they get in each other's way. The lines "again" are the first arm measured once more; a
difference smaller than theirs means nothing.

The other queues are good at what they are for, and do less: ours writes down that an attempt begins before it makes
one, keeps every attempt and an event for each move, opens sealed rows and renders a text. PgQueuer writes down what
is done in batches, so after a crash some jobs run again; it claims 100 at a time here, as our nodes do. Procrastinate
runs 16 jobs at a time, as ours does, and keeps its jobs.
"""

_COSTS = """\
Of the run with the most nodes, from the request to the settled row, medians. By what it is bounded, in the order in
which it is usually met:

1. **CPU of the nodes.** A node is one process and uses one core; add nodes.
2. **CPU of PostgreSQL.** It is the one thing that all share. Commits are gathered: whatever waits in a node while it
   commits becomes the next transaction, so a message's part of a transaction and of an fsync *falls* with load.
3. **fsync.** A commit waits for one; commits of several nodes share it. It bounds how fast one message alone can be
   (three commits), not how many there are. On a disk with slow fsyncs batches grow instead.
4. **The log.** Every byte of it is written, archived and sent to each standby. The first change of a page after a
   checkpoint writes the whole page, so fewer checkpoints write less: raise `checkpoint_timeout`, and `max_wal_size` so
   that it is not reached before.
5. **Memory.** The queue's indexes hold only what waits, so they stay small; history is written once and rarely read.

Length of the queue is not on the list: a claim reads the index of what is due, from its start, whatever lies behind.
"""

_CARRIES = """\
With these figures, at {busy:.0%} of a core (what comes in is never even):"""

_PAST = """\
A node has one connection that writes, up to four that read and one that listens: PostgreSQL's default of 100
connections is enough for 16 nodes. A pooler must pool sessions, not transactions, for nodes listen and prepare statements.

## How to go past it

In the order of what it costs:

1. **Keep less.** Retention (`[retention]`) bounds the tables: at 1,000 messages/s, 30 days are {days} GiB. Partitioning
   `message`, `attempt` and `event` by time makes forgetting cheap (a partition is dropped, nothing is vacuumed); it
   makes no message faster, for the queue's indexes hold what waits alone.
2. **One deployment per service, or per group of services.** Keys, limits, cooldowns and webhooks are kept by service,
   and sending never needs two of them: a service can be moved to a database and nodes of its own, and its application to
   another URL. Throughput is the sum. {rate} messages/s over servers of {cores} cores, each good for {ceiling}, are
   {deployments} deployments. Two things are not by service: a channel's rate is shared by the nodes of *one* database,
   so accounts with a provider's limit are divided by hand; and a bot has one listener, so each deployment has a bot of
   its own.
3. **One deployment per region.** The same, cut by where people are: codes stay in their region, and a region that is
   lost takes no other with it. An id belongs to the region that made it, so an application checks a code where it
   asked for it. Limits per person hold within a region.
4. **Another engine that speaks the protocol.** What ours asks of it: `FOR UPDATE SKIP LOCKED` in a statement that
   returns the rows, `UPDATE … FROM unnest(…)`, partial indexes, `LISTEN`/`NOTIFY` (or the loss of a second: polling
   finds what no wake told of), and an fsync behind every commit. None of these is tested here; run the
   tests on it first.
   - *Citus* runs any SQL that stays on one worker. Distributed by service, everything of a service is on one worker,
     and that is item 2 with one address. Distributed by verification, a claim would have to lock rows on several
     workers in one statement, which it does not do: each worker would need a claim of its own.
   - *YugabyteDB* has `SKIP LOCKED`, and `LISTEN`/`NOTIFY` since 2025.2.3. A commit is agreed on by several machines:
     one message alone takes longer, and batches grow.
   - *CockroachDB* has `SKIP LOCKED` and, when this was written, neither `LISTEN` nor `NOTIFY`: a write that wakes other
     nodes fails there, so the gateway does not run on it unchanged.
"""

_FOOT = """\
## How it is measured

- PostgreSQL is a server of the run's own with its default settings (fsync and synchronous_commit on), reached by a UNIX
  socket. Every run has a fresh copy of a migrated database; nodes are `otp-gateway serve` and `otp-gateway dispatch`
  as anybody would run them, their logs written to files, with the limits a service has by default.
- The arms of a measurement take turns within a round, each round begins with another one, ratios are taken round by
  round. Medians, with the lowest and the highest in brackets.
- CPU is that of the processes (`/proc`), PostgreSQL's with all its backends; log, transactions and fsyncs are the
  server's own counts (`pg_current_wal_insert_lsn`, `pg_stat_database`, `pg_stat_io`) over the run.

## How to repeat it

```sh
make bench-scale                    # all of it, at most 15 minutes; rewrites this file
python -m benchmarks scale --quick  # a few minutes, small numbers; shows the page, writes nothing without --write
```

Linux is needed, a machine with nothing else to do, and a package index for the other queues: they are installed once
into `otp-gateway-benchmarks` in the user's cache folder, and left out by name where they cannot be.
"""
