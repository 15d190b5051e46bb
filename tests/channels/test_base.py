"""The port: what is never shown, how adapters are found, and that none of them is half there."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from channels import base
from channels.base import (
    Address,
    CallbackRequest,
    Channel,
    ChannelSettings,
    DeliveryError,
    ForgedCallbackError,
    PermanentError,
    Reason,
    Report,
    ReportedStatus,
    TransientError,
    UnknownAdapterError,
    is_loopback,
    load,
)
from channels.chat import Contact, Inbound, Reply
from channels.console import ConsoleChannel
from tests.channels.contract import CODE, SHIPPED_CHANNELS, TEMPLATES, an_envelope

ROOT = Path(__file__).resolve().parents[2]
#: The modules that adapters share; every other module of the package is an adapter.
LEAVES = {
    "__init__",
    "base",
    "bot_api",
    "bot_asking",
    "callback",
    "chat",
    "dsn",
    "exchange",
    "findings",
    "http",
    "http_answer",
    "http_asking",
    "http_errors",
    "http_pool",
    "http_request",
    "kinds",
    "mime",
    "numbering",
    "polling",
    "reaching",
    "segments",
    "smtp",
    "smtp_answers",
    "smtp_asking",
    "twilio_account",
    "twilio_codes",
    "updates",
    "wire",
}
ADAPTERS = sorted(path.stem for path in (ROOT / "channels").glob("*.py") if path.stem not in LEAVES)


# --- Every adapter is whole ----------------------------------------------------------------------------------


def test_the_shipped_adapters_are_found():
    assert set(SHIPPED_CHANNELS) <= set(ADAPTERS)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_is_found_by_its_name(adapter: str):
    found = load(adapter)
    assert issubclass(found, Channel)
    assert (found.__module__, issubclass(found.Settings, ChannelSettings)) == (f"channels.{adapter}", True)
    assert found.kinds
    assert found.parts


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_has_its_tests(adapter: str):
    assert (ROOT / "tests" / "channels" / f"test_{adapter}.py").is_file()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_has_every_part_of_the_verification_template(adapter: str):
    folder = TEMPLATES / adapter / "verification"
    assert [part for part in load(adapter).parts if not (folder / part).is_file()] == []


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_adapter_can_measure_its_parts(adapter: str):
    found = load(adapter)
    inspection = found.inspect(dict.fromkeys(found.parts, f"Your code is {CODE}."))
    assert inspection.summary
    assert CODE not in repr(inspection)


@pytest.mark.parametrize("leaf", sorted(LEAVES - {"__init__"}))
def test_what_adapters_share_is_no_adapter(leaf: str):
    with pytest.raises(UnknownAdapterError):
        load(leaf)


@pytest.mark.parametrize("name", ["", "pager", "Email", "email.x", "../email", "email_", "_email", "os", "e-mail", "é"])
def test_another_name_is_unknown(name: str):
    with pytest.raises(UnknownAdapterError):
        load(name)


def test_a_library_an_adapter_misses_is_named(monkeypatch: pytest.MonkeyPatch):
    """Reporting "unknown adapter" would hide that the library is not installed."""
    monkeypatch.delitem(sys.modules, "channels.email", raising=False)
    monkeypatch.setitem(sys.modules, "aiosmtplib", None)
    with pytest.raises(ModuleNotFoundError, match="aiosmtplib"):
        load("email")


def test_a_module_with_two_adapters_is_unknown(monkeypatch: pytest.MonkeyPatch):
    twins = ModuleType("channels.twins")
    for name in ("First", "Second"):
        setattr(twins, name, type(name, (ConsoleChannel,), {"__module__": "channels.twins"}))
    monkeypatch.setitem(sys.modules, "channels.twins", twins)
    with pytest.raises(UnknownAdapterError):
        load("twins")


# --- This machine --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost", "localhost.", "otp.localhost", "a.b.localhost."]
)
def test_loopback_addresses_and_the_names_of_rfc_6761_are_this_machine(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", ".", "0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "notlocalhost", "localhost.example.org", "127.0.0.1.nip.io"],
)
def test_every_other_host_is_another(host: str):
    assert not is_loopback(host)


# --- What is never shown -------------------------------------------------------------------------------------


def test_a_repr_holds_no_address_no_code_and_no_token():
    shown = [
        Address("phone", "+4915112345678", "+49••••••••678", "+4915112345678"),
        an_envelope("+4915112345678", {"body.txt": CODE}),
        CallbackRequest("POST", "/callbacks/sms", {}, b"To=+4915112345678"),
        Report("attempt-token-1", ReportedStatus.SENT),
        Inbound(1, "4915112345678", "start", CODE, "Ann", "en", private=True),
        Contact("4915112345678", own=True),
        Reply(CODE),
    ]
    assert [item for item in shown for secret in ("4915112345678", CODE, "attempt-token") if secret in repr(item)] == []


def test_a_fault_in_a_channels_settings_does_not_show_what_was_written():
    with pytest.raises(ValidationError) as caught:
        ChannelSettings.model_validate({"adapter": "pager", "timeout": "hunter2", "password": "hunter3"})
    assert "timeout" in str(caught.value)
    assert "hunter" not in str(caught.value)


def test_an_error_says_reason_and_provider_code():
    assert str(PermanentError(Reason.INVALID_RECIPIENT, provider_code="550 5.1.1")) == "invalid_recipient (550 5.1.1)"
    assert str(DeliveryError(Reason.TIMEOUT)) == "timeout"


def test_a_provider_code_is_cut_at_64_characters():
    assert PermanentError(Reason.UNKNOWN, provider_code="x" * 100).provider_code == "x" * 64


def test_a_transient_error_keeps_the_wait_and_whom_it_is_for():
    error = TransientError(Reason.RATE_LIMITED, retry_after=7.0, whole_channel=True)
    assert (error.retry_after, error.whole_channel, error.provider_code) == (7.0, True, None)


# --- Time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("deadline", "seconds"), [(None, 10.0), (60.0, 10.0), (3.5, 3.5), (0.001, 0.001)])
def test_an_attempt_takes_no_longer_than_the_channel_allows_and_the_deadline_leaves(
    deadline: float | None, seconds: float
):
    channel = ConsoleChannel("console", ChannelSettings(adapter="console"))
    assert channel.time_for(replace(an_envelope("x", {}), deadline=deadline)) == seconds


@pytest.mark.parametrize("deadline", [0.0, -1.0])
def test_without_time_there_is_no_attempt(deadline: float):
    channel = ConsoleChannel("console", ChannelSettings(adapter="console"))
    with pytest.raises(TransientError) as caught:
        channel.time_for(replace(an_envelope("x", {}), deadline=deadline))
    assert caught.value.reason is Reason.TIMEOUT


# --- What an adapter need not write --------------------------------------------------------------------------


async def test_a_plain_channel_has_no_callbacks_no_bot_and_no_link():
    channel = ConsoleChannel("console", ChannelSettings(adapter="console"))
    assert (await channel.link("token"), channel.listens) == (None, False)
    assert (channel.reports, channel.recipient_pause) == (False, 0.0)
    await channel.listen(lambda inbound: pytest.fail(f"heard {inbound}"))
    with pytest.raises(ForgedCallbackError):
        channel.report(CallbackRequest("POST", "/callbacks/console", {}, b""))


def test_a_plain_inspection_counts_characters():
    assert base.Channel.inspect({"a": "12", "b": "345"}) == base.Inspection("5 characters")


@pytest.mark.parametrize(
    "changes",
    [
        *({"timeout": 0}, {"timeout": 61}, {"concurrency": 0}, {"concurrency": 1001}, {"rate": -1}, {"rat": 1}),
        *(
            {"price": -0.1},
            {"price": float("inf")},
            {"prices": {"DE": -1}},
            {"prices": {"Germany": 1}},
            {"prices": {"1": 1}},
        ),
    ],
)
def test_settings_out_of_range_or_unknown_are_refused(changes: dict[str, Any]):
    with pytest.raises(ValidationError):
        ChannelSettings.model_validate({"adapter": "console"} | changes)


def test_a_message_costs_what_its_country_does_or_else_the_channel():
    settings = ChannelSettings.model_validate(
        {"adapter": "console", "price": 0.05, "prices": {"de": 0.075, "001": 0.5}}
    )
    assert [settings.price_in(country) for country in ("DE", "001", "AT", None)] == [0.075, 0.5, 0.05, 0.05]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("SM1", "SM1"),
        ("SM1\x002", "SM1?2"),
        ("SM\ud800", "SM?"),
        ("a\nb", "a?b"),
        ("x" * 300, "x" * 256),
        (None, None),
        ("", ""),
    ],
)
def test_what_a_provider_says_is_kept_as_every_database_takes_it(told, kept):
    """An acceptance that could not be written down would be sent again."""
    assert base.Receipt(told).provider_id == kept


def test_a_providers_code_is_short_and_printable():
    assert base.Receipt("SM1", provider_code="4\x002").provider_code == "4?2"
    assert PermanentError(Reason.REJECTED, provider_code="x" * 63 + "\x00y").provider_code == "x" * 63 + "?"
