"""What every table of config.toml is made of: frozen, closed to unknown keys, and named so that variables can name it."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
#: As in a request's body.
_PURPOSE = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def _checked_name(name: str) -> str:
    # Names become parts of environment variables, where "__" parts keys and "_FILE" ends the name of a file.
    if not _NAME.fullmatch(name) or name.endswith("_file"):
        raise ValueError(
            "a name is lower-case letters, digits and single underscores, starts with a letter and does not end in _file"
        )
    return name


#: The name of a channel or a service.
Name = Annotated[str, AfterValidator(_checked_name)]


def _checked_purpose(name: str) -> str:
    # As requests may name it; what a variable could not carry would be a purpose that one of them cannot reach.
    if not _PURPOSE.fullmatch(name) or "__" in name or name.endswith("_file"):
        raise ValueError(
            "a purpose is 1 to 64 lower-case letters, digits, dashes and underscores, a letter first, no two underscores "
            "in a row, and does not end in _file"
        )
    return name


#: The name of a purpose.
PurposeName = Annotated[str, AfterValidator(_checked_purpose)]


class Table(BaseModel):
    """A table of config.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def split_url(url: str) -> SplitResult:
    """Split a URL. Raises ``ValueError`` without the URL in its text: it may hold a password."""
    if not url.isprintable() or " " in url:
        raise ValueError("must have no spaces and no control characters")
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for the error a bad port raises: what follows a stray "/" or "#" in a password
    except ValueError:
        raise ValueError("is not a valid URL") from None
    return parts


def is_every_address(host: str) -> bool:
    """Tell whether a host is every address of this machine: one to listen on, and none to call."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _packed(host) == bytes(4)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_unspecified


def _packed(host: str) -> bytes | None:
    """Return an IPv4 address written in fewer than four parts, as ``bind`` reads it: ``0`` is one."""
    try:
        return socket.inet_aton(host)
    except OSError:
        return None
