from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
from pydantic import SecretStr

from gateway.config import Settings, diagnose
from gateway.config.overview import overview, shown
from tests.config.samples import MINIMAL, key, write

TEXT = (
    MINIMAL
    + """\
countries = ["DE"]
[services.shop]
name = "Shop"
[services.shop.code]
ttl = 60
"""
)


@pytest.fixture
def rows(tmp_path):
    environ = {
        "OTP_GATEWAY_SECRETS__KEYS": f'["{key("k2", 2)}", "{key()}"]',
        "OTP_GATEWAY_CHANNELS__MAIL__ADAPTER": "email",
        "OTP_GATEWAY_CHANNELS__MAIL__HOST": "127.0.0.1",
        "OTP_GATEWAY_CHANNELS__MAIL__FROM": "codes@example.org",
        "OTP_GATEWAY_CHANNELS__MAIL__USERNAME": "codes",
        "OTP_GATEWAY_CHANNELS__MAIL__PASSWORD": "hunter2hunter2",
        "OTP_GATEWAY_SERVICES": '{"shop": {"limits": {"cooldown": 9}}}',
        "OTP_GATEWAY_DATABASE__URL": "postgresql://u:hunter3@h/n",
    }
    settings, ready = diagnose(write(tmp_path, TEXT), environ)
    return {".".join(row.path): (row.value, row.origin) for row in overview(settings, ready)}


def test_every_value_has_its_origin(rows):
    assert rows["server.port"] == (8080, "default")
    assert rows["channels.console.adapter"] == ("console", "config.toml")
    assert rows["channels.mail.from"] == ("codes@example.org", "OTP_GATEWAY_CHANNELS__MAIL__FROM")
    assert rows["channels.mail.port"] == (587, "default")
    assert rows["services.default.countries"] == (["DE"], "config.toml")
    assert rows["services.shop.countries"] == (["DE"], "config.toml, by [services.default]")
    assert rows["services.shop.code.ttl"] == (60, "config.toml")
    assert rows["services.shop.limits.cooldown"] == (9, "OTP_GATEWAY_SERVICES")
    assert rows["services.default.templates"] == (None, "default")


def test_a_purpose_is_a_table_of_its_own_and_says_where_it_has_its_values_from(tmp_path):
    text = (
        MINIMAL
        + """
        code = { ttl = 200 }
        [services.default.purposes.pay]
        locale = "de"
        [services.shop.code]
        length = 8
        [services.shop.purposes.pay.limits]
        lockout = { after = 5, for = 60 }
        """
    )
    settings, ready = diagnose(write(tmp_path, text), {})
    found = {".".join(row.path): (row.value, row.origin) for row in overview(settings, ready)}
    pay = "services.shop.purposes.pay"
    assert found[f"{pay}.code.ttl"] == (200, "config.toml, by [services.default]")
    assert found[f"{pay}.code.length"] == (8, "config.toml, by [services.shop]")
    assert found[f"{pay}.locale"] == ("de", "config.toml, by [services.default.purposes.pay]")
    assert found[f"{pay}.limits.lockout.after"] == (5, "config.toml")
    assert found[f"{pay}.limits.cooldown"] == (30, "default")
    assert f"{pay}.limits.queue_depth" not in found
    assert "services.shop.purposes" not in found


def test_secrets_are_masked(rows):
    assert rows["secrets.keys"] == (["••••", "••••"], "OTP_GATEWAY_SECRETS__KEYS")
    assert rows["channels.mail.password"] == ("••••", "OTP_GATEWAY_CHANNELS__MAIL__PASSWORD")
    assert rows["database.url"] == ("postgresql://u:••••@h/n", "OTP_GATEWAY_DATABASE__URL")
    assert "hunter" not in str(rows)


def test_a_tables_own_keys_come_before_the_tables_in_it(rows):
    order = list(rows)
    assert order.index("services.default.number_types") < order.index("services.default.code.length")


def test_settings_made_without_a_file_are_all_defaults():
    assert {row.origin for row in overview(Settings(), {})} == {"default"}


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("a", "a"),
        (Path("/a"), "/a"),
        (Colour.RED, "red"),
        ((SecretStr("x"), 1), ["••••", 1]),
        ({"a": SecretStr("x")}, {"a": "••••"}),
        ("https://u:pw@h/", "https://u:••••@h/"),
    ],
)
def test_values_are_shown_as_json_would_hold_them(value, expected):
    assert shown(value) == expected
