from __future__ import annotations

from benchmarks.scale import depth, document, nodes, peers, results
from benchmarks.scale.arithmetic import cost
from benchmarks.scale.results import Backlog, Results
from benchmarks.scale.sink import Seen

SAMPLE = {
    "rate": 1000.0,
    "lost": 0.0,
    "doubled": 0.0,
    "node cpu": 0.0006,
    "server cpu": 0.0003,
    "wal": 4096.0,
    "commits": 0.3,
    "syncs": 0.2,
    "kept": 2048.0,
    "connections": 5.0,
}
SEEN = Seen(5000, 0, 0.0, 5.0, tuple(0.5 * number for number in range(1, 11)))


def measured(**changes: object) -> Results:
    """Return results of two rounds that all look alike."""
    found: dict[str, object] = {
        "posted": {name: [SAMPLE, SAMPLE] for name in nodes.POSTED},
        "drained": {name: [SAMPLE, SAMPLE] for name in nodes.DRAINED},
        "deep": {name: [{"seconds": 0.0004}] * 2 for name in depth.names(depth.SIZES)},
        "raced": {
            name: [{"through": 900.0, "drained": 2000.0}] * 2 for name in (peers.GATEWAY, "pgqueuer", peers.AGAIN)
        },
        "backlog": Backlog(100_000, 2, SAMPLE, SEEN),
        "skipped": {"procrastinate": "CalledProcessError"},
        "count": 4000,
        "race": 2000,
        "sizes": depth.SIZES,
        **changes,
    }
    return Results(**found)  # type: ignore[arg-type]


def test_the_document_says_what_was_measured_and_what_follows():
    text = document.document({"Cores": "2"}, "3", measured())
    for line in (
        "# Scaling",
        "| Cores | 2 |",
        "| Rounds | 3 |",
        "### A backlog of 100,000",
        "| the last 20% | 1,000 (1,000 to 1,000) | 1.00 (1.00 to 1.00) |  |",
        "| request to mail: doubled, all runs | 0.000 (0.000 to 0.000) | - | ≤ 0: reached |",
        "| 1,000,000 queued | 0.400 (0.400 to 0.400) | 1.00 (1.00 to 1.00) | ≤ 1.5: reached |",
        "| 1,000 | 0.500 | 1 | 3.91 | 165 | 5 |",
        "xychart-beta horizontal",
    ):
        assert line in text.splitlines()
    assert "{" not in text.replace("{{", "")


def test_a_queue_that_is_missing_is_named():
    text = document.document({}, "1", measured())
    assert "procrastinate is left out: it could not be installed here (CalledProcessError)." in text
    assert "Beside ours: pgqueuer==1.6.0." in text


def test_without_the_long_backlog_there_is_no_section_of_it():
    assert "### A backlog of" not in document.document({}, "1", measured(backlog=None))


def test_one_doubled_mail_misses_the_target():
    posted = {**measured().posted, "2 serve": [SAMPLE, {**SAMPLE, "doubled": 1.0}]}
    assert "| request to mail: doubled, all runs | 1.00 (0.000 to 1.00) | - | ≤ 0: **missed** |" in document.document(
        {}, "1", measured(posted=posted)
    )


def test_the_arithmetic_is_made_of_the_run_with_the_most_nodes():
    posted = {**measured().posted, "2 serve, 2 dispatch": [{**SAMPLE, "wal": 1.0}]}
    assert cost(results.modelled(measured(posted=posted))).wal == 1.0
