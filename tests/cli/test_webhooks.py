"""``otp-gateway webhooks``: what it shows, what it sends again, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.app import opened_store
from gateway.cli.webhooks import app
from gateway.config import load_settings
from gateway.storage import models
from gateway.storage.ids import new_id
from gateway.storage.statement import insert_into, row_of
from gateway.storage.unit import Move
from gateway.webhooks.endpoints import Endpoints, endpoints_of
from gateway.webhooks.rows import BITE, Webhook
from tests.cli.databases import migrated

AT = 1_777_891_200.0
CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
[services.shop]
webhook_url = "https://shop.example.com/otp?token=very-secret"
[services.bank]
webhook_url = "https://bank.example.com/otp"
[services.mute]
"""
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def webhook(at: float, service: str = "shop", status: str = "failed", **fields: Any) -> Webhook:
    over = status != "pending"
    values = {
        "id": new_id("whk", at),
        "service": service,
        "name": "message.sent",
        "verification_id": "ver_1",
        "body": '{"to":"+49•••••••678"}',
        "status": status,
        "tries": 10 if over else 1,
        "due_at": at + 5,
        "lease": "",
        "created_at": at,
        "finished_at": at + 9 if over else None,
        "answer": 500,
        "reason": "refused",
        **fields,
    }
    return Webhook(**values)


OLD = [
    webhook(AT, "bank", "pending", verification_id="ver_\x1b[2J"),
    webhook(AT + 1, answer=None, reason="timeout"),
    webhook(AT + 2, status="delivered", answer=204, reason=None),
]


@pytest.fixture(autouse=True, scope="module")
def secrets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environ:
        for service in ("SHOP", "BANK"):
            environ.setenv(f"OTP_GATEWAY_SERVICES__{service}__WEBHOOK_SECRET", SECRET)
        yield


@pytest.fixture(scope="module")
def old(secrets, tmp_path_factory) -> Path:
    """A gateway's folder with three webhooks, which no test changes."""
    path: Path = tmp_path_factory.mktemp("gateway") / "config.toml"
    path.write_text(CONFIG)
    add(path, *OLD)
    return path


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


async def _add(config: Path, items: list[Webhook], disabled: str | None) -> None:
    statement, row = insert_into(models.Webhook), row_of(models.Webhook)
    settings = load_settings(config)
    async with opened_store(settings) as store:
        await asyncio.gather(*(store.database.write(Move(None, ((statement, row(item)),))) for item in items))
        if disabled is not None:
            endpoints = endpoints_of(settings)
            await Endpoints(store.database, endpoints).disable(endpoints[disabled], "gone", AT)


def add(config: Path, *items: Webhook, disabled: str | None = None) -> None:
    asyncio.run(_add(config, list(items), disabled))


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--config", str(config)])


def shown(config: Path, *arguments: str) -> list[dict[str, Any]]:
    result = run(config, "list", "--json", *arguments)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_a_service_that_nobody_knows_is_warned_of(old):
    result = run(old, "list", "--service", "shpo")
    assert result.exit_code == 0
    assert result.stderr == (
        "warning: no service 'shpo', and nothing is kept of one; configured are bank, default, mute, shop\n"
    )
    assert run(old, "list", "--service", "mute").stderr == ""


def test_a_service_that_is_gone_and_had_webhooks_is_not_warned_of(config):
    add(config, webhook(AT, "gone"))
    assert run(config, "list", "--service", "gone", "--status", "delivered").stderr == ""


def pending(config: Path) -> set[str]:
    return {item["id"] for item in shown(config, "--status", "pending", "--limit", "100000")}


def test_in_a_pipe_it_lists_plain_aligned_columns_newest_first(old):
    result = run(old, "list")
    assert result.exit_code == 0, result.output
    heading, *lines = result.stdout.splitlines()
    assert re.split(r"\s{2,}", heading) == [
        *("id", "made (UTC)", "service", "event", "status", "tries", "next try", "answer", "verification")
    ]
    assert [line.split()[0] for line in lines] == [item.id for item in reversed(OLD)]
    assert re.split(r"\s{2,}", lines[1])[1:] == [
        *("2026-05-04T10:40:01.000Z", "shop", "message.sent", "failed", "10", "timeout", "ver_1")
    ]
    assert re.split(r"\s{2,}", lines[2])[2:] == [
        *("bank", "message.sent", "pending", "1", "2026-05-04T10:40:05.000Z", "500 refused", "ver_\\x1b[2J")
    ]
    assert "678" not in result.stdout


