"""``/v1/verifications`` over HTTP, as a caller meets it."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from channels.base import Address, InvalidAddressError, Reason, TransientError
from channels.kinds import KINDS
from gateway.api import examples
from gateway.delivery.lifecycle import VerificationStatus
from gateway.storage import models
from gateway.storage.sealing import token_hash
from gateway.storage.statement import insert_into
from gateway.storage.unit import Move
from gateway.verification import ending
from gateway.verification.request import Asked
from tests.api.conftest import EMAIL, PHONE

URL = "/v1/verifications"


async def started(caller, /, to: object = PHONE, **body: object) -> dict[str, Any]:
    response = await caller.post(URL, json={"to": to, **body})
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


async def test_a_create_answers_what_the_contract_shows(client, world):
    response = await client.post(
        URL,
        json={
            "to": {"phone": PHONE, "email": EMAIL},
            "purpose": "login",
            "locale": "de-AT",
            "params": {"name": "Ann"},
            "client": {"ip": "203.0.113.9", "reference": "device-7"},
            "code": {"length": 6, "alphabet": "digits"},
            "ttl": 300,
        },
    )
    body = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/v1/verifications/{body['id']}"
    assert body == {
        "id": body["id"],
        "status": "pending",
        "service": "default",
        "purpose": "login",
        "locale": "de-AT",
        "to": {"phone": "+49••••••••678", "email": "a•••@e•••.org"},
        "channel": "sms",
        "next_channels": ["email"],
        "created_at": "2026-05-04T10:40:00.000Z",
        "expires_at": "2026-05-04T10:45:00.000Z",
        "resend_at": "2026-05-04T10:40:30.000Z",
        "checks_left": 5,
        "sends_left": 4,
        "link": None,
        "challenge": None,
        "page": None,
        "messages": [{"id": body["messages"][0]["id"], "channel": "sms", "status": "queued"}],
    }
    assert [message.verification_id for message in world.sent] == [body["id"]]
    assert (world.sent[0].params, world.sent[0].locale) == ({"name": "Ann"}, "de-AT")
    assert world.sent[0].code not in response.text


async def test_a_location_has_the_path_that_a_proxy_serves_the_gateway_under(rebuilt):
    world = await rebuilt(public_url="https://example.org/otp")
    async with world.client() as client:
        response = await client.post(URL, json={"to": PHONE})
    assert response.headers["location"] == f"/otp/v1/verifications/{response.json()['id']}"


@pytest.mark.parametrize(("to", "channel"), [(PHONE, "sms"), (EMAIL, "email"), ({"email": EMAIL}, "email")])
async def test_to_may_be_a_plain_string(client, to, channel):
    assert channel == (await started(client, to))["channel"]


async def test_an_unlinked_person_gets_a_link_and_a_waiting_message(client, world):
    body = await started(client, {"telegram": "user-42"})
    assert body["link"].startswith("https://t.me/example_bot?start=")
    assert [(message["channel"], message["status"]) for message in body["messages"]] == [("telegram", "waiting")]
    assert world.sent == []


async def test_null_is_the_same_as_absent(client):
    body = await started(client, locale=None, ttl=None, params=None, client=None, code=None, channels=None, mode=None)
    assert body["locale"] == "en"
    to = {"phone": None, "email": "ann@example.org"}
    assert (await started(client, to, purpose=None, params={"name": None, "more": "x"}))["purpose"] == "verification"


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ({}, "/to", "required"),
        ({"to": 7}, "/to", "a text or an object, not a whole number"),
        ({"to": {}}, "/to", "at least one address"),
        ({"to": {"phone": 7}}, "/to/phone", "a text, not a whole number"),
        ({"to": {"Fax": "1"}}, "/to", "kinds are lower-case letters, digits and underscores"),
        ({"to": {"fax": "1"}}, "/to/fax", "unknown kind; known are email, phone, telegram"),
        ({"to": "015112345678"}, "/to", "a phone number starts with + and its country code"),
        ({"to": {"phone": "0151"}}, "/to/phone", "a phone number starts with + and its country code"),
        (
            {"to": PHONE, "bind": {"a-b": "c"}},
            "/bind",
            "names are 1 to 64 ASCII letters, digits and underscores, a letter first",
        ),
        ({"to": PHONE, "bind": {"amount": 12}}, "/bind/amount", "a text, not a whole number"),
        ({"to": PHONE, "bind": {"amount": "x" * 201}}, "/bind/amount", "a text of at most 200 characters"),
        ({"to": PHONE, "bind": {f"n{n}": "" for n in range(21)}}, "/bind", "an object of at most 20 members"),
        ({"to": PHONE, "proof": True}, "/proof", "no such field"),
        ({"to": PHONE, "mode": "Inbound"}, "/mode", "outbound or inbound"),
        ({"to": PHONE, "mode": True}, "/mode", "a text or null, not true or false"),
        ({"to": PHONE, "mode": "inbound", "channels": ["sms"]}, "/mode", None),
        ({"to": PHONE, "mode": "inbound", "code": {"length": 8}}, "/code", "nothing is sent with mode inbound"),
        ({"to": PHONE, "mode": "inbound", "params": {"a": "b"}}, "/params", "nothing is sent with mode inbound"),
        ({"to": EMAIL, "mode": "inbound"}, "/to", "nobody can prove that in the chat; only telegram and phone"),
        ({"to": PHONE, "nonsense": 1}, "/nonsense", "no such field"),
        ({"to": PHONE, "a/b~c": 1}, "/a~1b~0c", "no such field"),
        ({"to": PHONE, "x" * 99: 1}, f"/{'x' * 40}…", "no such field"),
        ({"to": PHONE, "code": {"size": 6}}, "/code/size", "no such field"),
        ({"to": PHONE, "code": {"length": True}}, "/code/length", "a whole number or null, not true or false"),
        ({"to": PHONE, "code": {"length": 6.0}}, "/code/length", "a whole number or null, not a decimal number"),
        ({"to": PHONE, "code": {"length": 33}}, "/code/length", "a whole number, 32 or less"),
        ({"to": PHONE, "code": {"length": 11}}, "/code/length", "from 6 (the service's policy) to 10"),
        (
            {"to": PHONE, "code": {"alphabet": "r" * 99}},
            "/code/alphabet",
            "one of digits, alphanumeric, symbols (the service's policy)",
        ),
        ({"to": PHONE, "code": {"length": 5}}, "/code/length", "from 6 (the service's policy) to 10"),
        (
            {"to": PHONE, "code": {"alphabet": "letters"}},
            "/code/alphabet",
            "one of digits, alphanumeric, symbols (the service's policy)",
        ),
        (
            {"to": PHONE, "code": {"value": "492039"}},
            "/code/value",
            "this service's policy does not allow its own codes",
        ),
        ({"to": PHONE, "ttl": "300"}, "/ttl", "a whole number or null, not a text"),
        ({"to": PHONE, "ttl": 301}, "/ttl", "from 5 to 300 seconds (the service's policy)"),
        ({"to": PHONE, "ttl": 4}, "/ttl", "a whole number, 5 or more"),
        ({"to": PHONE, "channels": []}, "/channels", "a list of at least 1 item"),
        ({"to": PHONE, "channels": ["sms", "sms"]}, "/channels", "a channel is named twice"),
        ({"to": PHONE, "channels": ["sms", 7]}, "/channels/1", "a text, not a whole number"),
        ({"to": PHONE, "channels": ["fax"]}, "/channels/0", "no such channel; configured are email, sms, telegram"),
        ({"to": PHONE, "channels": ["email"]}, "/to", "no address for any channel of the route (email)"),
        ({"to": PHONE, "purpose": "Log in"}, "/purpose", None),
        ({"to": PHONE, "purpose": "login\n"}, "/purpose", None),
        ({"to": None, "purpose": "login"}, "/to", "required"),
        ({"to": PHONE, "account": None}, "/account", "no such field"),
        ({"to": {"phone": None}}, "/to", "at least one address"),
        ({"to": PHONE, "bind": {"amount": None}}, "/bind/amount", "a text, not null"),
        ({"to": PHONE, "locale": "de_AT"}, "/locale", "a language tag, like de or de-AT"),
        ({"to": PHONE, "locale": "de" * 20}, "/locale", "a text of at most 35 characters"),
        ({"to": PHONE, "params": {"name": 7}}, "/params/name", "a text, not a whole number"),
        ({"to": PHONE, "params": {"a": "b", "name": "x" * 201}}, "/params/name", "a text of at most 200 characters"),
        ({"to": PHONE, "params": {"n-a": "x"}}, "/params", None),
        ({"to": PHONE, "params": {f"p{n}": "x" for n in range(21)}}, "/params", "an object of at most 20 members"),
        ({"to": PHONE, "client": {"ip": "203.0.113.999"}}, "/client/ip", "not an IP address"),
        ({"to": PHONE, "client": {"ip": "fe80::1%eth0"}}, "/client/ip", "not an IP address"),
        ({"to": PHONE, "client": {"ip": ""}}, "/client/ip", "not an IP address"),
        ({"to": PHONE, "client": {"reference": "x" * 201}}, "/client/reference", "a text of at most 200 characters"),
        ([], "", "an object, not a list"),
    ],
)
async def test_what_is_wrong_is_named_with_its_place(client, body, pointer, detail):
    response = await client.post(URL, json=body)
    problem = response.json()
    assert (response.status_code, problem["code"]) == (422, "invalid_request")
    assert [pointer] == [fault["pointer"] for fault in problem["errors"]]
    if detail is not None:
        assert detail == problem["errors"][0]["detail"]


async def test_every_unknown_field_is_named_at_once(client):
    response = await client.post(URL, json={"to": PHONE, "a": 1, "proof": {}, "code": {"b": 2}})
    assert [fault["pointer"] for fault in response.json()["errors"]] == ["/a", "/proof", "/code/b"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"to": 7, "ttl": 1, "purpose": "X", "code": {"length": 99}}, ["/to", "/code/length", "/ttl"]),
        ({"to": "x", "purpose": "X", "mode": "x", "code": {"length": 5}}, ["/purpose", "/mode"]),
        ({"to": "x", "code": {"length": 5}, "channels": ["fax"]}, ["/code/length"]),
    ],
)
async def test_the_faults_that_are_found_first_are_named_and_others_once_those_are_mended(client, body, pointers):
    response = await client.post(URL, json=body)
    assert sorted(fault["pointer"] for fault in response.json()["errors"]) == sorted(pointers)


@pytest.mark.parametrize(
    "body",
    [
        {"to": {"phone": "secret"}},
        {"to": PHONE, "locale": "secret!"},
        {"to": PHONE, "purpose": "Secret-secret"},
        {"to": PHONE, "params": {"name": ["secret"]}},
        {"to": PHONE, "code": {"value": "secret"}},
        {"to": PHONE, "nonsense": "secret"},
        {"to": PHONE, "mode": "secret"},
        {"to": PHONE, "client": {"ip": "secret"}},
    ],
)
async def test_no_refusal_repeats_a_value(client, body):
    assert "secret" not in (await client.post(URL, json=body)).text.lower()


async def test_an_ip_is_kept_in_one_spelling(client, world):
    await started(client, client={"ip": "2001:DB8:0::1"})
    assert (await world.database.fetch("SELECT client_ip FROM verification"))[0]["client_ip"] == "2001:db8::1"


async def test_a_second_create_within_the_cooldown_names_the_pending_verification(client):
    first = await started(client)
    response = await client.post(URL, json={"to": PHONE})
    assert (429, "cooldown", first["id"]) == (
        response.status_code,
        response.json()["code"],
        response.json()["verification"],
    )
    assert response.headers["retry-after"] == "30"
    assert response.headers["ratelimit"] == '"cooldown";r=0;t=30'


async def test_obeying_retry_after_works(client, clock):
    first = await started(client)
    clock.advance(0.4)
    wait = int((await client.post(URL, json={"to": PHONE})).headers["retry-after"])
    clock.advance(wait)
    again = await client.post(URL, json={"to": PHONE})
    assert again.status_code == 201
    assert again.json()["id"] != first["id"]


async def test_a_country_outside_the_policy_is_refused(world):
    async with world.client(await world.parts.keys.create("near")) as near:
        response = await near.post(URL, json={"to": PHONE})
    assert (response.status_code, response.json()["code"]) == (422, "recipient_refused")


async def test_a_bot_that_cannot_be_asked_for_a_link_is_unavailable(client, world):
    world.bot.fault = TransientError(Reason.TIMEOUT)
    response = await client.post(URL, json={"to": {"telegram": "user-42"}})
    assert (
        response.status_code,
        response.json()["code"],
        response.headers["retry-after"],
    ) == (503, "unavailable", "5")


async def test_a_provider_that_names_a_time_is_believed(client, world):
    world.bot.fault = TransientError(Reason.RATE_LIMITED, retry_after=11.2)
    assert (await client.post(URL, json={"to": {"telegram": "user-42"}})).headers["retry-after"] == "12"


# Idempotency-Key


async def test_the_same_key_and_body_get_the_first_answer_again(client, world):
    first, again = [
        await client.post(URL, content=content, headers={"Idempotency-Key": key, "Content-Type": "application/json"})
        for key, content in [
            ("order-7", '{"to": "+4915112345678", "ttl": 60}'),
            ('"order-7"', '{"ttl":60,"to":"+4915112345678"}'),
        ]
    ]
    assert (201, 201, first.content) == (first.status_code, again.status_code, again.content)
    assert first.headers["location"] == again.headers["location"]
    assert (again.headers["idempotent-replayed"], first.headers.get("idempotent-replayed")) == ("true", None)
    assert len(world.sent) == 1


async def test_parallel_requests_with_one_key_start_one_verification(client, world):
    responses = await asyncio.gather(
        *(client.post(URL, json={"to": PHONE}, headers={"Idempotency-Key": "k"}) for _ in range(20))
    )
    assert {201} == {response.status_code for response in responses}
    assert 1 == len({response.json()["id"] for response in responses}) == len(world.sent)


async def test_another_body_under_the_same_key_is_a_mismatch(client):
    headers = {"Idempotency-Key": "k"}
    await client.post(URL, json={"to": PHONE}, headers=headers)
    response = await client.post(URL, json={"to": EMAIL}, headers=headers)
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_refused_key_can_be_used_again(client, clock):
    await started(client)
    headers = {"Idempotency-Key": "k"}
    assert (await client.post(URL, json={"to": PHONE}, headers=headers)).status_code == 429
    assert (await client.post(URL, json={"to": PHONE, "ttl": 1}, headers=headers)).status_code == 422
    clock.advance(30)
    assert (await client.post(URL, json={"to": PHONE}, headers=headers)).status_code == 201


async def test_a_key_is_scoped_to_its_service(client, shop):
    headers = {"Idempotency-Key": "k"}
    first = await client.post(URL, json={"to": PHONE}, headers=headers)
    other = await shop.post(URL, json={"to": PHONE}, headers=headers)
    assert first.json()["id"] != other.json()["id"]


async def test_a_repeated_request_leaves_the_first_link_alive(client, world):
    headers = {"Idempotency-Key": "k"}
    body = {"to": {"telegram": "user-42"}}
    first = await client.post(URL, json=body, headers=headers)
    token = (await world.database.fetch("SELECT link_token_hash FROM subscriber"))[0][0]
    again = await client.post(URL, json=body, headers=headers)
    assert first.json()["link"] == again.json()["link"]
    assert token == (await world.database.fetch("SELECT link_token_hash FROM subscriber"))[0][0]


@pytest.mark.parametrize("engine_name", ["sqlite", "postgresql"])
async def test_a_request_that_comes_twice_at_once_leaves_the_answered_link_alive(shop, world):
    body, headers = {"to": {"telegram": "user-42"}}, {"Idempotency-Key": "k"}
    one, other = await asyncio.gather(*(shop.post(URL, json=body, headers=headers) for _ in range(2)))
    assert one.json() == other.json()
    [row] = await world.database.fetch("SELECT link_token_hash FROM subscriber")
    assert token_hash(one.json()["link"].rpartition("=")[2]) == bytes(row["link_token_hash"])


# Reverse verification


async def test_a_challenge_is_shown_once_and_nothing_is_sent(client, world):
    body = await started(client, {"phone": PHONE}, mode="inbound", channels=["telegram"])
    assert re.fullmatch("[2-9CFGHJMPQRVWX]{4}-[2-9CFGHJMPQRVWX]{4}", body["challenge"])
    assert body["link"].startswith("https://t.me/example_bot?start=")
    assert (body["channel"], body["messages"], body["checks_left"], world.sent) == ("telegram", [], 0, [])
    assert body["resend_at"] == body["expires_at"]
    again = (await client.get(f"{URL}/{body['id']}")).json()
    assert {**again, "link": body["link"], "challenge": body["challenge"]} == {**body, "events": again["events"]}
    assert (again["link"], again["challenge"]) == (None, None)
    [listed] = (await client.get(URL)).json()["items"]
    assert (listed["channel"], listed["challenge"]) == ("telegram", None)


async def test_outbound_is_what_happens_anyway(shop, world):
    await started(shop, mode="outbound")
    await started(shop)
    assert [message.channel for message in world.sent] == ["sms", "sms"]


async def test_the_same_key_gets_the_same_challenge(client, world):
    headers, body = {"Idempotency-Key": "k"}, {"to": PHONE, "mode": "inbound"}
    first = await client.post(URL, json=body, headers=headers)
    again = await client.post(URL, json=body, headers=headers)
    assert (201, first.json()["challenge"]) == (again.status_code, again.json()["challenge"])
    assert len(await world.database.fetch("SELECT hash FROM challenge")) == 2
    assert len(await world.database.fetch("SELECT id FROM verification")) == 1


async def test_a_challenge_does_not_pass_a_check_nor_is_it_sent_again(client):
    body = await started(client, mode="inbound")
    for verb, sent in [("check", {"code": body["challenge"]}), ("resend", {})]:
        response = await client.post(f"{URL}/{body['id']}/{verb}", json=sent)
        assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
        assert body["challenge"] not in response.text
    assert (await client.get(f"{URL}/{body['id']}")).json()["status"] == "pending"
    assert (await client.post(f"{URL}/{body['id']}/cancel")).json()["status"] == "canceled"


async def test_a_reverse_verification_without_the_bots_name_asks_to_come_back(client, world):
    world.bot.fault = TransientError(Reason.UNAVAILABLE)
    response = await client.post(URL, json={"to": PHONE, "mode": "inbound"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


# Reading


async def test_one_is_shown_with_attempts_and_events(client, world, clock):
    body = await started(client)
    await world.parts.queue.begin(world.sent[0])
    response = await client.get(f"{URL}/{body['id']}")
    shown = response.json()
    assert response.status_code == 200
    assert shown["messages"][0]["attempts"] == [
        {
            "number": 1,
            "started_at": "2026-05-04T10:40:00.000Z",
            "finished_at": None,
            "outcome": None,
            "reason": None,
            "provider_id": None,
            "provider_code": None,
        }
    ]
    assert {"verification.created", "message.queued", "message.sending"} == {e["event"] for e in shown["events"]}
    assert shown["events"][0]["id"].startswith("evt_")
    assert {"id", "at", "event", "channel", "recipient"} <= shown["events"][0].keys()


async def test_a_time_to_come_back_at_is_never_early(client, clock):
    clock.advance(0.0004)
    made = await started(client)
    assert (made["created_at"], made["resend_at"]) == ("2026-05-04T10:40:00.000Z", "2026-05-04T10:40:30.001Z")


@pytest.mark.parametrize("path", ["ver_0", "ver_" + "0" * 32, "ver_" + "G" * 32, "%00", "ver_%C3%A4", "batch/check"])
async def test_what_is_not_there_is_not_found(client, path):
    response = await client.get(f"{URL}/{path}")
    assert response.status_code in {404, 405}
    assert response.json()["code"] in {"not_found", "method_not_allowed"}


@pytest.mark.parametrize(
    ("method", "verb", "body"),
    [("GET", "", None), ("POST", "/check", {"code": "1"}), ("POST", "/resend", {}), ("POST", "/cancel", None)],
)
async def test_another_services_verification_looks_as_if_it_were_not_there(client, shop, method, verb, body):
    foreign = (await started(client))["id"]
    seen = await shop.request(method, f"{URL}/{foreign}{verb}", json=body)
    missing = await shop.request(method, f"{URL}/ver_{'0' * 32}{verb}", json=body)
    malformed = await shop.request(method, f"{URL}/nothing{verb}", json=body)
    assert seen.status_code == 404
    assert seen.content == missing.content == malformed.content


async def test_a_list_is_newest_first_and_paged(shop, clock):
    made = []
    for number in range(5):
        made.append((await started(shop, f"u{number}@example.org"))["id"])
        clock.advance(1)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await shop.get(URL, params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert made[::-1] == seen


async def test_a_list_shows_neither_attempts_nor_events_nor_others(client, shop):
    await started(client)
    mine = await started(shop)
    page = (await shop.get(URL)).json()
    assert {"items": [mine], "next_cursor": None} == page


async def test_a_list_is_filtered_by_status_and_address(shop, clock):
    old = (await started(shop, ttl=5))["id"]
    clock.advance(5)
    new = (await started(shop, {"phone": PHONE, "email": "Ann+x@example.org"}))["id"]
    other = (await started(shop, "bob@example.org"))["id"]

    async def listed(query: str) -> list[str]:
        return [item["id"] for item in (await shop.get(f"{URL}?{query}")).json()["items"]]

    assert [old] == await listed("status=expired")
    assert {new, other} == set(await listed("status=pending"))
    assert [new] == await listed("to=ann%40example.org")
    assert [new, old] == await listed("to=%2B49%20151%2012345678")
    assert [new, old] == await listed("to=+4915112345678")
    assert [new] == await listed("to=+4915112345678&status=pending")
    assert await listed("to=nobody") == []
    assert await listed("to=email%3Dann%40example.org") == [new]
    assert await listed("to=telegram%3Dann%40example.org") == []


async def test_a_list_finds_an_address_of_any_kind_that_is_written_so(shop):
    """A service's own reference may look like an e-mail address, and be one."""
    as_reference = (await started(shop, {"telegram": EMAIL}))["id"]
    as_address = (await started(shop, {"email": EMAIL}))["id"]
    other = (await started(shop, {"telegram": "user-42"}))["id"]

    async def listed(to: str) -> list[str]:
        return [item["id"] for item in (await shop.get(URL, params={"to": to})).json()["items"]]

    assert [as_address, as_reference] == await listed(EMAIL)
    assert [other] == await listed("user-42")


