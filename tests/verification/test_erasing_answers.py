"""What a kept answer told of a person goes, wherever it stands, and nothing of anybody else's."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.delivery.person import Whom
from gateway.verification.erasing_answers import Kept, blanked

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


GONE = "auth_" + "0" * 36
MAILBOX, REFERENCE = b"ann@example.org", b"user-42"


def known_as(text: str) -> list[bytes]:
    """Everything is known by its small letters."""
    return [text.lower().encode()]


def kept(service: str | None = None, ids: set[str] | None = None) -> Kept:
    return Kept(
        Whom((MAILBOX,), (REFERENCE,), service, frozenset(), frozenset()), known_as, set() if ids is None else ids
    )


@pytest.mark.parametrize(
    "told", [{"id": GONE, "account": "Ann@Example.org", "reference": "u"}, {"id": GONE, "reference": "user-42"}]
)
def test_what_is_deleted_already_is_found_by_what_its_answer_tells_and_then_by_its_id(told):
    ids: set[str] = set()
    of_them = kept(ids=ids)
    codes = orjson.dumps({"location": f"https://otp.example.org/v1/authenticators/{GONE}", "body": {"codes": ["aaaa"]}})
    assert of_them.without("shop", codes) is None
    answer = orjson.dumps({"items": [{"body": {**told, "link": "https://t.me/x", "status": "pending"}}]})
    [item] = orjson.loads(of_them.without("shop", answer) or b"null")["items"]
    assert item["body"].items() >= {"id": GONE, "reference": "", "link": None, "status": "pending"}.items()
    assert item["body"].get("account") is None
    assert ids == {GONE}
    assert orjson.loads(of_them.without("shop", codes) or b"null")["body"] == {"codes": []}


@pytest.mark.parametrize(
    "told",
    [
        {"id": GONE, "account": "bob@example.org", "reference": "user-4"},
        {"id": GONE, "account": None, "reference": ""},
        {"reference": "user-42"},
        {"id": 7, "reference": "user-42"},
    ],
)
def test_what_names_nobody_or_somebody_else_stays(told):
    assert kept().without("shop", orjson.dumps(told)) is None


def test_a_reference_is_that_of_its_service():
    answer = orjson.dumps({"id": GONE, "reference": "user-42", "link": "x"})
    assert kept("shop").without("bank", answer) is None
    assert kept("shop").without("shop", answer) is not None
    assert kept(None).without("bank", answer) is not None


def test_what_only_looks_like_an_answer_stays():
    assert kept().without("shop", b'"reference": no JSON') is None
