"""A turn: one update of the bot on its way to a handler, what handlers are given, and what they answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from channels.base import Normalize
from channels.chat import Button, Inbound, Reply
from gateway.delivery.person import Question, Reported, Unheard, Verdict
from gateway.delivery.writing.rendering import ReplyTexts
from gateway.storage.sealing import Hasher, Sealer
from gateway.storage.unit import Connection, Record


@dataclass(frozen=True, slots=True)
class Said:
    """One answer, and where it goes."""

    reply: Reply
    #: The chat's address; ``None`` is the chat that wrote.
    chat: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a handler did."""

    #: The answers, in order.
    said: Sequence[Said] = ()
    #: Channels with something due, to be looked at once this is committed.
    wake: frozenset[str] = frozenset()


#: What waited for a person's link may go: connection, service, hash of their address, chat, their locale, now. Returns
#: the channels that got something.
OnLink = Callable[[Connection, str, bytes, str, str | None, float], Awaitable[set[str]]]
#: A chat opens a reverse verification: connection, what it gave (a link's token or the short text), hash of the chat,
#: hash of the phone it proved, now. ``None`` where it can open none by that.
OpenQuestion = Callable[[Connection, str, bytes, bytes | None, float], Awaitable[Question | Unheard | None]]
#: The reverse verifications a chat opened and has not answered: connection, chat's hash, phone's hash, now.
OpenedQuestions = Callable[[Connection, bytes, bytes | None, float], Awaitable[list[Question]]]
#: A person confirms one: connection, verification's id, chat's hash, phone's hash, now.
AnswerQuestion = Callable[[Connection, str, bytes, bytes | None, float], Awaitable[Verdict]]
#: A person says no to one: connection, verification's id, chat's hash, phone's hash, now. ``None`` where no such was opened.
DeclineQuestion = Callable[[Connection, str, bytes, bytes | None, float], Awaitable[Reported | None]]
#: A person did not ask for a code: connection, verification's id, their chat, now. ``None`` where it did not go there.
Report = Callable[[Connection, str, str, float], Awaitable[Reported | None]]


@dataclass(frozen=True, slots=True)
class Tools:
    """What every handler may need; verification's part of it as functions, for the two do not know each other."""

    sealer: Sealer
    hasher: Hasher
    #: By service, the name it signs with.
    brands: Mapping[str, str]
    #: By service, the language it speaks where a person's is not known.
    locales: Mapping[str, str]
    texts: ReplyTexts
    #: How a phone number is read.
    phone: Normalize
    on_link: OnLink
    open_question: OpenQuestion
    opened_questions: OpenedQuestions
    answer_question: AnswerQuestion
    decline_question: DeclineQuestion
    report: Report


@dataclass(frozen=True, slots=True)
class Turn:
    """One update, within the transaction that takes it in. The work may run twice: touch nothing but ``connection``."""

    tools: Tools
    connection: Connection
    #: The channel's name.
    channel: str
    inbound: Inbound
    #: Keyed hash of the chat's address.
    chat_hash: bytes
    #: The row of ``chat``; ``None`` for a chat that is not known yet.
    known: Record | None
    #: What follows the command, or the verb's colon of a pressed button.
    argument: str
    #: Seconds since the Unix epoch.
    now: float

    @property
    def language(self) -> str:
        """The language the person chose, else the one their client tells."""
        return self.tools.texts.pick(*self._wanted)

    def in_language(self, service: str) -> str:
        """Return the person's language, else the service's, where the text is about that service."""
        return self.tools.texts.pick(*self._wanted, self.tools.locales.get(service))

    def say(
        self,
        template: str,
        /,
        *,
        service: str | None = None,
        buttons: Sequence[Sequence[Button]] = (),
        replaces: bool = False,
        **values: str,
    ) -> Said:
        """Return a rendered answer to the chat that wrote.

        ``service`` is the one it is about: it gives the text's ``brand`` and, where the person's is not known, its
        language. ``replaces`` puts the answer in the place of the message whose button was pressed.
        """
        if service is not None:
            values.setdefault("brand", self.tools.brands.get(service, service))
        text = self._rendered(template, "reply.html", service, values)
        return Said(Reply(text, buttons, replaces=self.inbound.message_id if replaces else None))

    def label(self, template: str, part: str, *, service: str | None = None) -> str:
        """Return the text of a button: a part of a reply without values."""
        return self._rendered(template, part, service, {})

    def _rendered(self, template: str, part: str, service: str | None, values: Mapping[str, str]) -> str:
        language = self.language if service is None else self.in_language(service)
        return self.tools.texts(template, language, (part,), values)[part]

    @property
    def _wanted(self) -> tuple[str | None, ...]:
        if self.known is None:
            return (self.inbound.language,)
        return self.known["language"], self.inbound.language, self.known["told_language"]


#: Does what an update asks for and returns the answers. Raises ``StorageError``.
Handler = Callable[[Turn], Awaitable[Outcome]]
