from __future__ import annotations

import base64
import os

import pytest

from benchmarks import served
from benchmarks.instructions.path import ARMS, WARM_UP, WAVE, opened, waves
from benchmarks.load import PATH
from gateway.app import beside, opened_store
from gateway.config import load_settings


@pytest.mark.parametrize(("count", "expected"), [(0, []), (5, [5]), (WAVE, [WAVE]), (2 * WAVE + 1, [WAVE, WAVE, 1])])
def test_waves_are_of_one_size_but_the_last(count, expected):
    assert list(waves(count)) == expected


@pytest.fixture
async def key(tmp_path, monkeypatch) -> str:
    """A gateway's config in ``tmp_path``, and a key in its database."""
    ring = base64.b64encode(os.urandom(32)).decode()
    monkeypatch.setenv("OTP_GATEWAY_SECRETS__KEYS", f'["k1:{ring}"]')
    monkeypatch.setenv("OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN", "0" * 32)
    (tmp_path / "config.toml").write_text(served._CONFIG)
    settings = load_settings(tmp_path / "config.toml")
    async with opened_store(settings):
        pass  # it is there now
    async with beside(settings) as gateway:
        return await gateway.keys.create("default")


async def test_the_counted_program_accepts_sends_and_checks(tmp_path, key):
    async with opened(tmp_path, key, ARMS["check"]) as course:
        await course.prepare(WAVE)
        # What is left is exactly what was prepared for.
        await course.do(WAVE)
        assert (course._mailbox.count, course._settled.count, course._open) == (WARM_UP + WAVE, WARM_UP + WAVE, [])
    async with opened(tmp_path, key, ARMS["accept-sms"]) as course:
        await course.do(1)
        assert course._settled.count == 0
        with pytest.raises(RuntimeError, match=r"answered \{404\}, not 200"):
            await course._ask([(f"{PATH}/ver_none/check", b'{"code":"123456"}')], 200)
