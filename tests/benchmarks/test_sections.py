from __future__ import annotations

from benchmarks import accepts, claims, end_to_end, idle, sections
from benchmarks.figures import Spread
from benchmarks.served import at_database

LOADED = {"rate": 2000.0, "median": 0.01, "slowest": 0.03, "busy": 0.4, "resident": 120.0, "peak": 130.0}
BARE = {"rate": 10_000.0, "median": 0.002, "slowest": 0.01, "busy": 0.5}
ACCEPTED = {accepts.YARDSTICK: [BARE, BARE], accepts.EMAIL: [LOADED, {**LOADED, "rate": 3000.0}]}


def named(section, name):
    return next(row for row in section.rows if row.name == name)


def test_accepts_stand_beside_the_bare_app():
    row = named(sections.accepted(ACCEPTED, 3.0), accepts.EMAIL)
    assert (row.ratio, row.verdict) == (Spread(0.25, 0.2, 0.3), "≥ 0.2: reached")


def test_the_yardstick_itself_has_no_ratio():
    assert named(sections.accepted(ACCEPTED, 3.0), accepts.YARDSTICK).ratio is None


def test_the_text_says_how_busy_the_load_generator_was():
    assert "never busier than 50% of a core" in sections.accepted(ACCEPTED, 3.0).text


def test_latencies_are_told_in_milliseconds():
    row = named(sections.latencies(ACCEPTED), f"{accepts.EMAIL}, p99")
    assert (row.figure, row.ratio) == (Spread(30.0, 30.0, 30.0), Spread(3.0, 3.0, 3.0))


def test_mails_and_their_cpu_time_stand_beside_the_bare_loop():
    samples = {
        end_to_end.YARDSTICK: [{"rate": 4000.0, "cpu": 0.0002}],
        end_to_end.GATEWAY: [{"rate": 1000.0, "cpu": 0.0009}],
    }
    assert named(sections.sent(samples, 3000), end_to_end.GATEWAY).verdict == "≥ 0.35: **missed**"
    assert named(sections.cpu(samples), end_to_end.GATEWAY).figure.median == 0.9


def test_an_idle_gateway_is_judged_by_its_milliseconds():
    samples = {
        idle.YARDSTICK: [{"answered": 0.0005}],
        idle.GATEWAY: [{"answered": 0.002, "sent": 0.004, "slowest": 0.02}],
    }
    row = named(sections.idle_section(samples), f"{idle.GATEWAY}: durably sent, p50")
    assert (row.figure.median, row.verdict) == (4.0, "≤ 5: reached")


def test_claims_are_judged_by_the_largest_over_the_smallest_without_the_second_yardstick():
    medians = {"1,000 queued": 0.002, "10,000 queued": 0.0026, "100,000 queued": 0.0024, "1,000 queued, again": 0.009}
    samples = {name: [{"median": median}] for name, median in medians.items()}
    row = named(sections.claimed("SQLite", samples, claims.SIZES), "largest over smallest")
    assert (round(row.figure.median, 6), row.verdict) == (1.3, "≤ 1.5: reached")


def test_memory_is_told_of_what_was_asked_for_it():
    section = sections.memory(ACCEPTED, {}, {})
    assert [(row.name, row.verdict) for row in section.rows] == [
        (f"accepts: {accepts.EMAIL}, VmRSS", "≤ 150: reached"),
        (f"accepts: {accepts.EMAIL}, VmHWM", ""),
    ]


def test_the_smallest_table_is_there_twice():
    assert claims.names([10, 20]) == {"10 queued": 10, "20 queued": 20, "10 queued, again": 10}


def test_another_database_of_the_same_server_keeps_the_rest_of_the_url():
    assert at_database("postgresql://me:pw@/postgres?host=/run/pg", "b") == "postgresql://me:pw@/b?host=/run/pg"