async def test_a_list_finds_addresses_of_an_adapters_own_kind(rebuilt, hasher):
    def device(text: str) -> Address:
        if not text.isdigit():
            raise InvalidAddressError("digits only")
        return Address("device", text, "•••", text.lstrip("0"))

    world = await rebuilt(kinds={**KINDS, "device": device})
    view = await world.parts.verifications.start(
        await world.parts.verifications.prepare("default", Asked(to={"phone": PHONE}))
    )
    row = (hasher.hash("device", "77"), view.id)
    await world.database.write(Move(None, [(insert_into(models.Address), row)]))
    async with world.client() as client:
        assert [view.id] == [item["id"] for item in (await client.get(URL, params={"to": "0077"})).json()["items"]]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("status=lost", "?status"),
        ("status=", "?status"),
        ("to=", "?to"),
        ("to=nobody%0A", "?to"),
        ("to=%00%40x", "?to"),
        ("to=ann%40example", "?to"),
        ("to=%2B491512345600", "?to"),
        ("to=phone%3D123", "?to"),
        ("cursor=1", "?cursor"),
        ("cursor=", "?cursor"),
        ("limit=0", "?limit"),
        ("limit=101", "?limit"),
        ("limit=ten", "?limit"),
        ("limit=%D9%A1", "?limit"),
        ("limit=5&limit=6", "?limit"),
        ("page=2", "?page"),
        ("Status=pending", "?Status"),
    ],
)
async def test_a_query_that_means_nothing_is_refused_by_name(client, query, name):
    response = await client.get(f"{URL}?{query}")
    assert (422, [name]) == (response.status_code, [fault["pointer"] for fault in response.json()["errors"]])


