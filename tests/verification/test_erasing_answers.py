"""What a kept answer told of a person goes, wherever it stands, and nothing of anybody else's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.verification.erasing_answers import blanked

THEIRS, OTHERS = "auth_1", "auth_2"


def told(of: str) -> list[dict[str, Any]]:
    """Return answers as they are kept: an enrolment, new recovery codes, a subscriber in a list."""
    at = f"https://otp.example.org/v1/authenticators/{of}"
    return [
        {"location": at, "body": {"id": of, "secret": "GEZD", "reference": "user-42", "status": "pending"}},
        {"location": at, "body": {"codes": ["aaaa-bbbb", "cccc-dddd"]}},
        {"items": [{"status": 201, "body": {"id": of, "link": "https://t.me/x", "display_name": "Ann"}}]},
    ]


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        (told(THEIRS)[0], {"id": THEIRS, "secret": None, "reference": "", "status": "pending"}),
        (told(THEIRS)[1], {"codes": []}),
        (told(THEIRS)[2], {"id": THEIRS, "link": None, "display_name": None}),
    ],
)
def test_what_was_told_of_a_person_goes_and_the_rest_stays(answer, left):
    found = orjson.loads(blanked(orjson.dumps(answer), {THEIRS}) or b"null")
    body = found["items"][0]["body"] if "items" in found else found["body"]
    assert left == body
    assert found.get("location") == answer.get("location")


@pytest.mark.parametrize("answer", told(OTHERS))
def test_what_was_told_of_others_stays(answer):
    assert blanked(orjson.dumps(answer), {THEIRS}) is None


def test_what_is_no_json_tells_nothing():
    assert blanked(b"auth_1", {THEIRS}) is None
