"""Codes: what they are made of, made without bias, read leniently, compared in constant time, and how many there are.

Settings are checked by the same rules, so nothing in here knows of settings.
"""

from __future__ import annotations

import hmac
import itertools
import math
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Final, Literal, cast

from gateway.randomness import random_below
from gateway.value import Value

#: The longest code that is looked at; a longer one is malformed, not wrong.
MAX_LENGTH = 64
#: The fewest characters of any code.
SHORTEST: Final = 4
#: The most digits of one: more are not typed without a mistake.
MOST_DIGITS: Final = 10
#: The most characters of one from another alphabet: grouped, it fits one SMS with the shipped texts and a service's name
#: of 21 characters.
LONGEST: Final = 32
#: The fewest characters where classes are asked for: the code is a temporary password then.
SHORTEST_PASSWORD: Final = 9
#: The fewest codes there may be unless told otherwise: those of six digits (NIST SP 800-63B-4, 3.1.3.2).
FEWEST: Final = 10**6

#: Returns a number below its argument, every one as likely; ``random_below`` outside tests.
RandomBelow = Callable[[int], int]

#: The alphabets there are.
AlphabetName = Literal["digits", "letters", "lower", "upper", "alphanumeric", "symbols", "unambiguous"]
#: The classes of characters that can be asked for.
ClassName = Literal["lower", "upper", "digits", "symbols"]

_DIGITS: Final = "0123456789"
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_UPPER: Final = _LOWER.upper()
# Each is one septet of an SMS, and none of them ends a sentence, is escaped in HTML, or means something in a WebOTP line.
_SIGNS: Final = "!$()*+/=?_"

#: ``random_below`` draws up to 2⁶⁴: as many digits as one draw can hold.
_DRAWN_AT_ONCE: Final = 19
_IGNORED: Final = str.maketrans("", "", " -")


class Alphabet(Value, frozen=True):
    """What the codes of a policy are made of. No alphabet has a space or a dash: these part the groups of a code."""

    characters: str
    #: The most characters between two dashes where codes are shown; 0 shows them in one piece.
    group: int = 0

    @property
    def longest(self) -> int:
        """The most characters of a code."""
        return MOST_DIGITS if self.characters == _DIGITS else LONGEST

    @property
    def shortest(self) -> int:
        """The fewest characters that give as many codes as six digits do."""
        return next(length for length in range(1, LONGEST) if len(self.characters) ** length >= FEWEST)


#: Every alphabet by its name.
ALPHABETS: Final[Mapping[str, Alphabet]] = MappingProxyType(
    {
        "digits": Alphabet(_DIGITS),
        "letters": Alphabet(_UPPER + _LOWER),
        "lower": Alphabet(_LOWER),
        "upper": Alphabet(_UPPER),
        "alphanumeric": Alphabet(_DIGITS + _UPPER + _LOWER),
        "symbols": Alphabet(_DIGITS + _UPPER + _LOWER + _SIGNS),
        # Of characters that look alike (0 O, 1 I L, 5 S …) one at most, and no vowels, so no words.
        "unambiguous": Alphabet("23456789CFGHJMPQRVWX", group=4),
    }
)
#: The characters of each class.
CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {"lower": _LOWER, "upper": _UPPER, "digits": _DIGITS, "symbols": _SIGNS}
)
#: What a code is made of unless a policy says otherwise.
DIGITS: Final[AlphabetName] = "digits"

_EVERY: Final = frozenset("".join(alphabet.characters for alphabet in ALPHABETS.values()))


class MalformedCodeError(ValueError):
    """Not a code at all: empty, too long, or with characters no such code has. It costs no check."""


class WeakPasswordError(ValueError):
    """A temporary password that is too short to be one."""


def alphabet_named(name: str | None) -> AlphabetName:
    """Return an alphabet's name as a verification's row holds it: ``None`` is digits."""
    return cast("AlphabetName", name) if name in ALPHABETS else DIGITS


def check_classes(alphabet: str, classes: Collection[str]) -> None:
    """Raise ``ValueError`` where a class is named twice, or the alphabet has nothing of it."""
    if len(set(classes)) < len(classes):
        raise ValueError("must name a class once only")
    for name in classes:
        if not set(CLASSES[name]) & set(ALPHABETS[alphabet].characters):
            raise ValueError(f"the alphabet {alphabet} has nothing of {name}")


def check_length(length: int, alphabet: str, classes: Collection[str]) -> None:
    """Raise ``ValueError`` for a length that codes of an alphabet cannot have, ``WeakPasswordError`` for a weak one."""
    longest = ALPHABETS[alphabet].longest
    if length > longest:
        raise ValueError(f"must be {longest} or less with the alphabet {alphabet}")
    if length < SHORTEST:
        raise ValueError(f"must be {SHORTEST} or more")
    if classes and length < SHORTEST_PASSWORD:
        raise WeakPasswordError(
            f"must be {SHORTEST_PASSWORD} or more: with classes a code is a temporary password, and a shorter one is weak"
        )


