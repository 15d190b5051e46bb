"""``POST /v1/verifications/batch``: each item by itself, in order, and under a key nothing twice."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.api import batch
from gateway.api.shapes import MAX_ITEMS
from gateway.errors import IdempotencyConflict
from gateway.storage.answers import Answers, Source
from gateway.storage.sealing import token_hash
from gateway.storage.unit import StorageUnavailableError
from gateway.verification.chunking import CHUNK, KEYED

URL = "/v1/verifications/batch"
COUNT = "SELECT count(*) AS number FROM verification"


#: What is written differently by the two engines.
both = pytest.mark.parametrize("engine_name", ["sqlite", "postgresql"])


@pytest.fixture
def small_chunks(monkeypatch) -> int:
    """Chunks of a size at which many of them take no time."""
    monkeypatch.setattr(batch, "KEYED", 5)
    return 5


def people(number: int, first: int = 0) -> list[dict[str, str]]:
    return [{"to": f"p{place}@example.org"} for place in range(first, first + number)]


async def send(client: httpx.AsyncClient, items: object, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(URL, json={"items": items}, headers=headers)


async def statuses(client: httpx.AsyncClient, items: object, key: str | None = None) -> list[int]:
    response = await send(client, items, key)
    assert response.status_code == 207, response.text
    return [item["status"] for item in response.json()["items"]]


async def is_alive(world, link: str) -> bool:
    """Whether a link is one that a person can open."""
    rows = await world.database.fetch("SELECT link_token_hash FROM subscriber")
    return token_hash(link.rpartition("=")[2]) in [bytes(row["link_token_hash"]) for row in rows]


async def made(world) -> int:
    return int((await world.database.fetch(COUNT))[0]["number"])


MIXED = [
    {"to": "a@example.org"},
    {"to": "nobody"},
    17,
    {"to": "b@example.org", "nonsense": 1},
    {"to": "c@example.org", "ttl": 99999999999999999999},
    {"to": "d@example.org", "api_key": "x"},
    {"to": "a@example.org"},
    {"to": {"phone": "+15005550006"}},
    {"to": "e@example.org"},
]
ANSWERS = [201, 422, 422, 422, 422, 400, 429, 422, 201]


@both
@pytest.mark.parametrize("key", [None, "k"])
async def test_what_is_wrong_with_an_item_is_its_own_answer_and_touches_no_other(world, client, key):
    response = await send(client, MIXED, key)
    assert (response.status_code, response.headers["content-type"]) == (207, "application/json")
    items = response.json()["items"]
    assert [item["status"] for item in items] == ANSWERS
    assert [item["status"] for item in items[1:8]] == [item["body"]["status"] for item in items[1:8]]
    assert [error["pointer"] for error in items[1]["body"]["errors"]] == ["/to"]
    assert items[0]["body"]["id"] == items[6]["body"]["verification"]
    assert {place: item["retry_after"] for place, item in enumerate(items) if "retry_after" in item} == {6: 30}
    assert [items[0]["body"]["id"], items[8]["body"]["id"]] == [message.verification_id for message in world.sent]
    one = (await client.get(f"/v1/verifications/{items[8]['body']['id']}")).json()
    changing = dict.fromkeys(("events", "messages", "sends_left"))
    assert {**one, **changing} == {**items[8]["body"], **changing}
    assert await made(world) == 2


async def test_items_are_answered_as_single_requests_would_be(client):
    for place, item in enumerate(MIXED[1:6]):
        single = await client.post("/v1/verifications", json=item)
        [told] = (await send(client, [item])).json()["items"]
        assert (single.status_code, single.json()) == (told["status"], told["body"]), place


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_thousand_items_are_written_in_chunks_which_are_shorter_under_a_key(world, client, key, monkeypatch):
    units = []
    commit = world.database._engine.commit

    async def counted(batch):
        units.append(len(batch))
        return await commit(batch)

    monkeypatch.setattr(world.database._engine, "commit", counted)
    items = people(MAX_ITEMS)
    assert await statuses(client, items, key) == [201] * MAX_ITEMS
    assert ([CHUNK] * (MAX_ITEMS // CHUNK) if key is None else [1] * (MAX_ITEMS // KEYED)) == units
    assert await made(world) == MAX_ITEMS


async def test_a_chunk_under_a_key_weighs_as_much_as_its_items(world, client, monkeypatch):
    """So the chunks of many batches that are sent at once are never one transaction."""
    weights, run = [], world.database.run

    async def weighed(work, *, weight=1):
        weights.append(weight)
        return await run(work, weight=weight)

    monkeypatch.setattr(world.database, "run", weighed)
    assert await statuses(client, people(KEYED + 3), "k") == [201] * (KEYED + 3)
    assert [weight for weight in weights if weight > 1] == [KEYED, 3]


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"items": []}, 422, "/items"),
        ({"items": [1] * (MAX_ITEMS + 1)}, 422, "/items"),
        ({"items": {}}, 422, "/items"),
        ({"items": None}, 422, "/items"),
        ({}, 422, "/items"),
        ([], 422, ""),
        ({"items": [{}], "more": 1}, 422, "/more"),
        ({"items": [{}], "api_key": "x"}, 400, None),
        ({"items": ["x" * batch.MAX_BODY]}, 413, None),
    ],
)
async def test_a_request_that_is_no_list_is_refused_as_a_whole(world, client, body, status, pointer):
    response = await client.post(URL, json=body, headers={"Idempotency-Key": "k"})
    found = response.json()
    assert (status, status) == (response.status_code, found["status"])
    assert pointer == (found["errors"][0]["pointer"] if "errors" in found else None)
    # A shape error leaves the key free.
    assert await statuses(client, people(1), "k") == [201]


async def test_a_body_of_a_megabyte_is_taken(client):
    body = json.dumps({"items": people(2)})
    padded = body + " " * (batch.MAX_BODY - len(body))
    response = await client.post(URL, content=padded, headers={"Content-Type": "application/json"})
    assert response.status_code == 207
    assert (
        await client.post(URL, content=padded + " ", headers={"Content-Type": "application/json"})
    ).status_code == 413


async def test_a_key_is_needed_and_the_query_is_empty(world, client):
    assert (await client.post(URL, json={"items": []}, headers={"Authorization": ""})).status_code == 401
    assert (await client.post(f"{URL}?x=1", json={"items": people(1)})).status_code == 422


@both
async def test_the_same_key_tells_the_same_answers_again_and_creates_nothing(world, client, small_chunks):
    items = [*MIXED, *people(2 * small_chunks)]
    first = await send(client, items, "k")
    assert "idempotent-replayed" not in first.headers
    sent = len(world.sent)
    again = await send(client, items, '"k"')
    assert (first.content, "true") == (again.content, again.headers["idempotent-replayed"])
    assert (sent, sent) == (len(world.sent), await made(world))


async def test_the_same_key_with_another_body_is_refused(client):
    await send(client, people(2), "k")
    response = await send(client, people(3), "k")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_key_is_the_batchs_own(client):
    """The same key for a single request, or with a chunk's number behind it, is another key."""
    headers = {"Idempotency-Key": "k"}
    assert (await client.post("/v1/verifications", json=people(1)[0], headers=headers)).status_code == 201
    assert await statuses(client, people(1, 5), "k") == [201]
    assert await statuses(client, people(1, 6), "k/0") == [201]
    assert await statuses(client, people(1, 7), "0") == [201]


