"""The last line of defence: what looks like a key, a token or an address is masked in every line that is written.

A code looks like any other number and cannot be recognised here: it must never get this far. What this project
masked itself (``+49•••••••678``, ``j•••@e•••.com``) stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import date
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote, quote_plus
from uuid import UUID

from gateway.events.trace import told

#: Shown in place of what was masked, whatever its length.
MASK: Final = "••••"
#: Characters a configured secret needs to be searched for: masking every "a" would tell what the secret is.
MIN_SECRET: Final = 4
#: Levels of lists and tables that are followed; what lies deeper, or holds itself, is cut.
MAX_DEPTH: Final = 6
_CUT: Final = "…"

# A character of an e-mail address. Signs that are legal in one but stand around it far more often (quotes, "=", "/")
# are left out: a rare address then loses all but what stands before such a sign. A bullet marks what is masked already.
_MAIL = r"[^\s@%<>()\[\],:;\"'•\\/=?&]"
_ESCAPE = r"%(?!40)[0-9A-Fa-f]{2}"
# Where an address may begin: not inside a run of its characters, save behind a "%" that is no escape or is an "@".
_MAIL_START = r"(?:(?<![^\s@<>()\[\],:;\"'•\\/=?&])|(?<=%)(?![0-9A-Fa-f]{2})|(?<=%40))"
_PLUS = r"(?:\+|%2[Bb])"
_COLON = r"(?::|%3[Aa])"
# Every run is possessive (of a group, atomic: up to Python 3.11.3 a possessive group loses matches) and starts where no such character stands before it, so that no text takes quadratic time.
_PATTERN: Final = re.compile(
    "|".join(
        (
            # RFC 6750 and RFC 7617 credentials, in a header, a repr or a URL.
            r"(?P<kept>(?i:bearer|basic)(?>(?:\s|%20|\+)+)[\"']?)[^\s\"',;&]+",
            # An e-mail address, also with its @ encoded.
            rf"{_MAIL_START}(?>(?:{_MAIL}|{_ESCAPE})+)(?:@|%40)\[?{_MAIL}++",
            # An API key; its prefix stays, so that a reader knows what was there.
            r"(?<=otpg_)[A-Za-z0-9_-]+",
            # A bot token, and whatever stands in its place in a Bot API URL.
            rf"(?<![0-9])[0-9]{{6,}}+{_COLON}[A-Za-z0-9_-]{{30,}}+",
            rf"(?<=/bot)[0-9]++{_COLON}[^\s/\"'?]+",
            # E.164 has 15 digits at most; more are masked along with them.
            rf"{_PLUS}[0-9]{{7,}}+",
        )
    )
)


class Redactor:
    """Masks secrets and addresses. ``secrets`` are values that must not be written whatever they look like.

    It is a structlog processor: called with an event's dictionary, it returns one that can be written as JSON.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {form for secret in secrets if len(secret) >= MIN_SECRET for form in _spellings(secret)}
        # Longest first: a secret that is a part of another must not leave the rest of that one standing.
        self._secrets = tuple(sorted(spellings, key=lambda form: (-len(form), form)))

    def __call__(self, _logger: object, _method: str, fields: MutableMapping[str, Any]) -> Mapping[str, Any]:
        """Return ``fields`` with every value masked and made fit for JSON."""
        return {self.text(str(name)): self.value(value) for name, value in fields.items()}

    def text(self, text: str) -> str:
        """Return ``text`` with everything masked that looks like a secret or an address.

        Masking again changes nothing. 0.4 µs for a short text with nothing in it, 4 µs with an address (measured).
        """
        masked = self._masked_once(text)
        while masked != text:
            # What was masked may have brought the halves of something else together. No turn adds a character that is
            # no bullet, and a run of bullets comes to the mask's length and stays, so this ends.
            text, masked = masked, self._masked_once(masked)
        return masked

    def value(self, value: object, depth: int = MAX_DEPTH) -> Any:
        """Return ``value`` masked, as strings, numbers, lists and tables that JSON can hold.

        Of other objects only the type is told: their text may hold anything, a library's exceptions' too.
        """
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, str):
            return self.text(str.__str__(value))
        if isinstance(value, int):
            return _number(int(value))
        if isinstance(value, (date, PurePath, UUID)):
            return self.text(str(value))
        if isinstance(value, BaseException):
            return self.text(told(value))
        if isinstance(value, (Mapping, list, tuple, set, frozenset)):
            return self._gathered(value, depth - 1) if depth else _CUT
        return f"<{type(value).__qualname__}>"

    def _gathered(self, value: Mapping[Any, Any] | Iterable[Any], depth: int) -> Any:
        if isinstance(value, Mapping):
            return {str(self.value(name, 0)): self.value(item, depth) for name, item in value.items()}
        return [self.value(item, depth) for item in value]

    def _masked_once(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        if not text.isascii():
            # A lone surrogate cannot be written as UTF-8; it is shown as \udc80.
            text = text.encode("utf-8", "backslashreplace").decode()
        return _PATTERN.sub(_mask, text) if _is_suspicious(text) else text


def _spellings(secret: str) -> set[str]:
    """Return a secret as it may stand in a text: as it is, in a URL, in JSON, in a ``repr``, with bad characters shown."""
    plain = secret.encode("utf-8", "backslashreplace").decode()
    forms = {secret, plain, quote(plain, safe=""), quote(plain), quote_plus(plain), repr(secret)[1:-1]}
    return forms | {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}


def _is_suspicious(text: str) -> bool:
    """Whether the pattern could match: every alternative needs one of these. A tenth of the pattern's own price."""
    if "@" in text or "+" in text or "%" in text or "otpg_" in text or ":" in text:
        return True
    folded = text.casefold()
    return "bearer" in folded or "basic" in folded


def _mask(match: re.Match[str]) -> str:
    return (match["kept"] or "") + MASK


def _number(value: int) -> int | str:
    # JSON's readers agree on 53 bits; orjson refuses more than 64.
    return value if -(2**53) < value < 2**53 else str(value)
