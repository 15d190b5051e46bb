"""Reading what a mail domain publishes: SPF (RFC 7208) and DMARC (RFC 7489). Pure, and total over whatever DNS holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from channels.findings import Finding, fault, ok, warning

#: Terms of an SPF record that cost a look-up, and how many there may be (RFC 7208 4.6.4); included ones count too, so
#: that this is the least there are.
_COSTLY: Final = re.compile(r"[+?~-]?(include|exists|a|mx|ptr)([:/].*)?|redirect=.*", re.IGNORECASE)
LOOKUPS_MAX: Final = 10
_ALL: Final = re.compile(r"([+?~-]?)all", re.IGNORECASE)
_DMARC_POLICIES: Final = frozenset({"none", "quarantine", "reject"})

#: What a record's last word means for mail from servers it does not name (RFC 7208 4.6.2); no sign is a plus.
_OTHERS: Final = {
    "+": "lets everybody send as the domain; end it with ~all or -all",
    "?": "says nothing of other servers; end it with ~all or -all",
}


def spf_finding(subject: str, texts: Sequence[str]) -> Finding:
    """Return what a domain's TXT records say of who may send from it."""
    records = [text for text in texts if text.lower() == "v=spf1" or text.lower().startswith("v=spf1 ")]
    if not records:
        return warning(subject, "no SPF record: many receivers distrust its mail; publish who may send (v=spf1 … -all)")
    if len(records) > 1:
        return fault(subject, f"{len(records)} SPF records, of which receivers take none (RFC 7208 4.5); keep one")
    terms = records[0].split()[1:]
    if sum(1 for term in terms if _COSTLY.fullmatch(term)) > LOOKUPS_MAX:
        return fault(subject, f"the SPF record needs over {LOOKUPS_MAX} look-ups, so receivers take none; shorten it")
    # What stands behind "all" is never read (RFC 7208 5.1).
    last = next((found[1] or "+" for term in terms if (found := _ALL.fullmatch(term))), None)
    if last is None and any(term.lower().startswith("redirect=") for term in terms):
        return ok(subject, "SPF: another domain's record holds")
    last = last or "?"
    if last in _OTHERS:
        told = f"the SPF record {_OTHERS[last]}"
        return fault(subject, told) if last == "+" else warning(subject, told)
    return ok(subject, f"SPF: other servers are {'refused' if last == '-' else 'distrusted'}")


def dmarc_finding(subject: str, texts: Sequence[str]) -> Finding | None:
    """Return what a name's TXT records say of mail that is not proved to be the domain's; ``None`` where nothing."""
    records = [text for text in texts if re.match(r"v\s*=\s*DMARC1\s*(;|\Z)", text)]
    if not records:
        return None
    if len(records) > 1:
        return fault(subject, f"{len(records)} DMARC records, of which receivers take none (RFC 7489 6.6.3); keep one")
    tags = dict(_tag(part) for part in records[0].split(";") if "=" in part)
    policy = tags.get("p", "").lower()
    if policy not in _DMARC_POLICIES:
        return warning(subject, "the DMARC record has no policy that receivers know; set p=reject, quarantine or none")
    return ok(subject, f"DMARC: p={policy}")


def _tag(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name.strip().lower(), value.strip()


def climbing(domain: str) -> list[str]:
    """Return a domain and those above it that may speak for it, down to two labels."""
    labels = domain.split(".")
    return [".".join(labels[place:]) for place in range(max(len(labels) - 1, 1))]
