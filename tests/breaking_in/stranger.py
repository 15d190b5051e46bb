"""A stranger without a key: requests within requests, reports no provider made, connections that dribble, claimed networks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import time
from collections import Counter

from tests.breaking_in.world import PUBLIC_URL, SETTLE, Stage, World, spoken

#: Connections that dribble, and creates beside them; seconds the slowest of these may take on a busy machine.
DRIBBLING, BESIDE, SLOWEST = 150, 20, 1.0
#: Seconds within which an answer to bytes on the wire is waited for.
WITHIN = 0.5

_MAIL = "smuggled@example.org"
_BODY = f'{{"to":"{_MAIL}"}}'.encode()
_LENGTH = b"Content-Length: %d\r\n" % len(_BODY)
_GET = b"GET /v1/verifications HTTP/1.1\r\nHost: x\r\n"


async def stranger(stage: Stage) -> None:
    """Play the stranger."""
    async with stage.world("", server='trusted_proxies = ["127.0.0.1/32"]') as world:
        await smuggled(world)
        await unsigned(world)
        await dribbled(world)
        await claimed(world)


def posted(headers: bytes, body: bytes = _BODY, key: bytes = b"") -> bytes:
    """Return a create as it goes over the wire; without a key unless one is given."""
    start = b"POST /v1/verifications HTTP/1.1\r\nHost: x\r\n"
    return start + key + b"Content-Type: application/json\r\n" + headers + b"\r\n" + body


def smugglings(key: bytes) -> dict[str, bytes]:
    """Return requests that carry a create without a key, or have a server and a proxy disagree where one ends."""
    inner = posted(_LENGTH)
    chunked, last = b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"
    whole = b"%x\r\n%s\r\n0\r\n" % (len(_BODY), _BODY)
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    two = b"Authorization: Bearer x\r\nAuthorization: Bearer otpg_%s\r\n" % (b"a" * 58)
    return {
        "pipelined behind one with a key": _GET + key + b"\r\n" + inner,
        "a length beside chunks": posted(chunked + _LENGTH, last + inner, key),
        "two lengths": posted(_LENGTH + b"Content-Length: 0\r\n", inner, key),
        "two encodings": posted(chunked + b"Transfer-Encoding: identity\r\n", last + inner, key),
        "an encoding with a space": posted(b"Transfer-Encoding : chunked\r\n" + _LENGTH, last + inner, key),
        "an encoding nobody knows": posted(b"Transfer-Encoding: xchunked\r\n", last + inner, key),
        "a folded header": posted(b"X: y\r\n Content-Length: 0\r\n" + _LENGTH),
        "bare line feeds": inner.replace(b"\r\n", b"\n"),
        "bare carriage returns": b"POST /v1/verifications HTTP/1.1\rHost: x\r" + key + b"\r\n\r\n" + _BODY,
        "a body where none belongs": (
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner
        ),
        "a chunk with an odd extension": posted(chunked, b"1;a\n\r\n{\r\n0\r\n\r\n" + inner),
        "a negative length": posted(b"Content-Length: -1\r\n", inner),
        "a length with a sign": posted(b"Content-Length: +%d\r\n" % len(_BODY)),
        "two keys": posted(_LENGTH, key=two),
        "no version": b"GET /v1/verifications\r\n\r\n",
        "another host": b"GET http://other/v1/verifications HTTP/1.1\r\nHost: x\r\n\r\n",
        "another protocol": _GET + upgrade,
        "a tunnel": b"CONNECT 127.0.0.1:25 HTTP/1.1\r\nHost: x\r\n\r\n",
        "a key in a trailer": posted(chunked + b"Trailer: Authorization\r\n", whole + key + b"\r\n"),
    }


async def smuggled(world: World) -> None:
    """Get a create without a key past the parser, whole and in pieces."""
    key = b"Authorization: Bearer " + world.keys[0].encode() + b"\r\n"
    tries, got = smugglings(key), set()
    for name, data in tries.items():
        for pieces in (1, 7):
            said = await spoken(world.url, data, within=WITHIN, pieces=pieces, pause=0.002 if pieces > 1 else 0.0)
            if re.search(rb"HTTP/1.1 (201|202|207|5\d\d)", said):
                got.add(name)
    await asyncio.sleep(SETTLE)
    made = await world.scene.store.count("SELECT count(*) FROM verification")
    control = await spoken(world.url, posted(_LENGTH.replace(b"\r\n", b"\r\nConnection: close\r\n"), key=key), within=5)
    world.verdict(
        f"requests within requests ({len(tries)} kinds) create nothing without a key",
        not got and made == 0 and b" 201 " in control[:20],
        f"{made} made, {sorted(got)}",
    )


async def unsigned(world: World) -> None:
    """Report a code as undelivered in its provider's name, without the provider's secret."""
    sms = await world.started({"phone": "+4915112345678"}, channels=["sms"])
    question = f"SELECT provider_id FROM message WHERE verification_id = '{sms['id']}' AND provider_id IS NOT NULL"
    await world.scene.until(lambda: known(world, question), 10)
    [(provider_id,)] = await world.scene.store.rows(question)
    form = f"MessageSid={provider_id}&MessageStatus=undelivered&ErrorCode=30005&To=%2B4915112345678"
    by_nothing = hmac.new(b"", f"{PUBLIC_URL}/callbacks/sms".encode(), hashlib.sha1).digest()
    signs = [
        {},
        *({"X-Twilio-Signature": sign} for sign in ("", coded(b"0" * 20), coded(by_nothing))),
        *({"X-Telegram-Bot-Api-Secret-Token": sign} for sign in ("", "é")),
    ]
    paths = ["sms", "sms?x=1", "email", "telegram", "nope", "../v1/verifications", "%2e%2e/metrics", "SMS", "sms/"]
    got: Counter[int] = Counter()
    for node in world.nodes:
        for path in paths:
            for sign in signs:
                headers = {"Content-Type": "application/x-www-form-urlencoded", **sign}
                async with world.session.post(f"{node.url}/callbacks/{path}", data=form, headers=headers) as answer:
                    got[answer.status] += 1
    now = await world.fetched(sms)
    world.verdict(
        "reports that no provider signed are refused and change nothing",
        all(400 <= status < 500 for status in got)
        and (now["status"], [each["status"] for each in now["messages"]]) == ("pending", ["sent"]),
        dict(got),
    )


async def known(world: World, question: str) -> bool:
    """Say whether there are such rows."""
    return bool(await world.scene.store.rows(question))


def coded(digest: bytes) -> str:
    """Return a signature as it stands in a header."""
    return base64.b64encode(digest).decode()


async def dribbled(world: World) -> None:
    """Hold many connections open with a request that never ends, and see whether a caller still gets through."""
    data = b"POST /v1/verifications HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40
    slow = [asyncio.create_task(spoken(world.url, data, within=8, pieces=40, pause=0.1)) for _ in range(DRIBBLING)]
    await asyncio.sleep(SETTLE)
    seconds, statuses = [], Counter[int]()
    for number in range(BESIDE):
        began = time.monotonic()
        to = {"to": f"beside{number}@example.org"}
        statuses[(await world.call(world.keys[0], "POST", "/v1/verifications", to, node=0))[0]] += 1
        seconds.append(time.monotonic() - began)
    for each in slow:
        each.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    world.verdict(
        f"{DRIBBLING} connections that dribble keep nobody out",
        statuses == {201: BESIDE} and max(seconds) < SLOWEST,
        f"the slowest of {BESIDE} creates beside them took {max(seconds):.3f} s",
    )


async def claimed(world: World) -> None:
    """Use a key bound to a network from elsewhere, by naming that network in headers."""
    key = await world.new_key("--name", "bound", "--allow-ip", "192.0.2.0/24")
    forwarded = (
        "198.51.100.1",
        "192.0.2.1, 198.51.100.7",
        "192.0.2.1,",
        "192.0.2.1, unknown",
        "192.0.2.1, 127.0.0.1, 10.0.0.1",
        "192.0.2.1 198.51.100.1",
        '"192.0.2.1"',
        "192.0.2.1\t,x",
    )
    claims = [{"X-Forwarded-For": value} for value in forwarded]
    claims += [{}, {"X-Real-IP": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}, {"X-Client-IP": "192.0.2.1"}]
    got = [(await world.call(key, "GET", "/v1/verifications", headers=claim))[0] for claim in claims]
    twice = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.9\r\n"
    bearer = b"Connection: close\r\nAuthorization: Bearer " + key.encode() + b"\r\n\r\n"
    said = await spoken(world.url, _GET + twice + bearer, within=5)
    right = (await world.call(key, "GET", "/v1/verifications", headers={"X-Forwarded-For": "192.0.2.1"}))[0]
    world.verdict(
        "a key's networks cannot be claimed past a trusted proxy",
        all(status == 401 for status in got) and said[9:12] == b"401" and right == 200,
        f"{dict(Counter(got))}, two headers {said[9:12].decode()}, the proxy's own word {right}",
    )
