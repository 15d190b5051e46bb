"""Locales as callers and file names write them: ``de-AT`` falls back to ``de``, then to the plain files.

Tags follow RFC 5646 as far as templates need it: a language of two or three letters and any further subtags.
Case does not count, and ``_`` is as good as ``-``.
"""

from __future__ import annotations

import re

#: The language of the files without a locale in their name.
DEFAULT = "en"
#: The key of the files without a locale in their name.
PLAIN = ""

_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8}){0,7}", re.ASCII)
_SCRIPT_LENGTH = 4
_REGION_LENGTH = 2


def normalize(tag: str) -> str:
    """Return ``tag`` as look-ups are keyed (``de_AT`` → ``de-at``); ``PLAIN`` where it is no language tag."""
    key = tag.strip().replace("_", "-").lower()
    return key if _TAG.fullmatch(key) else PLAIN


def fallbacks(tag: str) -> tuple[str, ...]:
    """Return the keys to try, the most specific first and ``PLAIN`` last. Never raises."""
    key = normalize(tag)
    if key == PLAIN:
        return (PLAIN,)
    subtags = key.split("-")
    return (*("-".join(subtags[:count]) for count in range(len(subtags), 0, -1)), PLAIN)


def choices(*tags: str) -> tuple[str, ...]:
    """Return the keys to try for several wishes, the first one's first and ``PLAIN`` last. Never raises.

    The plain files are in ``DEFAULT``: who wishes for that language wishes for nothing behind it.
    """
    keys: list[str] = []
    for tag in tags:
        specific = fallbacks(tag)[:-1]
        keys += specific
        if specific and specific[-1] == DEFAULT:
            break
    return (*keys, PLAIN)


def written(key: str) -> str:
    """Return a key as people write it: ``de-at`` → ``de-AT``, ``zh-hant`` → ``zh-Hant``, ``PLAIN`` → ``en``."""
    language, *rest = (key or DEFAULT).split("-")
    return "-".join([language, *map(_written_subtag, rest)])


def _written_subtag(subtag: str) -> str:
    if len(subtag) == _REGION_LENGTH:
        return subtag.upper()
    return subtag.title() if len(subtag) == _SCRIPT_LENGTH and subtag.isalpha() else subtag
