"""Telegram's HTML as a bot may send it: the text a person reads, its entities, and what Telegram refuses.

https://core.telegram.org/bots/api#html-style
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: The tags Telegram knows and the type of entity each becomes.
TAGS = {
    "a": "text_link",
    "b": "bold",
    "blockquote": "blockquote",
    "code": "code",
    "del": "strikethrough",
    "em": "italic",
    "i": "italic",
    "ins": "underline",
    "pre": "pre",
    "s": "strikethrough",
    "span": "spoiler",
    "strike": "strikethrough",
    "strong": "bold",
    "tg-emoji": "custom_emoji",
    "tg-spoiler": "spoiler",
    "u": "underline",
}

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>")
_ATTRIBUTE = re.compile(r"([a-zA-Z][\w-]*)(?:\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+)))?")
_REFERENCE = re.compile(r"&(?:#(\d{1,7})|#x([0-9a-fA-F]{1,6})|(lt|gt|amp|quot)(?![a-zA-Z]));?")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}


class ParseError(ValueError):
    """Text that Telegram would refuse; the text of the error is Telegram's own."""


@dataclass(slots=True)
class _Open:
    """A tag that was opened: its name, its attributes and where its content starts."""

    tag: str
    attributes: dict[str, str]
    start: int


def units(text: str) -> int:
    """Return the length of ``text`` in UTF-16 units, in which Telegram measures."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parse(markup: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the plain text of ``markup`` and its entities (MessageEntity objects) in order.

    Raises ``ParseError``.
    """
    text, position = "", 0
    entities: list[dict[str, Any]] = []
    opened: list[_Open] = []
    while (start := markup.find("<", position)) >= 0:
        text += decode(markup[position:start])
        found = _TAG.match(markup, start)
        if found is None:
            raise ParseError(_complaint(markup, start))
        position = found.end()
        if found[1]:
            entities += _close(opened, found[2].lower(), text, _offset(markup, start))
        else:
            opened.append(_open(found, text, _offset(markup, start)))
    if opened:
        raise ParseError(f'Can\'t find end tag corresponding to start tag "{opened[-1].tag}"')
    # Reversed, because of two with the same extent the outer one, which closed later, comes first.
    entities.reverse()
    entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
    return text + decode(markup[position:]), entities


def decode(text: str) -> str:
    """Replace character references: the numeric ones and the four names Telegram knows; others stay as they are."""
    return _REFERENCE.sub(_character, text)


def _character(reference: re.Match[str]) -> str:
    decimal, hexadecimal, name = reference.groups()
    if name is not None:
        return _NAMED[name]
    number = int(decimal) if decimal is not None else int(hexadecimal, 16)
    legal = 0 < number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF
    return chr(number) if legal else reference[0]


def _offset(markup: str, position: int) -> int:
    return len(markup[:position].encode("utf-8", "surrogatepass"))


def _complaint(markup: str, start: int) -> str:
    """Say what is wrong with a ``<`` that begins no tag."""
    offset = _offset(markup, start)
    if ">" not in markup[start:]:
        return f"Unclosed start tag at byte offset {offset}"
    name = re.match(r"/?[^\s>]*", markup[start + 1 :])
    return f'Unsupported start tag "{name[0] if name else ""}" at byte offset {offset}'


def _open(found: re.Match[str], text: str, offset: int) -> _Open:
    tag = found[2].lower()
    attributes = {
        name.lower(): decode(double or single or bare) for name, double, single, bare in _ATTRIBUTE.findall(found[3])
    }
    if tag not in TAGS or (tag == "span" and attributes.get("class") != "tg-spoiler"):
        raise ParseError(f'Unsupported start tag "{tag}" at byte offset {offset}')
    return _Open(tag, attributes, units(text))


def _close(opened: list[_Open], tag: str, text: str, offset: int) -> list[dict[str, Any]]:
    """End the innermost tag and return its entity; none for an empty one or a link without a valid address."""
    if not opened:
        raise ParseError(f"Unexpected end tag at byte offset {offset}")
    last = opened.pop()
    if last.tag != tag:
        raise ParseError(f'Unmatched end tag at byte offset {offset}, expected "</{last.tag}>", found "</{tag}>"')
    entity: dict[str, Any] = {"type": TAGS[tag], "offset": last.start, "length": units(text) - last.start}
    if tag == "a":
        entity["url"] = last.attributes.get("href", "")
    elif tag == "tg-emoji":
        entity["custom_emoji_id"] = last.attributes.get("emoji-id", "")
    elif tag == "blockquote" and "expandable" in last.attributes:
        entity["type"] = "expandable_blockquote"
    return [entity] if entity["length"] and _leads_somewhere(entity) else []


def _leads_somewhere(entity: dict[str, Any]) -> bool:
    if "url" not in entity:
        return True
    try:
        return urlsplit(entity["url"]).scheme in {"http", "https", "tg", "mailto", "tel"}
    except ValueError:
        return False
