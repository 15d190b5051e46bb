"""What somebody wrote, and where: one value of config.toml or of the environment under its path of keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: The keys that lead to a value: ``("services", "default", "code", "ttl")``.
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """One value and the place it was written at."""

    #: As TOML or JSON would hold it; ``{}`` stands for an empty table.
    value: object = field(repr=False)
    #: The key as it was written: an inherited value keeps its path below ``services.default``.
    path: KeyPath
    #: The environment variable it came from, ``None`` for config.toml.
    variable: str | None = None
    #: Whether ``value`` is a variable's text, still to be read as its field's type.
    text: bool = False
    #: Whether the variable sets a whole table, of which this is one value.
    inside: bool = False

    @property
    def label(self) -> str:
        """Name the place for a person: the variable, or ``[server] port``."""
        if self.variable and not self.inside:
            return self.variable
        key = section(self.path) if self.value == {} else label(self.path)
        return f"{self.variable}, {key}" if self.variable else key


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings come from."""

    #: The base of relative paths in them.
    folder: Path
    #: The file that was read.
    file: Path
    #: What was written, by the path it takes effect at.
    given: Mapping[KeyPath, Given] = field(repr=False)
    #: Whether somebody chose the file, by naming it or by where it lies.
    chosen: bool = True

    @property
    def told(self) -> str:
        """Name the file, and how it came to be read where that may surprise."""
        why = "for no config.toml is here and none was named by --config or OTP_GATEWAY_CONFIG"
        return str(self.file) if self.chosen else f"{self.file}, which came with the program, {why}"


@dataclass(slots=True)
class Findings:
    """What was given and what is wrong with it, gathered while the layers are read."""

    given: dict[KeyPath, Given] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    #: Keys with a fault of their own: that they are missing as well is not worth another line.
    refused: set[KeyPath] = field(default_factory=set)

    def refuse(self, path: KeyPath, fault: str) -> None:
        """Note a fault once, and that ``path`` has one."""
        if fault not in self.faults:
            self.faults.append(fault)
        self.refused.add(path)

    def put(self, path: KeyPath, entry: Given) -> None:
        """Let ``entry`` take effect at ``path``, in place of what lies there, above and below it."""
        related = [other for other in self.given if other[: len(path)] == path[: len(other)]]
        if entry.value == {} and any(len(other) > len(path) for other in related):
            return
        for other in related:
            if self.given[other].value != {}:
                del self.given[other]
        self.given[path] = entry


def section(path: KeyPath) -> str:
    """Return a table's name as config.toml writes it: ``[services.default]``."""
    return f"[{'.'.join(path)}]"


def label(path: KeyPath) -> str:
    """Return a key's name with its table's: ``[server] port``."""
    return f"{section(path[:-1])} {path[-1]}" if len(path) > 1 else path[0]


def owner_of(path: KeyPath) -> KeyPath:
    """Return the service, or its purpose, that a path below ``services`` belongs to."""
    return path[:4] if path[2:3] == ("purposes",) else path[:2]


def flatten(table: Mapping[str, object], path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Yield every value below ``table`` with its path; an empty table is a value of its own."""
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, (*path, name))
        else:
            yield (*path, name), value


def nest(values: Mapping[KeyPath, object]) -> dict[str, object]:
    """Build the tables that ``flatten`` would take apart into ``values``."""
    tree: dict[str, object] = {}
    for path, value in values.items():
        table = tree
        for name in path[:-1]:
            below = table.setdefault(name, {})
            # ``put`` and the schema leave no value above another one.
            assert isinstance(below, dict)
            table = below
        if value == {}:
            table.setdefault(path[-1], {})
        else:
            table[path[-1]] = value
    return tree


def to_json(tree: object) -> str:
    """Return tables as JSON, for models to read strictly; TOML's dates become text."""
    return json.dumps(tree, default=str)
