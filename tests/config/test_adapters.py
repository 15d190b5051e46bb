from __future__ import annotations

import sys
from types import ModuleType

import pytest
from pydantic import Field, SecretStr, field_validator

from channels.base import Channel, ChannelSettings, load
from channels.console import ConsoleChannel
from gateway.config import Settings, check_channels
from gateway.config.adapters import adapter_names
from gateway.config.schema import keys_of
from gateway.errors import ConfigError
from tests.channels.contract import SHIPPED_CHANNELS
from tests.config.samples import MINIMAL, all_faults
from tests.config.samples import load as load_text

E = "OTP_GATEWAY_CHANNELS__PAGER__"
PAGER = MINIMAL + '[channels.pager]\nadapter = "pager"\n'


class Part(ChannelSettings):
    adapter: str = ""
    depth: int = 1


class PagerSettings(ChannelSettings):
    token: SecretStr
    tokens: tuple[SecretStr, ...] = ()
    port: int = 1
    size: int | str = 1
    flag: bool = False
    sender: str = Field(default="", alias="from")
    words: dict[str, str] = Field(default_factory=dict)
    part: Part | None = None

    @field_validator("token")
    @classmethod
    def _shaped(cls, token: SecretStr) -> SecretStr:
        if "-" in token.get_secret_value():
            raise ValueError(f"no dashes in {token.get_secret_value()}")
        return token


@pytest.fixture(autouse=True)
def _pager(monkeypatch):
    """An adapter with every sort of key, installed as any other would be."""
    module = ModuleType("channels.pager")
    adapter = type("PagerChannel", (ConsoleChannel,), {"Settings": PagerSettings, "__module__": module.__name__})
    module.PagerChannel = adapter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def ready(folder, text=PAGER, environ=None) -> ChannelSettings:
    settings = load_text(folder, text, {f"{E}TOKEN": "hunter2", **(environ or {})})
    return check_channels(settings)["pager"][1]


def faults(folder, text=PAGER, environ=None) -> list[str]:
    return all_faults(folder, text, {f"{E}TOKEN": "hunter2", **(environ or {})})


def test_channels_come_with_their_adapter_and_its_settings(tmp_path):
    channels = check_channels(load_text(tmp_path))
    assert channels == {"console": (ConsoleChannel, ChannelSettings(adapter="console"))}


def test_options_of_the_environment_are_read_as_their_types(tmp_path):
    settings = ready(
        tmp_path,
        PAGER,
        {
            f"{E}PORT": "25",
            f"{E}SIZE": "7",
            f"{E}FLAG": "yes",
            f"{E}FROM": "123",
            f"{E}TOKENS": '["hunter3"]',
            f"{E}WORDS": '{"a": "b"}',
            f"{E}PART__DEPTH": "2",
            f"{E}TIMEOUT": "3",
        },
    )
    want = PagerSettings.model_validate(
        {
            "adapter": "pager",
            "timeout": 3.0,
            "token": "hunter2",
            "tokens": ("hunter3",),
            "port": 25,
            "size": 7,
            "flag": True,
            "from": "123",
            "words": {"a": "b"},
            "part": {"depth": 2},
        }
    )
    assert settings == want


def test_a_channel_can_be_one_variable(tmp_path):
    environ = {"OTP_GATEWAY_CHANNELS__PAGER": '{"adapter": "pager", "port": 25, "token": "hunter2"}'}
    settings = check_channels(load_text(tmp_path, MINIMAL, environ))["pager"][1]
    assert isinstance(settings, PagerSettings)
    assert (settings.port, settings.token.get_secret_value()) == (25, "hunter2")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("prot = 1", "[channels.pager] prot: unknown key; did you mean port?"),
        ("sender = 'a'", "[channels.pager] sender: unknown key"),
        ("parrt = { depth = 1 }", "[channels.pager.parrt]: unknown section; did you mean part?"),
        ("part = { depht = 1 }", "[channels.pager.part] depht: unknown key; did you mean depth?"),
        ("port = '1'", "[channels.pager] port: must be a whole number"),
        ("flag = 1", "[channels.pager] flag: must be true or false"),
        (
            "token = 'hunter2'",
            (
                "[channels.pager] token: secrets have no place in the file; set OTP_GATEWAY_CHANNELS__PAGER__TOKEN or "
                "OTP_GATEWAY_CHANNELS__PAGER__TOKEN_FILE instead"
            ),
        ),
        (
            "tokens = ['hunter2']",
            (
                "[channels.pager] tokens: secrets have no place in the file; set OTP_GATEWAY_CHANNELS__PAGER__TOKENS or "
                "OTP_GATEWAY_CHANNELS__PAGER__TOKENS_FILE instead"
            ),
        ),
    ],
)
def test_a_fault_of_an_option_in_the_file_is_named_by_its_key(tmp_path, line, fault):
    environ = {} if line.startswith("token ") else {f"{E}TOKEN": "hunter2"}
    assert all_faults(tmp_path, f"{PAGER}{line}\n", environ) == [fault]


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("PROT", "1", "unknown variable; did you mean OTP_GATEWAY_CHANNELS__PAGER__PORT?"),
        ("PORT", "x", "must be a whole number"),
        ("FLAG", "maybe", "must be true or false"),
        ("TOKENS", "x", 'must be a list in JSON, like ["a", "b"]'),
        ("TOKEN", "changeme", "is an example value; set your own"),
        ("TOKEN", "", "is empty"),
        ("TOKEN", "un-sound", "no dashes in ••••"),
        ("PART", '{"depht": 1}', "unknown key"),
        ("ADAPTER", "pagr", 'there is no adapter "pagr"'),
        ("ADAPTER", "../sms", 'there is no adapter "../sms"; did you mean sms?'),
        ("ADAPTER", "smss", 'there is no adapter "smss"; did you mean sms?'),
    ],
)
def test_a_fault_of_an_option_in_the_environment_is_named_by_its_variable(tmp_path, variable, value, fault):
    assert faults(tmp_path, PAGER, {E + variable: value}) == [f"{E}{variable}: {fault}"]


