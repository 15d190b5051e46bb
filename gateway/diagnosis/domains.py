"""Asking DNS: what the sending domains publish, and whether the name of ``public_url`` leads anywhere.

A resolver that does not answer says nothing of a domain, so that is a warning at most.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from typing import Any, Final

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.rdatatype import RdataType

from channels.findings import Finding, fault, ok, warning
from gateway.diagnosis.mail_policies import climbing, dmarc_finding, spf_finding
from gateway.errors import ConfigError

#: Seconds a look-up may take, over all resolvers.
LIFETIME: Final = 5.0
#: Names for documentation and tests (RFC 2606, RFC 6761): they belong to nobody, so what they publish says nothing.
_RESERVED: Final = frozenset({"example", "test", "localhost", "invalid", "example.com", "example.net", "example.org"})


class _NoAnswerError(Exception):
    """The resolver does not tell; nothing is known of the name."""


class Resolver:
    """Looks up records, by this machine's resolvers or by one that is named."""

    def __init__(self, server: str | None = None, *, lifetime: float = LIFETIME) -> None:
        """``server`` is an IP address, or ``address:port``; a look-up may take ``lifetime`` seconds.

        Raises ``ConfigError`` where there is no resolver to ask.
        """
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=server is None)
            if server is not None:
                self._resolver.nameservers, self._resolver.port = _address(server)
        except (dns.exception.DNSException, OSError):
            raise ConfigError(["this machine names no DNS resolver that can be asked; name one by --dns"]) from None
        except ValueError:
            raise ConfigError(["--dns: must be an IP address, or one with its port: 127.0.0.1:53, [::1]:53"]) from None
        self._resolver.lifetime = lifetime

    async def texts(self, name: str) -> list[str] | None:
        """Return a name's TXT records, each whole; ``None`` where there is no such name. Raises ``_NoAnswerError``."""
        records = await self._records(name, RdataType.TXT)
        if records is None:
            return None
        return [b"".join(record.strings).decode("utf-8", "replace") for record in records]

    async def mail_servers(self, name: str) -> list[str] | None:
        """Return a name's MX hosts, ``.`` for a null MX; ``None`` where there is no such name. Raises the same."""
        records = await self._records(name, RdataType.MX)
        return None if records is None else [record.exchange.to_text() for record in records]

    async def has_address(self, name: str) -> bool:
        """Tell whether a name has an address of either family. Raises ``_NoAnswerError``."""
        found = await asyncio.gather(self._records(name, RdataType.A), self._records(name, RdataType.AAAA))
        return any(found)

    async def knows(self, name: str) -> bool:
        """Tell whether there is such a name at all. Raises ``_NoAnswerError``."""
        return await self._records(name, RdataType.SOA) is not None

    async def _records(self, name: str, kind: RdataType) -> list[Any] | None:
        try:
            # As it is written, without the machine's search list.
            return list(await self._resolver.resolve(name, kind, search=False, raise_on_no_answer=False))
        except dns.resolver.NXDOMAIN:
            return None
        except (dns.exception.DNSException, OSError) as error:
            raise _NoAnswerError(type(error).__name__) from None


def _address(server: str) -> tuple[list[str], int]:
    """Read ``address``, ``address:port`` or ``[address]:port``. Raises ``ValueError``."""
    host, colon, port = server.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        host, port = server, "53"
    if not 0 < int(port) < 65536:
        raise ValueError("no port")
    return [str(ipaddress.ip_address(host.strip("[]")))], int(port)


async def examine(resolver: Resolver, mail_domains: Iterable[str], host: str | None) -> list[Finding]:
    """Return what DNS says of the domains mail is sent from and of the ``host`` in ``public_url``.

    ``host`` is ``None`` where it is this machine or an IP address.
    """
    asked = [_of_domain(resolver, domain) for domain in dict.fromkeys(mail_domains)]
    if host is not None:
        asked.append(_of_host(resolver, host))
    answers = await asyncio.gather(*asked)
    return [finding for answer in answers for finding in answer]


async def _of_host(resolver: Resolver, host: str) -> list[Finding]:
    subject = f"{host} address"
    try:
        if await resolver.has_address(host):
            return [ok(subject, "the name of public_url leads to an address")]
        told = "the name of public_url has no address, so nobody can reach it; check public_url and DNS"
        return [await _missing(resolver, subject, host, told)]
    except _NoAnswerError as error:
        return [_unknown(subject, error)]


async def _missing(resolver: Resolver, subject: str, name: str, told: str) -> Finding:
    """Return what it means that a name is not there: nothing, where the resolver does not know its top level either."""
    top = name.rpartition(".")[2]
    if await resolver.knows(top):
        return fault(subject, told)
    told = f"the resolver knows no .{top} at all, so it may not reach the Internet; ask another by --dns"
    return warning(subject, told)


async def _of_domain(resolver: Resolver, domain: str) -> list[Finding]:
    if any(name in _RESERVED for name in (domain, *climbing(domain), domain.rpartition(".")[2])):
        told = "a name for documentation and tests (RFC 2606), which nobody can send mail from; set from to your own"
        return [warning(domain, told)]
    try:
        servers = await resolver.mail_servers(domain)
        if servers is None:
            told = "there is no such domain, and receivers refuse mail from it; check from, bounces and DNS"
            return [await _missing(resolver, domain, domain, told)]
    except _NoAnswerError as error:
        return [_unknown(domain, error)]
    return list(
        await asyncio.gather(
            _of_mail(resolver, domain, servers), _of_spf(resolver, domain), _of_dmarc(resolver, domain)
        )
    )


async def _of_mail(resolver: Resolver, domain: str, servers: list[str]) -> Finding:
    subject = f"{domain} MX"
    if "." in servers:
        return warning(
            subject, "it takes no mail (RFC 7505), so bounces and answers are lost, and some receivers refuse it"
        )
    if servers:
        return ok(subject, "it takes mail")
    try:
        if await resolver.has_address(domain):
            return ok(subject, "none, and its address takes mail in its place (RFC 5321 5.1)")
    except _NoAnswerError as error:
        return _unknown(subject, error)
    return fault(subject, "neither mail server nor address, so receivers refuse mail from it; publish an MX record")


async def _of_spf(resolver: Resolver, domain: str) -> Finding:
    subject = f"{domain} SPF"
    try:
        return spf_finding(subject, await resolver.texts(domain) or [])
    except _NoAnswerError as error:
        return _unknown(subject, error)


async def _of_dmarc(resolver: Resolver, domain: str) -> Finding:
    subject = f"{domain} DMARC"
    try:
        for name in climbing(domain):
            found = dmarc_finding(subject, await resolver.texts(f"_dmarc.{name}") or [])
            if found is not None:
                return found
    except _NoAnswerError as error:
        return _unknown(subject, error)
    told = "no DMARC record: large receivers want one; publish v=DMARC1; p=none at least, below _dmarc"
    return warning(subject, told)


def _unknown(subject: str, error: _NoAnswerError) -> Finding:
    return warning(subject, f"the resolver does not tell ({error}); ask again, or another resolver by --dns")
