"""``otp-gateway migrate``: it leaves a folder from which ``serve`` starts. Serving is tested by the journeys."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from gateway.app import opened_store
from gateway.cli import app
from gateway.config import load_settings

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def migrate(config):
    return CliRunner().invoke(app, ["migrate", "--config", str(config)])


async def opened(config):
    async with opened_store(load_settings(config)) as store:
        return store.hasher.hash("email", "ann@example.org")


def test_a_migrated_folder_can_be_served_from(config):
    result = migrate(config)
    assert (result.exit_code, result.stdout.split()[:5]) == (0, ["the", "schema", "is", "at", "revision"])
    assert asyncio.run(opened(config)) == asyncio.run(opened(config))
    assert migrate(config).stdout == result.stdout


def test_a_database_without_its_keys_is_not_touched(config):
    assert migrate(config).exit_code == 0
    (config.parent / "otp-gateway.db.secrets").unlink()
    result = migrate(config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "otp-gateway.db.secrets: is missing" in result.stderr


def test_a_template_that_does_not_compile_ends_serve_as_a_fault_of_the_configuration(config):
    own = config.parent / "mine" / "console" / "verification"
    own.mkdir(parents=True)
    (own / "body.txt").write_text("hello\n{{ code")
    config.write_text(f'{CONFIG}templates = "mine"\n')
    command = [sys.executable, "-m", "gateway", "serve", "--port", "0", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{own / 'body.txt'}:2: " in done.stderr
