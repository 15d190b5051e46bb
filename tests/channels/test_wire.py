"""What connections to providers trust, and which failures of TLS are for good."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from channels.wire import KEEPALIVE, client_tls, keep_alive, unproved


def an_error(kind: type[ssl.SSLError], reason: str | None) -> ssl.SSLError:
    error = kind(1, "text")
    if reason is not None:
        error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (an_error(ssl.SSLCertVerificationError, "CERTIFICATE_VERIFY_FAILED"), True),
        (an_error(ssl.SSLError, "UNSUPPORTED_PROTOCOL"), True),
        (an_error(ssl.SSLError, "TLSV1_ALERT_PROTOCOL_VERSION"), True),
        (an_error(ssl.SSLError, "WRONG_VERSION_NUMBER"), True),
        (an_error(ssl.SSLError, None), True),
        (an_error(ssl.SSLError, "TLSV1_ALERT_INTERNAL_ERROR"), False),
        (an_error(ssl.SSLError, "UNEXPECTED_EOF_WHILE_READING"), False),
        (an_error(ssl.SSLEOFError, None), False),
        (an_error(ssl.SSLZeroReturnError, None), False),
        (an_error(ssl.SSLSyscallError, None), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
        (None, False),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'reason', value)}",
)
def test_a_failure_of_tls_is_for_good_unless_it_may_pass(error: BaseException | None, expected: bool) -> None:
    assert unproved(error) is expected


def test_the_innermost_error_decides() -> None:
    wrapped = an_error(ssl.SSLError, None)
    wrapped.__cause__ = an_error(ssl.SSLEOFError, None)
    bare = ConnectionError()
    bare.__cause__ = an_error(ssl.SSLCertVerificationError, None)
    assert (unproved(wrapped), unproved(bare)) == (False, True)


def test_certificates_and_names_are_checked_and_nothing_below_tls_1_2_is_spoken() -> None:
    tls = client_tls()
    assert (tls.verify_mode, tls.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2


def test_authorities_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    assert client_tls(path) is client_tls(path)
    assert client_tls(path) is not client_tls()
    assert len(client_tls(path).get_ca_certs()) == 1


def test_an_idle_connection_is_asked_whether_it_is_there() -> None:
    with socket.socket() as made:
        keep_alive(made)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = {name: made.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in KEEPALIVE}
    assert options == KEEPALIVE


def test_a_system_without_the_options_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEEPALIVE:
        monkeypatch.delattr(socket, name)
    with socket.socket() as made:
        keep_alive(made)
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
