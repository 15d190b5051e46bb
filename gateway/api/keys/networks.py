"""Where a key may be used from: networks as an operator writes them, and whether a caller is in one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parsed(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks from CIDR, or single addresses. Raises ``ValueError`` with a sentence that names the faulty one."""
    return tuple(map(_network, texts))


def read(text: str | None) -> tuple[Network, ...] | None:
    """Return the networks of a column, parted by spaces; ``None`` is everywhere. One that cannot be read is left out."""
    if text is None:
        return None
    found = []
    for part in text.split():
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError:
            # A row changed by hand: what nobody can read must not open the key to everybody.
            continue
    return tuple(found)


def written(networks: Iterable[Network]) -> str | None:
    """Return networks for the column; none is everywhere."""
    return " ".join(map(str, networks)) or None


def within(host: str | None, networks: Iterable[Network]) -> bool:
    """Whether a caller's address is in one of the networks; what is no address (a Unix socket's peer) is in none."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    # A socket for both families tells an IPv4 caller as ::ffff:192.0.2.1.
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def _network(text: str) -> Network:
    try:
        interface = ipaddress.ip_interface(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no network; write 192.0.2.0/24, 2001:db8::/32 or one address") from None
    if interface.ip != interface.network.network_address:
        raise ValueError(f"{text!r} has bits set behind its prefix; write {interface.network}")
    return interface.network
