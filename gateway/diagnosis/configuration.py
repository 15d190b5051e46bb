"""What the settings say that is allowed and still worth a word: what is not used, and how the world reaches us."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from channels.findings import Finding, fault, ok, warning
from gateway.config import Settings
from gateway.config.given import section
from gateway.config.guessing import LIKELIEST, WorstCase, worst_cases


def examine(settings: Settings) -> list[Finding]:
    """Return what there is to say of settings that could be read."""
    guesses = [_of_guesses(case) for case in worst_cases(settings)]
    return [_of_tables(settings), *_of_unused(settings), *guesses, _of_public_url(settings), *_of_metrics(settings)]


def _of_tables(settings: Settings) -> Finding:
    channels, services = len(settings.channels), len(settings.services)
    told = f"{channels} channel{'s' * (channels != 1)}, {services} service{'s' * (services != 1)}, no faults"
    return ok("settings", told)


def _of_unused(settings: Settings) -> list[Finding]:
    routed = {name for _, policy in settings.policies() for name in policy.channels}
    return [
        warning(f"[channels.{name}]", "it is on no service's route, so nothing goes out by it; add it or take it out")
        for name in settings.channels
        if name not in routed
    ]


def _of_guesses(case: WorstCase) -> Finding:
    """Return how likely a code is guessed; one that is guessed more often than that is configured only on purpose."""
    subject = f"{section(case.path)} guessing"
    number = "any number of" if case.tries is None else f"{case.tries:,}"
    tries = f"{number} tries ({case.because})"
    told = f"{case.odds} per recipient and day at worst: {tries} at {case.codes:,} codes ({case.made_of})"
    if case.chance > LIKELIEST:
        return warning(subject, f"{told}, as the settings allow; make codes longer or limits lower")
    return ok(subject, told)


def unnamed(settings: Settings) -> str | None:
    """Say what goes without a public URL, and what to do; ``None`` where there is one."""
    if settings.server.public_url is not None:
        return None
    return (
        f"it is not set, and {settings.server.host} is no address to call: providers are asked for no reports, and proofs name "
        f'"{settings.server.issuer}" as their issuer; set it to the URL by which callers and providers reach the gateway'
    )


def _of_public_url(settings: Settings) -> Finding:
    subject, parts = "public_url", urlsplit(settings.server.public_url or "")
    if (told := unnamed(settings)) is not None:
        return warning(subject, told)
    if settings.server.loopback:
        return ok(subject, "this machine's own: neither providers nor people can reach it from elsewhere")
    if parts.scheme != "https":
        return fault(
            subject, "http: keys and codes cross the network readable; put a proxy with TLS in front, and https here"
        )
    if _is_private(parts.hostname or ""):
        told = "a private address: no provider can report to it, and no bot's update reaches it; use a public name"
        return warning(subject, told)
    return ok(subject, f"https; whether the world reaches it shows from elsewhere only: curl {parts.geturl()}/healthz")


def is_ip_address(host: str) -> bool:
    """Tell whether a URL's host is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_private(host: str) -> bool:
    return is_ip_address(host) and not ipaddress.ip_address(host).is_global


def _of_metrics(settings: Settings) -> list[Finding]:
    if settings.server.loopback or settings.metrics.token is not None:
        return []
    told = "/metrics is open to whoever reaches the gateway; set OTP_GATEWAY_METRICS__TOKEN or have the proxy refuse it"
    return [warning("[metrics] token", told)]
