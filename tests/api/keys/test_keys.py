"""API keys: their form, what lets a caller in, and how soon a revoked one ends."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.keys.keys import REFRESH_AFTER, TOO_OLD, KeyRefusedError, Keys, Wanted, refusal
from gateway.api.keys.networks import parsed
from gateway.api.keys.refusals import KeyRefusal
from gateway.api.keys.scopes import DEFAULT, Scope
from gateway.api.keys.text import PATTERN, checksum
from gateway.errors import Unauthorized
from gateway.storage.database import Database
from gateway.storage.unit import StorageUnavailableError


@pytest.fixture
def keys(database, clock) -> Keys:
    return Keys(database, clock)


class Counted(Keys):
    """Keys that count what they ask the database."""

    def __init__(self, database: Database, clock) -> None:
        self.asked: list[str] = []
        outer = self

        class Counting:
            async def fetch(self, sql: str, /, **values):
                outer.asked.append(sql)
                return await database.fetch(sql, **values)

        super().__init__(Counting(), clock)  # type: ignore[arg-type]


async def test_a_key_has_the_published_form_and_its_secret_is_not_stored(keys, database):
    key = await keys.create("shop", "till")
    match = PATTERN.fullmatch(key)
    assert match is not None
    assert checksum(key[:-6]) == match[3]
    record = (await database.fetch("SELECT * FROM service_key"))[0]
    assert (match[1], "shop", "till") == (record["id"], record["service"], record["name"])
    assert match[2].encode() not in record["secret_hash"]


def test_the_checksum_is_crc_32_in_base62():
    """CRC-32's check value, 0xCBF43926 of "123456789", written in base62."""
    assert sum(_value(c) * 62**n for n, c in enumerate(reversed(checksum("123456789")))) == 0xCBF43926


def _value(character: str) -> int:
    return "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(character)


async def test_a_key_lets_its_service_in_as_soon_as_it_is_made(keys):
    first = await keys.create("shop")
    assert (await keys.authenticate(first)).service == "shop"
    second = await keys.create("desk")
    assert (await keys.authenticate(second)).service == "desk"


async def test_a_key_made_elsewhere_works_at_once(keys, database, clock):
    await keys.authenticate(await keys.create("shop"))
    elsewhere = Keys(database, clock)
    assert (await keys.authenticate(await elsewhere.create("desk"))).service == "desk"


@pytest.mark.parametrize("token", ["", "otpg_", "Bearer", "otpg_abcdefgh_" + "a" * 49, "ключ"])
async def test_what_is_no_key_is_refused_without_asking_the_database(database, clock, token):
    keys = Counted(database, clock)
    with pytest.raises(Unauthorized) as told:
        await keys.authenticate(token)
    assert told.value.headers == {"WWW-Authenticate": "Bearer"}
    assert keys.asked == []


async def test_a_key_with_another_secret_is_refused_though_its_checksum_is_right(keys):
    key = await keys.create("shop")
    forged = f"{key[:14]}{'x' * 43}"
    with pytest.raises(Unauthorized):
        await keys.authenticate(forged + checksum(forged))


@pytest.mark.parametrize("warm", [False, True])
async def test_a_right_key_with_a_wrong_checksum_is_refused_whether_or_not_the_key_is_in_memory(keys, warm):
    """Else a key that is mistyped there would work until the next start, and on one node alone."""
    key = await keys.create("shop")
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    if warm:
        await keys.authenticate(key)
        with pytest.raises(Unauthorized):
            keys.at_once(wrong)
    with pytest.raises(Unauthorized):
        await keys.authenticate(wrong)
    assert (await keys.authenticate(key)).service == "shop"


async def test_an_unknown_id_costs_one_look_up(database, clock):
    keys = Counted(database, clock)
    forged = f"otpg_nobody00_{'x' * 43}"
    with pytest.raises(Unauthorized):
        await keys.authenticate(forged + checksum(forged))
    assert len(keys.asked) == 2
    with pytest.raises(Unauthorized):
        await keys.authenticate(forged + checksum(forged))
    assert len(keys.asked) == 3


