"""How the page and the inbox's API are told of letters, chats and events: plain JSON objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.parser import HeaderParser
from email.utils import parseaddr
from typing import Any

from gateway.events.event import Event
from gateway.sandbox.inbox import Letter
from gateway.sandbox.mail_text import decoded, html_text
from gateway.sandbox.telegram_content import keyboard as inline_keyboard
from gateway.sandbox.telegram_content import reply_keyboard
from gateway.sandbox.telegram_people import Person
from gateway.sandbox.twilio import segments

Json = dict[str, Any]

#: Messages of a chat that are shown.
CHAT_MESSAGES = 50

#: What a code looks like in a text: a word of digits, groups of unambiguous characters, or a word of capitals with a
#: digit; not a part of something longer.
_CODES = (
    re.compile(r"(?<![\w+#.-])[0-9]{4,10}(?![\w-])"),
    re.compile(r"(?<![\w+#.-])[2-9CFGHJMPQRVWX]{3,4}(?:-[2-9CFGHJMPQRVWX]{2,4})+(?![\w-])"),
    re.compile(r"(?<![\w+.-])(?=[A-Z]*[0-9])[0-9A-Z]{4,10}\b"),
)


def letter_item(letter: Letter) -> Json:
    """Return a mail or an SMS as the page shows it in a list."""
    return {
        "id": letter.id,
        "protocol": letter.protocol,
        "to": letter.to,
        "from": _sender(letter),
        "subject": letter.fields.get("subject", ""),
        "text": letter.text,
        "html": bool(html_of(letter)),
        "segments": segments(letter.text) if letter.protocol == "twilio" else 1,
        "code": code_of(letter),
        "at": letter.received_at,
    }


def whole_letter(letter: Letter) -> Json:
    """Return a letter as a program that tests with it reads it, with the buttons its person may press."""
    keyboard = reply_keyboard(letter.fields, private=True) if letter.protocol == "telegram" else None
    return {
        "id": letter.id,
        "protocol": letter.protocol,
        "to": letter.to,
        "subject": letter.fields.get("subject", ""),
        "text": letter.text,
        "html": html_of(letter) or None,
        "code": code_of(letter),
        "buttons": [[_button(button) for button in row] for row in _rows(letter)],
        "keyboard": _keyboard(keyboard if keyboard and "keyboard" in keyboard else None),
        "received_at": letter.received_at,
    }


def _sender(letter: Letter) -> str:
    """Return whom a letter is from as a person reads it: a mail's ``From`` (RFC 5322 3.6.2), an SMS's sender.

    Bounces go to the envelope's sender, which no mail program shows; it stands in where a mail names nobody.
    """
    if letter.protocol != "smtp":
        return letter.fields.get("From", "")
    # Mails with SMTPUTF8 have UTF-8 in their headers (RFC 6532).
    head = letter.raw.partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    written = " ".join((HeaderParser().parsestr(head)["From"] or letter.fields.get("mail_from", "")).split())
    # Read before it is decoded, so that a name cannot bring an address of its own (RFC 2047 5).
    name, address = parseaddr(written)
    if "@" not in address:
        return written
    shown = " ".join(decoded(name).split())
    return f"{shown} <{address}>" if shown else address


def html_of(letter: Letter) -> str:
    """Return a mail's HTML, ``""`` where it has none or the letter is no mail."""
    return html_text(letter.raw) if letter.protocol == "smtp" else ""


def code_of(letter: Letter) -> str | None:
    """Return the code a letter carries: what a button in a chat copies, elsewhere the first word that looks like one."""
    if letter.protocol == "telegram":
        buttons = (button for row in _rows(letter) for button in row)
        return next((button["copy_text"]["text"] for button in buttons if "copy_text" in button), None)
    return _written(letter.text)


def _rows(letter: Letter) -> list[list[Json]]:
    """Return the buttons under a letter, as the bot gave them; only its messages can have any."""
    return _inline(inline_keyboard(letter.fields)) if letter.protocol == "telegram" else []


def _written(text: str) -> str | None:
    return next((found[0] for pattern in _CODES if (found := pattern.search(text))), None)


def chat_item(person: Person) -> Json:
    """Return a whole chat: what both sides wrote and still see, who they are, and the keyboard the bot shows."""
    return {
        "person": person.user_id,
        "name": person.first_name,
        "language": person.language_code,
        "blocked": person.blocked,
        "keyboard": _keyboard(person.keyboard),
        "messages": [_message(person, item) for item in list(person.messages.values())[-CHAT_MESSAGES:]],
    }


def _keyboard(markup: Json | None) -> Json | None:
    """Return the keyboard's first button; a bot of ours shows one with one."""
    if markup is None:
        return None
    key = next(key for row in markup["keyboard"] for key in row)
    return {"label": key["text"], "contact": bool(key.get("request_contact"))}


def _message(person: Person, message: Mapping[str, Any]) -> Json:
    contact = message.get("contact")
    return {
        "id": message["message_id"],
        "mine": message["from"]["id"] == person.user_id,
        "text": message.get("text", ""),
        "entities": message.get("entities", []),
        "buttons": [[_button(button) for button in row] for row in _inline(message)],
        "contact": contact
        and {"phone": f"+{contact['phone_number']}", "own": contact.get("user_id") == person.user_id},
        "forwarded": "forward_origin" in message,
        "edited": "edit_date" in message,
        "protected": bool(message.get("has_protected_content")),
        "at": message["date"],
    }


def _inline(message: Mapping[str, Any]) -> list[list[Json]]:
    rows: list[list[Json]] = message.get("reply_markup", {}).get("inline_keyboard", [])
    return rows


def _button(button: Json) -> Json:
    """Return a button by what it does: ``copy``, ``data`` or ``url``."""
    does: Json = {"label": button["text"]}
    if "copy_text" in button:
        does["copy"] = button["copy_text"]["text"]
    elif "callback_data" in button:
        does["data"] = button["callback_data"]
    elif "url" in button:
        does["url"] = button["url"]
    return does


def event_item(event: Event) -> Json:
    """Return one line of the gateway's timeline; no event holds a code or a whole address."""
    return {
        "at": event.at,
        "name": event.name.value,
        "channel": event.channel,
        "verification": event.verification_id,
        "attempt": event.attempt,
        "outcome": event.outcome and str(event.outcome),
        "reason": event.reason and str(event.reason),
        "provider_code": event.provider_code,
        "recipient": event.recipient,
        # To a tenth, as the log and the API tell it.
        "milliseconds": None if event.milliseconds is None else round(event.milliseconds, 1),
    }
