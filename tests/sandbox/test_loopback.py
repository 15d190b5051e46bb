from __future__ import annotations

import socket

import pytest

from gateway.sandbox import Sandbox
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.loopback import is_loopback, listen, listening_address, loopback_address
from gateway.sandbox.smtp import SmtpSandbox
from gateway.sandbox.telegram import TelegramSandbox
from gateway.sandbox.twilio import TwilioSandbox


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("::1", "::1")])
def test_loopback_hosts_are_bound(host, address):
    assert loopback_address(host) == address


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
@pytest.mark.parametrize("server", [SmtpSandbox, TwilioSandbox, TelegramSandbox])
def test_no_server_binds_to_another_address(server, host):
    with pytest.raises(ValueError, match="listens on loopback only"):
        server(Inbox(), host=host)


def test_another_address_is_bound_only_where_that_is_allowed():
    assert listening_address("0.0.0.0", allow_remote=True) == "0.0.0.0"
    assert listening_address("localhost", allow_remote=True) == "127.0.0.1"
    with pytest.raises(ValueError, match="listens on loopback only"):
        listening_address("0.0.0.0", allow_remote=False)


def test_what_it_accepts_answers_without_waiting_for_acknowledgements():
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_a_sandbox_that_may_listens_to_everybody():
    async with Sandbox(host="0.0.0.0", allow_remote=True) as sandbox:
        assert {sandbox.smtp.host, sandbox.twilio.host, sandbox.telegram.host} == {"0.0.0.0"}
    with pytest.raises(ValueError, match="listens on loopback only"):
        Sandbox(host="0.0.0.0")


@pytest.mark.parametrize("server", [TwilioSandbox, TelegramSandbox])
async def test_a_server_that_may_listens_to_everybody_and_is_reached_from_here(server):
    async with server(Inbox(), host="0.0.0.0", allow_remote=True) as opened:
        assert opened.base_url == f"http://127.0.0.1:{opened.port}"
        socket.create_connection(("127.0.0.1", opened.port), timeout=1).close()


@pytest.mark.parametrize(
    ("host", "local"), [("localhost", True), ("127.1.2.3", True), ("example.org", False), (None, False)]
)
def test_a_urls_host_is_judged_by_the_same_rule(host, local):
    assert is_loopback(host) is local


def test_port_0_is_replaced_by_a_free_one():
    with listen("127.0.0.1", 0) as listening:
        assert listening.getsockname()[1] > 0
        assert listening.family is socket.AF_INET


async def test_the_three_servers_share_one_inbox_and_close_together():
    async with Sandbox(callbacks=False) as sandbox:
        ports = {sandbox.smtp.port, sandbox.twilio.port, sandbox.telegram.port}
        assert len(ports) == 3
        assert sandbox.smtp.inbox is sandbox.twilio.inbox is sandbox.telegram.inbox is sandbox.inbox
        assert sandbox.twilio.callbacks is False
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=0.2)


@pytest.mark.parametrize("server", [SmtpSandbox, TwilioSandbox, TelegramSandbox])
async def test_a_port_in_use_is_an_error_that_leaves_nothing_open(server):
    with listen("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        await server(Inbox(), port=taken.getsockname()[1]).__aenter__()