def test_json_has_everything_but_what_is_in_them(old):
    assert shown(old)[1] == {
        "id": OLD[1].id,
        "created_at": "2026-05-04T10:40:01.000Z",
        "service": "shop",
        "type": "message.sent",
        "status": "failed",
        "tries": 10,
        "due_at": None,
        "finished_at": "2026-05-04T10:40:10.000Z",
        "answer": None,
        "reason": "timeout",
        "verification": "ver_1",
    }
    assert shown(old)[2]["due_at"] == "2026-05-04T10:40:05.000Z"


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), [2, 1, 0]),
        (("--service", "shop"), [2, 1]),
        (("--status", "delivered"), [2]),
        (("--service", "bank", "--status", "failed"), []),
        (("--limit", "1"), [2]),
    ],
)
def test_each_option_chooses_webhooks(old, arguments, found):
    assert [item["id"] for item in shown(old, *arguments)] == [OLD[place].id for place in found]


@pytest.mark.parametrize("arguments", [("--status", "lost"), ("--limit", "0")])
def test_what_shows_nothing_whatever_there_is_is_misuse(old, arguments):
    assert run(old, "list", *arguments).exit_code == 2


def test_a_receiver_that_wants_no_more_is_named_with_what_to_do(config):
    add(config, disabled="shop")
    result = run(config, "list", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert "receiver of shop wants no webhooks since 2026-05-04T10:40:00.000Z (gone)" in result.stderr
    assert "--enable" in result.stderr
    assert "secret" not in result.stderr
    assert run(config, "list", "--service", "bank").stderr == ""


def test_webhooks_are_sent_again_by_their_ids(config):
    add(config, *OLD)
    result = run(config, "replay", OLD[1].id, OLD[1].id, OLD[2].id)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "2 webhooks are sent again.\n", "")
    assert pending(config) == {item.id for item in OLD}
    (again,) = [item for item in shown(config) if item["id"] == OLD[1].id]
    assert (again["tries"], again["reason"]) == (0, None)


def test_ids_that_are_unknown_are_named(config):
    add(config, *OLD)
    result = run(config, "replay", OLD[1].id, "whk_1", "whk_\x1b[2J")
    assert (result.exit_code, result.stdout) == (1, "1 webhook is sent again.\n")
    assert result.stderr == "error: there is no webhook whk_1\nerror: there is no webhook whk_\\x1b[2J\n"
    result = run(config, "replay", "whk_1", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"replayed": 0, "under_way": 0, "unknown": ["whk_1"]})


def test_one_that_is_being_tried_is_left_alone(config):
    now = time.time()
    held = webhook(now, status="pending", lease="a node", due_at=now + 1000)
    add(config, held)
    result = run(config, "replay", held.id)
    assert (result.exit_code, result.stdout) == (0, "0 webhooks are sent again.\n")
    assert result.stderr == "1 is being tried at this moment, and left alone.\n"


def test_all_of_a_service_that_it_does_not_have_are_sent_again(config):
    now = time.time()
    items = [
        webhook(now - 3500),
        webhook(now - 60, status="dropped"),
        webhook(now - 60, status="delivered"),
        webhook(now - 3700),
        webhook(now - 60, "bank"),
    ]
    add(config, *items)
    result = run(config, "replay", "--service", "shop", "--since", "1h", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"replayed": 2, "under_way": 0, "unknown": []})
    assert pending(config) == {items[0].id, items[1].id}


@pytest.mark.parametrize(("status", "place"), [("delivered", 2), ("failed", 0), ("dropped", 1)])
def test_or_those_of_a_status(config, status, place):
    now = time.time()
    items = [webhook(now - 60), webhook(now - 60, status="dropped"), webhook(now - 60, status="delivered")]
    add(config, *items)
    assert run(config, "replay", "--service", "shop", "--since", "1h", "--status", status).exit_code == 0
    assert pending(config) == {items[place].id}


