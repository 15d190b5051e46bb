"""config.toml is the reference: it boots, names every key, and every default in it is the code's.

A channel that is no shipped one may be configured in it. Its section then is somebody's setup and says what it must; one
that is switched off is documentation, and as whole as that of the shipped ones.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from channels import base
from gateway.config import ServiceSettings, Settings, check_channels, diagnose, load_settings, variable_name
from gateway.config.schema import holds_secret, keys_of, locate
from tests.channels.contract import SHIPPED_CHANNELS
from tests.config.samples import ROOT

TEXT = (ROOT / "config.toml").read_text("utf-8")
#: "#key = …" and "#[table]" are options switched off; "# …" is prose.
ACTIVATED = re.sub(r"(?m)^#(?=\[|[a-z0-9_]+ = )", "", TEXT)
TABLES = tomllib.loads(ACTIVATED)
#: Of two keys that exclude each other one stays off; so does a file this machine may not have.
_EXCLUDED = re.compile(r"(?m)^(messaging_service_sid|api_key_sid|ca_\w+) = .*$")
#: The channels that are configured in the file, and those that it names in any way, with their adapters.
ACTIVE: dict[str, str] = {name: table["adapter"] for name, table in tomllib.loads(TEXT)["channels"].items()}
NAMED: dict[str, str] = {name: table["adapter"] for name, table in TABLES["channels"].items()}
#: Configured channels that this project does not ship.
FOREIGN = {name for name, adapter in ACTIVE.items() if adapter not in SHIPPED_CHANNELS}
_PLAUSIBLE = "0123456789abcdef0123456789abcdef"
_SECRETS = {
    "OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN": _PLAUSIBLE,
    "OTP_GATEWAY_CHANNELS__EMAIL__PASSWORD": "hunter2hunter2",
    "OTP_GATEWAY_CHANNELS__TELEGRAM__TOKEN": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
    "OTP_GATEWAY_SERVICES__DEFAULT__WEBHOOK_SECRET": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
}


@dataclass(frozen=True)
class Key:
    """One key there is, with the table it belongs in."""

    path: tuple[str, ...]
    model: type[BaseModel]
    field: FieldInfo

    @property
    def default(self) -> Any:
        if self.path == ("server", "public_url"):
            return Settings().server.public_url
        return to_jsonable_python(self.field.get_default(call_default_factory=True), fallback=lambda _: None)

    @property
    def stated(self) -> object:
        table: object = TABLES
        for name in self.path:
            assert isinstance(table, dict)
            assert name in table, f"config.toml does not name {'.'.join(self.path)}"
            table = table[name]
        return table


def keys_in(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Key]:
    for key, field in keys_of(model).items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_in(field.annotation, (*path, key))
        elif (*path, key) == ("services",):
            yield from keys_in(ServiceSettings, ("services", "default"))
        elif (*path, key) != ("channels",):
            yield Key((*path, key), model, field)


def all_keys() -> list[Key]:
    described = dict.fromkeys([*SHIPPED_CHANNELS, *(name for name in NAMED if name not in FOREIGN)])
    models = {name: base.load(NAMED.get(name, name)).Settings for name in described}
    return [*keys_in(Settings), *(key for name, model in models.items() for key in keys_in(model, ("channels", name)))]


def secrets_of(channels: Iterable[str]) -> dict[str, str]:
    """Return a value for every secret of channels that are not shipped."""
    keys = [key for name in channels for key in keys_in(base.load(NAMED[name]).Settings, ("channels", name))]
    return {variable_name(key.path): _PLAUSIBLE for key in keys if holds_secret(key.field.annotation)}


def values(table: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from values(value, (*above, key))
        else:
            yield (*above, key)


def prose_above(path: tuple[str, ...]) -> str:
    """The comment right above a key."""
    lines = TEXT[TEXT.index(f"[{'.'.join(path[:-1])}]\n") :].splitlines()
    at = next(number for number, line in enumerate(lines) if re.match(rf"#?{path[-1]} = ", line))
    return " ".join(itertools.takewhile(lambda line: line.startswith("# "), reversed(lines[:at])))


def test_the_file_boots_as_it_is():
    settings, ready = diagnose(ROOT / "config.toml", secrets_of(FOREIGN))
    assert settings.database.path == ROOT / "otp-gateway.db"
    assert (set(ready) - FOREIGN, list(settings.services)) == ({"console"}, ["default"])
    assert settings.services["default"] == ServiceSettings(channels=settings.services["default"].channels)


def test_the_file_sets_nothing_but_the_route_and_its_channel():
    stated = tomllib.loads(TEXT)
    channels = {name: table for name, table in stated["channels"].items() if name not in FOREIGN}
    route = stated["services"]["default"]["channels"]
    assert set(route) - FOREIGN <= {"console"}
    assert stated | {"channels": channels} == {
        "server": {},
        "database": {},
        "secrets": {},
        "log": {},
        "webhooks": {},
        "metrics": {},
        "retention": {},
        "sandbox": {},
        "channels": {"console": {"adapter": "console"}},
        "services": {"default": {"channels": route, "code": {}, "limits": {}}},
    }


def test_every_shipped_channel_is_in_the_file_under_its_adapters_name():
    assert {name: NAMED.get(name) for name in SHIPPED_CHANNELS} == {name: name for name in SHIPPED_CHANNELS}


@pytest.mark.parametrize("key", all_keys(), ids=lambda key: ".".join(key.path))
def test_every_key_is_in_the_file_with_its_default_or_as_an_example(key):
    if holds_secret(key.field.annotation):
        assert variable_name(key.path) in TEXT
    elif key.default is None or key.field.is_required():
        assert key.stated is not None
        assert key.path[-1] in {"adapter", "channels"} or "(an example)" in prose_above(key.path)
    else:
        assert key.stated == key.default


def test_the_file_names_no_key_that_is_none():
    for path in values(TABLES):
        model, rest = (base.load(NAMED[path[1]]).Settings, path[2:]) if path[0] == "channels" else (Settings, path)
        assert locate(rest, model).depth == len(rest), path


def test_with_every_option_on_the_file_is_sound(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(_EXCLUDED.sub("", ACTIVATED), "utf-8")
    own = [name for name, adapter in NAMED.items() if adapter not in SHIPPED_CHANNELS]
    settings = load_settings(file, _SECRETS | secrets_of(own))
    assert list(check_channels(settings)) == list(NAMED)
    assert settings.services["shop"].code.ttl == 120
