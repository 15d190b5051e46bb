"""Templates: a folder is a set, a file is a part, ``templates/<channel>/<template>/<part>[.<locale>].<ext>``.

``Templates`` reads and compiles everything once, at start, and says every fault at once. ``render`` then picks the
set (the channel's own, else its adapter's; the purpose's own, else ``verification``) and one locale for all parts.
Files whose name starts with ``_``, and files above the sets, are there to be included by others.
"""

from __future__ import annotations

import copy
import functools
import re
import secrets
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Template, TemplateSyntaxError, nodes
from markupsafe import escape

from gateway.delivery.writing.filling import CODE, fillable
from gateway.delivery.writing.legible import one_line
from gateway.delivery.writing.locales import DEFAULT, PLAIN, choices, normalize
from gateway.delivery.writing.template_language import MAX_SOURCE, Sandbox, explain, is_html, refusals, undeclared
from gateway.delivery.writing.template_language import members as members_named
from gateway.errors import TemplateError

#: The set that serves every purpose without one of its own.
FALLBACK = "verification"
#: The names a code's templates may use; ``code_values`` makes their values.
CODE_VALUES = frozenset({"bind", "brand", "code", "locale", "minutes", "params", "purpose", "seconds"})
#: Seconds by which ``minutes`` may promise too much: a code of five minutes is rendered some milliseconds
#: after it was made, and "4 minutes" would be wrong for nearly all of its life.
GRACE = 5.0

_EXTENSIONS = {".txt", ".html"}
#: Of these, those of the caller's, by name.
_GIVEN = ("bind", "params")
#: What a part without any of them depends on beside the code and the passing seconds.
_OTHERS = ("brand", "locale", "minutes", "purpose")
_NOTHING: Mapping[str, str] = {}
#: Messages kept with gaps for the code, a few KB each.
_FRAMES = 128
#: Look-ups kept; purposes and locales come from callers, so there is no natural bound.
_CACHED = 2048
#: ``sms/verification/body.txt``: nothing may lie deeper.
_DEPTH = 3
_FILE_NAME = re.compile(r"(?P<stem>[a-z0-9][a-z0-9_-]*)(\.(?P<locale>[^.]+))?(?P<extension>\.(txt|html))", re.ASCII)


