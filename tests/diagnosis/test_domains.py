"""Looking domains up, at a DNS server of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from channels.findings import Finding
from gateway.diagnosis import domains
from gateway.diagnosis.domains import Resolver, examine
from gateway.errors import ConfigError

#: Records by name and type; a name that is not here does not exist.
Zone = Mapping[str, Mapping[str, tuple[str, ...]]]

WELL: Zone = {
    "mail.shop.dev": {"MX": ("10 mx.shop.dev.",), "TXT": ('"v=spf1 include:_spf.shop" ".dev -all"', '"other"')},
    "_dmarc.shop.dev": {"TXT": ('"v=DMARC1; p=reject"',)},
}


class Stub(asyncio.DatagramProtocol):
    """Answers from a zone, but for types it is silent on; without a zone, on all."""

    def __init__(self, zone: Zone | None, code: dns.rcode.Rcode, silent: Collection[str]) -> None:
        self.zone, self.code, self.silent = zone, code, silent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if self.zone is None:
            return
        query = dns.message.from_wire(data)
        [question] = query.question
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        answer.set_rcode(self.code)
        name, kind = question.name.to_text(omit_final_dot=True), question.rdtype.name
        if kind in self.silent:
            return
        if name not in self.zone and not self.code:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif records := self.zone.get(name, {}).get(kind):
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, list(records)))
        self.transport.sendto(answer.to_wire(), address)  # type: ignore[attr-defined]


@asynccontextmanager
async def resolving(
    zone: Zone | None,
    code: dns.rcode.Rcode = dns.rcode.NOERROR,
    *,
    silent: Collection[str] = (),
    lifetime: float = domains.LIFETIME,
) -> AsyncIterator[Resolver]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Stub(zone, code, silent), local_addr=("127.0.0.1", 0))
    try:
        yield Resolver(f"127.0.0.1:{transport.get_extra_info('sockname')[1]}", lifetime=lifetime)
    finally:
        transport.close()


async def found(zone: Zone | None, *mail: str, host: str | None = None) -> list[Finding]:
    async with resolving(zone) as resolver:
        return await examine(resolver, mail, host)


def verdicts(findings: list[Finding]) -> dict[str, str]:
    return {item.subject: item.verdict for item in findings}


async def test_a_domain_that_publishes_all_is_well_and_its_parent_may_speak_for_it():
    findings = await found(WELL, "mail.shop.dev", "mail.shop.dev")
    assert verdicts(findings) == dict.fromkeys(("mail.shop.dev MX", "mail.shop.dev SPF", "mail.shop.dev DMARC"), "ok")
    assert findings[1].told == "SPF: other servers are refused"


@pytest.mark.parametrize(
    ("records", "verdict"),
    [
        ({"A": ("192.0.2.1",)}, "ok"),
        ({"AAAA": ("2001:db8::1",)}, "ok"),
        ({"MX": ("0 .",)}, "warning"),
        ({}, "fault"),
    ],
    ids=["address", "address of six", "null", "nothing"],
)
async def test_a_domain_takes_mail_by_its_mail_server_or_its_address(records, verdict):
    findings = verdicts(await found({"shop.dev": records}, "shop.dev"))
    assert findings == {"shop.dev MX": verdict, "shop.dev SPF": "warning", "shop.dev DMARC": "warning"}


async def test_a_domain_that_does_not_exist_is_a_fault():
    assert verdicts(await found({"dev": {}}, "shop.dev")) == {"shop.dev": "fault"}


async def test_a_resolver_that_knows_no_top_level_says_nothing_of_a_domain():
    findings = await found({}, "shop.dev", host="codes.shop.dev")
    assert verdicts(findings) == {"shop.dev": "warning", "codes.shop.dev address": "warning"}
    assert "knows no .dev" in findings[0].told


@pytest.mark.parametrize("domain", ["example.com", "mail.example.org", "shop.test", "a.b.example", "localhost"])
async def test_names_for_documentation_are_not_asked_about(domain):
    assert verdicts(await found(None, domain)) == {domain: "warning"}


@pytest.mark.parametrize(
    ("zone", "verdict"), [({"codes.shop.dev": {"A": ("192.0.2.1",)}}, "ok"), ({"dev": {}}, "fault")]
)
async def test_the_name_of_public_url_must_lead_somewhere(zone, verdict):
    assert verdicts(await found(zone, host="codes.shop.dev")) == {"codes.shop.dev address": verdict}


async def test_a_resolver_that_is_silent_or_refuses_says_nothing_of_the_domain():
    async with resolving(None, lifetime=0.05) as silent:
        unknown = await examine(silent, ["shop.dev"], "codes.shop.dev")
    assert verdicts(unknown) == {"shop.dev": "warning", "codes.shop.dev address": "warning"}
    assert "LifetimeTimeout" in unknown[0].told
    async with resolving({}, dns.rcode.SERVFAIL) as refusing:
        assert verdicts(await examine(refusing, ["shop.dev"], None)) == {"shop.dev": "warning"}


async def test_each_look_up_that_fails_is_told_by_itself():
    async with resolving({"shop.dev": {}}, silent={"A", "AAAA", "TXT"}, lifetime=0.05) as resolver:
        found = verdicts(await examine(resolver, ["shop.dev"], None))
    assert found == {"shop.dev MX": "warning", "shop.dev SPF": "warning", "shop.dev DMARC": "warning"}


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ("192.0.2.1", (["192.0.2.1"], 53)),
        ("192.0.2.1:5300", (["192.0.2.1"], 5300)),
        ("::1", (["::1"], 53)),
        ("[::1]:5300", (["::1"], 5300)),
        ("[::1]", (["::1"], 53)),
    ],
)
def test_a_resolver_may_be_named(server, expected):
    assert domains._address(server) == expected


@pytest.mark.parametrize("server", ["dns.example", "192.0.2.1:x", "192.0.2.1:70000", "", "1.2.3.4:5:6"])
def test_what_names_no_resolver_is_refused(server):
    with pytest.raises(ConfigError) as caught:
        Resolver(server)
    assert caught.value.faults[0].startswith("--dns: must be")


def test_a_machine_without_a_resolver_is_told(monkeypatch):
    import dns.resolver

    def none(*_: object, **__: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.asyncresolver.Resolver", none)
    with pytest.raises(ConfigError, match="names no DNS resolver"):
        Resolver()
