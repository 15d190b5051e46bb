"""Reading the settings: the file, the environment over it, inheritance, then every fault at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from pydantic import ValidationError

from gateway.config.adapters import Ready, check_confirmed, check_routes, examine
from gateway.config.environment import UnreadableError, Variable, read_variables
from gateway.config.given import Findings, Given, KeyPath, Source, flatten, nest, owner_of, section, to_json
from gateway.config.guessing import judge
from gateway.config.locations import Location, find_config, read_toml
from gateway.config.masking import url_password
from gateway.config.schema import Sort, Spot, known_paths, locate, read_json, read_text
from gateway.config.services import PurposeSettings
from gateway.config.settings import RawChannel, ServerSettings, Settings
from gateway.config.wording import describe, secret_in_file, suggest, unknown_key, unknown_variable
from gateway.errors import ConfigError

#: The service every other one inherits from.
_DEFAULT_SERVICE = ("services", "default")
_DATABASE_URL = ("database", "url")


@dataclass(slots=True)
class _Draft:
    """The settings on their way: what was found, and the tables built of it."""

    location: Location
    findings: Findings = field(default_factory=Findings)
    tree: dict[str, object] = field(default_factory=dict)
    settings: Settings | None = None

    @property
    def source(self) -> Source:
        return Source(self.location.folder, self.location.file, self.findings.given, self.location.chosen)


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the config file and the environment (``os.environ`` where none is passed).

    Raises ``ConfigError`` with every fault of both. What only an adapter knows is left to ``check_channels``.
    """
    draft = _draft(path, os.environ if environ is None else environ)
    if draft.settings is None or draft.findings.faults:
        raise ConfigError(draft.findings.faults, read_from=draft.source.told)
    return draft.settings


def diagnose(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    beyond: Callable[[Settings], Iterable[str]] = lambda _: (),
) -> tuple[Settings, Ready]:
    """Do what ``load_settings`` and ``check_channels`` do, and raise the faults of both in one ``ConfigError``.

    ``beyond`` finds more of them, where settings meet the parts they are for. It is asked where others are at fault too,
    of what the settings would be without those.
    """
    draft = _draft(path, os.environ if environ is None else environ)
    # Before the adapters are asked: without a key they refuse, their channel would lack it.
    sound = draft.settings or _sound_settings(draft)
    ready = examine(_sound_channels(draft), draft.findings, loopback=_loopback(draft))
    faults = list(dict.fromkeys([*draft.findings.faults, *(beyond(sound) if sound else ())]))
    if draft.settings is None or faults:
        raise ConfigError(faults, read_from=draft.source.told)
    return draft.settings, ready


def _draft(path: Path | None, environ: Mapping[str, str]) -> _Draft:
    draft = _Draft(find_config(path, environ))
    for key, value in flatten(read_toml(draft.location.file)):
        _take(key, Given(value, key), draft.findings)
    unknown = [variable for variable in read_variables(environ, draft.findings) if not _apply(variable, draft.findings)]
    _name_unknown(unknown, draft.findings)
    _inherit(draft.findings.given)
    draft.tree = nest({key: entry.value for key, entry in draft.findings.given.items()})
    _validate(draft)
    return draft


def _take(path: KeyPath, entry: Given, findings: Findings) -> None:
    """Let a value of the file, or one inside a variable's JSON, take effect, or name its fault."""
    spot = locate(path)
    if spot.sort is Sort.UNKNOWN:
        inside = f"{entry.variable}, " if entry.variable else ""
        findings.refuse(path, inside + unknown_key(path, spot, entry.value))
    elif spot.sort is Sort.TABLE and entry.value != {}:
        findings.refuse(path, f"{entry.label if entry.variable else section(path)}: must be a table")
    elif entry.variable is None and (fault := _secret_in_file(path, spot, entry.value)):
        findings.refuse(path, fault)
    else:
        findings.put(path, entry)


def _apply(variable: Variable, findings: Findings) -> bool:
    """Let a variable take effect, or name its fault; ``False`` where it sets no key."""
    path, spot = variable.path, locate(variable.path)
    if spot.sort is Sort.UNKNOWN or not all(path):
        return False
    try:
        text = variable.read()
    except UnreadableError as error:
        findings.refuse(path, f"{variable.name}: {error}")
        return True
    if spot.sort is Sort.TABLE:
        _apply_table(variable, text, findings)
    else:
        is_option = spot.sort is Sort.OPTION
        value = text if is_option else read_text(spot.annotation, text)
        _take(path, Given(value, path, variable.name, text=is_option), findings)
    return True


def _apply_table(variable: Variable, text: str, findings: Findings) -> None:
    try:
        table = read_json(text)
    except ValueError:
        table = None
    if not isinstance(table, dict):
        findings.refuse(variable.path, f'{variable.name}: must be a table in JSON, like {{"key": "value"}}')
        return
    for path, value in flatten({variable.path[-1]: table}, variable.path[:-1]):
        _take(path, Given(value, path, variable.name, inside=True), findings)


def _name_unknown(variables: list[Variable], findings: Findings) -> None:
    names = {
        kind: {"default"} | {path[1] for path in findings.given if len(path) > 1 and path[0] == kind}
        for kind in ("services", "channels")
    }
    names["purposes"] = {path[3] for path in findings.given if len(path) > 3 and path[2] == "purposes"}
    for variable in variables:
        own = {kind: have | set(filter(None, variable.path[1:2])) for kind, have in names.items()}
        own["purposes"] = names["purposes"] | set(filter(None, variable.path[3:4]))
        findings.refuse(variable.path, unknown_variable(variable.name, known_paths(own)))


