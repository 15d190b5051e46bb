"""What may be shown of a value, and which secrets are nobody's: masks and example values."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote_plus, urlsplit

#: Shown in place of every secret, whatever its length.
MASK = "••••"

_USER_PASSWORD = re.compile(r"(?<=://)([^/?#:]*):([^/?#]*)@")
_QUERY_VALUE = re.compile(r"([?&])([^=&#]*)=([^&#]+)")
#: Words and shapes that documentation, templates and tutorials put where a secret belongs.
_EXAMPLE = re.compile(
    r"(?i)change[-_ ]?(me|it|this)!?|re?place[-_ ]?(me|this|it)|placeholder|example|secret|password|todo|tbd|none|null"
    r"|(your|my|insert|enter)[-_ ].*|<.*>|\$?\{.*\}|x{3,}|\*{3,}|\.{3,}|•+"
)


def mask_url(text: str) -> str:
    """Return ``text`` with the passwords of any URL in it masked."""
    return _QUERY_VALUE.sub(_mask_query_value, _USER_PASSWORD.sub(rf"\1:{MASK}@", text)) if "://" in text else text


def _mask_query_value(match: re.Match[str]) -> str:
    return f"{match[1]}{match[2]}={MASK}" if _names_password(unquote_plus(match[2])) else match[0]


def _names_password(key: str) -> bool:
    # libpq's password and sslpassword; asyncpg reads both from the query.
    return "passw" in key.lower()


def url_password(url: str) -> str | None:
    """Return the password a URL carries, before its host or in its query. Raises ``ValueError`` for no URL."""
    parts = urlsplit(url)
    in_query = [value for key, value in parse_qsl(parts.query) if _names_password(key)]
    return parts.password or (in_query[0] if in_query else None)


def secret_fault(text: str) -> str | None:
    """Say why ``text`` cannot be anybody's secret, or return ``None``."""
    if not text.strip():
        return "is empty"
    return "is an example value; set your own" if _EXAMPLE.fullmatch(text.strip()) else None
