"""Rendering: a message's parts in its service's words, and the bot's answers in a person's language."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from channels.base import Channel
from channels.chat import Button, Reply
from gateway.config import ServiceSettings
from gateway.delivery.message import Message
from gateway.delivery.writing.legible import one_line
from gateway.delivery.writing.locales import DEFAULT, PLAIN, fallbacks
from gateway.delivery.writing.reply_parts import CONVERSATION, REPLIES
from gateway.delivery.writing.templating import Templates, code_values
from gateway.errors import TemplateError

#: What the data of the button *Not me* starts with; the verification's id follows.
NOT_ME: Final = "not:"
#: Labels kept; locales come from callers, so there is no natural bound.
_CACHED = 256


class Rendered(NamedTuple):
    """A message as its person gets it."""

    #: The name the service signs with.
    brand: str
    #: By their names in the template's folder without the locale: ``subject.txt``.
    parts: Mapping[str, str]
    #: The button *Not me*, where the channel hears presses.
    report: Button | None = None


class Render(Protocol):
    """Renders the parts of one message of a channel."""

    def __call__(self, message: Message, channel: Channel, lifetime: float, /) -> Rendered:
        """Return the message with the code alive for ``lifetime`` seconds more. Raises ``TemplateError``."""
        ...


class ReplyTexts:
    """The texts of what the bot answers (``templates/conversation``), by language."""

    def __init__(self, templates: Templates) -> None:
        self._templates = templates
        #: The languages that every reply has every part in, sorted: ``("de", "en")``.
        self.languages: tuple[str, ...] = _whole(templates)

    def __call__(
        self, template: str, locale: str | None, parts: Sequence[str], values: Mapping[str, str], /
    ) -> Mapping[str, str]:
        """Return the rendered parts of a reply. Raises ``TemplateError``."""
        return self._templates.render(
            channel=CONVERSATION,
            adapter=CONVERSATION,
            purpose=template,
            locale=locale or DEFAULT,
            parts=parts,
            values={name: one_line(value) for name, value in values.items()},
        )

    def pick(self, *wanted: str | None) -> str:
        """Return the language of the first of these locales that is shipped, else ``en``."""
        keys = (key for tag in wanted if tag for key in fallbacks(tag))
        return next((key for key in keys if key in self.languages), DEFAULT)


def code_renderer(
    services: Mapping[str, ServiceSettings], templates: Mapping[str, Templates], replies: ReplyTexts
) -> Render:
    """Return what renders messages with codes. ``templates`` are those of each service."""
    label = _labels(replies)

    def render(message: Message, channel: Channel, lifetime: float, /) -> Rendered:
        service = services.get(message.service)
        if service is None:
            raise TemplateError(f"the service {message.service} is not configured any more")
        values = code_values(
            code=message.code,
            brand=service.name,
            remaining=lifetime,
            purpose=message.purpose,
            locale=message.locale,
            params=message.params,
            bind=message.bind,
        )
        otherwise = service.for_purpose(message.purpose).locale
        parts = templates[message.service].render(
            channel=channel.name,
            adapter=channel.settings.adapter,
            purpose=message.purpose,
            locale=message.locale,
            # A chat's locale is what the person's client says, whatever languages there are here.
            otherwise=otherwise if channel.listens else DEFAULT,
            parts=channel.parts,
            values=values,
        )
        report = None
        if channel.listens:
            report = Button(label(replies.pick(message.locale, otherwise)), NOT_ME + message.verification_id)
        return Rendered(service.name, parts, report)

    return render


def ended_renderer(
    services: Mapping[str, ServiceSettings], replies: ReplyTexts
) -> Callable[[str, str, str, str], Reply]:
    """Return what renders the text a message gets once its code is over.

    It is given the service, the locale, the outcome and the verification's id. A code that was used keeps the button
    *Not me*: somebody else may have used it.
    """
    label = _labels(replies)

    def render(service: str, locale: str, outcome: str, verification_id: str, /) -> Reply:
        known = services.get(service)
        brand = service if known is None else known.name
        locale = replies.pick(locale, None if known is None else known.locale)
        text = replies("ended", locale, ("reply.html",), {"brand": brand, "outcome": outcome})["reply.html"]
        if outcome != "approved":
            return Reply(text)
        return Reply(text, ((Button(label(locale), NOT_ME + verification_id),),))

    return render


def _labels(replies: ReplyTexts) -> Callable[[str], str]:
    """Return what labels *Not me* in a locale: once per locale, for every code has it."""

    @functools.lru_cache(maxsize=_CACHED)
    def label(locale: str) -> str:
        return replies("report", locale, ("button.txt",), {})["button.txt"]

    return label


def _whole(templates: Templates) -> tuple[str, ...]:
    shipped: dict[str, set[tuple[str, str]]] = {}
    for file in templates.files:
        if file.channel == CONVERSATION:
            shipped.setdefault(file.locale, set()).add((file.template, file.part))
    needed = {(name, part) for name, reply in REPLIES.items() for part in reply.parts}
    found = {locale for locale, parts in shipped.items() if needed <= parts and locale != PLAIN}
    return tuple(sorted(found | {DEFAULT}))