@both
async def test_of_many_with_the_same_key_one_is_carried_out(world, client, small_chunks):
    items = people(2 * small_chunks + 1)
    found = await asyncio.gather(*(send(client, items, "k") for _ in range(10)))
    bodies = {response.content for response in found if response.status_code == 207}
    assert len(bodies) == 1
    assert {207, 409} >= {response.status_code for response in found}
    assert (len(items), len(items)) == (await made(world), len(world.sent))


@both
@pytest.mark.parametrize("after", [0, 2])
async def test_cut_off_between_two_chunks_it_goes_on_when_asked_again(
    world, client, rebuilt, after, sealer, clock, small_chunks
):
    """As after a crash: nothing is created twice, and what was created is told as it was."""
    items = people(3 * small_chunks)

    class Failing(Answers):
        left = after

        async def once(self, *given, **more):
            if not self.left:
                raise StorageUnavailableError("SQLite: database is locked")
            self.left -= 1
            return await super().once(*given, **more)

    broken = await rebuilt(answers=Failing(world.database, sealer, clock))
    async with broken.client(world.key) as caller:
        refused = await send(caller, items, "k")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert after * small_chunks == await made(world)
    whole = await send(client, items, "k")
    assert [201] * 3 * small_chunks == [item["status"] for item in whole.json()["items"]]
    assert "idempotent-replayed" not in whole.headers
    assert 3 * small_chunks == await made(world)
    assert whole.content == (await send(client, items, "k")).content


