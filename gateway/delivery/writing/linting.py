"""``templates lint``: what is wrong with templates that compile, found by rendering them at their longest values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from channels.base import Channel
from gateway.delivery.writing.locales import DEFAULT, PLAIN, fallbacks, written
from gateway.delivery.writing.reply_parts import CONVERSATION, REPLIES
from gateway.delivery.writing.templating import (
    CODE_VALUES,
    FALLBACK,
    BrokenTemplatesError,
    TemplateFile,
    Templates,
    code_values,
)
from gateway.errors import TemplateError

#: The longest code of a service whose codes are digits.
LONGEST_CODE = "9182736450"
#: A service name of 30 characters, the longest that still fits one SMS with the shipped texts.
LONGEST_BRAND = "Northern Lights Savings & Loan"
#: What a caller's parameter is taken to be: a long name.
LONGEST_PARAM = "Maximiliane-Theodora von Salis"
#: Seconds the code still lives: the most (NIST SP 800-63B-4), and both ends of the plural.
REMAINING = (600.0, 60.0, 30.0)


class Severity(StrEnum):
    """How bad a finding is."""

    #: People would get a wrong message, or none.
    ERROR = "error"
    #: Messages go out, though not as somebody meant.
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at."""

    #: A file, or the folder of a set where something is missing.
    file: str
    #: From 1; ``None`` where no line is to blame.
    line: int | None
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class _Set:
    """All files of one template of one channel, and what is expected of them."""

    channel: str
    template: str
    files: Sequence[TemplateFile]
    parts: tuple[str, ...]
    values: frozenset[str]
    adapter: type[Channel] | None
    #: Parts by locale.
    locales: Mapping[str, Mapping[str, TemplateFile]] = field(init=False)

    def __post_init__(self) -> None:
        locales: dict[str, dict[str, TemplateFile]] = {}
        for file in self.files:
            locales.setdefault(file.locale, {})[file.part] = file
        object.__setattr__(self, "locales", locales)

    @property
    def path(self) -> Path:
        return self.files[0].path.parent

    def missing(self, locale: str) -> list[str]:
        """Return the needed parts that this locale lacks."""
        return [part for part in self.parts if part not in self.locales.get(locale, {})]

    def complete(self) -> list[str]:
        """Return the locales that can be rendered: none while a plain file is missing."""
        return [] if self.missing(PLAIN) else [locale for locale in self.locales if not self.missing(locale)]


def lint(
    templates: Templates,
    channels: Mapping[str, tuple[str, type[Channel]]],
    *,
    brand: str = LONGEST_BRAND,
    code: str = LONGEST_CODE,
) -> list[Finding]:
    """Return everything to look at, sorted by file and line.

    ``channels`` maps a channel's name to its adapter's name and class; ``brand`` is the longest service name, ``code`` the
    longest code as people are shown it.
    """
    classes = dict(channels.values()) | {name: kind for name, (_, kind) in channels.items()}
    sets = list(_sets(templates, classes))
    everywhere = {file.locale for item in sets for file in item.files}
    found = [*_missing_sets(templates, channels), *_strangers(templates, classes)]
    for item in sets:
        found += [*_part_findings(item), *_locale_findings(item, everywhere)]
        found += _text_findings(templates, item, brand, code)
    return sorted(dict.fromkeys(found), key=lambda finding: (finding.file, finding.line or 0, finding.text))


def _sets(templates: Templates, classes: Mapping[str, type[Channel]]) -> Iterator[_Set]:
    grouped: dict[tuple[str, str], list[TemplateFile]] = {}
    for file in templates.files:
        grouped.setdefault((file.channel, file.template), []).append(file)
    for (channel, template), files in grouped.items():
        if channel in classes:
            yield _Set(channel, template, files, classes[channel].parts, CODE_VALUES, classes[channel])
        elif channel == CONVERSATION and template in REPLIES:
            yield _Set(channel, template, files, REPLIES[template].parts, REPLIES[template].values, None)


def _missing_sets(templates: Templates, channels: Mapping[str, tuple[str, type[Channel]]]) -> Iterator[Finding]:
    """Find what a start would be refused for."""
    for name, (adapter, kind) in channels.items():
        yield from _required(templates, name, adapter, FALLBACK, kind.parts)
    # Only a channel that hears people answers them.
    if any(kind.listen is not Channel.listen for _, kind in channels.values()):
        for template, reply in REPLIES.items():
            yield from _required(templates, CONVERSATION, CONVERSATION, template, reply.parts)


def _required(templates: Templates, name: str, adapter: str, template: str, parts: Sequence[str]) -> Iterator[Finding]:
    try:
        templates.require(name, adapter, template, parts)
    except TemplateError as error:
        yield Finding(f"{name}/{template}", None, Severity.ERROR, str(error))


