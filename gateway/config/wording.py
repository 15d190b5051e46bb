"""Faults in words: the place as the operator wrote it, what is wrong, and the nearest right name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway import phrases
from gateway.config.environment import CONFIG_VARIABLE, variable_name
from gateway.config.given import Given, KeyPath, label, section
from gateway.config.schema import Sort, Spot, locate, secrets_of

#: What the file's own words say better than ``phrases``.
_WORDS = {
    "extra_forbidden": "unknown key",
    "string_type": "must be text in quotes",
}
_LISTS = {"list_type", "tuple_type", "set_type", "frozen_set_type"}
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
    for item in error.errors(include_url=False, include_input=False):
        if item["type"] == _FOLLOWS:
            continue
        loc = (*above, *(part for part in item["loc"] if part != "[key]"))
        path = tuple(str(part) for part in loc)
        entry_path = _nearest(path, given)
        entry = given.get(entry_path)
        where = entry.label if entry else _place(path, given)
        position = loc[len(entry_path)] if len(loc) > len(entry_path) else None
        number = f", item {position + 1}" if entry and isinstance(position, int) else ""
        below = path[len(above) :]
        sentence = _sentence(item, below, above, entry, model)
        yield (
            entry_path if entry else path,
            f"{where}{number}: {sentence}{_by_the_environment(sentence, below, above, model)}",
        )


def _by_the_environment(sentence: str, path: KeyPath, above: KeyPath, model: type[BaseModel]) -> str:
    """Say how the secrets are set that a sentence about a table as a whole asks for: written into the file they are refused."""
    words = set(re.findall(r"\w+", sentence))
    names = [variable_name((*above, *path, key)) for key in secrets_of(path, model) if key in words]
    return f"; secrets come by the environment: {', '.join(names)} (or …_FILE)" if names else ""


def _nearest(path: KeyPath, given: Mapping[KeyPath, Given]) -> KeyPath:
    for end in range(len(path), 0, -1):
        if path[:end] in given and given[path[:end]].value != {}:
            return path[:end]
    return ()


def _place(path: KeyPath, given: Mapping[KeyPath, Given]) -> str:
    return section(path) if any(other[: len(path)] == path for other in given) else label(path)


def _sentence(item: ErrorDetails, path: KeyPath, above: KeyPath, entry: Given | None, model: type[BaseModel]) -> str:
    if item["type"] in _LISTS and entry and entry.variable:
        return 'must be a list in JSON, like ["a", "b"]'
    if item["type"] == "missing":
        spot = locate(path, model)
        if spot.sort is Sort.KEY and spot.secret:
            return f"is missing; set {variable_name((*above, *path))}"
    return _WORDS.get(item["type"]) or phrases.of_pydantic(item)
