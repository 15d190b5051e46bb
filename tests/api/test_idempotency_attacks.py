"""An ``Idempotency-Key`` under attack: in parallel, over nodes and services, with other bodies, in its last second."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import httpx
import pytest

from gateway.storage.database import Database
from tests.api.conftest import build

URL = "/v1/verifications"
DAY = 24 * 3600


@pytest.fixture(params=["sqlite", "postgresql"])
def engine_name(request) -> str:
    return str(request.param)


async def ask(client: httpx.AsyncClient, key: str, to: str = "ann@example.org") -> httpx.Response:
    return await client.post(URL, json={"to": to}, headers={"Idempotency-Key": key})


async def made(world) -> int:
    return int((await world.database.fetch("SELECT count(*) AS number FROM verification"))[0]["number"])


async def test_of_a_hundred_at_once_over_two_nodes_one_creates_and_all_others_are_told_the_same(
    world, make_engine, sealer, hasher, clock
):
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(make_engine()))
        other = await build(database, sealer, hasher, clock)
        clients = [await stack.enter_async_context(node.client(world.key)) for node in (world, other)]
        found = await asyncio.gather(*(ask(clients[number % 2], "k") for number in range(100)))
        sent = len(world.sent) + len(other.sent)
    told = [response for response in found if response.status_code == 201]
    assert {201, 409} >= {response.status_code for response in found}
    assert len({response.content for response in told}) == 1
    assert sum("idempotent-replayed" not in response.headers for response in told) == 1
    assert (await made(world), sent) == (1, 1)


async def test_of_bodies_that_race_for_a_key_one_is_carried_out_and_the_others_are_named_different(world, client):
    found = await asyncio.gather(*(ask(client, "k", f"p{number % 10}@example.org") for number in range(50)))
    codes = Counter(response.json().get("code", "created") for response in found)
    assert {"created", "idempotency_mismatch", "idempotency_conflict"} >= set(codes)
    assert len({response.content for response in found if response.status_code == 201}) == 1
    assert codes["idempotency_mismatch"] + codes["idempotency_conflict"] >= 45
    assert await made(world) == 1


async def test_a_key_is_its_services_own(world, client, shop):
    first, second = await asyncio.gather(ask(client, "k"), ask(shop, "k"))
    assert (first.json()["service"], second.json()["service"]) == ("default", "shop")
    assert first.json()["id"] != second.json()["id"]
    # Neither is told the other's, whoever asks again with whose body.
    assert (await ask(client, "k")).content == first.content
    assert (await ask(shop, "k")).content == second.content
    assert await made(world) == 2


async def test_a_key_is_kept_a_day_and_then_free(world, shop, clock):
    first = await ask(shop, "k")
    clock.advance(DAY - 1)
    assert first.content == (await ask(shop, "k")).content
    assert (await ask(shop, "k", "bob@example.org")).status_code == 422
    clock.advance(1)
    # For another body too, whether or not what is old was swept away meanwhile.
    second = await ask(shop, "k", "bob@example.org")
    assert (second.status_code, "idempotent-replayed" in second.headers) == (201, False)
    assert second.content == (await ask(shop, "k", "bob@example.org")).content
    assert (await ask(shop, "k")).status_code == 422


async def test_in_the_second_in_which_a_key_ends_two_requests_create_one(world, shop, clock):
    await ask(shop, "k")
    clock.advance(DAY)
    found = await asyncio.gather(*(ask(shop, "k") for _ in range(20)))
    assert len({response.json().get("id") for response in found if response.status_code == 201}) == 1
    assert await made(world) == 2


@pytest.mark.parametrize(
    ("key", "same"),
    [("order-7", '"order-7"'), ('a"b', r'"a\"b"'), ("x" * 255, '"' + "x" * 255 + '"'), (" k ", "k")],
)
async def test_a_key_is_the_same_however_it_is_written(client, key, same):
    assert (await ask(client, key)).content == (await ask(client, same)).content


@pytest.mark.parametrize(
    "key", ["", '""', "x" * 256, '"' + "x" * 256 + '"', "schlüssel", "ключ", '"k', "k\x00", "a\x7f"]
)
async def test_what_is_no_key_creates_nothing(world, client, key):
    headers = [(b"Idempotency-Key", key.encode())]
    response = await client.post(URL, json={"to": "ann@example.org"}, headers=headers)
    assert (response.status_code, await made(world)) == (400, 0)


async def test_a_key_given_twice_creates_nothing(world, client):
    headers = [("Idempotency-Key", "k"), ("Idempotency-Key", "k")]
    response = await client.post(URL, json={"to": "ann@example.org"}, headers=headers)
    assert (response.status_code, await made(world)) == (400, 0)


async def test_keys_that_differ_in_anything_are_others(world, shop):
    keys = ["k", "K", "k ", "x" * 255]
    ids = {(await ask(shop, f'"{key}"')).json()["id"] for key in keys}
    assert len(keys) == len(ids)


async def test_a_refusal_leaves_the_key_free_and_a_shape_error_too(world, client, clock):
    assert (await ask(client, "first")).status_code == 201
    assert (await ask(client, "k")).status_code == 429
    assert (await ask(client, "k", "nobody")).status_code == 422
    clock.advance(30)
    assert (await ask(client, "k")).status_code == 201


async def test_the_same_key_at_another_path_is_another_key(client):
    one = await ask(client, "k", "ann@example.org")
    other = await client.post("/v1/subscribers", json={"reference": "user-1"}, headers={"Idempotency-Key": "k"})
    assert (one.status_code, other.status_code) == (201, 201)


async def test_spelling_and_order_of_a_body_do_not_matter_and_its_values_do(client):
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}

    async def sent(text: str) -> httpx.Response:
        answer: httpx.Response = await client.post(URL, content=text, headers=headers)
        return answer

    first = await sent('{"to": "ann@example.org", "ttl": 60}')
    assert first.content == (await sent('{"ttl":60,\n"to":"\\u0061nn@example.org"}')).content
    for other in (
        '{"to": "ann@example.org"}',
        '{"to": "ann@example.org", "ttl": 61}',
        '{"to": "Ann@example.org", "ttl": 60}',
    ):
        assert (await sent(other)).json()["code"] == "idempotency_mismatch"
