"""``/v1/authenticators`` over HTTP."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import httpx
import pytest

from gateway.storage.ids import new_id
from gateway.verification.authenticators.otp import Device, Kind, code_at, step_at
from gateway.verification.authenticators.throttling import FREE
from tests.api.qr_images import pixels

URL = "/v1/authenticators"
BODY = {"type": "totp", "reference": "user-42", "account": "ann@example.org"}
#: What is there only when it is made.
ONCE = {"secret", "uri", "qr", "qr_png"}


async def created(caller: httpx.AsyncClient, **changed: object) -> dict[str, Any]:
    response = await caller.post(URL, json={**BODY, **changed})
    assert response.status_code == 201, response.text
    assert response.headers["location"] == f"{URL}/{response.json()['id']}"
    made: dict[str, Any] = response.json()
    return made


def code_of(made: dict[str, Any], clock: Any, steps: int = 0) -> str:
    secret, period = base64.b32decode(made["secret"]), made["period"]
    device = Device(Kind(made["type"]), secret, made["algorithm"], made["digits"], period)
    return code_at(device, steps if period is None else step_at(clock.now(), period) + steps)


async def active(caller: httpx.AsyncClient, clock: Any, **changed: object) -> dict[str, Any]:
    made = await created(caller, **changed)
    checked = await caller.post(f"{URL}/{made['id']}/check", json={"code": code_of(made, clock)})
    assert checked.status_code == 200, checked.text
    clock.advance(60)
    return made


async def test_an_authenticator_is_made_with_its_secret_and_its_images(client):
    made = await created(client)
    uri = f"otpauth://totp/Example:ann@example.org?secret={made['secret']}&issuer=Example&algorithm=SHA1&digits=6&period=30"
    assert made == {
        **BODY,
        "id": made["id"],
        "status": "pending",
        "issuer": "Example",
        "algorithm": "SHA1",
        "digits": 6,
        "period": 30,
        "created_at": "2026-05-04T10:40:00.000Z",
        "activated_at": None,
        "used_at": None,
        "recovery_codes_left": 0,
        "secret": made["secret"],
        "uri": uri,
        "qr": made["qr"],
        "qr_png": made["qr_png"],
    }
    kind, _, svg = made["qr"].partition(",")
    assert (kind, ET.fromstring(unquote(svg)).tag.rpartition("}")[2]) == ("data:image/svg+xml;charset=utf-8", "svg")
    kind, _, png = made["qr_png"].partition(",")
    assert (kind, base64.b64decode(png)[:8]) == ("data:image/png;base64", b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"type": "hotp", "issuer": "Ann's + Söhne", "algorithm": "SHA512"},
        {"account": "x" * 128, "issuer": "y" * 64},
    ],
    ids=["as it comes", "signs that are escaped", "as long as can be"],
)
async def test_the_images_are_read_by_a_qr_reader(client, changed):
    reader = pytest.importorskip("zxingcpp")
    made = await created(client, **changed)
    for image in (made["qr"], made["qr_png"]):
        assert [found.text for found in reader.read_barcodes(pixels(image))] == [made["uri"]]


async def test_the_secret_is_shown_once(client):
    made = await created(client)
    shown = await client.get(f"{URL}/{made['id']}")
    assert {name: value for name, value in made.items() if name not in ONCE} == shown.json()
    listed = (await client.get(URL, params={"reference": "user-42"})).json()
    assert listed == {"items": [shown.json()], "next_cursor": None}


async def test_what_is_asked_for_is_made(client):
    made = await created(client, type="hotp", issuer="Shop", algorithm="SHA512", digits=8)
    assert (made["type"], made["algorithm"], made["digits"], made["period"]) == ("hotp", "SHA512", 8, None)
    assert made["uri"].startswith("otpauth://hotp/Shop:ann@example.org?")


async def test_the_same_key_gets_the_same_secret(client):
    headers = {"Idempotency-Key": "k"}
    first, again = [await client.post(URL, json=BODY, headers=headers) for _ in range(2)]
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (201, first.content, "true")
    other = await client.post(URL, json={**BODY, "account": "bob"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_the_first_right_code_activates_and_no_code_is_right_twice(client, clock):
    made = await created(client)
    url = f"{URL}/{made['id']}"
    code = code_of(made, clock)
    right, again = [await client.post(f"{url}/check", json={"code": code}) for _ in range(2)]
    assert (right.status_code, right.json()) == (
        200,
        {"id": made["id"], "status": "approved", "recovery_codes_left": 0},
    )
    assert (again.status_code, again.json()["code"], again.json()["checks_left"]) == (422, "wrong_code", FREE - 1)
    shown = (await client.get(url)).json()
    assert (shown["status"], shown["activated_at"]) == ("active", "2026-05-04T10:40:00.000Z")


async def test_after_five_wrong_codes_one_has_to_wait(client, clock):
    made = await active(client, clock)
    url = f"{URL}/{made['id']}/check"
    wrong = [await client.post(url, json={"code": "0"}) for _ in range(FREE)]
    assert [(answer.status_code, answer.json()["checks_left"]) for answer in wrong] == [
        (422, left) for left in (4, 3, 2, 1, 0)
    ]
    refused = await client.post(url, json={"code": code_of(made, clock)})
    assert (refused.status_code, refused.json()["limit"]) == (429, "authenticator")
    assert refused.headers["ratelimit"] == '"authenticator";r=0;t=60'
    clock.advance(int(refused.headers["retry-after"]))
    assert (await client.post(url, json={"code": code_of(made, clock)})).status_code == 200


async def test_refusals_are_counted_by_their_limit(client, world, clock):
    made = await active(client, clock)
    for _ in range(FREE + 1):
        await client.post(f"{URL}/{made['id']}/check", json={"code": "0"})
    assert b'otp_gateway_refusals_total{code="authenticator"} 1.0' in world.parts.metrics.render("")[0]


async def test_recovery_codes_are_made_and_used(client, clock):
    made = await active(client, clock)
    url = f"{URL}/{made['id']}"
    response = await client.post(f"{url}/recovery-codes")
    codes = response.json()["codes"]
    assert (response.status_code, response.headers["location"], len(codes)) == (201, url, 10)
    used, again = [await client.post(f"{url}/check", json={"recovery_code": codes[0]}) for _ in range(2)]
    assert (used.status_code, used.json()["recovery_codes_left"]) == (200, 9)
    assert (again.status_code, again.json()["code"]) == (422, "wrong_code")
    assert (await client.get(url)).json()["recovery_codes_left"] == 9


async def test_the_same_key_gets_the_same_recovery_codes(client, clock):
    url, headers = f"{URL}/{(await active(client, clock))['id']}/recovery-codes", {"Idempotency-Key": "k"}
    first, again = [await client.post(url, json={}, headers=headers) for _ in range(2)]
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (201, first.content, "true")


async def test_recovery_codes_of_what_is_not_active_are_refused_and_the_key_stays_free(client, clock):
    made = await created(client)
    url, headers = f"{URL}/{made['id']}", {"Idempotency-Key": "k"}
    refused = await client.post(f"{url}/recovery-codes", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    await client.post(f"{url}/check", json={"code": code_of(made, clock)})
    assert (await client.post(f"{url}/recovery-codes", headers=headers)).status_code == 201


async def test_a_list_is_paged_newest_first(client):
    ids = [(await created(client))["id"] for _ in range(3)]
    await created(client, reference="user-43")
    first = (await client.get(URL, params={"reference": "user-42", "limit": 2})).json()
    assert ([item["id"] for item in first["items"]], first["next_cursor"]) == (ids[:0:-1], ids[1])
    rest = (await client.get(URL, params={"reference": "user-42", "cursor": first["next_cursor"]})).json()
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == (ids[:1], None)
    assert len((await client.get(URL)).json()["items"]) == 4


async def test_a_deleted_one_is_gone(client):
    url = f"{URL}/{(await created(client))['id']}"
    gone = await client.delete(url)
    assert (gone.status_code, gone.content) == (204, b"")
    assert [(await client.get(url)).status_code, (await client.delete(url)).status_code] == [404, 404]


async def test_foreign_unknown_and_malformed_ids_look_the_same(client, shop, clock):
    foreign, unknown = (await active(client, clock))["id"], new_id("auth", clock.now())
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("DELETE", "", {}),
        ("POST", "/check", {"json": {"code": "123456"}}),
        ("POST", "/recovery-codes", {}),
    ]
    for method, path, options in calls:
        answers = [
            await shop.request(method, f"{URL}/{name}{path}", **options) for name in (foreign, unknown, "nobody")
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/type", "/reference", "/account"]),
        ({"account": 1, "digits": "6", "type": None}, ["/type", "/reference", "/account", "/digits"]),
        (
            {
                "type": "push",
                "reference": "",
                "account": "",
                "issuer": ":",
                "algorithm": "MD5",
                "digits": 5,
                "period": 1,
            },
            ["/type", "/reference", "/account", "/issuer", "/algorithm", "/digits", "/period"],
        ),
        ({**BODY, "type": "push"}, ["/type"]),
        ({**BODY, "reference": ""}, ["/reference"]),
        ({**BODY, "account": "a:b", "period": 31}, ["/account", "/period"]),
        ({**BODY, "digits": 5}, ["/digits"]),
        ({**BODY, "digits": "6"}, ["/digits"]),
        ({**BODY, "secret": "GEZDGNBVGY3TQOJQ"}, ["/secret"]),
    ],
)
async def test_what_is_wrong_is_named_with_its_place(client, body, pointers):
    response = await client.post(URL, json=body)
    assert (response.status_code, [fault["pointer"] for fault in response.json()["errors"]]) == (422, pointers)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/code"),
        ({"code": None}, "/code"),
        ({"code": 123456}, "/code"),
        ({"code": ""}, "/code"),
        ({"code": "1" * 65}, "/code"),
        ({"code": "١٢٣٤٥٦"}, "/code"),
        ({"code": "12345x"}, "/code"),
        ({"recovery_code": "CFGH-234O"}, "/recovery_code"),
        ({"code": "123456", "recovery_code": "CFGH-2345"}, "/recovery_code"),
        ({"otp": "123456"}, "/otp"),
    ],
)
async def test_a_malformed_code_counts_nothing(client, clock, body, pointer):
    made = await created(client)
    url = f"{URL}/{made['id']}/check"
    for _ in range(FREE + 1):
        response = await client.post(url, json=body)
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, pointer)
    assert (await client.post(url, json={"code": code_of(made, clock)})).status_code == 200


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "cursor=ver_1", "reference=", "status=active", "limit=1&limit=2"]
)
async def test_a_query_that_means_nothing_is_refused(client, query):
    response = await client.get(f"{URL}?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert response.json()["errors"][0]["pointer"] == f"?{query.partition('=')[0]}"


async def test_without_a_key_nothing_is_told(world):
    async with world.client("nobody") as nobody:
        answers = [await nobody.post(URL, json=BODY), await nobody.get(URL), await nobody.get(f"{URL}/nobody")]
    assert [answer.status_code for answer in answers] == [401] * 3