def test_however_many_there_are(config):
    now = time.time()
    items = [webhook(now - 60) for _ in range(BITE + 3)]
    add(config, *items)
    result = run(config, "replay", "--service", "shop", "--since", "1h")
    assert result.stdout == f"{BITE + 3} webhooks are sent again.\n"
    assert pending(config) == {item.id for item in items}


def test_a_receiver_that_wants_no_more_is_told_again_only_where_asked(config):
    add(config, *OLD, disabled="shop")
    result = run(config, "replay", OLD[1].id)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "wants no webhooks" in result.stderr
    assert OLD[1].id not in pending(config)
    result = run(config, "replay", OLD[1].id, "--enable")
    assert (result.exit_code, result.stdout) == (0, "1 webhook is sent again.\n")
    assert run(config, "list").stderr == ""
    assert OLD[1].id in pending(config)


def test_a_service_without_a_receiver_is_told_of(config):
    migrated(config)
    result = run(config, "replay", "--service", "mute", "--since", "1h")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: [services.mute]: there is no webhook_url\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--service", "shop"),
        ("--since", "1h"),
        ("whk_1", "--service", "shop"),
        ("whk_1", "--since", "1h"),
        ("whk_1", "--status", "failed"),
        ("--service", "shop", "--since", "soon"),
    ],
)
def test_what_is_not_clear_is_misuse(config, arguments):
    result = run(config, "replay", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_faults_of_the_configuration_are_told_on_standard_error(config):
    config.write_text(CONFIG.replace("https://bank", "http://bank") + '[server]\npublic_url = "https://otp.example"\n')
    for verb in (["list"], ["replay", "whk_1"]):
        result = run(config, *verb)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "[services.bank] webhook_url: must start with https://" in result.stderr


def program(config: Path, *arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "webhooks", *arguments, "--config", str(config)], **streams
    )


def test_on_a_terminal_it_lists_a_coloured_table(old):
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    process = program(old, "list", stdout=theirs, env=environ)
    os.close(theirs)
    text = b""
    # The cell of the last row ends it.
    while OLD[0].id.encode() not in text or not text.endswith(b"\n"):
        text += os.read(ours, 65536)
    assert process.wait(20) == 0
    os.close(ours)
    told = text.decode()
    assert "\x1b[31mfailed" in told
    assert "\x1b[32mdelivered" in told
    assert "\x1b[2J" not in told
    # What it is replayed by is whole, however narrow the terminal is; the rest is short.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", told).splitlines()
    assert re.split(r"\s{2,}", plain[2]) == [
        *(OLD[1].id, "05-04 10:40:01", "shop", "message.sent", "failed", "10", "timeout", "…ver_1")
    ]
    assert re.split(r"\s{2,}", plain[3])[-3:] == ["05-04 10:40:05", "500 refused", "…ver_\\x1b[2J"]


def test_on_a_terminal_it_shows_how_far_a_replay_is(config):
    now = time.time()
    add(config, *(webhook(now - 60) for _ in range(BITE + 3)))
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color"}
    process = program(
        config, "replay", "--service", "shop", "--since", "1h", stdout=subprocess.PIPE, stderr=theirs, env=environ
    )
    os.close(theirs)
    text = b""
    while b"100%" not in text:
        text += os.read(ours, 65536)
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    assert (process.returncode, out.decode()) == (0, f"{BITE + 3} webhooks are sent again.\n")
    assert b"Replaying" in text


def test_on_a_terminal_a_replay_of_nothing_shows_no_progress(config):
    migrated(config)
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color"}
    process = program(config, "replay", "whk_1", stdout=subprocess.PIPE, stderr=theirs, env=environ)
    out, _ = process.communicate(timeout=20)
    os.write(theirs, b".")  # so that there is an end to read up to
    text = b""
    while not text.endswith(b"."):
        text += os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    assert (process.returncode, out.decode()) == (1, "0 webhooks are sent again.\n")
    assert text == b"\x1b[1;31merror: \x1b[0mthere is no webhook whk_1\r\n."


def test_a_reader_who_has_seen_enough_ends_it_quietly(old):
    out, into = os.pipe()
    os.close(out)
    process = program(old, "list", stdout=into, stderr=subprocess.PIPE)
    os.close(into)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
