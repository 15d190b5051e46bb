"""Every adapter over TLS: a server that does not prove who it is gets nothing, and the channel is what is wrong.

Servers of this machine, whose certificates are expired, another host's, nobody's or their own, and one that speaks TLS 1.0.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from channels.base import Channel, DeliveryError, Envelope, PermanentError, Reason, Receipt, TransientError, load
from channels.wire import client_tls
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.smtp import SmtpSandbox
from tests.channels.contract import CODE, an_envelope, told
from tests.channels.raw_server import Server, response, serving

PARTS = {
    "body.txt": f"Your code is {CODE}.",
    "body.html": f"Your code is <b>{CODE}</b>.",
    "subject.txt": "Your code",
    "copy.txt": "Copy",
}
ACCEPTED = {
    "sms": b'{"sid": "SM1", "status": "queued"}',
    "telegram": b'{"ok": true, "result": {"message_id": 7, "date": 0, "chat": {"id": 1, "type": "private"}}}',
}
KEYS = {
    "sms": {"account_sid": f"AC{1:032x}", "auth_token": "sms-token-2c1d", "from": "+15005550006"},
    "telegram": {"token": "1:telegram-token-5e", "updates": "off"},
}
#: How each adapter is reached over TLS.
WAYS = ("sms", "telegram", "email starttls", "email tls")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the system trust ``authority``."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    client_tls.cache_clear()
    yield path
    client_tls.cache_clear()


def good(authority: trustme.CA) -> ssl.SSLContext:
    return _serving(authority.issue_cert("127.0.0.1"))


def expired(authority: trustme.CA) -> ssl.SSLContext:
    return _serving(authority.issue_cert("127.0.0.1", not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))


def another_hosts(authority: trustme.CA) -> ssl.SSLContext:
    return _serving(authority.issue_cert("mail.example"))


def nobodys(_: trustme.CA) -> ssl.SSLContext:
    return _serving(trustme.CA().issue_cert("127.0.0.1"))


def its_own(_: trustme.CA) -> ssl.SSLContext:
    alone = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with alone.private_key_pem.tempfile() as key, alone.cert_pem.tempfile() as certificate:
        context.load_cert_chain(certificate, key)
    return context


def _serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


class Heard:
    """How many deliveries a server was asked for."""

    def __init__(self, count: Callable[[], int]) -> None:
        self.count = count


@asynccontextmanager
async def http_channel(adapter: str, tls: ssl.SSLContext | None) -> AsyncIterator[tuple[Channel, Heard]]:
    async with serving(Server(response(ACCEPTED[adapter])), tls) as server:
        url = server.url.replace("http://", "https://")
        async with opened(adapter, base_url=url, **KEYS[adapter]) as channel:
            yield channel, Heard(lambda: len(server.requests))


@asynccontextmanager
async def mail_channel(how: str, tls: ssl.SSLContext | None) -> AsyncIterator[tuple[Channel, Heard]]:
    implicit = how == "tls" and tls is not None
    async with SmtpSandbox(Inbox(), tls_context=tls, implicit_tls=implicit) as server:
        keys = {"host": "127.0.0.1", "port": server.port, "tls": how, "from": "codes@shop.example"}
        async with opened("email", **keys, username="u", password="mail-password-9a") as channel:
            yield channel, Heard(lambda: server.deliveries)


def opened(adapter: str, **keys: object) -> Channel:
    kind = load(adapter)
    return kind("name", kind.Settings.model_validate({"adapter": adapter, "timeout": 10.0, **keys}))


def reached(way: str, tls: ssl.SSLContext | None) -> AbstractAsyncContextManager[tuple[Channel, Heard]]:
    adapter, _, how = way.partition(" ")
    return mail_channel(how, tls) if adapter == "email" else http_channel(adapter, tls)


def envelope(way: str) -> Envelope:
    address = {"sms": "+4915112345678", "telegram": "4711"}.get(way, "ann@people.example")
    return an_envelope(address, PARTS)


async def failure(way: str, channel: Channel) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await channel.deliver(envelope(way))
    assert [secret for secret in (CODE, envelope(way).address) if secret in told(caught.value)] == []
    return caught.value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("trusted")
async def test_a_server_that_proves_who_it_is_gets_the_message(way: str, authority: trustme.CA) -> None:
    async with reached(way, good(authority)) as (channel, heard):
        assert isinstance(await channel.deliver(envelope(way)), Receipt)
        assert heard.count() == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [expired, another_hosts, nobodys, its_own])
@pytest.mark.usefixtures("trusted")
async def test_a_server_that_does_not_gets_nothing_and_the_channel_is_misconfigured(
    way: str, make: Callable[[trustme.CA], ssl.SSLContext], authority: trustme.CA
) -> None:
    async with reached(way, make(authority)) as (channel, heard):
        error = await failure(way, channel)
        assert (type(error), error.reason) == (PermanentError, Reason.MISCONFIGURED)
        assert heard.count() == 0


@pytest.mark.parametrize("how", ["starttls", "tls"])
@pytest.mark.usefixtures("trusted")
async def test_a_mail_server_without_tls_gets_nothing_either(how: str) -> None:
    async with mail_channel(how, None) as (channel, heard):
        error = await failure("email", channel)
        assert (type(error), error.reason) == (PermanentError, Reason.MISCONFIGURED)
        assert heard.count() == 0


class OldServer:
    """A server that speaks TLS 1.0 at most, in a thread: asyncio's drop the alert that a failed handshake ends with."""

    def __init__(self, authority: trustme.CA, *, starttls: bool) -> None:
        self._context = good(authority)
        # OpenSSL refuses the signatures of TLS 1.0 above this level.
        self._context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            self._context.minimum_version = self._context.maximum_version = ssl.TLSVersion.TLSv1
        self._starttls = starttls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        #: Why the handshake failed, as it sees it.
        self.reason: str | None = None

    def serve(self) -> None:
        """Serve one connection."""
        connection, _ = self._listening.accept()
        if self._starttls:
            for answer in (b"220 hi", b"250-hi\r\n250 STARTTLS", b"220 go"):
                connection.sendall(answer + b"\r\n")
                if answer != b"220 go":
                    connection.recv(1_000)
        try:
            self._context.wrap_socket(connection, server_side=True).close()
        except ssl.SSLError as error:
            self.reason = error.reason
        finally:
            self._listening.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("trusted")
