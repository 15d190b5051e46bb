"""The console adapter: what it writes, and the contract's part that needs no provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import ClassVar

import pytest

from channels.base import CallbackRequest, ChannelSettings, Envelope, ForgedCallbackError, Receipt
from channels.console import ConsoleChannel
from channels.kinds import KINDS
from tests.channels.contract import CODE, AdapterContract, an_envelope

ADDRESS = "+4915112345678"


@pytest.fixture
async def channel() -> AsyncIterator[ConsoleChannel]:
    async with ConsoleChannel("console", ChannelSettings(adapter="console")) as opened:
        yield opened


@pytest.fixture
def envelope() -> Callable[..., Envelope]:
    return lambda *, address=None: an_envelope(address or ADDRESS, {"body.txt": f"Your code is {CODE}.\n"})


class TestConsoleChannel(AdapterContract):
    adapter: ClassVar[str] = "console"


async def test_the_message_goes_to_standard_error_and_nowhere_else(
    channel: ConsoleChannel, envelope: Callable[..., Envelope], capfd: pytest.CaptureFixture[str]
):
    receipt = await channel.deliver(envelope())
    written = capfd.readouterr()
    assert receipt == Receipt(provider_id=None, delivered=True)
    assert (written.out, written.err) == ("", f"— to {ADDRESS}\nYour code is {CODE}.\n\n")


def test_it_takes_every_kind_of_address():
    assert ConsoleChannel.kinds == KINDS


def test_it_runs_on_this_machine_only():
    assert ConsoleChannel.loopback_only


def test_it_has_no_callbacks(channel: ConsoleChannel):
    with pytest.raises(ForgedCallbackError):
        channel.report(CallbackRequest("POST", "/callbacks/console", {}, b""))