def _secret_in_file(path: KeyPath, spot: Spot, value: object) -> str | None:
    """Say where a secret belongs that the file holds: a key for secrets, or a password in the database's URL."""
    if spot.secret:
        return secret_in_file(path)
    if path != _DATABASE_URL or not isinstance(value, str):
        return None
    with suppress(ValueError):  # what is no URL is named by the model
        return secret_in_file(path, "holds a password, and ") if url_password(value) is not None else None
    return None


def _inherit(given: dict[KeyPath, Given]) -> None:
    """Let every service have what ``[services.default]`` says and it does not say itself, and purposes what it has.

    A purpose's table in ``[services.default]`` goes before a service's own keys: it is about that purpose.
    """
    names = {path[1] for path in given if path[0] == "services" and len(path) > 1} - {"default"}
    inherited = {path[2:]: entry for path, entry in given.items() if path[:2] == _DEFAULT_SERVICE and len(path) > 2}
    for name in sorted(names):
        for rest, entry in inherited.items():
            given.setdefault(("services", name, *rest), entry)
    purposes = {path[:4] for path in given if path[0] == "services" and path[2:3] == ("purposes",) and len(path) > 3}
    for purpose in sorted(purposes):
        service = {path[2:]: entry for path, entry in given.items() if path[:2] == purpose[:2] and len(path) > 2}
        for rest, entry in service.items():
            if locate(rest, PurposeSettings).sort is not Sort.UNKNOWN:
                given.setdefault((*purpose, *rest), entry)


def _validate(draft: _Draft) -> None:
    findings = draft.findings
    services, channels = _table(draft.tree, "services"), _table(draft.tree, "channels")
    if "default" not in services:
        near = get_close_matches("default", services, n=1, cutoff=0.7)
        instead = f"; or is [services.{near[0]}] meant to be it?" if near else ""
        findings.refuse(_DEFAULT_SERVICE, f'[services.default]: is missing; give it a route: channels = ["…"]{instead}')
    check_routes(dict(_named(services, "channels")), channels, findings)
    check_confirmed(dict(_named(services, "confirm_within")), channels, findings)
    # A table nobody wrote would be made without the context, and its relative path start at the working directory.
    tree = {_DATABASE_URL[0]: {}, **draft.tree}
    try:
        # JSON, for its strict mode: "8080" is no number, and lists, paths and networks still read as what they are.
        draft.settings = Settings.model_validate_json(to_json(tree), strict=True, context=draft.source)
    except ValidationError as error:
        faults = list(describe(error, findings.given, Settings))
        # What a service inherits is at fault in [services.default] first, and once is enough.
        for path, fault in sorted(faults, key=lambda item: _heir(item[0], findings.given) is not None):
            if path not in findings.refused:
                _note(path, fault, channels, findings)
    else:
        judge(draft.settings, findings)


def _note(path: KeyPath, fault: str, channels: Iterable[str], findings: Findings) -> None:
    heir = _heir(path, findings.given)
    if heir is not None and fault not in findings.faults:
        fault = f"{fault} (as {section(heir)} inherits it)"
    if path[:1] == ("channels",) and path[2:] == ("adapter",) and path not in findings.given:
        # A misspelt channel in a variable's name is a new channel without an adapter.
        fault += suggest(path[1], (name for name in channels if ("channels", name, "adapter") in findings.given))
    findings.refuse(path, fault)


def _heir(path: KeyPath, given: Mapping[KeyPath, Given]) -> KeyPath | None:
    """Return the service, or its purpose, that has the value at ``path`` from a table above it."""
    entry = given.get(path)
    return owner_of(path) if entry is not None and entry.path != path else None


def _table(tree: Mapping[str, object], name: str) -> dict[str, object]:
    table = tree.get(name, {})
    return table if isinstance(table, dict) else {}


def _named(services: Mapping[str, object], key: str) -> Iterator[tuple[KeyPath, list[str]]]:
    """Yield the tables of services and purposes, each with the channels it names at a key, as far as they can be read."""
    for name in services:
        service = _table(services, name)
        yield ("services", name), _names(service, key)
        for purpose, table in _table(service, "purposes").items():
            yield ("services", name, "purposes", purpose), _names(table, key)


def _names(table: object, key: str) -> list[str]:
    names = table.get(key) if isinstance(table, dict) else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, (list, dict)) else []


def _sound_settings(draft: _Draft) -> Settings | None:
    """Return the settings without what is at fault, as far as the rest can stand alone."""
    findings = draft.findings
    if findings.refused & {_DATABASE_URL, ("secrets", "keys")}:
        return None  # whose default would be another database, or other keys
    tree = nest({path: entry.value for path, entry in findings.given.items() if path not in findings.refused})
    with suppress(ValidationError):  # what is missing is named already
        return Settings.model_validate_json(to_json({_DATABASE_URL[0]: {}, **tree}), strict=True, context=draft.source)
    return None


def _sound_channels(draft: _Draft) -> dict[str, RawChannel]:
    """Return the channels that can be asked for more, also where the settings as a whole cannot be used."""
    found: dict[str, RawChannel] = {}
    for name, table in _table(draft.tree, "channels").items():
        with suppress(ValidationError):  # named already, with all the settings
            found[name] = RawChannel.model_validate_json(to_json(table), strict=True)
    return found


def _loopback(draft: _Draft) -> bool:
    try:
        return ServerSettings.model_validate_json(to_json(_table(draft.tree, "server")), strict=True).loopback
    except ValidationError:
        return True  # not known before the faults of [server] are gone