async def test_a_revoked_key_ends_at_once_here_and_within_four_seconds_elsewhere(keys, database, clock):
    elsewhere = Keys(database, clock)
    key = await keys.create("shop")
    for node in (keys, elsewhere):
        await node.authenticate(key)
    assert await keys.revoke(key[5:13])
    with pytest.raises(Unauthorized):
        await keys.authenticate(key)
    assert (await elsewhere.authenticate(key)).service == "shop"
    clock.advance(TOO_OLD)
    with pytest.raises(Unauthorized):
        await elsewhere.authenticate(key)


async def test_keys_are_read_again_beside_a_request_after_two_seconds(keys, database, clock):
    elsewhere = Keys(database, clock)
    key = await keys.create("shop")
    await elsewhere.authenticate(key)
    await keys.revoke(key[5:13])
    clock.advance(REFRESH_AFTER)
    assert (await elsewhere.authenticate(key)).service == "shop"
    assert elsewhere._refreshing is not None
    await elsewhere._refreshing
    with pytest.raises(Unauthorized):
        await elsewhere.authenticate(key)


async def test_many_requests_share_one_reading(database, clock):
    key = await Keys(database, clock).create("shop")
    keys = Counted(database, clock)
    found = await asyncio.gather(*(keys.authenticate(key) for _ in range(20)))
    assert [live.service for live in found] == ["shop"] * 20
    assert len(keys.asked) == 1


async def test_a_request_that_goes_away_does_not_end_the_reading_others_wait_for(database, clock):
    key = await Keys(database, clock).create("shop")
    keys = Keys(database, clock)
    gone, stays = asyncio.create_task(keys.authenticate(key)), asyncio.create_task(keys.authenticate(key))
    await asyncio.sleep(0)
    assert keys._refreshing is not None
    gone.cancel()
    assert (await stays).service == "shop"


async def test_old_keys_let_nobody_in_while_the_database_is_away(clock, caplog):
    class Away:
        async def fetch(self, sql: str, /, **values):
            raise StorageUnavailableError("SQLite: unable to open database file")

    keys = Keys(Away(), clock)  # type: ignore[arg-type]
    token = f"otpg_nobody00_{'x' * 43}"
    with pytest.raises(StorageUnavailableError):
        await keys.authenticate(token + checksum(token))
    assert caplog.messages == ["the keys could not be read again: StorageUnavailableError"]


async def test_revoking_an_unknown_key_says_so_and_twice_is_the_same_as_once(keys):
    key = await keys.create("shop")
    assert not await keys.revoke("nobody00")
    assert [await keys.revoke(key[5:13]) for _ in range(2)] == [True, True]


async def test_keys_are_listed_by_service_with_the_revoked_ones(keys, clock):
    shop, desk = await keys.create("shop", "till"), await keys.create("desk")
    await keys.revoke(desk[5:13])
    everything = await keys.list()
    assert [("desk", "", clock.now()), ("shop", "till", None)] == [
        (k.service, k.name, k.revoked_at) for k in everything
    ]
    assert [shop[5:13]] == [key.id for key in await keys.list("shop")]


async def test_a_key_ends_by_itself_here_and_elsewhere(keys, database, clock):
    elsewhere = Keys(database, clock)
    key = await keys.create("shop", wanted=Wanted(lifetime=90.0))
    assert (await elsewhere.authenticate(key)).expires_at == clock.now() + 90
    clock.advance(89)
    assert (await keys.authenticate(key)).service == "shop"
    clock.advance(1)
    for node in (keys, elsewhere, Keys(database, clock)):
        with pytest.raises(Unauthorized):
            await node.authenticate(key)


async def test_a_key_that_ends_is_not_let_in_by_what_is_in_memory(keys, clock):
    key = await keys.create("shop", wanted=Wanted(lifetime=1.0))
    await keys.authenticate(key)
    clock.advance(1)
    with pytest.raises(Unauthorized):
        await keys.authenticate(key)


async def refused(keys: Keys, token: str, host: str | None = None) -> tuple[str, str | None]:
    """Return why a token is refused, and whose id is told; the caller is told the same in any case."""
    with pytest.raises(KeyRefusal) as told:
        await keys.authenticate(token, host)
    same = refusal()
    assert (told.value.detail, told.value.headers, told.value.extra) == (same.detail, same.headers, {})
    return told.value.reason.value, told.value.key_id


