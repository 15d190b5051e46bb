"""A provider that speaks Twilio's protocol and answers whatever a trial wants it to."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web

from gateway.sandbox.inbox import Inbox, Letter
from gateway.sandbox.twilio import signature

ACCOUNT = "AC" + "0" * 32
TOKEN = "faults-auth-token"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to send."""

    #: Seconds since the Unix epoch, and on the monotonic clock.
    at: float
    monotonic: float
    to: str
    body: str
    fields: Mapping[str, str]
    #: The number of the request to this recipient, from 1.
    number: int
    #: The id it gets where it is accepted.
    sid: str


Answer = Callable[["Provider", Call], Awaitable[web.Response]]


async def accepted(provider: Provider, call: Call) -> web.Response:
    """Take the message: it is in the inbox, and the answer says so."""
    provider.take(call)
    return taken(call)


def taken(call: Call) -> web.Response:
    """Return the answer to a message that was accepted."""
    return web.json_response({"sid": call.sid, "status": "queued", "to": call.to, "error_code": None}, status=201)


def refused(status: int, code: int, **headers: str) -> Answer:
    """Return an answer that refuses with Twilio's error code."""

    async def answer(_: Provider, __: Call) -> web.Response:
        return web.json_response({"code": code, "message": "no", "status": status}, status=status, headers=headers)

    return answer


def raw(body: bytes, status: int = 200, kind: str = "text/html") -> Answer:
    """Return an answer that is not of the protocol; the message is not taken."""

    async def answer(_: Provider, __: Call) -> web.Response:
        return web.Response(body=body, status=status, content_type=kind)

    return answer


class Provider:
    """The API of one account. Open it with ``async with``; ``answer`` decides about each request."""

    def __init__(self, inbox: Inbox, answer: Answer = accepted) -> None:
        self.inbox = inbox
        self.answer = answer
        self.calls: list[Call] = []
        self.url = ""
        self._background: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/2010-04-01/Accounts/{account}/Messages.json", self._create)
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for reporting in self._background:
            reporting.cancel()
        await self._runner.cleanup()
        await self._client.close()

    def settings(self, name: str) -> dict[str, str]:
        """Return the settings of a channel that sends by this provider."""
        prefix = f"CHANNELS__{name.upper()}__"
        return {
            f"{prefix}ADAPTER": "sms",
            f"{prefix}ACCOUNT_SID": ACCOUNT,
            f"{prefix}AUTH_TOKEN": TOKEN,
            f"{prefix}FROM": "+15005550006",
            f"{prefix}BASE_URL": self.url,
        }

    def take(self, call: Call) -> None:
        """Put a message into the inbox."""
        letter = Letter(
            "twilio", call.to, call.body, json.dumps(dict(call.fields)).encode(), call.fields, call.at, call.sid
        )
        self.inbox.add(letter)

    async def report(self, call: Call, status: str, error_code: str | None = None) -> int:
        """Report what became of a message, signed; return the HTTP status that was answered."""
        url = call.fields["StatusCallback"]
        fields = {
            "AccountSid": ACCOUNT,
            "MessageSid": call.sid,
            "MessageStatus": status,
            "SmsSid": call.sid,
            "SmsStatus": status,
            "To": call.to,
            **({"ErrorCode": error_code} if error_code else {}),
        }
        async with self._client.post(
            url, data=fields, headers={"X-Twilio-Signature": signature(TOKEN, url, fields)}
        ) as answer:
            return answer.status

    def later(self, seconds: float, call: Call, status: str, error_code: str | None = None) -> None:
        """Report what became of a message some seconds from now."""

        async def reported() -> None:
            await asyncio.sleep(seconds)
            await self.report(call, status, error_code)

        self._background.add(asyncio.create_task(reported()))

    async def _create(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await request.post()).items()}
        number = 1 + sum(call.to == fields["To"] for call in self.calls)
        sid = f"SM{secrets.token_hex(16)}"
        call = Call(time.time(), time.monotonic(), fields["To"], fields["Body"], fields, number, sid)
        self.calls.append(call)
        return await self.answer(self, call)
