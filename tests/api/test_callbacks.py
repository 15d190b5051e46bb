"""``/callbacks/<channel>``: genuine reports are taken in, forged ones refused, everything else answered 204."""

from __future__ import annotations

from gateway.api.callbacks import MAX_BODY

GENUINE = {"X-Signature": "genuine", "Authorization": ""}


async def test_a_genuine_report_settles_its_message(client, world):
    made = (await client.post("/v1/verifications", json={"to": "+4915112345678"})).json()
    begun = await world.queue.begin(world.sent[0])
    assert begun is not None
    response = await client.post(f"/callbacks/sms?attempt={begun[1]}", headers=GENUINE)
    assert (response.status_code, response.content) == (204, b"")
    shown = (await client.get(f"/v1/verifications/{made['id']}")).json()
    assert [message["status"] for message in shown["messages"]] == ["delivered"]


async def test_a_report_that_says_nothing_or_of_nobody_is_answered_the_same(client):
    for target in ("/callbacks/sms", "/callbacks/sms?attempt=nobody"):
        assert (await client.post(target, headers=GENUINE)).status_code == 204


async def test_a_forged_report_is_forbidden(client):
    response = await client.post("/callbacks/sms?attempt=x", headers={"X-Signature": "forged"})
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")


async def test_an_unknown_channel_is_not_found(client):
    assert (await client.post("/callbacks/fax", headers=GENUINE)).status_code == 404


async def test_the_channel_is_given_the_request_as_it_arrived(client, world):
    headers = [("X-Signature", "genuine"), ("X-Twice", "a"), ("X-Twice", "b")]
    await client.post("/callbacks/sms?attempt=a%20b&x=", content=b"To=%2B49&Body=\xff", headers=headers)
    call = world.sms.calls[0]
    assert (call.method, call.target, call.body) == ("POST", "/callbacks/sms?attempt=a%20b&x=", b"To=%2B49&Body=\xff")
    assert (call.headers["x-signature"], call.headers["x-twice"]) == ("genuine", "a, b")


async def test_a_report_over_64_kib_is_refused(client):
    response = await client.post("/callbacks/sms", content=b"x" * (MAX_BODY + 1), headers=GENUINE)
    assert response.status_code == 413
    assert (await client.post("/callbacks/sms", content=b"x" * MAX_BODY, headers=GENUINE)).status_code == 204