async def test_a_server_that_speaks_tls_1_0_gets_nothing(way: str, authority: trustme.CA) -> None:
    adapter, _, how = way.partition(" ")
    server = OldServer(authority, starttls=how == "starttls")
    serving_it = asyncio.create_task(asyncio.to_thread(server.serve))
    mail = {"host": "127.0.0.1", "port": server.port, "tls": how, "from": "codes@shop.example"}
    keys = mail if adapter == "email" else {"base_url": f"https://127.0.0.1:{server.port}", **KEYS[adapter]}
    async with opened(adapter, **keys) as channel:
        error = await failure(way, channel)
    await serving_it
    assert (type(error), error.reason) == (PermanentError, Reason.MISCONFIGURED)
    assert server.reason == "UNSUPPORTED_PROTOCOL"


@asynccontextmanager
async def saying(answer: bytes) -> AsyncIterator[int]:
    """Yield the port of a server that says ``answer`` to whatever comes first, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.mark.parametrize("adapter", ["sms", "telegram"])
@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        # No TLS at all: another server, or a base_url that should begin with http.
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", PermanentError, Reason.MISCONFIGURED),
        # TLS alerts (RFC 8446 6.2): protocol_version, internal_error.
        (b"\x15\x03\x01\x00\x02\x02\x46", PermanentError, Reason.MISCONFIGURED),
        (b"\x15\x03\x01\x00\x02\x02\x50", TransientError, Reason.UNAVAILABLE),
        (b"", TransientError, Reason.UNAVAILABLE),
    ],
    ids=["HTTP", "too old", "stumbled", "hung up"],
)
async def test_a_handshake_that_fails_says_whether_it_may_succeed_another_time(
    adapter: str, answer: bytes, kind: type[DeliveryError], reason: Reason
) -> None:
    async with (
        saying(answer) as port,
        opened(adapter, base_url=f"https://127.0.0.1:{port}", **KEYS[adapter]) as channel,
    ):
        error = await failure(adapter, channel)
        assert (type(error), error.reason) == (kind, reason)
