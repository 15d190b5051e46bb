from __future__ import annotations

import pytest

from gateway.sandbox.fault import Fault, Faults, Planned


def test_nothing_is_planned_at_first():
    assert Faults().take("a") == Planned(Fault.NONE)


def test_a_default_holds_for_everybody_until_cleared():
    faults = Faults()
    faults.set(Fault.DEFER)
    assert [faults.take("a").fault, faults.take().fault] == [Fault.DEFER, Fault.DEFER]
    faults.clear()
    assert faults.take("a").fault is Fault.NONE


def test_a_counted_fault_ends_by_itself():
    faults = Faults()
    faults.set(Fault.LIMIT, times=2, retry_after=7)
    assert [faults.take("a") for _ in range(3)] == [
        Planned(Fault.LIMIT, 7),
        Planned(Fault.LIMIT, 7),
        Planned(Fault.NONE),
    ]


def test_a_recipients_own_fault_leaves_the_others_alone():
    faults = Faults()
    faults.set(Fault.REFUSE, recipient="a")
    assert [faults.take("a").fault, faults.take("b").fault] == [Fault.REFUSE, Fault.NONE]


def test_a_recipient_can_be_kept_out_of_the_default():
    faults = Faults()
    faults.set(Fault.STALL)
    faults.set(Fault.NONE, recipient="a")
    assert [faults.take("a").fault, faults.take("b").fault] == [Fault.NONE, Fault.STALL]


def test_how_an_address_is_written_may_be_left_out():
    faults = Faults()
    faults.by_address = {"a": Planned(Fault.STALL)}.get
    faults.set(Fault.DEFER)
    assert faults.take("a", by_address=False).fault is Fault.DEFER


def test_a_step_that_asks_for_one_fault_leaves_another_untouched():
    faults = Faults()
    faults.set(Fault.DEFER, times=1)
    assert faults.take(only=Fault.UNAUTHORIZED).fault is Fault.NONE
    assert faults.take("a").fault is Fault.DEFER


def test_a_fault_that_never_happens_is_refused():
    with pytest.raises(ValueError, match="at least once"):
        Faults().set(Fault.DEFER, times=0)


def test_how_an_address_is_written_outranks_the_default_and_yields_to_its_own_setting():
    faults = Faults()
    faults.by_address = {"a": Planned(Fault.STALL), "b": Planned()}.get
    faults.set(Fault.DEFER)
    assert [faults.take(to).fault for to in ("a", "b", "c")] == [Fault.STALL, Fault.NONE, Fault.DEFER]
    faults.set(Fault.LIMIT, recipient="a", times=1)
    assert [faults.take("a").fault for _ in range(2)] == [Fault.LIMIT, Fault.STALL]


def test_a_step_that_asks_for_one_fault_gets_what_an_address_says_only_where_it_is_that():
    faults = Faults()
    faults.by_address = {"a": Planned(Fault.STALL)}.get
    assert faults.take("a", only=Fault.UNAUTHORIZED).fault is Fault.NONE
    assert faults.take("a", only=Fault.STALL).fault is Fault.STALL


def test_a_slow_answer_takes_three_seconds_unless_told_otherwise():
    faults = Faults()
    faults.set(Fault.SLOW, times=1)
    assert faults.take("a").delay == 3.0
    faults.set(Fault.SLOW, delay=0.1)
    assert faults.take("a").delay == 0.1
