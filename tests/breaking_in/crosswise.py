"""A caller with a key of one service: another's data, repeated requests, what a scope does not allow, others' proofs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import quote

import jwt

from tests.breaking_in.world import PUBLIC_URL, SENDS_FREELY, SETTLE, Stage, World, every, taken, tally

#: Requests at once with one Idempotency-Key, of each of two services.
AT_ONCE = 50

_CREATE = "/v1/verifications"
_REPEATED = {"to": "repeated@example.org"}


async def crosswise(stage: Stage) -> None:
    """Play the caller."""
    async with stage.world(SENDS_FREELY) as world:
        session = {"session": "S"}
        own = await world.started("own@example.org", bind=session)
        code = await world.code("own@example.org")
        await listed(world)
        await handled(world, own, {"code": code, "bind": session})
        await repeated(world)
        await escaped(world, own)
        await proved(world, own, code, session)
        await misplaced(world)


async def listed(world: World) -> None:
    """Read another service's verifications by lists, searches and its cursor."""
    for number in range(5):
        await world.started(f"own{number}@example.org")
    cursor = (await world.ours("GET", f"{_CREATE}?limit=2"))[1]["next_cursor"]
    queries = ("limit=100", "to=own%40example.org", f"cursor={quote(cursor)}", "status=pending")
    found = [await world.theirs("GET", f"{_CREATE}?{query}") for query in queries]
    control = await world.ours("GET", f"{_CREATE}?to=own%40example.org")
    world.verdict(
        "lists, searches and cursors show nothing of another service",
        not any(told.get("items") for _, told in found) and len(control[1]["items"]) == 1,
        [(status, len(told.get("items", ()))) for status, told in found],
    )


async def handled(world: World, own: dict[str, Any], right: dict[str, Any]) -> None:
    """Check, cancel and resend another service's verification, and end its session."""
    path = f"{_CREATE}/{own['id']}"
    posts = [(path + "/check", right), (path + "/cancel", None), (path + "/resend", None)]
    found = [await world.theirs("POST", where, body) for where, body in posts]
    found.append(await world.theirs("GET", path))
    ended = await world.theirs("DELETE", "/v1/sessions/S")
    now = await world.fetched(own)
    statuses = [status for status, _ in found]
    world.verdict(
        "another service neither sees, checks, cancels nor resends, nor ends a session",
        statuses == [404] * 4
        and ended == (200, {"canceled": 0})
        and (now["status"], now["checks_left"]) == ("pending", 5),
        [*statuses, ended[0]],
    )


async def repeated(world: World) -> None:
    """Use one Idempotency-Key in two services at once, then with other bodies and paths."""
    key = {"Idempotency-Key": "K"}
    found = await every(
        call("POST", _CREATE, _REPEATED, **key) for _ in range(AT_ONCE) for call in (world.ours, world.theirs)
    )
    await asyncio.sleep(2 * SETTLE)
    ids = {told["id"] for status, told in found if status == 201}
    letters = len(world.letters("repeated@example.org"))
    world.verdict(
        f"one Idempotency-Key in two services, {2 * AT_ONCE} times at once: one verification and letter each",
        len(ids) == 2 and letters == 2 and all(status in {201, 409} for status, _ in found),
        f"{tally(found)}, {letters} letters",
    )
    again = [
        await world.ours("POST", _CREATE, {"to": "other@example.org"}, **key),
        await world.ours("POST", _CREATE, _REPEATED, **{"Idempotency-Key": '"K"'}),
    ]
    world.verdict(
        "another body under the key is refused, the quoted key is the same",
        [status for status, _ in again] == [422, 201] and again[1][1]["id"] in ids,
        [status for status, _ in again],
    )


async def escaped(world: World, own: dict[str, Any]) -> None:
    """Do with a key of one scope what it does not allow: by kept answers, other paths, other methods."""
    key = await world.new_key("--name", "checks", "--scope", "verify:check")
    path, batch = f"{_CREATE}/{own['id']}", {"items": [_REPEATED]}
    device = {"type": "totp", "reference": "x", "account": "x"}
    asked: list[tuple[str, str, object]] = [
        *((method, _CREATE, _REPEATED) for method in ("POST", "PUT", "GET")),
        *((method, path, None) for method in ("GET", "HEAD")),
        *(("POST", path + end, None) for end in ("/cancel", "/resend", "/check/../cancel", "%2fcancel")),
        *(("POST", f"{_CREATE}{end}", batch) for end in ("/batch", "/batch/")),
        *(("POST", where, _REPEATED) for where in ("/v1//verifications", _CREATE + "/", _CREATE + "%2f")),
        ("POST", "/V1/verifications", _REPEATED),
        ("DELETE", "/v1/sessions/S", None),
        ("POST", "/v1/subscribers", {"reference": "x"}),
        ("POST", "/v1/authenticators", device),
        ("GET", "/v1/authenticators", None),
        ("DELETE", "/v1/recipients", {"to": "own@example.org"}),
    ]
    headers = {"Idempotency-Key": "K", "X-HTTP-Method-Override": "POST"}
    found = [(await world.call(key, method, where, body, headers=headers))[0] for method, where, body in asked]
    erased = [
        (await call("DELETE", "/v1/recipients", {"to": "own@example.org"}))[0] for call in (world.ours, world.theirs)
    ]
    now = (await world.fetched(own))["status"]
    world.verdict(
        "a key of one scope does nothing else, and none erases without its own",
        all(status in {307, 403, 404, 405} for status in found) and erased == [403, 403] and now == "pending",
        f"{sorted(set(found))}, erasing {erased}, the verification {now}",
    )


async def proved(world: World, own: dict[str, Any], code: str, session: dict[str, str]) -> None:
    """Use a proof at another service, or as another issuer's, and read an address in it."""
    status, approved = await world.check(own, code, bind=session)
    assert status == 200, (status, approved.get("code"))
    proof = approved["proof"]
    published = jwt.PyJWKSet.from_dict((await world.ours("GET", "/.well-known/jwks.json"))[1])
    key = published[jwt.get_unverified_header(proof)["kid"]]

    def read(audience: str, issuer: str) -> dict[str, Any]:
        return dict(jwt.decode(proof, key, algorithms=["EdDSA"], issuer=issuer, audience=audience))

    claims, passed = read("default", PUBLIC_URL), []
    for audience, issuer in (("shop", PUBLIC_URL), ("default", "http://other")):
        with contextlib.suppress(jwt.InvalidTokenError):
            read(audience, issuer)
            passed.append(audience)
    again = await every(world.check(own, code, bind=session) for _ in range(3))
    world.verdict(
        "a proof is its service's alone, tells no address, and its code brings no second one",
        not passed and "own@" not in json.dumps(claims) and taken(again) == 0,
        f"{sorted(claims)}, again {tally(again)}",
    )


async def misplaced(world: World) -> None:
    """Show a key anywhere but in its header."""
    key, to = world.keys[0], "misplaced@example.org"
    found = [
        await world.call(None, "GET", f"{_CREATE}?key={key}"),
        await world.call(None, "POST", _CREATE, {"to": to, "params": {"k": key}}),
        await world.call(key, "POST", _CREATE, {"to": to, "params": {key: "x"}}),
        await world.call(None, "GET", _CREATE, headers={"Cookie": f"Authorization=Bearer {key}"}),
        await world.call(None, "GET", _CREATE, headers={"Proxy-Authorization": f"Bearer {key}"}),
    ]
    statuses = [status for status, _ in found]
    world.verdict(
        "a key elsewhere than in its header opens nothing",
        all(status in {400, 401, 422} for status in statuses) and not world.letters(to),
        statuses,
    )