async def test_whose_answer_cannot_be_seen_yet_is_a_conflict(world, rebuilt):
    class Busy:
        async def kept(self, *_):
            return None

        async def once(self, *_, **__):
            raise IdempotencyConflict("try again in a moment")

    busy = await rebuilt(answers=Busy())
    async with busy.client() as caller:
        assert (await send(caller, people(1), "k")).status_code == 409


async def test_without_a_key_a_database_that_is_away_is_each_items_answer(world, client, monkeypatch):
    async def away(_):
        raise StorageUnavailableError("SQLite: database is locked")

    key = world.parts.keys
    await key.authenticate(world.key, None)
    monkeypatch.setattr(world.database._engine, "commit", away)
    response = await send(client, [*people(2), 1])
    assert [(item["status"], item.get("retry_after")) for item in response.json()["items"]] == [
        (503, 1),
        (503, 1),
        (422, None),
    ]


async def test_refusals_of_items_are_counted_as_those_of_requests(world, client):
    await send(client, MIXED)
    await send(client, MIXED, "k")
    told, _ = world.parts.metrics.render("")
    counted = [line for line in told.decode().splitlines() if 'cooldown"}' in line and not line.startswith("#")]
    assert [line.rsplit(" ", 1)[1] for line in counted if "created" not in line] == ["4.0"]


@both
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_person_who_is_invited_twice_in_a_batch_keeps_the_first_link(world, client, key):
    items = [{"to": {"telegram": "user-1"}}] * 2
    found = (await send(client, items, key)).json()["items"]
    assert [item["status"] for item in found] == [201, 429]
    again = (await send(client, items, "another")).json()["items"]
    assert [item["status"] for item in again] == [429, 429]
    assert await is_alive(world, found[0]["body"]["link"])
    assert await made(world) == 1


@both
async def test_two_items_that_limits_allow_a_person_leave_the_later_link(world, shop):
    found = (await send(shop, [{"to": {"telegram": "user-1"}}] * 2, "k")).json()["items"]
    assert [item["status"] for item in found] == [201, 201]
    assert [await is_alive(world, item["body"]["link"]) for item in found] == [False, True]


@both
async def test_a_recipient_who_is_erased_is_erased_from_the_kept_answers_too(shop):
    items = people(2)
    first = (await send(shop, items, "k")).json()["items"]
    assert (await shop.request("DELETE", "/v1/recipients", json=items[0])).status_code == 200
    again = (await send(shop, items, "k")).json()["items"]
    assert ({}, first[1]) == (again[0]["body"]["to"], again[1])
    assert first[0]["body"]["id"] == again[0]["body"]["id"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(JSON | st.fixed_dictionaries({"to": JSON}), min_size=1, max_size=4), st.booleans())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_item_makes_the_whole_fail(world, items, keyed):
    async with world.client() as caller:
        response = await send(caller, items, "hypothesis" if keyed else None)
    if response.status_code == 207:
        assert len(items) == len(response.json()["items"])
        assert {500}.isdisjoint(item["status"] for item in response.json()["items"])
    else:
        assert response.status_code in {400, 422}


def test_a_chunks_source_is_no_other_paths():
    assert Source("POST", f"{batch.PATH}/0", "k") != Source("POST", batch.PATH, "k")
