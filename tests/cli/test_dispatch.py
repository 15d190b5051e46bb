"""``otp-gateway dispatch``: refused where it cannot share; where it can it works until it is told to stop."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import signal

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.cli.dispatch import READY, _dispatch, check_shared
from gateway.config import load_settings
from gateway.errors import ConfigError

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""
POSTGRESQL = {"OTP_GATEWAY_DATABASE__URL": "postgresql://gateway@db.example.org/gateway"}
KEYS = {"OTP_GATEWAY_SECRETS__KEYS": f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]'}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def collector():
    """Puts the garbage collector back as it was: a node tunes it for its whole process."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_on_sqlite_it_is_refused_and_says_what_to_use(config):
    result = CliRunner().invoke(app, ["dispatch", "--config", str(config)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: [database] url: dispatch shares a PostgreSQL with other nodes")
    assert "`otp-gateway serve` does all there is to do" in result.stderr


def test_a_refusal_leaves_no_file_behind(config):
    CliRunner().invoke(app, ["dispatch", "--config", str(config)])
    assert [path.name for path in config.parent.iterdir()] == ["config.toml"]


def test_with_a_sandbox_it_is_refused_for_it_would_send_in_earnest(config):
    settings = load_settings(config, {**POSTGRESQL, **KEYS, "OTP_GATEWAY_SANDBOX__ENABLED": "true"})
    with pytest.raises(ConfigError) as refused:
        check_shared(settings)
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["[sandbox] enabled"]


def test_both_faults_are_told_at_once(config):
    with pytest.raises(ConfigError) as refused:
        check_shared(load_settings(config, {"OTP_GATEWAY_SANDBOX__ENABLED": "true"}))
    assert len(refused.value.faults) == 2


def test_on_postgresql_it_is_not_refused(config):
    check_shared(load_settings(config, {**POSTGRESQL, **KEYS}))


async def test_it_says_when_it_works_and_ends_by_sigterm(config, migrated_postgresql, capsys, collector):
    settings = load_settings(config, {**KEYS, "OTP_GATEWAY_DATABASE__URL": migrated_postgresql})
    working = asyncio.create_task(_dispatch(settings))
    said = ""
    async with asyncio.timeout(30):
        while READY not in said:
            await asyncio.sleep(0)
            assert not working.done() or working.result() is None
            said += capsys.readouterr().err
        signal.raise_signal(signal.SIGTERM)
        await working
    loop = asyncio.get_running_loop()
    assert [loop.remove_signal_handler(number) for number in (signal.SIGTERM, signal.SIGINT)] == [True, True]
    assert said.splitlines().count(READY) == 1
    assert logging.getLogger("gateway").handlers == []
