"""The mutations are of the code as it is: each one's text is there, once, and so are its tests."""

from __future__ import annotations

import pytest

from tests.faults.guards import MUTATIONS
from tests.faults.mutation import Mutation, StaleMutationError, mutated
from tests.faults.mutations import stale

GUARD = Mutation("a guard", "x.py", "if guarded:", "if True:", "not asked", ("tests/x.py",))


def test_every_mutation_applies():
    assert stale() == []


def test_guards_have_names_of_their_own():
    names = [mutation.guard for mutation in MUTATIONS]
    assert len(names) == len(set(names))


def test_a_mutation_takes_the_guard_out():
    assert mutated("a\nif guarded:\n", GUARD) == "a\nif True:\n"


@pytest.mark.parametrize("text", ["", "if guarded:\nif guarded:\n"])
def test_a_mutation_whose_text_is_not_there_once_is_refused(text):
    with pytest.raises(StaleMutationError, match="a guard: its text is"):
        mutated(text, GUARD)