_Values = tuple[tuple[str, object], ...]
_Look = tuple[str, str, str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with one file."""

    path: Path
    #: From 1; ``None`` where the file as a whole is meant.
    line: int | None
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


class BrokenTemplatesError(TemplateError):
    """Templates that cannot be compiled or rendered. ``faults`` names each file and line."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class TemplateFile:
    """One part in one locale, as the overlay of all folders has it."""

    channel: str
    template: str
    #: The name without the locale: ``body.txt``.
    part: str
    #: The normalised locale (``de-at``) or ``PLAIN``.
    locale: str
    path: Path
    #: The folder it was found in, one of those ``Templates`` was given.
    folder: Path
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        """The name others include it by: ``sms/verification/body.de.txt``."""
        return self.path.relative_to(self.folder).as_posix()


@dataclass(frozen=True, slots=True)
class _Source:
    """One file that was read."""

    name: str
    path: Path
    folder: Path
    text: str


class Templates:
    """The templates of one service, compiled. Rendering is thread-safe and keeps nothing.

    ``folders`` overlay each other file by file: the first that has a file wins. Raises ``BrokenTemplatesError``.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        faults: list[Fault] = []
        sources, strangers = _read(folders, faults)
        #: Where they are, the first folder first.
        self.folders = tuple(folders)
        self._sandbox = Sandbox()
        trees: dict[str, nodes.Template] = {}
        compiled = self._compile(sources, faults, trees)
        #: Every part that can be rendered, sorted by channel, template, part and locale.
        self.files = _parts(sources, strangers, faults)
        #: Files inside the sets that are no part and are not there to be included either.
        self.strangers = tuple(strangers)
        if faults:
            raise BrokenTemplatesError(faults)
        self._paths = {str(source.path) for source in sources.values()}
        self._sets: dict[tuple[str, str], dict[str, dict[str, Template]]] = {}
        for file in self.files:
            locales = self._sets.setdefault((file.channel, file.template), {})
            locales.setdefault(file.locale, {})[file.part] = compiled[file.name]
        self._fillable = frozenset(file.name for file in self.files if fillable(file.name, trees))
        #: The members of a variable that any part names, once they were looked for: that reads every part.
        self._members: dict[str, set[str]] = {}
        self._mark = secrets.token_hex(16)
        self._remember()

    def again(self) -> Templates:
        """Return the same templates for another service: compiled but once (50 ms), with caches of their own."""
        other = copy.copy(self)
        other._remember()  # noqa: SLF001 - a copy of itself
        return other

    def require(self, channel: str, adapter: str, template: str, parts: Sequence[str]) -> None:
        """Refuse to start without ``parts`` in the default locale. Raises ``TemplateError``."""
        self._find(channel, adapter, template, (PLAIN,), tuple(parts))

    def render(
        self,
        *,
        channel: str,
        adapter: str,
        purpose: str,
        locale: str,
        parts: Sequence[str],
        values: Mapping[str, object],
        otherwise: str = DEFAULT,
    ) -> dict[str, str]:
        """Return the text of each of ``parts``, all in one locale, without white space around it.

        The locale is ``otherwise`` where there is nothing in ``locale``'s language.

        Raises ``TemplateError`` with file and line, never with a value.
        """
        look = (channel, adapter, purpose, (locale, otherwise), tuple(parts))
        if values.keys() != CODE_VALUES or any(values[name] for name in _GIVEN):
            return {part: self._render(template, values) for part, template in self._find(*look)}
        code = str(values[CODE])
        escaped = str(escape(code))
        # A plain string again: joined by markup, the frame would be escaped as well.
        return {
            part: (escaped if html else code).join(frame) if template is None else self._render(template, values)
            for part, html, template, frame in self._frames(look, tuple((name, values[name]) for name in _OTHERS))
        }

    def undeclared(self, file: TemplateFile, allowed: frozenset[str]) -> list[tuple[int, str]]:
        """Return line and name of every variable that ``file`` reads and nobody gives it."""
        return list(undeclared(self._sandbox.parse(file.text, file.name), allowed))

    def members(self, variable: str) -> set[str]:
        """Return the members of ``variable`` that any part names: what ``params`` and ``bind`` a lint has to make up."""
        if variable not in self._members:
            trees = (self._sandbox.parse(file.text) for file in self.files)
            self._members[variable] = {name for tree in trees for name in members_named(tree, variable)}
        return self._members[variable]

    def _remember(self) -> None:
        self._find = functools.lru_cache(maxsize=_CACHED)(self._look_up)
        self._frames = functools.lru_cache(maxsize=_FRAMES)(self._render_frames)

    def _compile(
        self, sources: Mapping[str, _Source], faults: list[Fault], trees: dict[str, nodes.Template]
    ) -> dict[str, Template]:
        compiled: dict[str, Template] = {}
        for source in sources.values():
            try:
                tree = self._sandbox.parse(source.text, source.name, str(source.path))
                refused = list(refusals(tree, source.name, sources.__contains__))
                faults.extend(Fault(source.path, line, text) for line, text in refused)
                trees[source.name] = tree
                compiled[source.name] = self._sandbox.add(source.name, tree, str(source.path))
            except TemplateSyntaxError as error:
                faults.append(Fault(source.path, error.lineno, error.message or "broken syntax"))
        return compiled

    def _look_up(
        self, channel: str, adapter: str, purpose: str, wished: tuple[str, ...], parts: tuple[str, ...]
    ) -> tuple[tuple[str, Template], ...]:
        for key in ((channel, purpose), (channel, FALLBACK), (adapter, purpose), (adapter, FALLBACK)):
            locales = self._sets.get(key, {})
            if not _holds(locales, PLAIN, parts):
                continue
            chosen = next(tag for tag in choices(*wished) if _holds(locales, tag, parts))
            return tuple((part, locales[chosen][part]) for part in parts)
        raise TemplateError(f"channel {channel}: no template has all of {', '.join(parts)} without a locale")

    def _render_frames(self, look: _Look, others: _Values) -> list[tuple[str, bool, Template | None, list[str]]]:
        """Return each part's name, whether it is HTML, and what stands around the code where the other values are these.

        Its template as well where that has to be rendered for each code; then nothing stands around that.
        """
        values: dict[str, object] = {**dict(others), **{name: {} for name in _GIVEN}, CODE: self._mark}
        return [
            (part, is_html(template.name), None, self._render(template, values).split(self._mark))
            if template.name in self._fillable
            else (part, False, template, [])
            for part, template in self._find(*look)
        ]

    def _render(self, template: Template, values: Mapping[str, object]) -> str:
        try:
            return template.render(values).strip()
        except Exception as error:  # noqa: BLE001 - an expression can raise anything; all of it is the template's fault
            fault = self._locate(error, template)
        # Raised out here, so that jinja's error, whose text and frames hold values, is not even its context.
        raise BrokenTemplatesError([fault])

    def _locate(self, error: Exception, template: Template) -> Fault:
        path, line = Path(template.filename or ""), None
        for frame, number in traceback.walk_tb(error.__traceback__):
            # Jinja rewrites the frames of templates: their line is the template's own.
            if frame.f_code.co_filename in self._paths:
                path, line = Path(frame.f_code.co_filename), number
        return Fault(path, line, explain(error))


def code_values(
    *,
    code: str,
    brand: str,
    remaining: float,
    purpose: str,
    locale: str,
    params: Mapping[str, str],
    bind: Mapping[str, str] = _NOTHING,
) -> dict[str, object]:
    """Return what a code's templates are given (``CODE_VALUES``). ``remaining``: seconds the code still lives.

    ``seconds`` is rounded down. ``minutes`` is rounded down but for ``GRACE``, and 0 under a minute. Texts
    come as one line each: a caller's name with a line break could forge a line of a message.
    """
    left = max(0.0, remaining)
    return {
        "code": code,
        "brand": one_line(brand),
        "minutes": int((left + GRACE) // 60),
        "seconds": int(left),
        "purpose": one_line(purpose),
        "locale": locale,
        "params": {name: one_line(value) for name, value in params.items()},
        "bind": {name: one_line(value) for name, value in bind.items()},
    }


def _holds(locales: Mapping[str, Mapping[str, Template]], locale: str, parts: Sequence[str]) -> bool:
    return locale in locales and all(part in locales[locale] for part in parts)


def _read(folders: Sequence[Path], faults: list[Fault]) -> tuple[dict[str, _Source], list[Path]]:
    """Return the sources by name, the first folder's first, and the files that are no templates."""
    sources: dict[str, _Source] = {}
    strangers: list[Path] = []
    for folder in folders:
        for path in _walk(folder, folder, faults):
            name = path.relative_to(folder).as_posix()
            text = _text(path, faults) if path.suffix in _EXTENSIONS else None
            if text is not None:
                sources.setdefault(name, _Source(name, path, folder, text))
            elif path.suffix not in _EXTENSIONS and name.count("/") == _DEPTH - 1:
                strangers.append(path)
    return sources, strangers


def _walk(root: Path, folder: Path, faults: list[Fault]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
        inside = root.resolve(strict=True)
    except OSError as error:
        faults.append(Fault(folder, None, f"cannot be read: {error.strerror}"))
        return
    for entry in entries:
        # Hidden files belong to editors, version control and mounted volumes.
        if entry.name.startswith("."):
            continue
        fault = _entry_fault(entry, inside, len(entry.relative_to(root).parts))
        if fault:
            faults.append(Fault(entry, None, fault))
        elif entry.is_dir():
            yield from _walk(root, entry, faults)
        else:
            yield entry


def _entry_fault(entry: Path, inside: Path, depth: int) -> str | None:
    try:
        target = entry.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, up to Python 3.12
        return "a link that leads nowhere"
    if not target.is_relative_to(inside):
        return "a link that leads out of the templates' folder"
    if target.is_dir():
        return "folders go no deeper than <channel>/<template>" if depth >= _DEPTH else None
    return None if target.is_file() else "not a regular file"


def _text(path: Path, faults: list[Fault]) -> str | None:
    """Return a file's text without a byte order mark: one in an SMS would halve what fits."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SOURCE + 1)
    except OSError as error:
        faults.append(Fault(path, None, f"cannot be read: {error.strerror}"))
        return None
    if len(content) > MAX_SOURCE:
        faults.append(Fault(path, None, f"larger than {MAX_SOURCE} bytes"))
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        faults.append(Fault(path, content[: error.start].count(b"\n") + 1, "not UTF-8"))
        return None


def _parts(sources: Mapping[str, _Source], strangers: list[Path], faults: list[Fault]) -> tuple[TemplateFile, ...]:
    """Return the files that are parts; the first folder's wins where two spell one locale differently."""
    found: dict[tuple[str, str, str, str], TemplateFile] = {}
    for source in sources.values():
        if source.name.count("/") != _DEPTH - 1 or source.path.name.startswith("_"):
            continue
        file = _part(source)
        if file is None:
            strangers.append(source.path)
            continue
        first = found.setdefault((file.channel, file.template, file.part, file.locale), file)
        if first is not file and first.folder == file.folder:
            faults.append(Fault(file.path, None, f"the same part and locale as {first.path.name}"))
    return tuple(found[key] for key in sorted(found))


def _part(source: _Source) -> TemplateFile | None:
    channel, template, file_name = source.name.split("/")
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        return None
    locale = normalize(match["locale"] or "")
    if match["locale"] and locale == PLAIN:
        return None
    part = match["stem"] + match["extension"]
    return TemplateFile(channel, template, part, locale, source.path, source.folder, source.text)
