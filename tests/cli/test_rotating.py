"""``otp-gateway keys rotate-secrets``: step by step, and no step that a running node would not survive."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.app import opened_store
from gateway.cli import app
from gateway.cli.alone import alone
from gateway.config import Settings, load_settings, parse_key, secrets_file
from gateway.storage import models
from gateway.storage.rings import Rings
from gateway.storage.sealing import key_id
from tests.cli.databases import migrated
from tests.rows import put, row

CONFIG = """
[channels.console]
adapter = "console"
[services.default]
channels = ["console"]
"""
K1 = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
K2 = "k2:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="
PLAIN = b"a secret of somebody"


@pytest.fixture
def config(tmp_path) -> Path:
    path: Path = tmp_path / "config.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def path(tmp_path) -> Path:
    found: Path = tmp_path / "otp-gateway.db"
    return found


@pytest.fixture
def run(config):
    """Run a step; ``ring`` is that of the environment, if there is one."""

    def run(*options: str, ring: Sequence[str] = ()) -> Any:
        environ = {"OTP_GATEWAY_SECRETS__KEYS": json.dumps(list(ring))} if ring else {}
        words = ["keys", "rotate-secrets", *options, "--config", str(config)]
        return CliRunner().invoke(app, words, env=environ)

    return run


@pytest.fixture
def within(config):
    """Do something with the store as a node has it."""

    def within(work: Callable[[Any], Awaitable[Any]]) -> Any:
        async def opened() -> Any:
            async with opened_store(load_settings(config)) as store:
                return await work(store)

        return asyncio.run(opened())

    return within


async def fill(store: Any) -> None:
    for name in ("rep_1", "rep_2", "rep_3"):
        blob = store.sealer.seal(PLAIN, f"reply/{name}")
        await put(store.database, models.OutgoingReply, row(models.OutgoingReply, id=name, sealed=blob))


async def opens(store: Any) -> bool:
    found = await store.database.fetch("SELECT id, sealed FROM reply")
    return {PLAIN} == {store.sealer.open(record["sealed"], f"reply/{record['id']}") for record in found}


def node(*ids: str) -> Callable[[Any], Awaitable[None]]:
    """Have a node run that knows these keys."""

    async def tell(store: Any) -> None:
        await Rings(store.database).tell("node", ids, store.clock.now())

    return tell


def ring_of(path: Path) -> list[str]:
    lines = secrets_file(path).read_text("utf-8").splitlines()
    return [parse_key(line).id for line in lines if not line.startswith("#")]


def sealed_by(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as opened:
        return {key_id(blob) for (blob,) in opened.execute("SELECT sealed FROM reply UNION SELECT sealed FROM secret")}


def test_with_no_node_running_one_step_makes_the_key_and_seals_everything(run, within, path):
    within(fill)
    done = run()
    assert (done.exit_code, done.stdout) == (0, "")
    assert "4 values were sealed anew by k2" in done.stderr
    assert (["k2", "k1"], {"k2"}) == (ring_of(path), sealed_by(path))
    assert secrets_file(path).stat().st_mode & 0o777 == 0o600
    assert within(opens)
    done = run("--finish")
    assert (done.exit_code, ring_of(path)) == (0, ["k2"])
    assert "k1 is dropped" in done.stderr
    assert within(opens)
    # The next rotation begins anew.
    assert run().exit_code == 0
    assert ring_of(path) == ["k3", "k2"]


def test_with_nodes_running_it_takes_three_steps_and_each_says_the_next(run, within, path):
    within(fill)
    within(node("k1"))
    refused = run()
    assert (1, ["k1"], {"k1"}) == (refused.exit_code, ring_of(path), sealed_by(path))
    assert (
        "1 of 1 running node cannot open what k2 seals: run `otp-gateway keys rotate-secrets --add`, restart them"
        in refused.stderr
    )
    assert "restart" in run("--add").stderr.lower()
    assert (["k1", "k2"], {"k1"}) == (ring_of(path), sealed_by(path))
    # Not restarted yet, and that is all there is left to do: whichever step is asked for says so.
    for options, then in (((), "run this again"), (("--add",), "run `otp-gateway keys rotate-secrets`")):
        refused = run(*options)
        restart = "restart them (a `send --from` is to end first), then"
        told = f"error: 1 of 1 running node cannot open what k2 seals: {restart} {then}\n"
        assert (refused.exit_code, refused.stderr) == (1, told)
    assert run("--finish").exit_code == 1
    within(node("k1", "k2"))
    done = run()
    assert (0, ["k2", "k1"], {"k2"}) == (done.exit_code, ring_of(path), sealed_by(path))
    assert "Restart the gateway" in done.stderr
    refused = run("--finish")
    assert (refused.exit_code, ring_of(path)) == (1, ["k2", "k1"])
    assert "1 running node still seals with k1; restart first" in refused.stderr
    within(node("k2", "k1"))
    assert (run("--finish").exit_code, ring_of(path)) == (0, ["k2"])
    assert within(opens)


def test_nodes_that_are_given_their_ring_are_to_be_given_the_new_key_and_no_other_one(config, run):
    migrated(config, OTP_GATEWAY_SECRETS__KEYS=json.dumps([K1]))
    asyncio.run(_tell(load_settings(config, {"OTP_GATEWAY_SECRETS__KEYS": json.dumps([K1])}), "k1"))
    told = (
        "error: 1 of 1 running node cannot open what k2 seals: put it into their OTP_GATEWAY_SECRETS__KEYS and restart them "
        "(a `send --from` is to end first), then run "
    )
    steps = [
        ([K2, K1], [], "this again"),
        ([K1, K2], ["--add"], "`otp-gateway keys rotate-secrets`"),
        ([K2, K1], ["--finish"], "this again"),
    ]
    for ring, options, then in steps:
        refused = run(*options, ring=ring)
        assert (refused.exit_code, refused.stderr) == (1, f"{told}{then}\n")


async def _tell(settings: Settings, *ids: str) -> None:
    async with opened_store(settings) as store:
        await Rings(store.database).tell("node", ids, store.clock.now())


def test_what_old_nodes_sealed_meanwhile_is_sealed_anew_by_the_last_step(run, within, path):
    within(node("k1"))
    run("--add")
    within(node("k1", "k2"))
    run()
    run_before = ring_of(path)
    # As a node that was not restarted yet: it seals by the old key still.
    secrets_file(path).write_text(_turned(secrets_file(path)), encoding="utf-8")
    within(fill)
    secrets_file(path).write_text(_turned(secrets_file(path)), encoding="utf-8")
    assert run_before == ring_of(path)
    within(node("k2", "k1"))
    assert (0, {"k2"}) == (run("--finish").exit_code, sealed_by(path))


def _turned(file: Path) -> str:
    """Return a ring's file with its two keys the other way round."""
    lines = file.read_text("utf-8").splitlines()
    keys = [line for line in lines if not line.startswith("#")]
    return "\n".join([*reversed(keys), ""])


