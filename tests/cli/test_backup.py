"""``otp-gateway backup``: what it makes opens, and what it cannot do is said with what to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.app import opened_store
from gateway.cli import app
from gateway.config import load_settings

CONFIG = '[channels.console]\nadapter = "console"\n[services.default]\nchannels = ["console"]\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, "utf-8")
    return path


def backup(config: Path, copy: Path, **environ: str) -> Any:
    return CliRunner().invoke(app, ["backup", str(copy), "--config", str(config)], env=environ)


def test_a_copy_opens_with_the_keys_of_the_original(config, tmp_path):
    async def index(url: str = "") -> Any:
        settings = load_settings(config, {"OTP_GATEWAY_DATABASE__URL": url} if url else {})
        async with opened_store(settings) as store:
            return store.hasher.hash("email", "a@x.org")

    first, copy = asyncio.run(index()), tmp_path / "copies" / "copy.db"
    copy.parent.mkdir()
    done = backup(config, copy)
    assert (done.exit_code, done.stdout.startswith(f"{copy}: 0.")) == (0, True)
    assert "otp-gateway.db.secrets" in done.stdout
    assert "copied: 100 of 100" in done.stderr
    (copy.parent / "copy.db.secrets").write_bytes((tmp_path / "otp-gateway.db.secrets").read_bytes())
    (copy.parent / "copy.db.secrets").chmod(0o600)
    assert asyncio.run(index(f"sqlite:///{copy}")) == first


def test_what_cannot_be_done_is_told_with_what_to_do(config, tmp_path):
    assert "there is no database yet" in backup(config, tmp_path / "copy.db").stderr

    async def made() -> None:
        async with opened_store(load_settings(config)):
            pass

    asyncio.run(made())
    there = tmp_path / "there.db"
    there.write_bytes(b"mine")
    ring = json.dumps(["k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="])
    told = {
        "is there already; give a new file's name": backup(config, there),
        "No such file or directory": backup(config, tmp_path / "none" / "copy.db"),
        "PostgreSQL has `pg_dump` for this": backup(
            config,
            tmp_path / "copy.db",
            OTP_GATEWAY_DATABASE__URL="postgresql://u@127.0.0.1/n",
            OTP_GATEWAY_SECRETS__KEYS=ring,
        ),
    }
    assert [(words in result.stderr, result.exit_code) for words, result in told.items()] == [(True, 2)] * 3
    assert there.read_bytes() == b"mine"
