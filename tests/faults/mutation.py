"""A mutation: one guard taken out of the code, by the text of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One guard, how it is taken out, and the tests that must see it."""

    #: The guard's name.
    guard: str
    #: The file, from the root; the text that is there once, and what takes its place.
    file: str
    old: str
    new: str
    #: What that does.
    what: str
    #: What pytest is given.
    tests: Sequence[str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutation."""

    mutation: Mutation
    killed: bool


class StaleMutationError(Exception):
    """A mutation's text is not in its file, or more than once: it says nothing of the code as it is."""


def mutated(text: str, mutation: Mutation) -> str:
    """Return the text with the guard taken out. Raises ``StaleMutationError``."""
    if (count := text.count(mutation.old)) != 1:
        raise StaleMutationError(f"{mutation.guard}: its text is {count} times in {mutation.file}: {mutation.old!r}")
    return text.replace(mutation.old, mutation.new)
