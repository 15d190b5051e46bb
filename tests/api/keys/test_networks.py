"""Networks a key may be used from: read strictly, asked exactly."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.keys import networks


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("2001:db8::9", True),
        ("2001:db9::9", False),
        ("::ffff:192.0.2.7", True),
        ("::ffff:192.0.3.7", False),
        ("unix:", False),
        ("", False),
        (None, False),
    ],
)
def test_a_caller_is_in_one_of_the_networks_or_not(host, expected):
    allowed = networks.parsed(["192.0.2.0/24", "2001:db8::/32"])
    assert networks.within(host, allowed) is expected


def test_one_address_is_a_network():
    assert networks.within("192.0.2.7", networks.parsed([" 192.0.2.7 "]))
    assert not networks.within("192.0.2.8", networks.parsed(["192.0.2.7"]))


@pytest.mark.parametrize(
    ("text", "told"),
    [("192.0.2.7/24", "write 192.0.2.0/24"), ("example.org", "is no network"), ("10/8/3", "is no network")],
)
def test_what_is_no_network_is_refused_with_what_to_write(text, told):
    with pytest.raises(ValueError, match=told):
        networks.parsed([text])


def test_a_row_changed_by_hand_opens_to_nobody():
    assert networks.read("nonsense 192.0.2.0/24") == networks.parsed(["192.0.2.0/24"])
    assert networks.read("nonsense") == ()
    assert not networks.within("192.0.2.7", networks.read("nonsense") or ())


@given(st.lists(st.ip_addresses().map(ipaddress.ip_network), max_size=5))
def test_networks_are_read_as_they_were_written(given_networks):
    assert networks.read(networks.written(given_networks)) == (tuple(given_networks) or None)
