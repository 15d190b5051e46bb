from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.children import Child, ChildError
from benchmarks.peers.asking import Errand
from benchmarks.peers.loads import answered, rate, requests

STAND_IN = Path(__file__).with_name("stand_in.py")
#: What the stand-in takes for right, and what it does not.
RIGHT, WRONG = ({"otp": code} for code in ("271828", "000000"))


@pytest.fixture
def port(tmp_path):
    with Child("stand-in", [sys.executable, str(STAND_IN)], tmp_path) as child:
        yield int(child.line(30.0))


def errand(*bodies: dict[str, str]) -> Errand:
    return Errand({}, requests("/verify-email", bodies), 200, '"status":true', 0.0, 20.0)


def test_answers_are_found_by_their_requests_place(port, tmp_path):
    assert answered(tmp_path, port, errand(RIGHT, RIGHT)) == {0: {"status": True}, 1: {"status": True}}


@pytest.mark.parametrize("ask", [rate, answered])
def test_a_wrong_answer_ends_a_measurement(port, tmp_path, ask):
    with pytest.raises(ChildError, match=r"answers were wrong: \{'400': 1\}: .*INVALID_OTP"):
        ask(tmp_path, port, errand(RIGHT, WRONG))


def test_no_answer_within_the_time_is_no_rate(port, tmp_path):
    early = replace(errand(RIGHT), warm_up=60.0)
    with pytest.raises(ChildError, match="nothing was answered"):
        rate(tmp_path, port, early)


def test_preparing_is_whole_or_an_error(port, tmp_path):
    with pytest.raises(ChildError, match="only 0 of 1 requests were answered"):
        answered(tmp_path, port, replace(errand(RIGHT), seconds=0.0))
