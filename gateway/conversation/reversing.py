"""Reverse verification in the chat: a person opens or types a challenge, is asked, and answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from channels.chat import Button
from gateway.conversation import chats, contacts
from gateway.conversation.reporting import lock_button
from gateway.conversation.turn import Handler, Outcome, Said, Turn
from gateway.delivery.person import Question, Unheard, Verdict
from gateway.storage.unit import Record

#: Characters of the longest text that is looked up; links' tokens have 22, typed challenges fewer.
_LONGEST = 64
#: What only a challenge looks like: eight characters without vowels, and not all digits, as a code would be.
_RESEMBLES = re.compile(r"(?![2-9]{8})[2-9CFGHJMPQRVWX]{8}")

#: What takes the question's place; any other answer is said beside it.
_ANSWERS = {Verdict.APPROVED: "question_approved", Verdict.WRONG_PERSON: "question_wrong_person"}


async def open(turn: Turn) -> Outcome | None:  # noqa: A001 - as a link is opened; called by its module's name
    """Ask whoever opened a challenge (``turn.argument``: a link's token, or typed) to confirm; ``None``: it is none.

    Who guesses at challenges is told to wait, whatever they type.
    """
    if len(turn.argument) > _LONGEST or not turn.argument.isascii():
        return None
    tools, phone_hash = turn.tools, _phone_hash(turn.known)
    question = await tools.open_question(turn.connection, turn.argument, turn.chat_hash, phone_hash, turn.now)
    if question is Unheard.TOO_OFTEN:
        return Outcome((turn.say("typed_too_often"),))
    return None if question is None else Outcome((_asked(turn, question),))


async def again(turn: Turn) -> list[Said]:
    """Return the questions that waited for the phone number the person has just proved."""
    # The turn's own row is from before the proof.
    before = await _opened(turn, turn.known)
    waited = {question.verification_id for question in before if question.needs_phone}
    now = await _opened(turn, await chats.known(turn.connection, turn.chat_hash))
    return [_asked(turn, question) for question in now if question.verification_id in waited]


def resembles_challenge(text: str) -> bool:
    """Whether somebody who typed this meant a challenge, if one that is over or mistyped."""
    return _RESEMBLES.fullmatch(re.sub(r"[ -]", "", text).upper()) is not None


async def confirm(turn: Turn) -> Outcome:
    """Approve the question that this chat was asked, if the address is its person's."""
    question = await _answered(turn)
    if question is None:
        return _gone(turn)
    tools, phone_hash = turn.tools, _phone_hash(turn.known)
    verdict = await tools.answer_question(
        turn.connection, question.verification_id, turn.chat_hash, phone_hash, turn.now
    )
    if verdict is Verdict.NEEDS_PHONE:
        return Outcome((_contact(turn, question),))
    template = _ANSWERS.get(verdict)
    return _gone(turn) if template is None else Outcome((_about(turn, template, question),))


async def decline(turn: Turn) -> Outcome:
    """Cancel the question that this chat was asked, and take down that it was not its person who asked for it."""
    question, phone_hash = await _answered(turn), _phone_hash(turn.known)
    declined = await turn.tools.decline_question(turn.connection, turn.argument, turn.chat_hash, phone_hash, turn.now)
    if declined is None:
        return _gone(turn)
    buttons = ((lock_button(turn, declined.service),),)
    if question is None and declined.canceled:
        return _gone(turn)
    if question is None:
        # Approved or over before: too late to cancel, not to tell.
        return Outcome((turn.say("reported_late", service=declined.service, buttons=buttons),))
    return Outcome((_about(turn, "question_declined", question, buttons),))


async def _answered(turn: Turn) -> Question | None:
    """Return the question that the pressed button is about."""
    opened = await _opened(turn, turn.known)
    return next((question for question in opened if question.verification_id == turn.argument), None)


async def _opened(turn: Turn, known: Record | None) -> list[Question]:
    return await turn.tools.opened_questions(turn.connection, turn.chat_hash, _phone_hash(known), turn.now)


def _asked(turn: Turn, question: Question) -> Said:
    """Ask for the answer, or first for the number by which the chat can give it."""
    if question.needs_phone:
        return _contact(turn, question)
    yes = Button(turn.label("question", "confirm.txt", service=question.service), f"in:{question.verification_id}")
    no = Button(turn.label("question", "decline.txt", service=question.service), f"out:{question.verification_id}")
    said = turn.say("question", service=question.service, buttons=((yes, no),), account=question.account)
    if not question.details:
        return said
    # A line each, of which a value can make no second: what is signed must not be able to forge what is shown.
    lines = (turn.say("question_detail", name=name, value=value).reply.text for name, value in question.details)
    return replace(said, reply=replace(said.reply, text=f"{said.reply.text}\n\n" + "\n".join(lines)))


def _contact(turn: Turn, question: Question) -> Said:
    return contacts.ask(turn, turn.tools.brands.get(question.service, question.service), question.account)


def _about(turn: Turn, template: str, question: Question, buttons: Sequence[Sequence[Button]] = ()) -> Said:
    return turn.say(template, service=question.service, buttons=buttons, replaces=True, account=question.account)


def _gone(turn: Turn) -> Outcome:
    return Outcome((turn.say("question_over"),))


def _phone_hash(known: Record | None) -> bytes | None:
    return None if known is None else known["phone_hash"]


#: What the buttons of this module do, by the verb before the colon.
PRESSES: Mapping[str, Handler] = {"in": confirm, "out": decline}
