"""Reverse verification in the chat: the question, the answers, and the number it may need first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.chat import Contact
from gateway.conversation.reversing import resembles_challenge
from gateway.delivery.person import Question, Reported, Verdict
from gateway.verification import challenges
from tests.conversation.writing import OTHER_CHAT, PHONE, People, data, labels

INVALID = "does not work"
OVER = "was answered before"
QUESTION = Question("ver_1", "shop", "+49•••678", needs_phone=False)


@pytest.fixture
def people(database, clock, sealer, hasher, texts) -> People:
    made = People(database, clock, sealer, hasher, texts)
    made.core.challenges["token"] = QUESTION
    return made


async def test_whoever_opens_it_is_asked_with_service_and_account(people, clock):
    [reply] = await people.command("start", "token")
    assert "<b>Shop &lt;b&gt;&amp;&#34;</b> asks whether <b>+49•••678</b> is yours" in reply.text
    assert (labels(reply), data(reply)) == (["Yes, confirm", "Not me"], ["in:ver_1", "out:ver_1"])
    assert people.core.asked == [("open", "token", None, clock.now())]


async def test_who_guesses_at_challenges_is_told_to_wait(people):
    people.core.unheard = True
    for language, said in (("en", "Within an hour"), ("de", "nach spätestens einer Stunde")):
        [reply] = await people.type("7CFG-HJMP", language=language)
        assert (said.casefold() in reply.text.casefold(), data(reply)) == (True, [])


async def test_the_question_shows_what_the_answer_is_bound_to_a_line_each(people):
    details = (("amount", "12.00 EUR"), ("payee", "Books & <b>\npayee: Mum"))
    people.core.challenges["token"] = replace(QUESTION, details=details)
    for language in ("en", "de"):
        [reply] = await people.command("start", "token", language=language)
        lines = reply.text.splitlines()[-2:]
        assert lines == ["amount: <b>12.00 EUR</b>", "payee: <b>Books &amp; &lt;b&gt; payee: Mum</b>"]
        assert data(reply) == ["in:ver_1", "out:ver_1"]


async def test_the_question_is_in_the_persons_language(people):
    [reply] = await people.command("start", "token", language="de-AT")
    assert reply.text.startswith("<b>Shop &lt;b&gt;&amp;&#34;</b> fragt, ob")
    assert labels(reply) == ["Ja, bestätigen", "Das bin ich nicht"]


@pytest.mark.parametrize(
    ("verdict", "english", "german"),
    [
        (Verdict.APPROVED, "now knows that <b>+49•••678</b>", "weiß jetzt, dass <b>+49•••678</b>"),
        (Verdict.WRONG_PERSON, "does not belong to that", "gehört nicht dazu"),
    ],
)
async def test_an_answer_takes_the_place_of_the_question(people, verdict, english, german):
    await people.command("start", "token")
    people.core.verdict = verdict
    for language, said in (("en", english), ("de", german)):
        [reply] = await people.press("in:ver_1", language=language)
        assert said in reply.text
        assert (reply.replaces, data(reply)) == ("m1", [])


async def test_a_question_that_is_over_is_told_beside_it(people):
    await people.command("start", "token")
    people.core.verdict = Verdict.GONE
    [reply] = await people.press("in:ver_1")
    assert (OVER in reply.text, reply.replaces) == (True, None)


async def test_who_lost_the_number_meanwhile_is_asked_for_it(people):
    await people.command("start", "token")
    people.core.verdict = Verdict.NEEDS_PHONE
    [reply] = await people.press("in:ver_1")
    assert "says that your phone number is <b>+49•••678</b>" in reply.text
    assert reply.asks_contact is not None


async def test_a_no_is_taken_down_and_a_lock_offered(people, clock):
    await people.command("start", "token")
    people.core.reported = Reported("shop", canceled=True)
    [reply] = await people.press("out:ver_1")
    assert "Nothing was confirmed" in reply.text
    assert (reply.replaces, data(reply)) == ("m1", ["lock:"])
    assert people.core.asked[-1] == ("decline", "ver_1", None, clock.now())


async def test_a_no_to_what_is_gone_changes_nothing(people):
    await people.command("start", "token")
    [reply] = await people.press("out:ver_1")
    assert OVER in reply.text


async def test_a_no_to_what_was_answered_before_is_taken_down_too(people):
    people.core.reported = Reported("shop", canceled=False)
    [reply] = await people.press("out:ver_1")
    assert "was over already" in reply.text
    assert (reply.replaces, data(reply)) == (None, ["lock:"])


@pytest.mark.parametrize("press", ["in:ver_1", "out:ver_1", "in:", "in:ver_none"])
async def test_another_chat_cannot_answer(people, press):
    await people.command("start", "token")
    [reply] = await people.press(press, chat=OTHER_CHAT)
    assert OVER in reply.text
    assert not [asked for asked in people.core.asked if asked[0] == "answer"]


async def test_the_number_a_chat_has_proved_is_passed_on(people, hasher):
    await people.share()
    await people.command("start", "token")
    await people.press("in:ver_1")
    await people.press("out:ver_1")
    phone_hash = hasher.hash("phone", PHONE)
    assert [(asked[0], asked[2]) for asked in people.core.asked] == [
        ("open", phone_hash),
        ("answer", phone_hash),
        ("decline", phone_hash),
    ]


async def test_a_number_is_proved_without_a_code_and_only_once(talk):
    view = await talk.world.start({"phone": PHONE}, channels=["bot"], mode="inbound")
    [wanted] = await talk.say(text=view.challenge.lower())
    assert wanted.asks_contact == "Share my phone number"
    [_, question] = await talk.say(contact=Contact(PHONE.removeprefix("+"), own=True))
    [done] = await talk.press(question, 0)
    assert "now knows that" in done.text
    assert (await talk.world.look(view)).status == "approved"
    for text, press, said in ((view.challenge, None, INVALID), (question.buttons[0][0].data, "p2", OVER)):
        [reply] = await talk.say(text=text, press=press)
        assert said in reply.text


async def test_a_no_ends_it_and_a_second_one_changes_nothing_more(talk):
    await talk.link()
    view = await talk.world.start({"telegram": "user-42"}, channels=["bot"], mode="inbound")
    [question] = await talk.start(view.link)
    [declined] = await talk.press(question, 1)
    assert "Nothing was confirmed" in declined.text
    assert (await talk.world.look(view)).status == "canceled"
    [again] = await talk.press(question, 1)
    assert (OVER in again.text, again.buttons) == (True, ())
    assert (await talk.world.events(view)).count("verification.reported") == 1


@given(st.text(challenges.ALPHABET, min_size=8, max_size=8))
def test_every_challenge_is_known_by_its_looks_but_those_that_look_like_codes(challenge):
    assert resembles_challenge(challenges.shown(challenge)) == (not challenge.isdigit())


@given(st.text(max_size=20) | st.text(challenges.ALPHABET.lower() + " -0A", max_size=12))
def test_what_is_no_challenge_does_not_look_like_one(typed):
    assert challenges.read(typed) is not None or not resembles_challenge(typed)


@pytest.mark.parametrize("typed", ["7CFG-HJMP", "7cfg hjmp", " 7 C F G H J M P ", "cfghjmpq"])
def test_a_challenge_is_known_by_its_looks(typed):
    assert resembles_challenge(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "23456789",
        "2345-6789",
        "7CFG-HJM",
        "7CFG-HJMPQ",
        "password",
        "7cfg\nhjmp",
        "\N{MATHEMATICAL BOLD DIGIT SEVEN}CFGHJMP",
    ],
)
def test_words_and_codes_are_none(typed):
    assert not resembles_challenge(typed)
