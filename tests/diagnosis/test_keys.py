"""Keys: which cannot be random, who can read them, and that nothing is made by looking."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.findings import Finding
from gateway.config import SealingKey, ensure_secrets, load_settings
from gateway.diagnosis.keys import examine, ring_findings, weakness

CONFIG = '[channels.pager]\nadapter = "console"\n[services.default]\nchannels = ["pager"]\n'
GOOD = hashlib.sha256(b"a key").digest()


def settings(tmp_path: Path, more: str = "", **environ: str):
    file = tmp_path / "config.toml"
    file.write_text(CONFIG + more)
    return load_settings(file, {f"OTP_GATEWAY_{name}": value for name, value in environ.items()})


def told(findings: list[Finding], subject: str) -> list[tuple[str, str]]:
    return [(item.verdict, item.told) for item in findings if item.subject == subject]


@pytest.mark.parametrize(
    ("key", "word"),
    [
        (bytes(range(32)), "follow a rule"),
        (bytes(range(255, 223, -1)), "follow a rule"),
        (b"\0" * 32, "follow a rule"),
        (GOOD[:16] * 2, "repeats itself"),
        (GOOD[:12] * 2, "repeats itself"),
        (b"correct horse battery staple 123", "text"),
        ((GOOD[:18] + GOOD)[:24] + GOOD[:8], "too few"),
        (GOOD[:13] + GOOD[:11][::-1], "too few"),
    ],
)
def test_what_cannot_be_random_is_called_so(key, word):
    assert word in (weakness(key) or "")


@given(st.integers(min_value=0))
def test_what_a_generator_makes_is_good(seed):
    random = hashlib.shake_256(str(seed).encode()).digest(64)
    assert [weakness(random[:length]) for length in (24, 32, 64)] == [None] * 3


def test_a_ring_is_judged_key_by_key_without_showing_one():
    weak = SealingKey("old", bytes(range(32)))
    ring = (SealingKey("k1", GOOD), SealingKey("k2", GOOD), weak)
    findings = ring_findings(ring)
    assert [item.verdict for item in findings] == ["fault", "warning"]
    assert findings[0].told.startswith("key old: ")
    assert [item.verdict for item in ring_findings(ring[:1])] == ["ok"]


def test_looking_makes_no_keys(tmp_path):
    findings, ring = examine(settings(tmp_path))
    assert (told(findings, "sealing ring")[0][0], ring) == ("ok", ())
    (tmp_path / "otp-gateway.db").touch()
    assert examine(settings(tmp_path))[1] == ()
    assert [path.name for path in tmp_path.glob("*.secrets")] == []


def test_keys_that_are_lost_are_a_fault(tmp_path):
    (tmp_path / "otp-gateway.db").write_bytes(b"rows")
    [(verdict, why)] = told(examine(settings(tmp_path))[0], "sealing ring")
    assert (verdict, "is missing" in why) == ("fault", True)


def test_a_file_that_others_can_read_is_a_fault(tmp_path):
    chosen = settings(tmp_path)
    made = ensure_secrets(chosen)
    findings, ring = examine(chosen)
    assert ([verdict for verdict, _ in told(findings, "sealing ring")], ring) == (["ok", "ok"], made)
    (tmp_path / "otp-gateway.db.secrets").chmod(0o644)
    findings, ring = examine(chosen)
    [(verdict, why)] = told(findings, "sealing ring")
    assert (verdict, "chmod 600" in why, ring) == ("fault", True, ())


def test_keys_of_the_environment_are_judged_too(tmp_path):
    key = base64.b64encode(bytes(range(32))).decode()
    findings, _ = examine(settings(tmp_path, SECRETS__KEYS=f'["k1:{key}"]'))
    assert [verdict for verdict, _ in told(findings, "sealing ring")] == ["ok", "fault"]
    assert key not in repr(findings)


@pytest.mark.parametrize(("secret", "verdict"), [(GOOD, "ok"), (bytes(range(32)), "fault")], ids=["random", "example"])
def test_webhook_secrets_are_judged(tmp_path, secret, verdict):
    given = f"whsec_{base64.b64encode(secret).decode()}"
    environ = {"SERVICES__DEFAULT__WEBHOOK_URL": "https://shop.example", "SERVICES__DEFAULT__WEBHOOK_SECRET": given}
    findings, _ = examine(settings(tmp_path, **environ))
    assert [found for found, _ in told(findings, "[services.default] webhook_secret")] == [verdict]
    assert given not in repr(findings)


@pytest.mark.parametrize(("token", "verdict"), [("c1f0a9d27be34c55", "ok"), ("c1f0a9d", "fault")])
def test_a_short_metrics_token_is_a_fault(tmp_path, token, verdict):
    findings, _ = examine(settings(tmp_path, METRICS__TOKEN=token))
    assert [found for found, _ in told(findings, "[metrics] token")] == [verdict]
    assert token not in repr(findings)
