"""Proofs over HTTP: checked offline with the published keys, by hand and as the documentation shows it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.api.conftest import PHONE, PUBLIC_URL, build
from tests.conftest import HandClock
from tests.verification.jws import read

URL = "/.well-known/jwks.json"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"
BIND = {"session": "s-91", "amount": "12.00 EUR", "payee": "Bücher & Söhne"}


async def approved(world, client, **asked) -> str:
    made = await client.post("/v1/verifications", json={"to": PHONE, **asked})
    check = {"code": world.sent[-1].code, "bind": asked.get("bind")}
    answer = await client.post(f"/v1/verifications/{made.json()['id']}/check", json=check)
    assert answer.status_code == 200, answer.text
    proof: str = answer.json()["proof"]
    return proof


async def test_a_proof_verifies_with_the_published_keys_and_nothing_else(world, client, clock):
    proof = await approved(world, client, purpose="payment", bind=BIND)
    header, claims = read(proof, (await client.get(URL)).json()["keys"])
    assert (header["alg"], claims["iss"], claims["aud"], claims["purpose"]) == (
        "EdDSA",
        PUBLIC_URL,
        "default",
        "payment",
    )
    assert (claims["iat"], claims["exp"]) == (clock.now(), clock.now() + 300)


async def test_the_keys_are_public_and_may_be_kept_for_an_hour(world):
    async with world.client() as anybody:
        del anybody.headers["Authorization"]
        response = await anybody.get(URL)
        head = await anybody.head(URL)
    assert response.status_code == 200
    assert response.headers.get_list("cache-control") == ["public, max-age=3600"]
    assert (head.status_code, head.content) == (200, b"")
    [key] = response.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "alg", "use"}


def shown() -> dict[str, Any]:
    """Return what the documentation's Python defines."""
    [snippet] = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(snippet, str(DOCUMENT), "exec"), names)
    return names


async def test_the_documented_code_takes_a_proof_and_refuses_what_is_none(database, sealer, hasher):
    """It looks at the machine's clock, so this gateway does too."""
    world = await build(database, sealer, hasher, HandClock(time.time()))
    documented = shown()
    async with world.client() as client:
        proof = await approved(world, client, bind=BIND)
        keys = jwt.PyJWKSet.from_dict((await client.get(URL)).json())
    claims = documented["verified"](proof, keys, gateway=PUBLIC_URL, service="default")
    assert claims["bind"] == documented["fingerprint"](BIND)
    for gateway, service in (("https://evil.example", "default"), (PUBLIC_URL, "bank")):
        with pytest.raises(jwt.InvalidTokenError):
            documented["verified"](proof, keys, gateway=gateway, service=service)
    head, body, signature = proof.split(".")
    with pytest.raises(jwt.InvalidTokenError):
        documented["verified"](f"{head}.{body[:-2]}AA.{signature}", keys, gateway=PUBLIC_URL, service="default")


async def test_the_documented_code_refuses_a_proof_that_is_over(database, sealer, hasher):
    world = await build(database, sealer, hasher, HandClock(time.time() - 301))
    async with world.client() as client:
        proof = await approved(world, client)
        keys = jwt.PyJWKSet.from_dict((await client.get(URL)).json())
    with pytest.raises(jwt.ExpiredSignatureError):
        shown()["verified"](proof, keys, gateway=PUBLIC_URL, service="default")