async def test_a_call_that_takes_no_query_refuses_one(client):
    made = (await started(client))["id"]
    for method, path, body in [
        ("POST", URL, {"to": PHONE}),
        ("GET", f"{URL}/{made}", None),
        ("POST", f"{URL}/{made}/check", {"code": "1"}),
        ("POST", f"{URL}/{made}/resend", {}),
        ("POST", f"{URL}/{made}/cancel", {}),
        ("GET", f"/v1/subscribers/sub_{'0' * 32}", None),
    ]:
        response = await client.request(method, f"{path}?dry_run=1", json=body)
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "?dry_run")


# Checking


async def test_the_right_code_is_approved_once(client, world):
    made = await started(client)
    code = world.sent[0].code
    response = await client.post(f"{URL}/{made['id']}/check", json={"code": f"{code[:3]} {code[3:]}"})
    body = response.json()
    assert (200, made["id"], "approved") == (response.status_code, body["id"], body["status"])
    assert body.keys() == examples.APPROVED.keys()
    again = await client.post(f"{URL}/{made['id']}/check", json={"code": code})
    assert (again.status_code, again.json()["code"]) == (409, "already_approved")


async def test_wrong_codes_count_down_and_then_it_is_over(client, world):
    made = await started(client)
    seen = []
    for _ in range(6):
        response = await client.post(f"{URL}/{made['id']}/check", json={"code": wrong(world.sent[0].code)})
        seen.append((response.status_code, response.json()["code"], response.json().get("checks_left")))
    expected = [(422, "wrong_code", left) for left in (4, 3, 2, 1, 0)]
    assert [*expected, (410, "max_attempts_reached", None)] == seen