def _strangers(templates: Templates, classes: Mapping[str, type[Channel]]) -> Iterator[Finding]:
    for path in templates.strangers:
        yield Finding(str(path), None, Severity.ERROR, "not named <part>[.<locale>].txt or .html, so it is never used")
    known = {*classes, CONVERSATION}
    for folder in {file.path.parents[1] for file in templates.files if file.channel not in known}:
        text = f"no channel or adapter has this name{_nearest(folder.name, known)}"
        yield Finding(str(folder), None, Severity.WARNING, text)
    for folder in {file.path.parent for file in templates.files if file.channel == CONVERSATION}:
        if folder.name not in REPLIES:
            text = f"the bot never answers with this{_nearest(folder.name, REPLIES)}"
            yield Finding(str(folder), None, Severity.WARNING, text)


def _nearest(word: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def _part_findings(item: _Set) -> Iterator[Finding]:
    for part in item.missing(PLAIN):
        yield Finding(str(item.path / part), None, Severity.ERROR, "missing, so the whole template is never used")
    for file in item.files:
        if file.part not in item.parts:
            text = f"{item.channel} has no part {file.part}{_nearest(file.part, item.parts)}"
            yield Finding(str(file.path), None, Severity.ERROR, text)


def _locale_findings(item: _Set, everywhere: Iterable[str]) -> Iterator[Finding]:
    for locale in item.locales.keys() - {PLAIN}:
        if item.missing(locale):
            text = f"{written(locale)} has no {', '.join(item.missing(locale))}, so it is never used"
            yield Finding(str(item.path), None, Severity.ERROR, text)
    for locale in everywhere:
        wanted = fallbacks(locale)[:-1]
        if wanted and DEFAULT not in wanted and item.locales.keys().isdisjoint(wanted):
            text = f"missing locale: other templates have {written(locale)}"
            yield Finding(str(item.path), None, Severity.WARNING, text)


def _text_findings(templates: Templates, item: _Set, brand: str, code: str) -> Iterator[Finding]:
    """Find what shows in the text: unknown variables, a code that is missing or where it must not be."""
    blamed: set[tuple[str, int | None]] = set()
    for file in item.files:
        for line, name in templates.undeclared(file, item.values):
            blamed.add((str(file.path), line))
            text = f"unknown variable {name}{_nearest(name, item.values)}"
            yield Finding(str(file.path), line, Severity.ERROR, text)
    for locale in item.complete():
        for values in _samples(templates, item, brand, code):
            for finding in _rendered_findings(templates, item, locale, values):
                if (finding.file, finding.line) not in blamed:
                    yield finding


def _samples(templates: Templates, item: _Set, brand: str, code: str) -> Iterator[dict[str, object]]:
    if item.adapter is None:
        yield {name: brand if name == "brand" else LONGEST_PARAM for name in item.values}
        return
    whole = tuple(dict.fromkeys(templates.members(name), LONGEST_PARAM) for name in ("params", "bind"))
    for params, bind in (({}, {}), whole):
        for remaining in REMAINING:
            yield code_values(
                code=code,
                brand=brand,
                remaining=remaining,
                purpose=item.template,
                locale=DEFAULT,
                params=params,
                bind=bind,
            )


def _rendered_findings(
    templates: Templates, item: _Set, locale: str, values: Mapping[str, object]
) -> Iterator[Finding]:
    try:
        parts = templates.render(
            channel=item.channel,
            adapter=item.channel,
            purpose=item.template,
            locale=locale,
            parts=item.parts,
            values=values,
        )
    except BrokenTemplatesError as error:
        for fault in error.faults:
            yield Finding(str(fault.path), fault.line, Severity.ERROR, fault.text)
        return
    for part, text in parts.items():
        for fault_text in _part_faults(part, text, str(values["code"]) if item.adapter is not None else None):
            yield Finding(str(item.locales[locale][part].path), None, Severity.ERROR, fault_text)
    if item.adapter is not None:
        first = str(item.locales[locale][item.parts[-1]].path)
        for fault_text in item.adapter.inspect(parts).faults:
            yield Finding(first, None, Severity.ERROR, fault_text)


def _part_faults(part: str, text: str, code: str | None) -> Iterator[str]:
    """Judge one rendered part. A body carries the code; a subject shows on locked screens and must not."""
    stem = part.partition(".")[0]
    if not text:
        yield "empty"
    if stem == "subject" and "\n" in text:
        yield "a subject is one line"
    if code is not None and stem == "body" and code not in text:
        yield "the code is missing, or not in one piece to be copied and filled in"
    if code is not None and stem == "subject" and code in text:
        yield "the code is in the subject, which shows on locked screens and in logs of mail servers"
