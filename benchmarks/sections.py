"""What was measured as sections of the report: which figure stands beside which, and what it should reach."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import accepts, claims, end_to_end, idle
from benchmarks.figures import Target, across, ratios, spread
from benchmarks.report import Row, Section
from benchmarks.rounds import Samples, column

#: Of the bare app's answers, of the bare loop's mails; milliseconds; largest over smallest; MiB.
ACCEPTS = Target(0.20, at_least=True)
END_TO_END = Target(0.35, at_least=True)
IDLE = Target(5.0, at_least=False)
CLAIMS = Target(1.5, at_least=False)
MEMORY = Target(150.0, at_least=False)


def accepted(samples: Samples, seconds: float) -> Section:
    """Accepts per second."""
    targets = {accepts.EMAIL: ACCEPTS, accepts.SMS: ACCEPTS}
    busy = max(value for taken in samples.values() for value in column(taken, "busy"))
    return Section(
        "Durable accepts",
        f"`POST /v1/verifications` with 32 connections for {seconds:g} s: an answer means that the verification is on the "
        "disk. The yardstick is a raw ASGI app on uvicorn (uvloop, httptools, the gateway's server settings) that parses "
        "the JSON body and answers JSON of the same size, and keeps nothing. So that accepting alone is measured, mails "
        "and SMS are paused, as after a provider has asked to wait; *while sending* has a mail server that answers. "
        f"The load generator was never busier than {busy:.0%} of a core.",
        "accepts/s",
        _rows(samples, "rate", accepts.YARDSTICK, targets),
    )


def latencies(samples: Samples) -> Section:
    """Latencies of the same requests."""
    rows = []
    for figure, name in (("median", "p50"), ("slowest", "p99")):
        found = _rows(samples, figure, accepts.YARDSTICK, {}, scale=1000.0)
        rows += [Row(f"{row.name}, {name}", row.figure, row.ratio) for row in found]
    return Section(
        "Latency of these requests", "From writing a request until its answer has arrived whole.", "ms", rows
    )


def sent(samples: Samples, mails: int) -> Section:
    """Mails per second."""
    return Section(
        "End to end",
        f"{mails:,} verifications posted with 32 connections, timed from the first request until the last mail is in the "
        "sink. The yardstick is aiosmtplib alone: `sendmail()` of the very bytes the gateway made, over 16 connections "
        "kept open, into the same sink; the gateway may use as many (and renews each after 100 mails, its default).",
        "mails/s",
        _rows(samples, "rate", end_to_end.YARDSTICK, {end_to_end.GATEWAY: END_TO_END}),
    )


def cpu(samples: Samples) -> Section:
    """CPU time per mail."""
    return Section(
        "CPU per mail",
        "User and system time of the process in the end-to-end run: for the gateway all of it, from the request to the "
        "settled row; for the yardstick the sending alone.",
        "ms/mail",
        _rows(samples, "cpu", end_to_end.YARDSTICK, {}, scale=1000.0),
    )


def idle_rows(samples: Samples) -> list[Row]:
    """Return the lines of the idle section."""
    rows = _rows(samples, "answered", idle.YARDSTICK, {}, scale=1000.0)
    rows = [Row(f"{row.name}: answered", row.figure, row.ratio) for row in rows]
    beside = column(samples[idle.YARDSTICK], "answered")
    for figure, name, target in (("sent", "p50", IDLE), ("slowest", "p99", None)):
        taken = column(samples[idle.GATEWAY], figure)
        milliseconds = spread([value * 1000 for value in taken])
        title = f"{idle.GATEWAY}: durably sent, {name}"
        rows.append(Row(title, milliseconds, spread(ratios(taken, beside)), target, on_ratio=False))
    return rows


def idle_section(samples: Samples) -> Section:
    """One code while nothing else happens."""
    return Section(
        "One code on an idle gateway",
        "One request at a time with pauses between. *Answered* is the median time of the HTTP request. *Durably sent* is "
        "the time from the same request until the gateway logs `message.sent`, which it does once the row is committed: "
        "accepting, committing, rendering, an SMTP transaction and two more commits.",
        "ms",
        idle_rows(samples),
    )


def claimed(engine: str, samples: Samples, sizes: Sequence[int]) -> Section:
    """What a claim costs."""
    yardstick = next(iter(claims.names(sizes)))
    rows = _rows(samples, "median", yardstick, {}, scale=1000.0)
    factors = spread(across([column(samples[name], "median") for name, size in _distinct(sizes)]))
    rows.append(Row("largest over smallest", factors, None, CLAIMS, on_ratio=False))
    return Section(
        f"Claims on {engine}",
        f"`Queue.claim` of {claims.CLAIM} messages, rows opened, from tables with that many messages due. The yardstick "
        "is the smallest table.",
        "ms",
        rows,
    )


def memory(accepted: Samples, sent: Samples, alone: Samples) -> Section:
    """Memory of the gateway."""
    rows = []
    for title, samples in (("accepts", accepted), ("end to end", sent), ("idle", alone)):
        for arm, taken in samples.items():
            if "resident" in taken[0]:
                name = f"{title}: {arm}"
                rows.append(Row(f"{name}, VmRSS", spread(column(taken, "resident")), None, MEMORY, on_ratio=False))
                rows.append(Row(f"{name}, VmHWM", spread(column(taken, "peak"))))
    return Section("Memory", "Of the `serve` process at the end of each run.", "MiB", rows)


def _distinct(sizes: Sequence[int]) -> list[tuple[str, int]]:
    return list(claims.names(sizes).items())[: len(sizes)]


def _rows(
    samples: Samples, figure: str, yardstick: str, targets: dict[str, Target], *, scale: float = 1.0
) -> list[Row]:
    """Return one line an arm; the yardstick's own has no ratio."""
    beside = column(samples[yardstick], figure)
    rows = []
    for name, taken in samples.items():
        values = column(taken, figure)
        ratio = None if name == yardstick else spread(ratios(values, beside))
        rows.append(Row(name, spread([value * scale for value in values]), ratio, targets.get(name)))
    return rows
