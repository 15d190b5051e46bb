"""Who asks for what is not theirs learns nothing: not by the answer, nor by the work it takes.

Times are not measured, for they tell of the machine; the statements that a call sends to the database are.
"""

from __future__ import annotations

import re
import shutil
import sqlite3

import pytest

from gateway.api.keys.text import checksum
from gateway.api.responses import SAFE
from gateway.storage.sqlite import SqliteEngine
from tests.api.conftest import PHONE

#: An id of every kind that was never given.
UNKNOWN = {"ver": f"ver_{'0' * 36}", "sub": f"sub_{'0' * 36}", "auth": f"auth_{'0' * 36}"}
CODE = {"code": "000000"}

#: Every call that names one thing: its method, path and body.
CALLS = [
    ("GET", "/v1/verifications/{ver}", None),
    ("POST", "/v1/verifications/{ver}/check", CODE),
    ("POST", "/v1/verifications/{ver}/check", {**CODE, "bind": {"session": "s"}}),
    ("POST", "/v1/verifications/{ver}/resend", {}),
    ("POST", "/v1/verifications/{ver}/resend", {"channel": "sms"}),
    ("POST", "/v1/verifications/{ver}/cancel", {}),
    ("GET", "/v1/verifications?cursor={ver}", None),
    ("GET", "/v1/subscribers/{sub}", None),
    ("DELETE", "/v1/subscribers/{sub}", None),
    ("GET", "/v1/authenticators/{auth}", None),
    ("POST", "/v1/authenticators/{auth}/check", CODE),
    ("POST", "/v1/authenticators/{auth}/recovery-codes", {}),
    ("DELETE", "/v1/authenticators/{auth}", None),
]


class Traced(SqliteEngine):
    """Writes down every statement, values included."""

    def __init__(self, path, seen):
        super().__init__(path)
        self._seen = seen

    def _connect(self) -> sqlite3.Connection:
        connection = super()._connect()
        connection.set_trace_callback(self._seen.append)
        return connection


@pytest.fixture
def seen() -> list[str]:
    """Every statement so far, in order."""
    return []


@pytest.fixture
def make_engine(seen, request, tmp_path):
    path = tmp_path / "gateway.db"
    shutil.copy(request.getfixturevalue("migrated_sqlite"), path)
    return lambda: Traced(path, seen)


@pytest.fixture
async def theirs(client, shop) -> dict[str, str]:
    """The ids of what the service ``default`` has; ``shop`` asks for them."""
    made = {
        "ver": ("/v1/verifications", {"to": PHONE, "bind": {"session": "s"}}),
        "sub": ("/v1/subscribers", {"reference": "user-42"}),
        "auth": ("/v1/authenticators", {"type": "totp", "reference": "user-42", "account": "ann"}),
    }
    return {kind: (await client.post(path, json=body)).json()["id"] for kind, (path, body) in made.items()}


def skeleton(statements: list[str]) -> list[str]:
    """Return statements without the values in them, and without what a reader's connection begins with."""
    asked = [statement for statement in statements if not statement.startswith("PRAGMA")]
    return [re.sub(r"[xX]?'[^']*'|\b\d+(\.\d+)?\b", "?", statement) for statement in asked]


async def test_what_is_anothers_looks_and_costs_like_what_does_not_exist(shop, theirs, seen):
    # From now on the caller's key is known, and so is the one that proofs are signed with.
    await shop.post(f"/v1/verifications/{UNKNOWN['ver']}/check", json=CODE)
    for method, path, body in CALLS:
        answers = []
        for ids in (theirs, UNKNOWN):
            seen.clear()
            answer = await shop.request(method, path.format(**ids), json=body)
            answers.append((answer.status_code, answer.content, answer.headers, skeleton(seen)))
        assert answers[0] == answers[1], f"{method} {path}"
        assert answers[0][0] == (200 if "?" in path else 404)


async def test_a_session_that_is_anothers_looks_and_costs_like_none(shop, theirs, seen):
    await shop.get("/v1/verifications")
    answers = []
    for session in ("s", "nobodys"):
        seen.clear()
        answer = await shop.delete(f"/v1/sessions/{session}")
        answers.append((answer.status_code, answer.content, answer.headers, skeleton(seen)))
    assert answers[0] == answers[1]
    assert answers[0][:2] == (200, b'{"canceled":0}')


async def test_an_id_that_is_none_is_told_like_one_that_is_unknown(shop):
    for method, path, body in CALLS:
        if "?" not in path:
            unknown, none = [
                await shop.request(method, path.format(ver=given, sub=given, auth=given), json=body)
                for given in (UNKNOWN[re.findall(r"\{(\w+)\}", path)[0]], "x")
            ]
            assert (none.status_code, none.content) == (unknown.status_code, unknown.content)


async def test_a_wrong_key_is_told_the_same_whether_its_id_is_known_or_not(world):
    text = f"otpg_{world.key[5:13]}_{'x' * 43}"
    unknown = f"otpg_nobody00_{'x' * 43}"
    keys = [text + checksum(text), unknown + checksum(unknown), "nonsense"]
    answers = []
    for key in keys:
        async with world.client(key) as client:
            answer = await client.get(f"/v1/verifications/{UNKNOWN['ver']}")
            answers.append((answer.status_code, answer.content, answer.headers))
    assert answers == [answers[0]] * 3
    assert answers[0][0] == 401


SAFE_CALLS = [
    ("GET", "/v1/verifications", 200),
    ("GET", f"/v1/verifications/{UNKNOWN['ver']}", 404),
    ("POST", "/v1/verifications", 415),
    ("PATCH", "/v1/verifications", 405),
    ("GET", "/v1/nowhere", 404),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/docs", 200),
    ("HEAD", "/docs", 200),
    ("GET", "/.well-known/jwks.json", 200),
    ("POST", "/callbacks/sms", 403),
    ("DELETE", "/v1/sessions/s", 200),
]


async def test_every_answer_has_the_headers_that_make_it_safe(shop):
    for method, path, status in SAFE_CALLS:
        answer = await shop.request(method, path)
        assert answer.status_code == status, path
        # The published keys alone may be kept for a while.
        wanted = {name: value for name, value in SAFE.items() if name != "Cache-Control" or "jwks" not in path}
        assert {name: answer.headers.get(name) for name in wanted} == wanted, path
        assert not {"server", "x-powered-by"} & set(answer.headers), path


async def test_a_key_deep_in_a_body_is_refused(shop, world):
    stray = world.key
    for body in (
        {"to": {"email": stray}},
        {"to": PHONE, "params": {"name": f"see {stray}"}},
        {"to": PHONE, "bind": {"session": stray}},
        {"to": PHONE, "client": {"reference": stray}},
    ):
        answer = await shop.post("/v1/verifications", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
        assert stray not in answer.text
