"""What a person failed at their authenticators is lifted as a whole, told, and nothing of anybody else."""

from __future__ import annotations

import asyncio

from gateway.events.event import Event
from gateway.storage.ids import new_id
from gateway.verification.authenticators.throttling import FREE, REMEMBERED
from gateway.verification.authenticators.unlocking import Lifted, unlock
from tests.conftest import START
from tests.verification.authenticators.conftest import App, Enrolled


async def lifted(enrolled: Enrolled, sealer, app: App) -> Lifted:
    found = await unlock(enrolled.database, sealer, app.id, enrolled.clock.now())
    assert found is not None
    return found


async def test_who_is_locked_may_be_checked_at_once_at_all_their_authenticators(enrolled, sealer, clock):
    one, other = await enrolled.active(), await enrolled.active("hotp")
    await enrolled.fail(one, FREE - 1)
    await enrolled.fail(other, 2)
    assert await enrolled.outcome(one, one.code()) == "rate_limited"
    until = clock.now() + 60
    assert await lifted(enrolled, sealer, one) == Lifted("shop", "u•••2", failures=FREE, locked_until=until)
    assert await enrolled.outcome(one, one.code()) == "approved"
    # The count begins anew.
    assert await enrolled.fail(other, FREE) == ["wrong_code"] * FREE


async def test_it_is_an_event_with_a_masked_name(enrolled, sealer, committed):
    app = await enrolled.enrol()
    await enrolled.fail(app, 1)
    await lifted(enrolled, sealer, app)
    assert await enrolled.events() == ["created", "failed", "unlocked"]
    [told] = [note for note in committed if isinstance(note, Event) and note.name == "authenticator.unlocked"]
    assert (told.service, told.recipient, told.verification_id) == ("shop", "u•••2", None)


async def test_where_there_is_nothing_nothing_is_told(enrolled, sealer, clock):
    app = await enrolled.active()
    assert not (await lifted(enrolled, sealer, app)).anything
    assert await unlock(enrolled.database, sealer, new_id("auth", START), clock.now()) is None
    # What counts no more is nothing to be lifted either.
    await enrolled.fail(app, FREE)
    clock.advance(REMEMBERED)
    assert not (await lifted(enrolled, sealer, app)).anything
    assert "unlocked" not in await enrolled.events()


async def test_it_lifts_nothing_of_other_people_and_services(enrolled, sealer):
    ann, bob, elsewhere = [
        await enrolled.active(reference=reference, service=service)
        for reference, service in (("user-42", "shop"), ("user-43", "shop"), ("user-42", "bank"))
    ]
    for app, service in ((bob, "shop"), (elsewhere, "bank")):
        for _ in range(FREE):
            await enrolled.outcome(app, app.wrong(), service=service)
    await lifted(enrolled, sealer, ann)
    assert await enrolled.outcome(bob, bob.code()) == "rate_limited"
    assert await enrolled.outcome(elsewhere, elsewhere.code(), service="bank") == "rate_limited"


async def test_beside_parallel_guesses_no_more_is_compared_than_two_locks_allow(enrolled: Enrolled, sealer, clock):
    app = await enrolled.active()
    guesses = [enrolled.outcome(app, app.wrong()) for _ in range(20)]
    lifting = unlock(enrolled.database, sealer, app.id, clock.now())
    outcomes = await asyncio.gather(*guesses[:10], lifting, *guesses[10:])
    assert outcomes.count("wrong_code") <= 2 * FREE
    assert outcomes.count("rate_limited") >= 20 - 2 * FREE
