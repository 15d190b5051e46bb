"""Listening on this machine only, unless told otherwise."""

from __future__ import annotations

import contextlib
import ipaddress
import socket


def loopback_address(host: str) -> str:
    """Return the address to bind for ``host``.

    Raises ``ValueError`` for anything but loopback: the sandbox accepts known credentials and shows every code.
    """
    address = "127.0.0.1" if host == "localhost" else host
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).is_loopback:
            return address
    raise ValueError(f"The sandbox listens on loopback only, and {host!r} is not a loopback address.")


def listening_address(host: str, *, allow_remote: bool) -> str:
    """Return the address to bind for ``host``; with ``allow_remote`` any that can be bound.

    Raises ``ValueError`` for a host that is not loopback and was not allowed.
    """
    return host if allow_remote and not is_loopback(host) else loopback_address(host)


def is_loopback(host: str | None) -> bool:
    """Tell whether ``host`` (of a URL) is this machine."""
    try:
        return bool(loopback_address(host or ""))
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket on ``host``, an address; with port 0 the system chooses one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family)
    # As in gateway/serving.py.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
