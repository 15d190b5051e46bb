"""What the sandbox's account is and owns, as Twilio's own SDK sees it."""

from __future__ import annotations

import aiohttp
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from gateway.sandbox.fault import Fault
from gateway.sandbox.inbox import Inbox
from gateway.sandbox.twilio import TwilioSandbox
from gateway.sandbox.twilio_account import TwilioAccount
from tests.sandbox.test_twilio import Wire

NUMBER, SERVICE = "+15005550006", "MG0123456789abcdef"


@pytest.fixture
async def server():
    async with TwilioSandbox(Inbox()) as opened:
        yield opened


@pytest.fixture
async def sdk(server):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield client(server, session)


def client(server: TwilioSandbox, session: aiohttp.ClientSession, user: str = "", password: str = "") -> Client:
    made = Client(
        user or server.account_sid,
        password or server.auth_token,
        account_sid=server.account_sid,
        http_client=Wire(session),
    )
    made.api.base_url = made.messaging.base_url = server.base_url
    return made


async def test_the_account_and_what_it_owns_are_found(server, sdk):
    server.account.type = "Trial"
    account = await sdk.api.v2010.accounts(server.account_sid).fetch_async()
    assert (account.sid, account.status, account.type) == (server.account_sid, "active", "Trial")
    [number] = await sdk.incoming_phone_numbers.list_async(phone_number=NUMBER)
    assert (number.phone_number, number.capabilities["sms"]) == (NUMBER, True)
    assert [found.short_code for found in await sdk.short_codes.list_async(short_code="12345")] == ["12345"]


async def test_a_messaging_service_and_its_pools_are_found(server, sdk):
    service = await sdk.messaging.v1.services(SERVICE).fetch_async()
    assert service.sid == SERVICE
    assert [item.phone_number for item in await sdk.messaging.v1.services(SERVICE).phone_numbers.list_async()] == [
        NUMBER
    ]
    server.account.services = {SERVICE: {"AlphaSenders": ("Shop",)}}
    pools = sdk.messaging.v1.services(SERVICE)
    assert [item.alpha_sender for item in await pools.alpha_senders.list_async()] == ["Shop"]
    assert await pools.short_codes.list_async() == []
    with pytest.raises(TwilioRestException) as unknown:
        await sdk.messaging.v1.services("MG00").fetch_async()
    assert (unknown.value.status, unknown.value.code) == (404, 20404)


async def test_a_standard_key_may_do_everything_but_read_the_account(server, sdk):
    server.account.api_keys["SK1"] = "key-secret"
    by_key = client(server, sdk.http_client.session, "SK1", "key-secret")
    assert await by_key.incoming_phone_numbers.list_async(phone_number=NUMBER)
    with pytest.raises(TwilioRestException) as refused:
        await by_key.api.v2010.accounts(server.account_sid).fetch_async()
    assert (refused.value.status, refused.value.code) == (401, 20003)


async def test_a_resource_may_be_at_fault_alone(server, sdk):
    server.faults.set(Fault.DEFER, recipient="account")
    with pytest.raises(TwilioRestException) as refused:
        await sdk.api.v2010.accounts(server.account_sid).fetch_async()
    assert refused.value.status == 503
    assert await sdk.incoming_phone_numbers.list_async(phone_number=NUMBER)


def test_what_is_owned_can_be_told():
    account = TwilioAccount("AC1", numbers={NUMBER: False}, short_codes=frozenset({"12345"}), services={SERVICE: {}})
    assert account.found_numbers("+1")["incoming_phone_numbers"] == []
    assert account.found_numbers(NUMBER)["incoming_phone_numbers"][0]["capabilities"]["sms"] is False
    assert account.found_short_codes("54321")["short_codes"] == []
    assert (account.service("MG1"), account.pool("MG1", "PhoneNumbers"), account.pool(SERVICE, "Others")) == (None,) * 3
    assert account.pool(SERVICE, "PhoneNumbers") == {"phone_numbers": [], "meta": {"key": "phone_numbers", "page": 0}}
