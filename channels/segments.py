"""How many SMS a text costs: GSM-7 or UCS-2, and where it is cut (3GPP TS 23.038, 23.040).

One segment carries 140 bytes: 160 septets of GSM-7 or 70 UTF-16 units. A longer text is cut into segments that
each give 6 bytes to a header, which leaves 153 septets or 67 units. One character outside GSM-7 makes the
whole text UCS-2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: The GSM 7-bit default alphabet (3GPP TS 23.038, 6.2.1), one septet each; its escape is not a character.
GSM_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: Its extension table (6.2.1.1): an escape and the character, two septets each.
GSM_EXTENSION: Final = frozenset("\f^{}\\[~]|€")

#: Characters outside GSM-7 that a word processor puts in place of one inside it, and that one.
GSM_TWINS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "\u00a0": " ",  # no-break space
        "\u2007": " ",  # figure space
        "\u2009": " ",  # thin space
        "\u202f": " ",  # narrow no-break space
        "\u200b": "",  # zero width space
        "\ufeff": "",  # byte order mark
        "\u00ad": "",  # soft hyphen
        "\t": " ",
        "`": "'",
        "\u00b4": "'",  # acute accent
        "\u2018": "'",  # quotation marks
        "\u2019": "'",
        "\u201a": "'",
        "\u2039": "'",
        "\u203a": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u00ab": '"',
        "\u00bb": '"',
        "\u2010": "-",  # hyphens, dashes, minus
        "\u2011": "-",
        "\u2012": "-",
        "\u2013": "-",
        "\u2014": "-",
        "\u2212": "-",
        "\u2026": "...",  # ellipsis
        "\u00d7": "x",  # multiplication sign
        "\u00b7": "-",  # middle dot
        "\u2022": "-",  # bullet
    }
)


@dataclass(frozen=True, slots=True)
class Segments:
    """The measure of one text."""

    #: ``GSM-7`` or ``UCS-2``.
    encoding: str
    #: Septets or UTF-16 units.
    units: int
    #: How many SMS are sent and paid.
    count: int
    #: Units one segment holds: of a single one, or of each of several.
    capacity: int

    def __str__(self) -> str:
        if self.count > 1:
            return f"{self.encoding}, {self.units} characters, {self.count} segments of {self.capacity}"
        return f"{self.encoding}, {self.units} of {self.capacity} characters, {self.count} segment"


def measure(text: str) -> Segments:
    """Return how ``text`` is encoded and how many segments it takes."""
    if all(character in GSM_BASIC or character in GSM_EXTENSION for character in text):
        return _packed("GSM-7", [2 if character in GSM_EXTENSION else 1 for character in text], 160, 153)
    return _packed("UCS-2", [2 if ord(character) > 0xFFFF else 1 for character in text], 70, 67)


def avoidable(text: str) -> tuple[str, ...]:
    """Return the characters that alone make ``text`` UCS-2 and have a twin in GSM-7, in code point order.

    Empty where the text is GSM-7, or where another character needs UCS-2 anyway.
    """
    outside = {character for character in text if character not in GSM_BASIC and character not in GSM_EXTENSION}
    return tuple(sorted(outside)) if outside <= GSM_TWINS.keys() else ()


def _packed(encoding: str, widths: Iterable[int], single: int, part: int) -> Segments:
    widths = list(widths)
    units = sum(widths)
    if units <= single:
        return Segments(encoding, units, 1, single)
    count, used = 1, 0
    for width in widths:
        # An escape pair or a surrogate pair is never cut in two: its segment stays one unit short.
        if used + width > part:
            count, used = count + 1, 0
        used += width
    return Segments(encoding, units, count, part)