@pytest.mark.parametrize("host", ["198.51.100.9", None, "nonsense"])
async def test_a_key_from_elsewhere_is_refused_like_one_that_is_unknown(keys, host):
    key = await keys.create("shop", wanted=Wanted(networks=parsed(["192.0.2.0/24"])))
    assert (await keys.authenticate(key, "192.0.2.9")).service == "shop"
    assert await refused(keys, key, host) == ("network", key[5:13])


async def test_of_a_key_that_is_over_it_is_known_why_here_and_elsewhere(keys, database, clock):
    revoked, ended = await keys.create("shop"), await keys.create("shop", wanted=Wanted(lifetime=60.0))
    for key in (revoked, ended):
        await keys.authenticate(key)
    await keys.revoke(revoked[5:13])
    clock.advance(60)
    for node in (keys, Keys(database, clock)):
        # Twice: what is over is not taken for live because it was looked up.
        assert [await refused(node, revoked) for _ in range(2)] == [("revoked", revoked[5:13])] * 2
        assert await refused(node, ended) == ("ended", ended[5:13])


async def test_of_a_wrong_secret_it_is_known_whose_it_is_not_and_of_an_invented_key_nothing(keys):
    key = await keys.create("shop")
    wrong, invented = f"{key[:14]}{'x' * 43}", f"otpg_nobody00_{'x' * 43}"
    assert await refused(keys, wrong + checksum(wrong)) == ("unknown", key[5:13])
    assert await refused(keys, invented + checksum(invented)) == ("unknown", None)
    for nonsense in ("", "otpg_", f"{invented}000000"):
        assert await refused(keys, nonsense) == ("unknown", None)


async def test_a_rotated_key_goes_on_for_its_grace_beside_one_like_it(keys, clock, database):
    wanted = Wanted(frozenset({Scope.READ}), 100.0, parsed(["192.0.2.0/24"]))
    old = await keys.create("shop", "till", wanted)
    clock.advance(40)
    new = await keys.rotate(old[5:13], grace=10.0)
    assert new is not None
    shown = {view.id: view for view in await keys.list()}
    before, after = shown[old[5:13]], shown[new[5:13]]
    assert (before.expires_at, after.expires_at) == (clock.now() + 10, clock.now() + 100)
    assert (before.name, before.scopes, before.networks) == (after.name, after.scopes, after.networks)
    clock.advance(9)
    elsewhere = Keys(database, clock)
    for key in (old, new):
        assert (await elsewhere.authenticate(key, "192.0.2.1")).service == "shop"
    clock.advance(1)
    with pytest.raises(Unauthorized):
        await elsewhere.authenticate(old, "192.0.2.1")
    assert await elsewhere.authenticate(new, "192.0.2.1")


async def test_a_rotated_key_never_lives_longer_than_it_was_to(keys, clock):
    old = await keys.create("shop", "till", Wanted(lifetime=50.0))
    await keys.rotate(old[5:13], grace=1000.0)
    assert {view.id: view.expires_at for view in await keys.list()}[old[5:13]] == clock.now() + 50


@pytest.mark.parametrize("engine_name", ["sqlite", "postgresql"])
@pytest.mark.parametrize("lifetime", [None, 500.0])
async def test_the_end_that_a_rotation_set_is_not_handed_on(keys, clock, lifetime):
    """The new key leaked on its way and was revoked: the third one must not end with the grace of the first."""
    first = await keys.create("shop", "till", Wanted(lifetime=lifetime))
    clock.advance(40)
    second = await keys.rotate(first[5:13], grace=60.0)
    await keys.revoke(second[5:13])
    clock.advance(10)
    third = await keys.rotate(first[5:13], grace=100.0)
    ends = {view.id: view.expires_at for view in await keys.list()}
    assert ends[third[5:13]] == (None if lifetime is None else clock.now() + lifetime)
    assert ends[first[5:13]] == clock.now() + 50
    await keys.revoke(first[5:13])
    fourth = await keys.rotate(third[5:13])
    ends = {view.id: view.expires_at for view in await keys.list()}
    assert ends[fourth[5:13]] == (None if lifetime is None else clock.now() + lifetime)


async def test_with_no_grace_the_old_key_ends_at_once(keys):
    old = await keys.create("shop", "till")
    await keys.authenticate(old)
    await keys.rotate(old[5:13], grace=0.0)
    with pytest.raises(Unauthorized):
        await keys.authenticate(old)


