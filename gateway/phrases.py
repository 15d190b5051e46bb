"""What msgspec and pydantic say of a value that does not fit, as people say it who never saw Python.

Both tell it in English only and by Python's names (``Expected `str` of length >= 1``, ``Input should be a valid integer``). What
they say is a closed list; what is not on it is told so that it is still right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails

#: What a value is expected to be, by msgspec's name.
_KINDS: Final = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
}
#: What a value is instead, where another word says it better.
_GIVEN: Final = _KINDS | {"float": "a decimal number"}
#: What a length counts: one, several.
_COUNTED: Final = {
    "str": ("character", "characters"),
    "array": ("item", "items"),
    "object": ("member", "members"),
}
_BOUNDS: Final = {">=": "{} or more", "<=": "{} or less", ">": "more than {}", "<": "less than {}"}

#: What is said where msgspec says something that is not on the list.
OTHERWISE: Final = "not what belongs here"

_PLACED: Final = re.compile(r"(.*?)(?: - at `(?:key` in `)?\$([^`]*)`)?", re.DOTALL)
#: Sentences about a member by its name, and what is said of it.
_MEMBERS: Final = (
    (re.compile(r"Object missing required field `(.+)`", re.DOTALL), "required"),
    (re.compile(r"Object contains unknown field `(.*)`", re.DOTALL), "no such field"),
)


def _kind(found: re.Match[str]) -> str:
    names = [_KINDS.get(name, "another value") for name in found[1].split(" | ")]
    wanted = " or ".join(names)
    given = _GIVEN.get(found[2] or "")
    return wanted if given is None else f"{wanted}, not {given}"


def _long(found: re.Match[str]) -> str:
    name, number = found[1], int(found[3])
    one, several = _COUNTED[name]
    least = "at least" if found[2] == ">=" else "at most"
    return f"{_KINDS[name]} of {least} {number} {one if number == 1 else several}"


def _bounded(found: re.Match[str]) -> str:
    return f"{_KINDS[found[1]]}, {_BOUNDS[found[2]].format(found[3])}"


#: What msgspec says, and what is said instead: a phrase, or what makes one.
_SENTENCES: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"Expected `([a-z| ]+)`(?:, got `(\w+)`)?"), _kind),
    (re.compile(r"Expected `(str|array|object)` of length (>=|<=) (\d+)"), _long),
    (re.compile(r"Expected `(int|float)` (>=|<=|>|<) (-?[\d.]+)"), _bounded),
    (re.compile(r"Expected `str` matching regex .*", re.DOTALL), "a text of the form that is documented"),
    (re.compile(r"Invalid enum value .*", re.DOTALL), "one of the words that are documented"),
    (re.compile(r"(?:Integer value|Number) out of range"), "a number nearer to zero"),
    (re.compile(r"JSON is malformed: .*|Input data was truncated", re.DOTALL), "not JSON"),
)


def of_msgspec(told: str) -> tuple[str, str]:
    """Return where msgspec finds a fault, as a JSON pointer, and what belongs there.

    The pointer ends with ``[...]`` for a value of a map: msgspec does not say which.
    """
    match = _PLACED.fullmatch(told)
    assert match is not None, "every text matches"
    what, place = match[1], match[2] or ""
    inner = "[...]" if place.endswith("[...]") else ""
    pointer = re.sub(r"\[(\d+)\]", r"/\1", place.removesuffix("[...]")).replace(".", "/") + inner
    for sentence, phrase in _MEMBERS:
        if member := sentence.fullmatch(what):
            return f"{pointer}/{member[1]}", phrase
    for pattern, said in _SENTENCES:
        if found := pattern.fullmatch(what):
            return pointer, said if isinstance(said, str) else said(found)
    return pointer, OTHERWISE


#: What pydantic calls a fault, and what we say of it; ``{}`` are its bounds.
_PYDANTIC: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is none that there is",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a number nearer to zero",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number that is not infinite",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path",
    "path_not_file": "there is no such file",
    "ip_any_network": 'must be a network, like "10.0.0.0/8"',
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "set_type": "must be a list",
    "frozen_set_type": "must be a list",
    "model_type": "must be a table",
    "dict_type": "must be a table",
}
#: Its faults of a length.
_LENGTHS: Final = frozenset({"too_short", "too_long", "string_too_short", "string_too_long"})
#: What its other sentences begin with.
_SUBJECT: Final = re.compile(r"^(?:Input|String|Tuple|List|Value|Set|Dictionary|URL|Decimal input) should ")


def of_pydantic(item: ErrorDetails) -> str:
    """Return what pydantic finds as the rest of a sentence whose subject is the value: ``must be a whole number``.

    What a validator of ours says is repeated as it is; what is not on the list is turned around.
    """
    context: Mapping[str, Any] = item.get("ctx", {})
    if item["type"] in _LENGTHS:
        return _of_length(item["type"], context)
    if known := _PYDANTIC.get(item["type"]):
        return known.format_map({name: _number(value) for name, value in context.items()})
    said = re.sub(r"^(?:Value|Assertion) error, ", "", item["msg"])
    if said != item["msg"]:
        return said
    said = _SUBJECT.sub("must ", said)
    return said[:1].lower() + said[1:]


def _of_length(kind: str, context: Mapping[str, Any]) -> str:
    least, number = ("at least", context["min_length"]) if "short" in kind else ("at most", context["max_length"])
    # A secret is a value to it, and what it counts of one are characters too.
    name = "str" if kind.startswith("string") or context.get("field_type") == "Value" else "array"
    one, several = _COUNTED[name]
    return f"must have {least} {number} {one if number == 1 else several}"


def _number(value: object) -> object:
    """Return a bound as it is written in the settings: 5, where pydantic has 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