def make(
    length: int,
    alphabet: str = DIGITS,
    classes: Collection[str] = (),
    random_below: RandomBelow = random_below,
) -> str:
    """Return a code as people are shown it, every code that has all of ``classes`` as likely as any other.

    Codes are drawn whole until one has them. One character of each class put in at random places would be quicker and
    biased: a code with two digits can come about in two such ways, one with a single digit in one. For nine characters
    and all four classes half of the draws do. ``check_classes`` and ``check_length`` must have passed.
    """
    made_of = ALPHABETS[alphabet]
    code = (
        _holding(length, made_of.characters, classes, random_below)
        if classes
        else _drawn(length, made_of.characters, random_below)
    )
    return _grouped(code, made_of.group) if made_of.group else code


def make_anew(code: str, alphabet: str, classes: Collection[str], random_below: RandomBelow = random_below) -> str:
    """Return another code like ``code``: of the same length, with those of ``classes`` that it has.

    A policy that was changed in between cannot ask for what so short a code or such an alphabet does not hold.
    """
    kept = [name for name in classes if not set(CLASSES[name]).isdisjoint(code)]
    return make(len(plain(code)), alphabet, kept, random_below)


def shown(code: str, alphabet: str) -> str:
    """Return a code as people are shown it: in groups as even as can be where its alphabet has any (``XXXX-XXXX``)."""
    group = ALPHABETS[alphabet].group
    return _grouped(code, group) if group else code


def plain(code: str) -> str:
    """Return a shown code without what parts its groups."""
    return code.replace("-", "")


def read(given: str) -> str:
    """Return what a person typed without the spaces and dashes people put in. Raises ``MalformedCodeError``.

    What no alphabet has is malformed here; ``folded`` then knows the code's own.
    """
    if len(given) > MAX_LENGTH:
        raise MalformedCodeError(f"longer than {MAX_LENGTH} characters")
    code = given.translate(_IGNORED)
    if not code:
        raise MalformedCodeError("empty")
    if not _EVERY.issuperset(code):
        raise MalformedCodeError("characters that no code has")
    return code


def folded(code: str, alphabet: str) -> str:
    """Return a code, without spaces and dashes, in the case of its alphabet where that has one case only.

    Raises ``MalformedCodeError`` for characters that no code of this alphabet has: such a one is no guess.
    """
    characters = ALPHABETS[alphabet].characters
    # Letters of other scripts fold to some of ours ("ß" to "SS"): only ASCII is folded.
    if not code.isascii():
        raise MalformedCodeError(f"characters that this code, of {alphabet}, does not have")
    if characters.upper() == characters:
        code = code.upper()
    elif characters.lower() == characters:
        code = code.lower()
    if not set(characters).issuperset(code):
        raise MalformedCodeError(f"characters that this code, of {alphabet}, does not have")
    return code


def same(given: str, code: str) -> bool:
    """Compare in a time that says nothing of where they differ."""
    return hmac.compare_digest(given.encode(), code.encode())


def combinations(length: int, alphabet: str, classes: Collection[str] = ()) -> int:
    """Return how many codes there are: exactly, by inclusion and exclusion of the classes that could be missing."""
    return _counted(length, ALPHABETS[alphabet].characters, classes)


def entropy(length: int, alphabet: str, classes: Collection[str] = ()) -> float:
    """Return the bits of a code, each as likely as any other."""
    return math.log2(combinations(length, alphabet, classes))


def example(length: int, alphabet: str) -> str:
    """Return a code for previews: always the same, its characters all over the alphabet."""
    characters = ALPHABETS[alphabet].characters
    # 7 divides the size of no alphabet, so no character comes twice before all of them came.
    return shown("".join(characters[(4 + 7 * place) % len(characters)] for place in range(length)), alphabet)


def _counted(length: int, characters: str, classes: Collection[str]) -> int:
    sizes = [len(set(CLASSES[name]) & set(characters)) for name in classes]
    missing = (left_out for number in range(len(sizes) + 1) for left_out in itertools.combinations(sizes, number))
    return sum((-1) ** len(left_out) * (len(characters) - sum(left_out)) ** length for left_out in missing)


def _holding(length: int, characters: str, classes: Collection[str], random_below: RandomBelow) -> str:
    needed = [set(CLASSES[name]) for name in classes]
    while True:
        code = _drawn(length, characters, random_below)
        if all(not one.isdisjoint(code) for one in needed):
            return code


def _grouped(code: str, group: int) -> str:
    if len(code) <= group:
        return code
    number = -(-len(code) // group)
    least, longer = divmod(len(code), number)
    characters = iter(code)
    return "-".join("".join(itertools.islice(characters, least + (place < longer))) for place in range(number))


def _drawn(length: int, characters: str, random_below: RandomBelow) -> str:
    if characters == _DIGITS and length <= _DRAWN_AT_ONCE:
        # One draw for all: a code is made for each message.
        return str(random_below(10**length)).zfill(length)
    return "".join(characters[random_below(len(characters))] for _ in range(length))
