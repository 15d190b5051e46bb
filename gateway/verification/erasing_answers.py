"""Blanking idempotent answers: what they told of somebody who is erased goes, and the rest stays as it was."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

import orjson

from gateway.delivery.person import Whom

_ID: Final = re.compile(rb"(?:ver|sub|auth)_[0-9a-f]{36}")
#: What tells of somebody by an address of theirs: an answer that was kept about what is deleted by now is found by it.
_NAMES: Final = re.compile(rb'"(?:reference|account)":')

#: What is told of a person beside an id, and what stands there afterwards.
_PERSONAL: Final[Mapping[str, Any]] = {
    "to": {},
    **dict.fromkeys(("link", "qr", "qr_png", "uri", "secret", "display_name", "challenge", "account", "page")),
    "reference": "",
    "codes": [],
}


class Kept:
    """What kept answers tell of one person.

    ``hashes`` returns what a text is known by as an address; ``ids`` are those of what is theirs, and become more as answers
    are looked through: of what was deleted before, an answer alone still tells whose it was.
    """

    def __init__(self, person: Whom, hashes: Callable[[str], Collection[bytes]], ids: set[str]) -> None:
        self._person = person
        self._hashes = hashes
        self._ids = ids

    def without(self, service: str, plain: bytes) -> bytes | None:
        """Return a service's answer without what it told of the person; ``None`` where it tells nothing of them."""
        if _NAMES.search(plain) is not None:
            self._ids.update(told["id"] for told in _objects(plain) if self._is_theirs(service, told))
        if self._ids.isdisjoint(found.decode() for found in _ID.findall(plain)):
            return None
        return blanked(plain, self._ids)

    def _is_theirs(self, service: str, told: Mapping[str, Any]) -> bool:
        if not isinstance(told.get("id"), str):
            return False
        person = self._person
        if person.service in {None, service} and self._is_one_of(told.get("reference"), person.references):
            return True
        return self._is_one_of(told.get("account"), person.everywhere)

    def _is_one_of(self, text: Any, hashes: Collection[bytes]) -> bool:
        return isinstance(text, str) and bool(text) and not set(hashes).isdisjoint(self._hashes(text))


def _objects(plain: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of an answer, however deep they stand."""
    try:
        left = [orjson.loads(plain)]
    except orjson.JSONDecodeError:
        return
    while left:
        told = left.pop()
        if isinstance(told, dict):
            yield told
            left += told.values()
        elif isinstance(told, list):
            left += told


def blanked(plain: bytes, ids: Collection[str]) -> bytes | None:
    """Return an answer without what it told of these ids' person; ``None`` where it tells nothing of them."""
    try:
        told = orjson.loads(plain)
    except orjson.JSONDecodeError:
        return None
    left = _blank(told, ids)
    return None if left == told else orjson.dumps(left)


def _blank(told: Any, ids: Collection[str], *, theirs: bool = False) -> Any:
    """Blank what is of these ids; ``theirs``: what it stands in is."""
    if isinstance(told, list):
        return [_blank(item, ids) for item in told]
    if not isinstance(told, dict):
        return told
    theirs = theirs or told.get("id") in ids
    # Recovery codes tell whose they are by where they are alone.
    is_at_theirs = str(told.get("location")).rpartition("/")[2] in ids
    return {
        name: _PERSONAL[name] if theirs and name in _PERSONAL else _blank(value, ids, theirs=is_at_theirs)
        for name, value in told.items()
    }
