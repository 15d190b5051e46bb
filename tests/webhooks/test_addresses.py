"""Where webhooks may go, and where not."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.webhooks.addresses import permitted, url_fault

PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]
#: Public addresses that others are packed into, packed with a public one.
PACKED_PUBLIC = ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
#: Of hosts, on this machine or near it.
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "64:ff9b:1::1",
    "100::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "::ffff:0:10.0.0.1",
    "2001:20::1",
    "2a01:4f8::5efe:10.0.0.1",
    "2a01:4f8::200:5efe:192.168.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a00:1",
    "2002:7f00:1::1",
    "2002:c0a8:1::1",
]
#: Of no host, of many, or where clouds hand out credentials.
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "169.254.0.1",
    "168.63.129.16",
    "100.100.100.200",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "192.0.0.192",
    "fd00:42::42",
    "fd00:ec2::23",
    "::ffff:100.100.100.200",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "ff0e::1",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "2a01:4f8::5efe:169.254.169.254",
    "2a01:4f8::200:5efe:100.100.100.200",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "::ffff:0.0.0.0",
]


@pytest.mark.parametrize("address", [*PUBLIC, *PACKED_PUBLIC])
def test_hosts_of_the_internet_are_permitted(address):
    assert permitted(address, private=False)
    assert permitted(address, private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_hosts_are_permitted_only_where_the_operator_says_so(address):
    assert not permitted(address, private=False)
    assert permitted(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_addresses_of_no_host_of_many_or_of_a_clouds_own_are_never_permitted(address):
    assert not permitted(address, private=False)
    assert not permitted(address, private=True)


@pytest.mark.parametrize(
    "text", ["", "example.org", "127.1", "2130706433", "0x7f.0.0.1", "1.2.3.4.5", "[::1]", "::1::"]
)
def test_what_is_no_address_is_not_permitted(text):
    assert not permitted(text, private=True)


def test_teredo_is_judged_by_what_is_packed_into_it():
    server, client = int(IPv4Address("65.54.227.120")), int(IPv4Address("10.0.0.1"))
    packed = IPv6Address((0x2001_0000 << 96) | (server << 64) | (client ^ 0xFFFF_FFFF))
    assert packed.teredo == (IPv4Address(server), IPv4Address(client))
    assert not permitted(str(packed), private=False)
    assert permitted(str(packed), private=True)


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[str]:
    kind = IPv4Address if isinstance(network, IPv4Network) else IPv6Address
    first, last = int(network.network_address), int(network.broadcast_address)
    return st.integers(first, last).map(lambda number: str(kind(number)))


REFUSED = ["10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"]
REFUSED += ["192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3", "0.0.0.0/8"]

CREDENTIALS = st.one_of(
    inside(IPv4Network("169.254.0.0/16")), st.sampled_from(["169.254.169.254", "100.100.100.200", "168.63.129.16"])
)
ANYWHERE = st.one_of(
    inside(IPv4Network("0.0.0.0/0")), *(inside(IPv4Network(network)) for network in REFUSED), CREDENTIALS
)


def split(number: int, prefix: str, length: int) -> int:
    """Return an address behind a prefix of NAT64, its octet 8 left out (RFC 6052, 2.2)."""
    octets = list(IPv6Address(prefix).packed)
    places = [place for place in range(length // 8, 16) if place != 8][:4]
    for place, octet in zip(places, number.to_bytes(4), strict=True):
        octets[place] = octet
    return int.from_bytes(octets)


def packings(address: str, beside: int) -> list[str]:
    """Return every form in which IPv6 packs an IPv4 address; ``beside`` fills what is of another meaning."""
    number = int(IPv4Address(address))
    teredo = 0x2001_0000 << 96
    forms = [
        0xFFFF << 32 | number,
        number,
        0xFFFF_0000_0000_0000 | number,
        0x64_FF9B << 96 | number,
        0x2002 << 112 | number << 80 | beside,
        teredo | 0x0808_0808 << 64 | number ^ 0xFFFF_FFFF,
        teredo | number << 64 | 0x0808_0808 ^ 0xFFFF_FFFF,
        0x2A01_04F8 << 96 | 0x5EFE << 32 | number,
        0x2A01_04F8 << 96 | 0x0200_5EFE << 32 | number,
        *(split(number, "64:ff9b:1::", length) for length in (48, 56, 64, 96)),
    ]
    return [str(IPv6Address(form)) for form in forms]


@given(address=ANYWHERE, beside=st.integers(0, 0xFFFF_FFFF_FFFF))
def test_no_refused_network_is_reached_plain_or_packed(address, beside):
    if not permitted(address, private=False):
        assert [item for item in packings(address, beside) if permitted(item, private=False)] == []


@given(address=st.one_of([inside(IPv4Network(network)) for network in REFUSED]))
def test_no_network_of_the_list_is_permitted(address):
    assert not permitted(address, private=False)


@given(address=CREDENTIALS, beside=st.integers(0, 0xFFFF_FFFF_FFFF))
def test_where_clouds_hand_out_credentials_no_form_leads(address, beside):
    assert [item for item in (address, *packings(address, beside)) if permitted(item, private=True)] == []


@given(inside(IPv6Network("::/0")))
def test_outside_the_global_unicast_addresses_only_packed_ones_are_permitted(address):
    if permitted(address, private=False):
        assert IPv6Address(address) in IPv6Network("2000::/3") or ":ffff:" in address or "64:ff9b" in address


@given(st.text())
def test_any_text_has_an_answer(text):
    assert permitted(text, private=True) in {True, False}
    assert isinstance(url_fault(text, private=True, http=True), str | None)


@pytest.mark.parametrize(
    "url",
    ["https://shop.example.com/otp", "https://shop.example.com:8443/otp?tenant=1", "https://shop.example.com:443"],
)
def test_https_on_the_usual_ports_is_right(url):
    assert url_fault(url, private=False, http=False) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/otp",
        "https://shop.example.com:22/",
        "https://ann:secret@shop.example.com/",
        "https://@shop.example.com/",
        "https://shop.example.com/#part",
        "https:///otp",
        "https://shop.example.com:99999/",
        "https://shop.example.com/a b",
        "https://shop.example.com/\n",
        "https://fa\u00df.example/",
        "https://shop..example.com/",
        "https://[::1/",
        "ftp://shop.example.com/",
        "file:///etc/passwd",
        "shop.example.com",
        "",
    ],
)
def test_other_urls_are_not_and_are_not_repeated(url):
    fault = url_fault(url, private=False, http=False)
    assert fault is not None
    assert "secret" not in fault


def test_http_and_other_ports_are_the_operators_to_allow():
    assert url_fault("http://10.0.0.1:3000/otp", private=True, http=True) is None
    assert url_fault("https://10.0.0.1:3000/otp", private=True, http=False) is None
    assert url_fault("http://localhost:3000/otp", private=False, http=True) is None
    assert url_fault("http://localhost:3000/otp", private=True, http=False) is not None
    assert url_fault("ftp://localhost/otp", private=True, http=True) is not None
