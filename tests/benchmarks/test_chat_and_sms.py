from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.__main__ import NORMAL
from benchmarks.chat_and_sms import CHANNELS, STUB, TELEGRAM, at, gateway, provider, sections, yardstick
from benchmarks.figures import again

BARE, OURS = {"rate": 4000.0, "cpu": 0.0002}, {"rate": 2000.0, "cpu": 0.0006, "resident": 120.0, "peak": 130.0}
REQUEST = b"POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"
SAMPLES = {
    **{
        arm: [sample]
        for name in CHANNELS.values()
        for arm, sample in ((yardstick(name), BARE), (gateway(name), OURS), (again(yardstick(name)), BARE))
    },
    STUB: [{"rate": 20_000.0}],
}


def test_each_channel_stands_beside_its_own_loop_and_the_stub_beside_nothing():
    rates, cpu = sections(SAMPLES, NORMAL)
    judged = [(row.name, row.verdict) for row in rates.rows if row.target]
    assert judged == [(gateway(name), "≥ 0.4: reached") for name in ("SMS", "Telegram")]
    assert (rates.rows[-1].name, rates.rows[-1].ratio, len(rates.rows), len(cpu.rows)) == (STUB, None, 7, 6)
    dear = [row.ratio.median for row in cpu.rows if row.ratio is not None and "gateway" in row.name]
    assert dear == pytest.approx([3.0, 3.0])


def test_a_bot_is_asked_for_at_the_stub_and_only_where_there_is_one():
    assert at(80, TELEGRAM)["channels", "telegram", "base_url"] == "http://127.0.0.1:80"
    assert at(80, {}) == {}


async def test_the_stub_tells_its_parent_what_came(tmp_path):
    with provider(tmp_path) as end:
        _, writer = await asyncio.open_connection("127.0.0.1", end.port)
        writer.write(REQUEST)
        at = end.wait(1, 10.0)
        assert (end.latest(), at <= time.monotonic()) == (REQUEST, True)
        writer.close()
