"""docs/metrics.md names what is scraped, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from prometheus_client.parser import text_string_to_metric_families

from gateway.events.census import Census, Counted, Standing
from gateway.events.event import EventName, event
from gateway.events.gauges import Watched
from gateway.events.metrics import REFUSALS, WEBHOOK_OUTCOMES, Metrics

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


class Still:
    answered = True
    latest = Counted(1.0, {"sms": Standing()})


def scraped() -> dict[str, set[str]]:
    """Return every metric with its labels."""
    metrics = Metrics(channels=["sms"], services=["shop"], version="1")
    metrics.watch(
        Watched(
            census=cast("Census", Still()),
            states=lambda: {"sms": "ok"},
            backlog=lambda: 0,
            lines_dropped=lambda: 0,
            keeps_house=lambda: True,
            housekeeping=lambda: {"verifications": 0},
            spent=lambda: {"shop": 1.5},
        )
    )
    metrics.on_commit([event(name, 1.0, "shop", channel="sms", outcome="sent") for name in EventName])
    metrics.refused(min(REFUSALS))
    metrics.webhook("shop", min(WEBHOOK_OUTCOMES))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            found.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    return {name: labels for name, labels in found.items() if name.startswith("otp_gateway_")}


def listed() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(otp_gateway_\w+)` \|([^|]*)\|", PAGE, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_every_metric_is_listed_with_its_labels():
    assert listed() == scraped()


def test_every_expression_names_a_metric_that_exists():
    named = set(re.findall(r"otp_gateway_\w+", PAGE))
    known = {f"{name}{suffix}" for name in scraped() for suffix in ("", "_bucket")}
    assert named - known == set()


def test_the_words_of_labels_that_are_ours_are_told():
    told = set(re.findall(r"`(\w+)`", PAGE))
    assert WEBHOOK_OUTCOMES - told == set()
