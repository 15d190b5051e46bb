"""Where a webhook may go: pure functions of a URL and of an IP address.

A receiver's name may lead anywhere, and lead elsewhere a second later. So what is judged is the address that is
connected to, with every address that is packed into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from channels.http import WrongServerError
from channels.reaching import target

#: Ports of receivers on the internet; others are other services' (databases, mail).
PORTS: Final = frozenset({443, 8443})

#: The well-known prefix of NAT64 (RFC 6052, 2.1), and what a network may take for its own (RFC 8215).
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64: Final = IPv6Network("64:ff9b:1::/48")
#: IPv6 that ends with an IPv4 address: "compatible" (RFC 4291, 2.5.5.1) and translated (RFC 2765, 2.1).
_ENDS_WITH_IPV4: Final = (IPv6Network("::/96"), IPv6Network("::ffff:0:0:0/96"))
#: The middle of an address of ISATAP, its bit for a universal address ignored: below any network's prefix (RFC 5214, 6.1).
_ISATAP: Final = 0x0000_5EFE
_UNIVERSAL: Final = 0x0200_0000
#: The only IPv6 addresses that are handed out to hosts of the internet (RFC 4291, 2.5.4).
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
#: What Python's ``is_global`` lets through, or let through in some version, and the internet does not route to one
#: host (IANA's registries of special-purpose addresses): shared address space (RFC 6598), protocol assignments (RFC 6890,
#: RFC 2928), benchmarks (RFC 2544), the 6to4 relays' anycast (RFC 7526), and two blocks for documentation (RFC 3849, RFC 9637).
_NOT_GLOBAL: Final = (
    IPv4Network("100.64.0.0/10"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
    # Azure's own, on every machine of theirs.
    IPv4Network("168.63.129.16/32"),
)
#: Where clouds hand out credentials though it is no link-local address: Amazon's and Google's by IPv6, Alibaba's, Azure's;
#: then what public lists to block name of others (Oracle's by IPv6 and its older one, Scaleway's, Amazon's for containers).
_CREDENTIALS: Final = frozenset(
    map(
        ip_address,
        (
            *("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"),
            *(
                "fd00:c1::a9fe:a9fe",
                "192.0.0.192",
                "fd00:42::42",
                "fd00:ec2::23",
                "fd00:a9fe:a9fe::1",
                "fd00:100::100:200",
            ),
        ),
    )
)


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
    try:
        # What a connection goes by: a name that it would refuse is better refused now.
        target(url)
    except WrongServerError:
        return "is not a valid URL"
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
    if private:
        return all(map(_any_host, _packed(whole))) and not any(map(_hands_out_credentials, _perhaps_packed(whole)))
    return all(map(_host_of_the_internet, (*_packed(whole), *_perhaps_packed(whole))))


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
            yield _last_32_bits(int(address))
            return
    yield address


def _perhaps_packed(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """Yield the addresses that packets to one end up at where a network on the way is set up for it.

    A network's own prefix for NAT64, of ordinary addresses (RFC 6052, 2.2), is known to that network alone: what is packed
    behind one cannot be told.
    """
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if any(address in network for network in _ENDS_WITH_IPV4):
        yield _last_32_bits(number)
    if (number >> 32) & 0xFFFF_FFFF & ~_UNIVERSAL == _ISATAP:
        yield _last_32_bits(number)
    if address in _LOCAL_NAT64:
        yield from _translated(number)


def _translated(number: int) -> Iterator[IPv4Address]:
    """Yield what is packed behind a prefix of 48, 56, 64 or 96 bits (RFC 6052, 2.2); bits 64 to 71 are of nothing."""
    yield _last_32_bits(number)
    without = (number >> 64 << 56) | (number & ((1 << 56) - 1))
    for length in (48, 56, 64):
        yield _last_32_bits(without >> (88 - length))


def _last_32_bits(number: int) -> IPv4Address:
    return IPv4Address(number & 0xFFFF_FFFF)


def _host_of_the_internet(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or not address.is_global or any(address in network for network in _NOT_GLOBAL):
        return False
    return isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST


def _any_host(address: IPv4Address | IPv6Address) -> bool:
    if address.is_multicast or address.is_unspecified or _hands_out_credentials(address):
        return False
    # Of IPv6, what is reserved holds the loopback address; of IPv4, the broadcast address.
    return isinstance(address, IPv6Address) or not address.is_reserved


def _hands_out_credentials(address: IPv4Address | IPv6Address) -> bool:
    return address.is_link_local or address in _CREDENTIALS
