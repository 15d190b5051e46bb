"""*Not me*: what was reported is said, and a lock is offered; another chat's code is nobody's business."""

from __future__ import annotations

import pytest

from gateway.delivery.person import Reported
from gateway.errors import RecipientRefused
from tests.conversation.writing import CHAT, People, data, labels


@pytest.fixture
def people(database, clock, sealer, hasher, texts) -> People:
    return People(database, clock, sealer, hasher, texts)


@pytest.mark.parametrize(
    ("canceled", "language", "said", "lock"),
    [
        (True, "en", "is canceled", "Lock codes for one hour"),
        (True, "de", "gilt nicht mehr", "Codes eine Stunde lang sperren"),
        (False, "en", "was over already", "Lock codes for one hour"),
        (False, "de", "galt schon nicht mehr", "Codes eine Stunde lang sperren"),
    ],
)
async def test_a_report_is_confirmed_and_a_lock_offered(people, clock, canceled, language, said, lock):
    people.core.reported = Reported("shop", canceled)
    [reply] = await people.press("not:ver_1", language=language)
    assert said in reply.text
    assert "Shop &lt;b&gt;&amp;&#34;" in reply.text
    assert (labels(reply), data(reply)) == ([lock], ["lock:"])
    assert people.core.asked == [("report", "ver_1", CHAT, clock.now())]


async def test_the_answer_leaves_the_codes_message_to_be_put_right(people):
    people.core.reported = Reported("shop", canceled=True)
    [reply] = await people.press("not:ver_1")
    assert reply.replaces is None


async def test_the_offered_lock_locks(people):
    await people.link("shop")
    people.core.reported = Reported("shop", canceled=True)
    [reply] = await people.press("not:ver_1")
    [locked] = await people.press(data(reply)[0])
    assert "Until <b>" in locked.text
    assert (await people.known())["locked_until"] is not None


async def test_a_code_that_did_not_come_here_is_not_reported(people):
    [reply] = await people.press("not:ver_1")
    assert ("not sent to this chat" in reply.text, data(reply)) == (True, [])


async def test_a_service_that_is_not_configured_any_more_is_named_by_its_key(people):
    people.core.reported = Reported("gone", canceled=True)
    [reply] = await people.press("not:ver_1")
    assert "<b>gone</b>" in reply.text


async def test_a_code_nobody_asked_for_ends_and_the_next_is_refused_while_locked(talk, clock):
    await talk.link()
    view = await talk.verify()
    await talk.world.attempt()
    [reply] = await talk.say(text=f"not:{view.id}", press="p1")
    assert (await talk.world.look(view)).status == "canceled"
    await talk.press(reply, 0)
    clock.advance(3599)
    with pytest.raises(RecipientRefused):
        await talk.verify()
    clock.advance(1)
    await talk.verify()
