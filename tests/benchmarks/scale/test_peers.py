from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path

import pytest

from benchmarks.scale import peers
from benchmarks.scale.filling import fill, sealer_of
from benchmarks.served import Prepared
from tests.conftest import aside, empty

RING = {"OTP_GATEWAY_SECRETS__KEYS": f'["k1:{base64.b64encode(bytes(range(32))).decode()}"]'}


def test_what_cannot_be_installed_is_left_out_by_name(tmp_path, capsys):
    cache = tmp_path / "cache"
    cache.write_text("a file where a folder should be")
    assert peers.installed(cache, {"other": ("other==1",)}) == ({}, {"other": "CalledProcessError"})
    assert capsys.readouterr().err.splitlines()[-1] == "other is left out, it cannot be installed: CalledProcessError"


def test_what_is_installed_already_is_not_installed_again(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "installed.json").write_text('["other==1"]')
    pythons, skipped = peers.installed(tmp_path, {"other": ("other==1",)})
    assert (pythons, skipped) == ({"other": tmp_path / "other" / "bin" / "python"}, {})


def test_every_other_queue_has_a_program_and_exact_versions():
    for name, pins in peers.PINS.items():
        assert (Path(peers.__file__).parent / f"run_{name}.py").exists()
        assert [pin for pin in pins if "==" not in pin] == []


def test_the_channel_that_does_nothing_is_the_only_one_configured(tmp_path):
    environ = {**RING, "OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN": "0123456789abcdef"}
    assert peers.alone(tmp_path, Prepared(tmp_path, environ, "key")).environ == RING


@pytest.fixture
def database(migrated_postgresql):
    aside(empty(migrated_postgresql))
    return migrated_postgresql


@pytest.mark.parametrize("how", ["drain", "through"])
def test_our_queue_is_run_to_the_end_by_the_channel_that_does_nothing(tmp_path, database, how):
    ours = peers.alone(tmp_path, Prepared(tmp_path, {**os.environ, **RING}, "key"))
    asyncio.run(fill(database, sealer_of(RING), "nothing", 20))
    assert getattr(ours, how)(tmp_path, database, 20)["rate"] > 0