@pytest.mark.parametrize(
    "body", [{"code": 492039}, {"code": ""}, {"code": "x" * 65}, {"code": "\uff14\uff19"}, {"code": None}, {}]
)
async def test_a_malformed_code_spends_no_check(client, body):
    made = await started(client)
    response = await client.post(f"{URL}/{made['id']}/check", json=body)
    assert (
        response.status_code,
        response.json()["code"],
        response.json()["errors"][0]["pointer"],
    ) == (422, "invalid_request", "/code")
    assert (await client.get(f"{URL}/{made['id']}")).json()["checks_left"] == 5


@pytest.mark.parametrize("bind", ["s-91", ["s-91"], {"session": 91}, {"a-b": "c"}, {"session": "x" * 201}])
async def test_a_bind_of_another_shape_is_refused_by_name_and_spends_no_check(client, world, bind):
    made = await started(client)
    response = await client.post(f"{URL}/{made['id']}/check", json={"code": world.sent[0].code, "bind": bind})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["pointer"].startswith("/bind")
    assert (await client.get(f"{URL}/{made['id']}")).json()["checks_left"] == 5


async def test_another_bind_spends_a_check_and_looks_like_a_wrong_code(client, world):
    made = await started(client, bind={"session": "s-91", "amount": "12.00 EUR"})
    url, code = f"{URL}/{made['id']}/check", world.sent[0].code
    left = iter((4, 3, 2))
    for bind in (None, {"session": "s-91"}, {"session": "s-91", "amount": "99.00 EUR"}):
        response = await client.post(url, json={"code": code, "bind": bind})
        expected = {**examples.problem("wrong_code"), "checks_left": next(left)}
        assert (response.status_code, response.json()) == (422, expected)
    right = {"code": code, "bind": {"amount": "12.00 EUR", "session": "s-91"}}
    response = await client.post(url, json=right)
    assert (response.status_code, response.json()["status"]) == (200, "approved")