def test_a_key_is_not_dropped_while_a_value_needs_it(run, within, path):
    within(fill)

    async def moved(store: Any) -> None:
        await store.database.run(
            lambda c: c.fetch("UPDATE reply SET sealed = (SELECT sealed FROM reply WHERE id = 'rep_1') RETURNING id")
        )

    within(moved)
    done = run()
    assert "2 values in reply.sealed cannot be opened with any of the keys" in done.stderr
    refused = run("--finish")
    assert (refused.exit_code, ring_of(path)) == (1, ["k2", "k1"])
    assert "2 by k1" in refused.stderr


def test_beside_a_long_reader_it_says_that_the_log_still_holds_what_the_old_key_sealed(run, within, path, monkeypatch):
    for wait in ("PAUSE", "PATIENCE"):
        monkeypatch.setattr(f"gateway.housekeeping.checkpoint.{wait}", 0.0)
    within(fill)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM reply").fetchall()
        done = run()
    assert (done.exit_code, sealed_by(path)) == (0, {"k2"})
    assert "What the old keys sealed is still in the file's log" in done.stderr


def test_steps_out_of_order_are_refused(run, config):
    migrated(config)
    steps = [
        (("--finish",), 1, "nothing to drop"),
        (("--add",), 0, "opens from the next start on"),
        (("--add",), 1, "was added before"),
        (("--finish",), 1, "does not seal yet"),
        (("--add", "--finish"), 2, "not both"),
    ]
    done = [(options, run(*options)) for options, _, _ in steps]
    assert steps == [
        (options, result.exit_code, told)
        for (options, result), (_, _, told) in zip(done, steps, strict=True)
        if told in result.stderr
    ]


def test_a_ring_of_the_environment_is_told_of_and_never_written(run, config, path):
    migrated(config, OTP_GATEWAY_SECRETS__KEYS=json.dumps([K1]))
    done = run("--add", ring=[K1])
    key = parse_key(done.stdout.strip())
    assert (done.exit_code, key.id, done.stdout.count("\n")) == (0, "k2", 1)
    assert "last in OTP_GATEWAY_SECRETS__KEYS" in done.stderr
    for ring, told in (([K1], "make a new one"), ([K1, K2], "k2 is not first")):
        done = run(ring=ring)
        assert (done.exit_code, done.stdout) == (2, "")
        assert told in done.stderr
    assert run(ring=[K2, K1]).exit_code == 0
    done = run("--finish", ring=[K2, K1])
    assert "take it out of OTP_GATEWAY_SECRETS__KEYS" in done.stderr
    assert not secrets_file(path).exists()


@pytest.mark.parametrize("options", [(), ("--add",), ("--finish",)])
def test_two_at_once_cannot_each_make_a_key_of_which_one_is_lost(run, config, path, options):
    migrated(config)
    assert run().exit_code == 0
    ring = secrets_file(path).read_text("utf-8")
    with alone(path.parent, "otp-gateway keys rotate-secrets"):
        refused = run(*options)
    assert (refused.exit_code, secrets_file(path).read_text("utf-8")) == (1, ring)
    assert "another `otp-gateway keys rotate-secrets` is under way here" in refused.stderr
