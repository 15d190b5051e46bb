"""Proofs: what they tell, for how long, to whom; verified by hand from the published keys."""

from __future__ import annotations

from typing import cast

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from channels.kinds import KINDS
from gateway.config import CodeSettings, LimitSettings, ServiceSettings
from gateway.delivery.payload import Owner
from gateway.errors import WrongCode
from gateway.storage import models
from gateway.storage.database import Database
from gateway.storage.statement import Statement
from gateway.storage.unit import Move, StorageUnavailableError
from gateway.verification import proof
from gateway.verification.binding import fingerprint
from gateway.verification.checking import Checking
from gateway.verification.proof import Approval, Proofs
from gateway.verification.signing_keys import LIFE, NOTICE, SigningKeys, key_set
from tests.rows import count
from tests.verification.jws import read
from tests.world import EMAIL, ISSUER, PHONE, World, refused, two_channels

BOTH = {"phone": PHONE, "email": EMAIL}
PAYMENT = {"session": "s-91", "amount": "12.00 EUR"}


@pytest.fixture
def world(database, clock, sealer, hasher) -> World:
    return World(database, clock, sealer, hasher, two_channels())


async def claims(world, token):
    return read(token, key_set(await world.signing_keys.published()))[1]


async def approved(world, to=None, **asked):
    """Start a verification, send its code, check it; return it and its proof's claims."""
    view = await world.start(to, **asked)
    await world.attempt()
    token = await world.checking.check("shop", view.id, world.code, asked.get("bind", {}))
    return view, await claims(world, token)


async def test_a_proof_tells_who_was_approved_by_what_and_for_what(world, clock, hasher):
    view, told = await approved(world, purpose="payment", bind=PAYMENT)
    clock.advance(1)
    assert told.pop("sub") != hasher.hash("phone", PHONE).hex()
    assert len(told.pop("jti")) == 32
    assert told == {
        "iss": ISSUER,
        "aud": "shop",
        "iat": int(clock.now() - 1),
        "exp": int(clock.now() - 1) + 300,
        "verification": view.id,
        "channel": "sms",
        "purpose": "payment",
        "bind": fingerprint(PAYMENT),
    }


@pytest.mark.parametrize("behind", [3600.0, -3600.0])
async def test_a_proof_is_valid_from_now_on_by_the_clocks_of_those_who_read_it(world, clock, behind):
    """A node that was started before its machine's clock was set right goes on by the clock of its start."""
    clock.behind = behind
    _, told = await approved(world)
    assert (told["iat"], told["exp"]) == (int(clock.now() + behind), int(clock.now() + behind) + 300)


async def test_a_proof_names_its_key_and_its_algorithm(world):
    view = await world.start()
    await world.attempt()
    token = await world.checking.check("shop", view.id, world.code)
    keys = await world.signing_keys.published()
    assert read(token, key_set(keys))[0] == {"alg": "EdDSA", "kid": keys[0].id, "typ": "JWT"}


async def test_a_proof_shows_no_address_no_code_and_nothing_that_was_bound(world):
    view = await world.start(BOTH, bind={"session": "s-91", "payee": "Canary Books"}, params={"name": "Ann"})
    await world.attempt()
    token = await world.checking.check("shop", view.id, world.code, {"session": "s-91", "payee": "Canary Books"})
    shown = str(await claims(world, token))
    assert [word for word in (PHONE, EMAIL, world.code, "s-91", "Canary", "Ann", "•") if word in shown] == []


async def test_a_proof_that_was_changed_does_not_verify(world):
    view = await world.start()
    await world.attempt()
    token = await world.checking.check("shop", view.id, world.code)
    head, body, signature = token.split(".")
    swapped = ("A" if body[9] != "A" else "B").join((body[:9], body[10:]))
    with pytest.raises((InvalidSignature, ValueError)):
        await claims(world, f"{head}.{swapped}.{signature}")


def test_without_a_bind_there_is_no_claim_of_one(hasher):
    writer = Proofs(cast("SigningKeys", None), hasher, ISSUER)
    told = writer._claims(Approval("ver_1", "shop", "login", "sms", "ab", {}, 1.9))
    assert "bind" not in told
    assert (told["iat"], told["exp"]) == (1, 301)


def test_a_person_is_somebody_else_to_every_service_and_the_same_to_each(hasher):
    writer = Proofs(cast("SigningKeys", None), hasher, ISSUER)
    subjects = [
        writer._subject(Approval("ver_1", service, "login", "sms", address, {}, 0.0))
        for service, address in (("shop", "ab"), ("shop", "ab"), ("bank", "ab"), ("shop", "cd"))
    ]
    assert subjects[0] == subjects[1]
    assert len(set(subjects)) == 3
    assert {len(subject) for subject in subjects} == {43}


async def test_the_subject_is_the_persons_whichever_way_the_address_is_written(world, clock):
    _, first = await approved(world, {"email": "Ann+news@Example.org"})
    clock.advance(60)
    _, second = await approved(world, {"email": EMAIL})
    assert KINDS["email"]("Ann+news@Example.org").canonical == KINDS["email"](EMAIL).canonical
    assert first["sub"] == second["sub"]
    assert first["jti"] != second["jti"]


async def test_the_channel_is_the_one_the_code_came_by(world, clock):
    """The first refused: it was the second, and its address, that brought the code."""
    world.channels["sms"].script.append(refused())
    view = await world.start(BOTH)
    await world.attempt()
    await world.attempt()
    told = await claims(world, await world.checking.check("shop", view.id, world.code))
    assert (told["channel"], [status for _, status in await world.statuses(view)]) == ("email", ["failed", "sent"])
    clock.advance(60)
    _, by_mail = await approved(world, {"email": EMAIL})
    assert told["sub"] == by_mail["sub"]


