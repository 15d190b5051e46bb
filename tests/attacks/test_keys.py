"""Attempts to do with a key what it is not for, and to be told another's answers."""

from __future__ import annotations

import pytest

from gateway.api.keys import Wanted
from gateway.api.scopes import Scope

URL = "/v1/verifications"
BODY = {"to": "+4915112345678"}
ONCE = {"Idempotency-Key": "k-1"}


@pytest.fixture
def engine_name() -> str:
    """HTTP is the same over both engines."""
    return "sqlite"


@pytest.mark.parametrize(("path", "body"), [(URL, BODY), (f"{URL}/batch", {"items": [BODY]})], ids=["one", "batch"])
async def test_a_kept_answer_is_told_to_no_key_without_the_scope_and_to_no_other_service(world, path, body):
    weak = await world.parts.keys.create("default", wanted=Wanted(frozenset({Scope.CHECK, Scope.READ})))
    other = await world.parts.keys.create("shop")
    async with world.client() as owner, world.client(weak) as thief, world.client(other) as stranger:
        made = await owner.post(path, json=body, headers=ONCE)
        assert made.headers.get("idempotent-replayed") is None
        refused = await thief.post(path, json=body, headers=ONCE)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        theirs = await stranger.post(path, json=body, headers=ONCE)
        assert theirs.headers.get("idempotent-replayed") is None
        assert theirs.content != made.content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("HEAD", URL),
        ("DELETE", "/v1/sessions/../verifications"),
        ("POST", f"{URL}/batch/0"),
        ("POST", f"/{URL}"),
        ("POST", f"{URL}/"),
        ("POST", f"{URL};x=1"),
        ("POST", f"{URL}/%62atch"),
        ("POST", f"{URL}/ver_1/check/resend"),
        ("POST", f"{URL}/ver_1%2Fresend"),
        ("post", URL),
    ],
)
async def test_no_spelling_of_method_or_path_does_without_the_scope(world, method, path):
    weak = await world.parts.keys.create("default", wanted=Wanted(frozenset({Scope.CHECK})))
    async with world.client(weak) as thief:
        answer = await thief.request(method, path, json={"items": [BODY], **BODY})
    assert answer.status_code in {403, 404, 405}
    assert await world.database.fetch("SELECT id FROM verification") == []
    assert world.sent == []


@pytest.mark.parametrize("path", ["check", "resend", "cancel"])
async def test_another_services_verification_is_not_there_and_loses_no_check(world, path):
    async with world.client() as owner, world.client(await world.parts.keys.create("shop")) as stranger:
        made = (await owner.post(URL, json=BODY)).json()["id"]
        foreign = await stranger.post(f"{URL}/{made}/{path}", json={"code": "000000"} if path == "check" else {})
        unknown = await stranger.post(
            f"{URL}/ver_{'0' * 36}/{path}", json={"code": "000000"} if path == "check" else {}
        )
        assert (404, unknown.content) == (foreign.status_code, foreign.content)
        left = (await owner.get(f"{URL}/{made}")).json()
        assert (left["status"], left["checks_left"]) == ("pending", 5)