async def test_what_a_code_is_bound_to_is_in_no_answer(client, world):
    made = await started(client, bind={"session": "s-91", "payee": "Canary Books"})
    whole = (await client.get(f"{URL}/{made['id']}")).text
    listed = (await client.get(URL)).text
    assert [text for text in (str(made), whole, listed) if "s-91" in text or "Canary" in text] == []


async def test_a_code_whose_time_ran_out_is_expired(client, world, clock):
    made = await started(client)
    clock.advance(300)
    response = await client.post(f"{URL}/{made['id']}/check", json={"code": world.sent[0].code})
    assert (response.status_code, response.json()["code"]) == (410, "expired")


# Sending again and canceling


async def test_a_resend_sends_the_same_code_and_shows_the_verification(client, world, clock):
    made = await started(client, {"phone": PHONE, "email": EMAIL})
    early = await client.post(f"{URL}/{made['id']}/resend")
    assert (early.status_code, early.json()["code"], early.headers["retry-after"]) == (429, "cooldown", "30")
    clock.advance(30)
    response = await client.post(f"{URL}/{made['id']}/resend", json={"channel": "email"})
    body = response.json()
    assert (202, "email", made["expires_at"]) == (response.status_code, body["channel"], body["expires_at"])
    assert made.keys() == body.keys()
    assert [message["channel"] for message in body["messages"]] == ["sms", "email"]
    assert world.sent[0].code == world.sent[1].code


