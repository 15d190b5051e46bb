"""The settings as they took effect, value by value, with where each came from; secrets masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from pydantic import BaseModel, SecretStr

from gateway.config.adapters import Ready
from gateway.config.given import KeyPath, owner_of, section
from gateway.config.masking import MASK, mask_url
from gateway.config.schema import keys_of
from gateway.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Row:
    """One value that is in effect."""

    path: KeyPath
    #: As JSON would hold it; a secret is ``MASK``.
    value: object
    #: ``default``, the file, or the variable.
    origin: str


def overview(settings: Settings, ready: Ready) -> Iterator[Row]:
    """Yield every value in effect, table by table in the order of the models."""
    for key in keys_of(Settings):
        if key == "channels":
            for name, (_, channel) in ready.items():
                yield from _rows(channel, (key, name), settings)
        elif key == "services":
            for name, service in settings.services.items():
                yield from _rows(service, (key, name), settings)
        else:
            yield from _rows(getattr(settings, key), (key,), settings)


def _rows(table: BaseModel, path: KeyPath, settings: Settings) -> Iterator[Row]:
    below = []
    for key, field in keys_of(type(table)).items():
        name = next(name for name, other in type(table).model_fields.items() if other is field)
        value = getattr(table, name)
        if isinstance(value, BaseModel):
            below.append((value, (*path, key)))
        elif _holds_tables(value):
            below += [(item, (*path, key, inner)) for inner, item in value.items()]
        else:
            yield Row((*path, key), shown(value), origin((*path, key), settings))
    # A table's own keys come before the tables in it: TOML could not tell them apart otherwise.
    for value, place in below:
        yield from _rows(value, place, settings)


def _holds_tables(value: object) -> bool:
    """Whether a value is a table of tables, and not empty: ``purposes``."""
    return isinstance(value, Mapping) and any(isinstance(item, BaseModel) for item in value.values())


def origin(path: KeyPath, settings: Settings) -> str:
    """Say where the value at ``path`` came from."""
    entry = settings.given.get(path) or next(
        (other for given, other in settings.given.items() if given[: len(path)] == path), None
    )
    if entry is None:
        return "default"
    source = entry.variable or (settings.file.name if settings.file else "given")
    inherited = entry.path[:1] == ("services",) and owner_of(entry.path) != owner_of(path)
    return f"{source}, by {section(owner_of(entry.path))}" if inherited else source


def shown(value: object) -> object:
    """Return a value as JSON would hold it, secrets and passwords in URLs masked."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Enum):
        return shown(value.value)
    if isinstance(value, Mapping):
        return {str(key): shown(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [shown(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return mask_url(str(value))
