"""What the bot can answer: which parts each template of ``templates/conversation`` has, and which values it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """What one template under ``templates/conversation`` consists of."""

    parts: tuple[str, ...] = ("reply.html",)
    #: The values it is given.
    values: frozenset[str] = frozenset()


#: The folder of what the bot answers.
CONVERSATION = "conversation"
#: The commands people are offered, in the order they are shown; a part of ``menu`` describes each.
MENU_COMMANDS = ("start", "help", "codes", "link", "unlink", "lang", "mute", "unmute", "lock", "stop")
_BRAND = frozenset({"brand"})
_ACCOUNT = frozenset({"brand", "account"})
#: Everything the bot can answer, by the template's name.
REPLIES: Mapping[str, Reply] = {
    "start": Reply(),
    "help": Reply(),
    "unknown": Reply(),
    "private_only": Reply(),
    # A button that was pressed before.
    "question_over": Reply(),
    "menu": Reply(tuple(f"{command}.txt" for command in MENU_COMMANDS)),
    # A link of a service.
    "confirm": Reply(("reply.html", "confirm.txt", "decline.txt"), _ACCOUNT),
    "linked": Reply(values=_ACCOUNT),
    "declined": Reply(values=_ACCOUNT),
    "moved": Reply(values=_ACCOUNT),
    "link_invalid": Reply(),
    # A phone number.
    "contact": Reply(("reply.html", "share.txt"), _ACCOUNT),
    "contact_foreign": Reply(),
    "contact_invalid": Reply(),
    "contact_proved": Reply(values=frozenset({"phone"})),
    "contact_differs": Reply(values=_ACCOUNT | {"phone"}),
    "phone_moved": Reply(values=frozenset({"phone"})),
    "link": Reply(("reply.html", "share.txt")),
    # Codes.
    "codes": Reply(),
    "code_line": Reply(values=frozenset({"brand", "when", "place", "outcome"})),
    "codes_none": Reply(),
    "ended": Reply(values=frozenset({"brand", "outcome"})),
    # What a person chooses.
    "unlink": Reply(("reply.html", "phone.txt")),
    "unlinked": Reply(values=_BRAND),
    "nothing_linked": Reply(),
    "language": Reply(("reply.html", "name.txt", "auto.txt")),
    "language_set": Reply(values=frozenset({"language"})),
    "mute": Reply(),
    "unmute": Reply(),
    "muted": Reply(values=_BRAND),
    "unmuted": Reply(values=_BRAND),
    "nothing_muted": Reply(),
    "locked": Reply(values=frozenset({"until"})),
    "stop": Reply(("reply.html", "confirm.txt", "keep.txt")),
    "kept": Reply(),
    "stopped": Reply(values=frozenset({"services", "phone", "muted"})),
    "nothing_to_stop": Reply(),
    # Not me.
    "report": Reply(("button.txt",)),
    "reported": Reply(("reply.html", "lock.txt"), _BRAND),
    "reported_late": Reply(("reply.html", "lock.txt"), _BRAND),
    "not_yours": Reply(),
    # Reverse verification.
    "question": Reply(("reply.html", "confirm.txt", "decline.txt"), _ACCOUNT),
    # What the answer is bound to, below the question.
    "question_detail": Reply(values=frozenset({"name", "value"})),
    "question_approved": Reply(values=_ACCOUNT),
    "question_declined": Reply(values=_ACCOUNT),
    "question_wrong_person": Reply(values=_ACCOUNT),
    "typed_too_often": Reply(),
}
