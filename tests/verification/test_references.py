"""A service's own reference is counted by a hash of both, found by its plain one."""

from __future__ import annotations

from gateway.verification.references import counted_as, counted_hash, counted_hashes, own_kinds
from tests.world import Talker

HASHES = {"telegram": b"t" * 32, "phone": b"p" * 32}


def test_a_bots_own_references_and_the_shared_ones_are_a_services_own():
    assert own_kinds({"bot": Talker("bot", ["telegram", "phone"])}) == {"telegram"}
    assert own_kinds({}) == {"telegram"}


def test_each_service_counts_its_own_and_what_is_nobodys_own_is_counted_as_it_is(hasher):
    own = {"telegram"}
    shop, bank = (counted_as(hasher, service, HASHES, own) for service in ("shop", "bank"))
    assert shop["telegram"] not in {bank["telegram"], HASHES["telegram"]}
    assert {shop["phone"], bank["phone"]} == {HASHES["phone"]}
    assert counted_as(hasher, "shop", {"phone": b"p" * 32}, own) == {"phone": b"p" * 32}


def test_what_several_services_count_by_is_each_once(hasher):
    found = counted_hashes(hasher, ["shop", "bank"], [b"t" * 32])
    assert found == sorted(counted_hash(hasher, service, b"t" * 32) for service in ("bank", "shop"))
    assert counted_hashes(hasher, ["shop"], []) == []