async def test_of_one_name_two_keys_are_live_at_most(keys, clock):
    old = await keys.create("shop", "till")
    new = await keys.rotate(old[5:13], grace=60.0)
    for key in (old, new):
        with pytest.raises(KeyRefusedError, match="two keys of shop called 'till' are live"):
            await keys.rotate(key[5:13])
    with pytest.raises(KeyRefusedError):
        await keys.create("shop", "till", third=False)
    # Another name, and keys without one, are nobody's successors.
    for name in ("desk", "", "", ""):
        await keys.create("shop", name, third=False)
    clock.advance(60)
    assert await keys.rotate(new[5:13]) is not None


@pytest.mark.parametrize("engine_name", ["sqlite", "postgresql"])
async def test_of_many_rotations_at_once_one_succeeds(database, clock):
    keys = Keys(database, clock)
    old = await keys.create("shop", "till")
    outcomes = await asyncio.gather(*(keys.rotate(old[5:13]) for _ in range(8)), return_exceptions=True)
    assert [sum(isinstance(outcome, kind) for outcome in outcomes) for kind in (str, KeyRefusedError)] == [1, 7]
    assert len(await keys.list("shop")) == 2


async def test_what_has_ended_or_is_not_there_is_not_rotated(keys, clock):
    ended = await keys.create("shop", wanted=Wanted(lifetime=1.0))
    revoked = await keys.create("shop")
    await keys.revoke(revoked[5:13])
    clock.advance(1)
    for key in (ended, revoked):
        with pytest.raises(KeyRefusedError, match="has ended"):
            await keys.rotate(key[5:13])
    assert await keys.rotate("nobody00") is None


async def test_uses_are_written_down_together_and_to_the_minute(database, clock):
    keys = Counted(database, clock)
    writer = Keys(database, clock)
    used, unused = await writer.create("shop"), await writer.create("desk")
    for _ in range(3):
        await writer.authenticate(used)
    assert [view.used_at for view in await writer.list()] == [None, None]
    clock.advance(59.9)
    assert await writer.note_uses() == 1
    assert {view.id: view.used_at for view in await writer.list()} == {
        used[5:13]: clock.now() // 60 * 60,
        unused[5:13]: None,
    }
    assert await writer.note_uses() == 0
    # Whoever is refused has not used it.
    with pytest.raises(Unauthorized):
        await keys.authenticate(f"{used[:14]}{'x' * 49}")
    assert keys._used == set()


async def test_uses_that_could_not_be_written_are_written_the_next_time(keys, database, monkeypatch):
    await keys.authenticate(key := await keys.create("shop"))

    async def fail(_):
        raise StorageUnavailableError("SQLite: disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(database, "write", fail)
        with pytest.raises(StorageUnavailableError):
            await keys.note_uses()
    assert await keys.note_uses() == 1
    assert [view.id for view in await keys.list() if view.used_at] == [key[5:13]]


async def test_a_key_from_before_scopes_does_what_it_could(keys, database):
    key = await keys.create("shop")
    await database.run(lambda c: c.fetch("UPDATE service_key SET scopes = NULL RETURNING id"))
    assert (await keys.authenticate(key)).scopes == DEFAULT


@given(st.text())
def test_no_text_breaks_the_pattern(text):
    assert PATTERN.fullmatch(text) is None


async def test_nothing_of_a_key_is_in_a_repr(keys):
    key = await keys.create("shop")
    await keys.authenticate(key)
    assert key[14:57] not in repr(await keys.list()) + repr(keys._live)
    assert "secret_hash" not in repr(keys._live)


async def test_a_key_in_memory_is_judged_at_once_and_by_the_same_rules(database, clock):
    keys = Counted(database, clock)
    key = await Keys(database, clock).create("shop", wanted=Wanted(lifetime=100.0, networks=parsed(["192.0.2.0/24"])))
    assert keys.at_once(key, "192.0.2.7") is None
    known = await keys.authenticate(key, "192.0.2.7")
    keys.asked.clear()
    assert keys.at_once(key, "192.0.2.7") is known
    forged = key[:14] + key[14:-6][::-1]
    for token, host in ((forged + checksum(forged), "192.0.2.7"), (key, "198.51.100.1"), ("otpg_", None)):
        with pytest.raises(KeyRefusal):
            keys.at_once(token, host)
    clock.advance(REFRESH_AFTER)
    assert (keys.at_once(key, "192.0.2.7"), keys.asked) == (None, [])
