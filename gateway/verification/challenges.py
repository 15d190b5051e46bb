"""Challenges: what a person types to the bot in a reverse verification; made without bias, read leniently."""

from __future__ import annotations

import re

from gateway.verification.codes import ALPHABETS, RandomBelow

#: What a challenge is made of: nothing that is read as something else.
ALPHABET = ALPHABETS["unambiguous"].characters
#: Characters of one: 34.6 bits, for one verification and as long as that lives.
LENGTH = 8
#: Characters of a text that is looked at; a longer one is none.
MAX_TYPED = 64

_IGNORED = str.maketrans("", "", " -")
_TYPED = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")


def make(random_below: RandomBelow) -> str:
    """Return a challenge, each as likely as any other, as it is read back: without a dash."""
    number = random_below(len(ALPHABET) ** LENGTH)
    letters = []
    for _ in range(LENGTH):
        number, place = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[place])
    return "".join(letters)


def shown(challenge: str) -> str:
    """Return a challenge as people are shown it: ``XXXX-XXXX``."""
    half = LENGTH // 2
    return f"{challenge[:half]}-{challenge[half:]}"


def read(typed: str) -> str | None:
    """Return the challenge a person typed, whatever its case, spaces and dashes; ``None`` where it is none."""
    # Letters of other scripts fold to several of ours: only ASCII is folded.
    if len(typed) > MAX_TYPED or not typed.isascii():
        return None
    folded = typed.translate(_IGNORED).upper()
    return folded if _TYPED.fullmatch(folded) else None
