"""In a container: it listens on every address, nobody has said by which the world calls it, and all it does is send e-mail."""

from __future__ import annotations

import json
import signal
from typing import Any, cast

from gateway.sandbox.shapes import code_of
from tests.journeys.node import PATIENCE, Caller, by_email
from tests.verification import jws

CONFIG = """
[server]
host = "0.0.0.0"
[channels.email]
adapter = "email"
[services.default]
channels = ["email"]
"""


async def test_a_container_without_a_public_url_starts_warns_once_and_tells_nobody_its_listening_address(
    tmp_path, smtp, inbox, make_node
):
    (tmp_path / "config.toml").write_text(CONFIG)
    node = make_node(by_email(smtp.host, smtp.port, CONFIG=str(tmp_path / "config.toml")))
    await node.start()
    async with Caller((await node.run("keys", "create", "--service", "default")).strip()) as caller:
        _, started = await caller.post(node, "/v1/verifications", {"to": "ann@example.org"})
        code = code_of(await inbox.newest("ann@example.org", timeout=PATIENCE))
        status, answer = await caller.post(node, f"/v1/verifications/{started['id']}/check", {"code": code})
        key_set = cast("Any", await caller.get(node, "/.well-known/jwks.json"))["keys"]
        described = await caller.get(node, "/openapi.json")
    assert await node.end(signal.SIGTERM) == 0
    assert (status, jws.read(str(answer["proof"]), key_set)[1]["iss"]) == (200, "otp-gateway")
    assert described["servers"] == [{"url": "/"}]
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    [warned] = [line for line in lines if "public_url" in line["event"]]
    assert warned["level"] == "warning"
    assert "0.0.0.0 is no address to call" in warned["event"]