def test_a_secret_that_is_too_short_is_counted_in_characters_and_not_told(tmp_path):
    email = '[channels.email]\nadapter = "email"\nhost = "h"\nfrom = "a@b.example"\ndsn = true\n'
    variable = "OTP_GATEWAY_CHANNELS__EMAIL__BOUNCE_TOKEN"
    found = all_faults(tmp_path, MINIMAL + email, {variable: "short"})
    assert found == [f"{variable}: must have at least 16 characters"]


def test_a_fault_inside_a_channels_variable_names_its_key(tmp_path):
    environ = {"OTP_GATEWAY_CHANNELS__PAGER": '{"adapter": "pager", "prot": 1, "port": "x", "token": "changeme"}'}
    assert all_faults(tmp_path, MINIMAL, environ) == [
        "[channels.pager] prot: unknown key; did you mean port?",
        "OTP_GATEWAY_CHANNELS__PAGER, [channels.pager] token: is an example value; set your own",
        "OTP_GATEWAY_CHANNELS__PAGER, [channels.pager] port: must be a whole number",
    ]


def test_a_missing_secret_is_told_with_its_variable(tmp_path):
    assert all_faults(tmp_path, PAGER) == ["[channels.pager] token: is missing; set OTP_GATEWAY_CHANNELS__PAGER__TOKEN"]


def test_an_unreadable_secret_is_not_told_to_be_missing_as_well(tmp_path):
    assert all_faults(tmp_path, PAGER, {f"{E}TOKEN_FILE": "/no/such"}) == [
        f"{E}TOKEN_FILE: the file it names cannot be read: No such file or directory"
    ]


def test_a_module_that_is_no_adapter_is_refused_and_never_suggested(tmp_path):
    for name in ("base", "basee"):
        text = f'{MINIMAL}[channels.x]\nadapter = "{name}"\n'
        assert all_faults(tmp_path, text) == [f'[channels.x] adapter: there is no adapter "{name}"']


def test_an_adapter_whose_library_is_missing_is_named_with_it(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "channels.console", raising=False)
    monkeypatch.setitem(sys.modules, "channels.kinds", None)
    (fault,) = all_faults(tmp_path)
    assert fault.startswith("[channels.console] adapter: cannot be loaded: ")
    assert "channels.kinds" in fault


def test_an_adapter_for_loopback_is_refused_where_the_world_can_call(tmp_path):
    text = MINIMAL + '[server]\npublic_url = "https://otp.example.org"\n'
    assert all_faults(tmp_path, text) == [
        "[channels.console] adapter: works only where [server] public_url is this machine's; configure another channel"
    ]


def test_settings_made_without_a_file_are_checked_as_well():
    settings = Settings.model_validate(
        {
            "channels": {"pager": {"adapter": "pager", "token": "changeme", "prot": 1}},
            "services": {"default": {"channels": ("sms",)}},
        }
    )
    with pytest.raises(ConfigError) as caught:
        check_channels(settings)
    assert caught.value.faults == (
        '[services.default] channels: there is no channel "sms"; configure [channels.sms] or take it off the route',
        "[channels.pager] token: is an example value; set your own",
        "[channels.pager] prot: unknown key; did you mean port?",
    )


def adapters() -> list[type[Channel]]:
    return [load(name) for name in SHIPPED_CHANNELS]


def test_every_shipped_adapter_lies_beside_the_port():
    assert set(SHIPPED_CHANNELS) <= set(adapter_names())


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.__name__)
def test_no_key_of_an_adapter_could_be_taken_for_a_file(adapter):
    """``…__CA_FILE`` would be read as the key ``ca`` from a file."""
    assert [key for key in keys_of(adapter.Settings) if key.endswith("_file") or "__" in key] == []