async def test_after_a_resend_it_is_the_latest_that_was_sent(world, clock):
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, "email")
    code = world.code
    await world.attempt()
    assert (await claims(world, await world.checking.check("shop", view.id, code)))["channel"] == "email"


async def test_what_is_still_queued_brought_nothing(world, clock):
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, "email")
    assert (await claims(world, await world.checking.check("shop", view.id, world.code)))["channel"] == "sms"


async def test_a_new_code_was_not_brought_by_a_message_with_the_old_one(database, clock, sealer, hasher):
    """The resend's answer was lost, so only it can have brought the code that was typed."""
    service = ServiceSettings(channels=("sms", "email"), code=CodeSettings(resend="new"), limits=LimitSettings())
    world = World(database, clock, sealer, hasher, two_channels(), service=service)
    view = await world.start(BOTH)
    await world.attempt()
    clock.advance(30)
    await world.verifications.resend("shop", view.id, "email")
    code = world.handed_over[-1].code
    assert (await claims(world, await world.checking.check("shop", view.id, code)))["channel"] == "email"


async def test_one_whose_answer_is_not_there_yet_may_have_brought_it(world, database):
    view = await world.start(BOTH)
    sending = Statement(
        "test.sending", {"id": "text"}, "UPDATE message SET status = 'sending' FROM r WHERE message.id = r.id"
    )
    await database.write(Move(None, [(sending, (view.messages[0].id,))]))
    code = world.handed_over[-1].code
    assert (await claims(world, await world.checking.check("shop", view.id, code)))["channel"] == "sms"


async def test_a_wrong_bind_costs_a_check_and_a_right_one_approves_in_any_order(world):
    view = await world.start(bind=PAYMENT)
    await world.attempt()
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"session": "s-91"},
        {**PAYMENT, "payee": "x"},
        {**PAYMENT, "amount": "99.00 EUR"},
    )
    for left, bind in zip((4, 3, 2, 1), wrong, strict=True):
        with pytest.raises(WrongCode) as caught:
            await world.checking.check("shop", view.id, world.code, bind)
        assert caught.value.extra == {"checks_left": left}
    await world.checking.check("shop", view.id, world.code, dict(reversed(PAYMENT.items())))
    assert (await world.look(view)).status == "approved"


async def test_a_bind_for_what_is_bound_to_nothing_is_another_one(world):
    view = await world.start()
    await world.attempt()
    with pytest.raises(WrongCode):
        await world.checking.check("shop", view.id, world.code, {"session": "s-91"})


class Broken:
    """A database that cannot be read."""

    async def fetch(self, *_, **__):
        raise StorageUnavailableError("SQLite: database is locked")


async def test_without_a_key_no_code_is_used_up(world, database, clock, sealer, hasher):
    """Who was approved and got no proof of it could not be approved again."""
    view = await world.start()
    await world.attempt()
    proofs = Proofs(SigningKeys(cast("Database", Broken()), sealer, clock), hasher, ISSUER)
    checking = Checking(database, world.queue, sealer, clock, hasher, proofs)
    with pytest.raises(StorageUnavailableError):
        await checking.check("shop", view.id, world.code)
    assert (await world.look(view)).checks_left == 5


async def test_a_proof_verifies_across_a_rotation_for_as_long_as_it_is_valid(world, clock):
    view = await world.start()
    await world.attempt()
    clock.advance(1)
    token = await world.checking.check("shop", view.id, world.code)
    for pause in (LIFE - NOTICE, NOTICE, NOTICE - 1):
        clock.advance(pause)
        await world.signing_keys.rotate()
        assert (await claims(world, token))["verification"] == view.id


async def test_what_it_was_bound_to_is_wiped_with_the_code(world, database):
    await approved(world, bind=PAYMENT)
    [record] = await database.fetch("SELECT bind_sealed, bind_hash, session_hash FROM verification")
    assert [record[name] for name in ("bind_sealed", "bind_hash", "session_hash")] == [None, None, None]
    assert await count(database, models.SigningKey) == 1


def test_what_signs_is_never_shown():
    owner = Owner("ver_1", "shop", "login")
    approval = Approval(owner.id, owner.service, owner.purpose, "sms", "abcdef", PAYMENT, 0.0)
    assert [word for word in ("abcdef", "s-91") if word in repr(approval)] == []
    assert "Ed25519" not in repr(proof.Pen("kid", cast("Ed25519PrivateKey", "Ed25519")))


async def test_every_message_of_it_can_show_what_it_is_bound_to(database, clock, sealer, hasher):
    """The first, one claimed from the database, the next channel's, one sent again."""
    world = World(database, clock, sealer, hasher, two_channels(), has_room=False)
    await world.start(BOTH, bind=PAYMENT)
    assert await world.claim("sms") == 1
    world.channels["sms"].script.append(refused())
    claimed = world.handed_over[0]
    await world.attempt()
    following = world.handed_over[0] if world.handed_over else None
    if following is None:
        assert await world.claim("email") == 1
        following = world.handed_over[0]
    await world.attempt()
    clock.advance(60)
    await world.verifications.resend("shop", claimed.verification_id, "sms")
    assert await world.claim("sms") == 1
    assert [item.bind for item in (claimed, following, world.handed_over[0])] == [PAYMENT] * 3
    assert "12.00" not in repr(claimed)
