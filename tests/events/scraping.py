"""Metrics as Prometheus reads them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.events.metrics import Metrics

#: A name and its labels in order.
Series = tuple[str, tuple[tuple[str, str], ...]]


def samples(metrics: Metrics) -> dict[Series, float]:
    """Return every series of ours with its value."""
    families = text_string_to_metric_families(metrics.render()[0].decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("otp_gateway_")
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of one series, ``None`` where it is not there."""
    return samples(metrics).get((f"otp_gateway_{name}", tuple(sorted(labels.items()))))


def moved(metrics: Metrics) -> dict[str, float]:
    """Return the counters that are not 0, each as ``name{label values}``."""
    return {
        f"{name.removeprefix('otp_gateway_')}{{{','.join(text for _, text in labels)}}}": number
        for (name, labels), number in samples(metrics).items()
        if name.endswith("_total") and number
    }
