"""Canaries: known secrets that are sent through the gateway and must be found nowhere they do not belong."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from urllib.parse import quote, unquote

_JSON_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True)
class Canaries:
    """One secret of each sort. Ten digits of code and odd words, so that none is anywhere by chance."""

    code: str = "7304918265"
    key: str = "otpg_canary01_Zq8rT4wX2mB6kV9sD3fG7hJ5nL1pC0yE8aU6iO4tR2wQ1zX9c"
    phone: str = "+4915735984217"
    email: str = "Canary.Nightingale+tag@aviary.example.org"
    bot_token: str = "739184652:AAHcanaryQ7w-E5rT_y3U1iO9pA8sD6fG4h"
    smtp_password: str = 'c4nary/smtp "p%ss" +ü&='
    twilio_token: str = "c0ffee5eedcafe1dea5adbadf00dfeed"

    def assert_absent(self, text: str, where: str) -> None:
        """Fail if a canary is in ``text`` in any form; says which, in which form and where, but not the secret."""
        found = [f"{name} ({form})" for name, form in self.found_in(text)]
        assert found == [], f"{where} holds {', '.join(found)}"

    def found_in(self, text: str) -> list[tuple[str, str]]:
        """Return the name and the form of every canary that is in ``text``."""
        readings = list(_readings(text))
        return [
            (field.name, form)
            for field in fields(self)
            for spelling, form in _forms(field.name, getattr(self, field.name)).items()
            if any(spelling.casefold() in reading for reading in readings)
        ]


def _readings(text: str) -> Iterator[str]:
    """Yield ``text`` as it is and with URL, JSON and bytes escapes undone; in one case, for addresses have none."""
    plain = _unescaped(text)
    # JSON in JSON, and the repr of UTF-8 bytes.
    deeper = (_unescaped(plain), plain.encode("latin-1", "ignore").decode("utf-8", "ignore"))
    for reading in (text, plain, *deeper, unquote(text), unquote(plain), unquote(text.replace("+", " "))):
        yield reading.casefold()


def _unescaped(text: str) -> str:
    def char(match: re.Match[str]) -> str:
        if number := match[1] or match[2]:
            return chr(int(number, 16))
        return _CONTROL.get(match[3], match[3])

    return _JSON_ESCAPE.sub(char, text)


def _forms(name: str, value: str) -> dict[str, str]:
    forms: dict[str, str] = {}
    for form, spelling in _spellings(name, value):
        forms.setdefault(spelling, form)
    return forms


def _spellings(name: str, value: str) -> Iterator[tuple[str, str]]:
    yield "plain", value
    if name == "code":
        # As people read it: in two halves.
        middle = len(value) // 2
        yield from (("grouped", f"{value[:middle]}{sign}{value[middle:]}") for sign in " -\u00a0\u202f")
    if name == "phone":
        yield "without +", value[1:]
    if name == "key":
        yield "without prefix", value.rpartition("_")[2]
    if name == "bot_token":
        yield "without bot id", value.partition(":")[2]
    yield "url", quote(value, safe="")
    yield "hex", value.encode().hex()
    for shift in range(3):
        yield "base64", _within_base64(value.encode(), shift)
        yield "base64url", _within_base64(value.encode(), shift).replace("+", "-").replace("/", "_")


def _within_base64(value: bytes, shift: int) -> str:
    """Return what base64 makes of ``value`` wherever it stands in the encoded bytes, ``shift`` bytes behind a third one.

    Characters that also depend on what stands before or behind it are left out.
    """
    encoded = base64.b64encode(b"\0" * shift + value).decode().rstrip("=")
    end = len(encoded) - (1 if (shift + len(value)) % 3 else 0)
    return encoded[(0, 2, 3)[shift] : end]
