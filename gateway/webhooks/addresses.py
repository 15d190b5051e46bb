"""Where a webhook may go: pure functions of a URL and of an IP address.

A receiver's name may lead anywhere, and lead elsewhere a second later. So what is judged is the address that is
connected to, with every address that is packed into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

#: Ports of receivers on the internet; others are other services' (databases, mail).
PORTS: Final = frozenset({443, 8443})

_NAT64: Final = IPv6Network("64:ff9b::/96")
#: The only IPv6 addresses that are handed out to hosts of the internet (RFC 4291, 2.5.4).
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
#: What Python's ``is_global`` lets through, or let through in some version, and the internet does not route to one
#: host: shared address space (RFC 6598), protocol assignments (RFC 6890), benchmarks (RFC 2544), the 6to4 relays' anycast
#: (RFC 7526), and two blocks for documentation (RFC 3849, RFC 9637).
_NOT_GLOBAL: Final = (
    IPv4Network("100.64.0.0/10"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
    # Azure's own, on every machine of theirs.
    IPv4Network("168.63.129.16/32"),
)
#: Where clouds hand out credentials though it is no link-local address: Amazon's and Google's by IPv6, Alibaba's, Azure's.
_CREDENTIALS: Final = frozenset(map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")))


def url_fault(url: str, *, private: bool, http: bool) -> str | None:
    """Return why webhooks cannot go to a URL, without a word of it, or ``None`` where they can.

    ``private`` allows every port, ``http`` connections without TLS. Addresses are judged once they are known.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a valid URL"
    if not url.isprintable() or " " in url or not parts.hostname:
        return "is not a valid URL"
    if "@" in parts.netloc or parts.fragment:
        return "must have no user, password or fragment; webhooks are signed instead"
    if parts.scheme != "https" and not (http and parts.scheme == "http"):
        return "must start with https:// unless [webhooks] allow_private is set"
    if parts.scheme == "https" and not private and (port or 443) not in PORTS:
        return f"must have port {' or '.join(map(str, sorted(PORTS)))} unless [webhooks] allow_private is set"
    return None


def permitted(address: str, *, private: bool) -> bool:
    """Return whether a webhook may be sent to an IP address.

    Without ``private`` only to hosts of the internet. With it to every host, but never to a link-local one or another
    where clouds hand out credentials, nor to an address of no host or of many. What is no address is not permitted.
    """
    try:
        whole = ip_address(address)
    except ValueError:
        return False
    return all(_any_host(part) if private else _host_of_the_internet(part) for part in _packed(whole))


def _packed(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the addresses that packets to one end up at: those packed into it, or itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
            return
        if address.sixtofour is not None:
            yield address.sixtofour
            return
        if address.teredo is not None:
            yield from address.teredo
            return
        if address in _NAT64:
            yield IPv4Address(int(address) & 0xFFFF_FFFF)
            return
    yield address


def _host_of_the_internet(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or not address.is_global or any(address in network for network in _NOT_GLOBAL):
        return False
    return isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST


def _any_host(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or address.is_unspecified or address.is_link_local or address in _CREDENTIALS:
        return False
    # Of IPv6, what is reserved holds the loopback address; of IPv4, the broadcast address.
    return isinstance(address, IPv6Address) or not address.is_reserved
