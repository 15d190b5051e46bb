"""docs/webhooks.md shows what is: its receivers accept what we sign, its tables are those of the code."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.events.event import Event, EventName
from gateway.webhooks.connecting import Fault
from gateway.webhooks.payloads import FIRSTS, TOLD, Data, notices
from gateway.webhooks.rows import WebhookStatus
from gateway.webhooks.schedule import DELAYS
from gateway.webhooks.signing import headers

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
KEYS = (bytes(range(64)), bytes(range(24)))
SECRETS = [f"whsec_{base64.b64encode(key).decode()}" for key in KEYS]
BODY = '{"type":"message.sent","data":{"recipient":"+49•••••••678"}}'.encode()

Receive = Callable[[str, Mapping[str, str], bytes], Any]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def in_python(source: str) -> Receive:
    names: dict[str, Any] = {}
    exec(source, names)
    receive: Receive = names["receive"]
    return receive


def by(program: str, source: str, *arguments: str) -> Receive:
    """A receiver in another language: it is given its arguments as JSON, and prints what it accepts."""

    def receive(secret: str, signed: Mapping[str, str], body: bytes) -> Any:
        given = json.dumps([secret, dict(signed), base64.b64encode(body).decode()])
        done = subprocess.run([program, *arguments, source, given], capture_output=True, check=False)
        if done.returncode:
            raise ValueError(done.stderr.decode())
        return json.loads(done.stdout)

    return receive


NODE = """{}
const [secret, headers, body] = JSON.parse(process.argv[1]);
console.log(JSON.stringify(receive(secret, headers, Buffer.from(body, "base64"))));
"""
PHP = """{}
[$secret, $headers, $body] = json_decode($argv[1], true);
echo json_encode(receive($secret, $headers, base64_decode($body)));
"""


def receivers() -> dict[str, Receive | None]:
    """Every receiver of the page that can run here, and ``None`` for one whose language is not installed."""
    node, php = shutil.which("node"), shutil.which("php")
    (js,), (in_php,) = blocks("js"), blocks("php")
    return {
        **{f"python {number}": in_python(source) for number, source in enumerate(blocks("python"))},
        "node": by(node, NODE.replace("{}", js, 1), "-e") if node else None,
        "php": by(php, PHP.replace("{}", in_php, 1), "-r") if php else None,
    }


@pytest.mark.parametrize(("name", "receive"), receivers().items())
def test_each_receiver_accepts_ours_and_nothing_else(name, receive):
    if receive is None:
        pytest.skip(f"{name} is not installed here")
    now = int(time.time())
    signed = headers(KEYS, "whk_1", now, BODY)
    for secret in SECRETS:
        assert receive(secret, signed, BODY) == json.loads(BODY)
    for changed, body in (
        (signed, BODY + b" "),
        ({**signed, "webhook-id": "whk_2"}, BODY),
        (headers(KEYS, "whk_1", now - 3600, BODY), BODY),
        (headers(KEYS, "whk_1", now + 3600, BODY), BODY),
        (headers((bytes(32),), "whk_1", now, BODY), BODY),
    ):
        with pytest.raises(Exception):  # noqa: B017, PT011 - each of them has an error of its own
            receive(SECRETS[0], changed, body)


def test_the_example_is_what_is_sent():
    (example,) = blocks("json")
    event = Event(
        "evt_1",
        1_777_891_200.0,
        EventName.MESSAGE_FAILED,
        "shop",
        "ver_019c2d1e4f000001aabbccddeeff00112233",
        "msg_019c2d1e4f000002aabbccddeeff00112233",
        "sms",
        2,
        "permanent",
        "invalid_recipient",
        "21211",
        "+49•••••••678",
    )
    (notice,) = notices(event)
    assert json.loads(example) == json.loads(notice.body)


def test_every_type_is_listed_with_its_status():
    rows = re.findall(r"^\| `((?:verification|message)\.[a-z_]+)` \| [^|]+ \| (?:`([a-z_]+)`)? ?\|", PAGE, re.MULTILINE)
    expected = {name.value: status or "" for name, status in TOLD.items()}
    expected |= {name: "" for names in FIRSTS.values() for name in names}
    assert dict(rows) == expected


def test_every_field_reason_and_status_is_listed():
    shown = set(re.findall(r"`([^`\n]+)`", PAGE))
    assert {*Data.__struct_fields__, *map(str, Fault), *map(str, WebhookStatus)} - shown == set()


def test_the_schedule_is_the_one_that_is_kept():
    units = {"s": 1, "min": 60, "h": 3600}
    rows = re.findall(r"^\| (\d+) \| (?:at once|(\d+) (s|min|h)) \| (?:([\d.]+) (s|min|h))? ?\|", PAGE, re.MULTILINE)
    waits = [int(number) * units[unit] if number else 0 for _, number, unit, _, _ in rows]
    assert waits == list(DELAYS)
    for place, (_, _, _, total, unit) in enumerate(rows[1:], 2):
        assert float(total) * units[unit] == pytest.approx(sum(DELAYS[:place]), rel=0.02)
