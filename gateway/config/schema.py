"""Which keys there are: a walk over the models, so that no list of keys is kept beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from gateway.config.given import KeyPath
from gateway.config.settings import RawChannel, Settings

_SCALARS = (bool, int, float)
_CONTAINERS = (list, tuple, set, frozenset, dict, Sequence, Iterable, Mapping)


class Sort(Enum):
    """What a path of keys leads to."""

    #: A table with keys of its own.
    TABLE = auto()
    #: A value.
    KEY = auto()
    #: A key of an adapter not asked yet.
    OPTION = auto()
    #: Nothing.
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a path of keys leads."""

    sort: Sort
    #: The type found there.
    annotation: Any = None
    #: How many keys of the path are right.
    depth: int = 0
    #: What could stand in place of the first wrong one.
    choices: tuple[str, ...] = ()

    @property
    def secret(self) -> bool:
        """Whether the value there is a secret, or a list of them."""
        return self.sort is Sort.KEY and holds_secret(self.annotation)


def locate(path: KeyPath, model: type[BaseModel] = Settings) -> Spot:
    """Follow ``path`` through the models from ``model`` on."""
    here: Any = model
    for depth, name in enumerate(path):
        if (table := _model(here)) is not None:
            fields = keys_of(table)
            if name not in fields:
                return Spot(Sort.OPTION) if table is RawChannel else Spot(Sort.UNKNOWN, None, depth, tuple(fields))
            here = fields[name].annotation
        elif get_origin(_bare(here)) is dict:
            here = get_args(_bare(here))[1]
        else:
            return Spot(Sort.UNKNOWN, None, depth)
    return Spot(Sort.TABLE if _is_table(here) else Sort.KEY, here, len(path))


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return a model's fields by the key config.toml uses: the alias where there is one (``from``)."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def secrets_of(path: KeyPath, model: type[BaseModel] = Settings) -> list[str]:
    """Return the keys of the table at ``path`` that are secrets."""
    table = _model(locate(path, model).annotation)
    fields = {} if table is None else keys_of(table)
    return [key for key, field in fields.items() if holds_secret(field.annotation)]


def known_paths(names: Mapping[str, Iterable[str]], model: type[BaseModel] = Settings) -> Iterator[KeyPath]:
    """Yield the path of every key. ``names`` says which channels, services and purposes there are."""
    for key, field in keys_of(model).items():
        here = _bare(field.annotation)
        if get_origin(here) is dict and (below := _model(get_args(here)[1])) is not None:
            for name in names.get(key, ()):
                yield from ((key, name, *rest) for rest in known_paths(names, below))
        elif (below := _model(here)) is not None:
            yield from ((key, *rest) for rest in known_paths(names, below))
        else:
            yield (key,)


def holds_secret(annotation: Any) -> bool:
    """Whether a type is, or holds, ``SecretStr``."""
    if isinstance(annotation, type) and issubclass(annotation, SecretStr):
        return True
    return any(holds_secret(item) for item in get_args(annotation))


def read_text(annotation: Any, text: str) -> object:
    """Read a variable's text as JSON would hold the type: numbers, booleans, JSON for lists and tables.

    Text that does not read as its type comes back as it is; the model then says what it should have been.
    """
    for member in _members(annotation):
        if member is str:
            break
        try:
            if member in _SCALARS:
                return TypeAdapter(member).validate_python(text)
            if get_origin(member) in _CONTAINERS or member in _CONTAINERS or _model(member):
                return read_json(text)
        except ValueError:
            continue
    return text


def read_json(text: str) -> object:
    """Read JSON. Raises ``ValueError``, without a word of the text."""
    try:
        value = json.loads(text)
        # A lone surrogate is JSON and no text; kept, it would fail the whole document without naming a key.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ValueError("is not valid JSON") from None
    return value


def _members(annotation: Any) -> Iterator[Any]:
    bare = _bare(annotation)
    if get_origin(bare) in {Union, UnionType}:
        for item in get_args(bare):
            yield from _members(item)
    else:
        yield bare


def _bare(annotation: Any) -> Any:
    """Take ``Annotated`` and ``| None`` off a type."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        rest = [item for item in get_args(annotation) if item is not NoneType]
        return _bare(rest[0]) if len(rest) == 1 else annotation
    return annotation


def _model(annotation: Any) -> type[BaseModel] | None:
    bare = _bare(annotation)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _is_table(annotation: Any) -> bool:
    bare = _bare(annotation)
    return _model(bare) is not None or get_origin(bare) is dict or bare is dict
