"""The AUTH dialogs of SMTP (RFC 4954): PLAIN (RFC 4616) and LOGIN, which is older and still asked for."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Generator, Mapping

#: Yields prompts, is sent the client's lines and returns user and password.
Dialog = Generator[str, str, tuple[str, str]]


class MalformedAuthError(Exception):
    """A line of the dialog that cannot be read, or ``*``, by which a client gives up."""


def prompt(text: str) -> str:
    """Return the reply that shows ``text`` to the client."""
    return f"334 {base64.b64encode(text.encode()).decode()}"


def _read(line: str) -> str:
    try:
        # RFC 4954 section 4: a single "=" stands for an empty initial response.
        return base64.b64decode("" if line == "=" else line, validate=True).decode()
    except (binascii.Error, ValueError):
        raise MalformedAuthError from None


def _plain(initial: str) -> Dialog:
    fields = _read(initial or (yield "")).split("\0")
    if len(fields) != 3:
        raise MalformedAuthError
    return fields[1], fields[2]


def _login(initial: str) -> Dialog:
    user = _read(initial or (yield "Username:"))
    password = _read((yield "Password:"))
    return user, password


#: The mechanisms by the name EHLO announces.
MECHANISMS: Mapping[str, Callable[[str], Dialog]] = {"PLAIN": _plain, "LOGIN": _login}