async def test_a_resend_by_a_channel_off_the_route_is_refused(shop):
    made = await started(shop)
    response = await shop.post(f"{URL}/{made['id']}/resend", json={"channel": "email"})
    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/channel")


async def test_a_resend_refuses_fields_it_does_not_know(shop):
    made = await started(shop)
    response = await shop.post(f"{URL}/{made['id']}/resend", json={"bind": {}})
    assert response.json()["errors"] == [{"pointer": "/bind", "detail": "no such field"}]


async def test_canceling_twice_is_the_same_as_once(client, world):
    made = await started(client)
    for _ in range(2):
        response = await client.post(f"{URL}/{made['id']}/cancel")
        assert (
            response.status_code,
            response.json()["status"],
            response.json()["next_channels"],
        ) == (200, "canceled", [])
    check = await client.post(f"{URL}/{made['id']}/check", json={"code": world.sent[0].code})
    assert (check.status_code, check.json()["code"]) == (410, "canceled")


async def test_a_route_that_failed_answers_a_check_with_failed(client, world, clock):
    made = await started(client)
    await world.database.run(
        lambda connection: ending.end(
            connection, world.queue, made["id"], "default", VerificationStatus.FAILED, clock.now()
        )
    )
    response = await client.post(f"{URL}/{made['id']}/check", json={"code": world.sent[0].code})
    assert (response.status_code, response.json()["code"]) == (410, "failed")


async def test_a_services_own_code_is_sent_where_its_policy_allows_that(shop, world):
    response = await shop.post(URL, json={"to": PHONE, "code": {"value": "492039"}})
    assert (response.status_code, world.sent[0].code) == (201, "492039")
    assert "492039" not in response.text
