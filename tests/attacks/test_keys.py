"""Attempts to do with a key what it is not for, and to be told another's answers."""

from __future__ import annotations

import logging

import pytest

from gateway.api.keys.keys import Wanted
from gateway.api.keys.scopes import Scope

URL = "/v1/verifications"
PHONE = "+4915112345678"
BODY = {"to": PHONE}
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


async def test_one_key_for_a_request_and_for_batches_is_three_keys_and_for_another_batch_none(world):
    second = {"to": "+4915112345679"}
    async with world.client() as owner:
        one = await owner.post(URL, json=BODY, headers=ONCE)
        batch = await owner.post(f"{URL}/batch", json={"items": [second]}, headers=ONCE)
        longer = await owner.post(f"{URL}/batch", json={"items": [second, second]}, headers=ONCE)
        again = await owner.post(f"{URL}/batch", json={"items": [second]}, headers=ONCE)
    assert [one.status_code, batch.json()["items"][0]["status"]] == [201, 201]
    assert (longer.status_code, longer.json()["code"]) == (422, "idempotency_mismatch")
    assert (again.headers["idempotent-replayed"], again.content) == ("true", batch.content)
    assert len(await world.database.fetch("SELECT id FROM verification")) == 2


@pytest.mark.parametrize(
    "more",
    [
        {"ttl": -1},
        {"ttl": 10**30},
        {"ttl": 1e308},
        {"ttl": "\u0666\u0660"},
        {"code": {"length": -6}},
        {"code": {"length": 2**63}},
        {"code": {"value": "\uff11\uff12\uff13\uff14\uff15\uff16"}},
        {"client": {"ip": "1.2.3.4\n"}},
    ],
)
async def test_no_figure_makes_it_fail_or_is_taken(world, more):
    async with world.client() as owner:
        answer = await owner.post(URL, json={**BODY, **more})
    assert (answer.status_code in {400, 422}, answer.json()["code"]) == (True, "invalid_request")
    assert await world.database.fetch("SELECT id FROM verification") == []


async def test_a_key_as_a_name_or_beside_another_value_is_told_back_nowhere(world, database, caplog):
    caplog.set_level(logging.DEBUG, "gateway")
    key, part = world.key, world.key[14:30]
    queries = (f"cursor={key}&cursor=x", f"x={key}&x=1", f"{key}=1", key, f"a;b={key}")
    told = {"to": PHONE}
    bodies = (
        {**told, key: 1},
        {"to": {key: "x"}},
        {"to": key},
        {**told, "params": {key: "x"}},
        {**told, "client": {"reference": key}},
        {**told, "purpose": key},
        {**told, "channels": [key]},
    )
    async with world.client() as client:
        answers = [await client.get(f"{URL}?{query}") for query in queries]
        answers += [await client.post(URL, json=body) for body in bodies]
        for answer in answers:
            assert (answer.status_code, "Authorization header" in answer.text, part in answer.text) == (
                400,
                True,
                False,
            )
        batch = await client.post(f"{URL}/batch", json={"items": [{**told, key: 1}, BODY]})
        assert [item["status"] for item in batch.json()["items"]] == [400, 201]
        assert part not in batch.text
        for path in (f"{URL}/{key}", f"/{key}"):
            assert part not in (await client.get(path)).text
    assert part not in caplog.text
    for table in ("event", "verification"):
        assert part not in repr([dict(row) for row in await database.fetch(f"SELECT * FROM {table}")])
