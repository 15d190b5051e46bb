"""Every problem has a status and a code of its own kind, and tells when to come back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import errors
from gateway.errors import ConfigError, Cooldown, FieldError, GatewayError, Gone, InvalidRequest, Problem, Unavailable

#: The codes of the HTTP contract that problems have by their class; ``Gone`` is told its own.
CODES = {
    "internal_error": {500},
    "invalid_request": {400, 422},
    "unauthorized": {401},
    "forbidden": {403},
    "not_found": {404},
    "method_not_allowed": {405},
    "too_large": {413},
    "unsupported_media_type": {415},
    "wrong_code": {422},
    "recipient_refused": {422},
    "idempotency_mismatch": {422},
    "idempotency_conflict": {409},
    "already_approved": {409},
    "cooldown": {429},
    "rate_limited": {429},
    "unavailable": {503},
}


def every(kind: type[Problem]) -> list[type[Problem]]:
    return [kind, *(found for below in kind.__subclasses__() for found in every(below))]


def test_each_code_has_its_status():
    found: dict[str, set[int]] = {}
    for kind in every(Problem):
        if kind.__module__ == errors.__name__ and kind not in (Gone, errors.Refused):
            found.setdefault(kind.code, set()).add(kind.status)
    assert found == CODES


def test_everything_raised_on_purpose_is_a_gateway_error():
    for name, item in vars(errors).items():
        if isinstance(item, type) and issubclass(item, Exception):
            assert issubclass(item, GatewayError), name


def test_a_config_error_names_each_fault():
    error = ConfigError(["one", "two"])
    assert error.faults == ("one", "two")
    assert str(error) == "one\ntwo"


def test_a_fault_of_a_field_has_its_pointer():
    problem = InvalidRequest.field("/code/length", "from 6 to 10")
    assert problem.errors == (FieldError("/code/length", "from 6 to 10"),)
    assert problem.detail == "/code/length: from 6 to 10"


def test_an_end_is_told_by_its_code():
    problem = Gone("expired", "Expired", "the code's time ran out")
    assert (problem.status, problem.code, problem.title) == (410, "expired", "Expired")


@pytest.mark.parametrize(("wait", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (29.999, "30")])
def test_the_wait_is_told_in_whole_seconds(wait, header):
    assert Unavailable("later", retry_after=wait).headers["Retry-After"] == header


@given(st.floats(min_value=0, max_value=1e6))
def test_who_waits_as_told_is_never_early(wait):
    assert float(Cooldown("later", retry_after=wait).headers["Retry-After"]) >= wait


def test_a_problem_keeps_its_other_headers_and_members():
    problem = Cooldown("later", retry_after=1.0, headers={"RateLimit": "r=0"}, limit="cooldown")
    assert problem.headers == {"RateLimit": "r=0", "Retry-After": "1"}
    assert problem.extra == {"limit": "cooldown"}
