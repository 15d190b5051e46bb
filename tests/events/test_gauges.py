"""Gauges show what is there when somebody asks, and nothing for what nobody watches."""

from __future__ import annotations

from typing import cast

from gateway.events.census import Census, Counted, Standing
from gateway.events.gauges import STATES, Watched
from gateway.events.metrics import Metrics
from tests.events.scraping import samples, value


class Still:
    """A census that does not change."""

    answered = True
    latest = Counted(1000.5, {"sms": Standing(7, 2, 1.5)}, 3, 60.0)


def metrics() -> Metrics:
    return Metrics(channels=["sms", "email"], version="1.2.3")


def test_the_build_is_told():
    assert [dict(labels)["version"] for name, labels in samples(metrics()) if name == "otp_gateway_build_info"] == [
        "1.2.3"
    ]


def test_what_nobody_watches_has_no_series():
    kinds = ("queue_depth", "channel_state", "storage_waiting", "housekeeper", "log_lines_dropped_total", "database_up")
    names = {name.removeprefix("otp_gateway_") for name, _ in samples(metrics())}
    assert names & set(kinds) == set()


def test_a_channel_is_in_one_state():
    found = metrics()
    found.watch(Watched(states=lambda: {"sms": "open", "gone": "ok"}))
    shown = {state: value(found, "channel_state", channel="sms", state=state) for state in STATES}
    assert shown == {**dict.fromkeys(STATES, 0), "open": 1}
    assert value(found, "channel_state", channel="email", state="ok") == 0
    assert value(found, "channel_state", channel="gone", state="ok") is None


def test_a_state_that_is_not_known_is_none_of_them():
    found = metrics()
    found.watch(Watched(states=lambda: {"sms": "dancing"}))
    assert [value(found, "channel_state", channel="sms", state=state) for state in STATES] == [0] * len(STATES)


def test_gauges_are_looked_up_each_time():
    backlog, keeps, found = [4], [True], metrics()
    found.watch(
        Watched(
            backlog=lambda: backlog[0],
            keeps_house=lambda: keeps[0],
            lines_dropped=lambda: 9,
            housekeeping=lambda: {"verifications": 12, "expire": 3},
        )
    )
    assert (value(found, "storage_waiting"), value(found, "housekeeper")) == (4, 1)
    assert value(found, "log_lines_dropped_total") == 9
    assert value(found, "housekeeping_rows_total", duty="verifications") == 12
    backlog[0], keeps[0] = 5, False
    assert (value(found, "storage_waiting"), value(found, "housekeeper")) == (5, 0)


def test_what_was_counted_in_the_database_is_shown():
    found = metrics()
    found.watch(Watched(census=cast("Census", Still())))
    assert value(found, "queue_depth", channel="sms", status="queued") == 7
    assert value(found, "queue_depth", channel="sms", status="sending") == 2
    assert value(found, "queue_oldest_seconds", channel="sms") == 1.5
    assert (value(found, "webhook_depth"), value(found, "webhook_lag_seconds")) == (3, 60)
    assert (value(found, "sampled_timestamp_seconds"), value(found, "database_up")) == (1000.5, 1)
