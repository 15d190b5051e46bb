"""Faults in words: the place as the operator wrote it, what is wrong, and the nearest right name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.environment import CONFIG_VARIABLE, variable_name
from gateway.config.given import Given, KeyPath, label, section
from gateway.config.schema import Sort, Spot, locate

#: What pydantic calls a fault and what we do; the rest of its sentences are turned around by ``_sentence``.
_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text in quotes",
    "ip_any_network": 'must be a network, like "10.0.0.0/8"',
}
_LISTS = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
#: What pydantic says of a secret's length.
_CHARACTERS = re.compile(r"Value (should have at (?:least|most) \d+) items? after validation, not \d+")
#: Raised for a default that depends on a key with a fault of its own.
_FOLLOWS = "default_factory_not_called"


def suggest(name: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ``; did you mean …?`` for the nearest of ``choices``, or nothing."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def unknown_key(path: KeyPath, spot: Spot, value: object, *, above: KeyPath = ()) -> str:
    """Name a key of the file that is none. ``above`` leads to the table ``spot`` was located from."""
    depth = len(above) + spot.depth
    near = suggest(path[depth], spot.choices)
    if depth == len(path) - 1 and not isinstance(value, dict):
        return _of_the_whole_service(path) or f"{label(path)}: unknown key{near}"
    return f"{section(path[: depth + 1])}: unknown section{near}"


def _of_the_whole_service(path: KeyPath) -> str | None:
    """Say where a key belongs that a purpose's table has and only its service's may have."""
    services = path[:2]
    if path != (*services, "purposes", *path[3:]) or locate((*services, *path[4:])).sort is not Sort.KEY:
        return None
    return f"{label(path)}: is the same for every purpose; set it in {section((*services, *path[4:-1]))}"


def unknown_variable(name: str, paths: Iterable[KeyPath]) -> str:
    """Name a variable that sets no key. ``paths`` are the keys there are."""
    names = [variable_name(path, from_file=name.upper().endswith("_FILE")) for path in paths]
    # The long common prefix makes any two names look alike, hence the higher bar.
    return f"{name}: unknown variable{suggest(name.upper(), [CONFIG_VARIABLE, *names], cutoff=0.8)}"


def secret_in_file(path: KeyPath, found: str = "") -> str:
    """Say where a secret belongs that was found in the file."""
    names = f"{variable_name(path)} or {variable_name(path, from_file=True)}"
    return f"{label(path)}: {found}secrets have no place in the file; set {names} instead"


def describe(
    error: ValidationError, given: Mapping[KeyPath, Given], model: type[BaseModel], above: KeyPath = ()
) -> Iterator[tuple[KeyPath, str]]:
    """Yield each fault of a model's input with its path; the text names the place and never a value."""
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        if item["type"] == _FOLLOWS:
            continue
        loc = (*above, *(part for part in item["loc"] if part != "[key]"))
        path = tuple(str(part) for part in loc)
        entry_path = _nearest(path, given)
        entry = given.get(entry_path)
        where = entry.label if entry else _place(path, given)
        position = loc[len(entry_path)] if len(loc) > len(entry_path) else None
        number = f", item {position + 1}" if entry and isinstance(position, int) else ""
        yield (
            entry_path if entry else path,
            f"{where}{number}: {_sentence(item, path[len(above) :], above, entry, model)}",
        )


def _nearest(path: KeyPath, given: Mapping[KeyPath, Given]) -> KeyPath:
    for end in range(len(path), 0, -1):
        if path[:end] in given and given[path[:end]].value != {}:
            return path[:end]
    return ()


def _place(path: KeyPath, given: Mapping[KeyPath, Given]) -> str:
    return section(path) if any(other[: len(path)] == path for other in given) else label(path)


def _sentence(item: ErrorDetails, path: KeyPath, above: KeyPath, entry: Given | None, model: type[BaseModel]) -> str:
    if item["type"] in _LISTS:
        return 'must be a list in JSON, like ["a", "b"]' if entry and entry.variable else "must be a list"
    if item["type"] == "missing":
        spot = locate(path, model)
        secret = spot.sort is Sort.KEY and spot.secret
        return f"is missing; set {variable_name((*above, *path))}" if secret else _WORDS["missing"]
    if item["type"] in _WORDS:
        return _WORDS[item["type"]]
    text = _CHARACTERS.sub(r"Value \1 characters", item["msg"].removeprefix("Value error, "))
    for subject in ("Input should ", "String should ", "Tuple should ", "List should ", "Value should "):
        text = text.replace(subject, "must ")
    return text
