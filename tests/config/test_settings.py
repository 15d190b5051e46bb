from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.config import (
    CodeSettings,
    DatabaseSettings,
    LimitSettings,
    RawChannel,
    SandboxSettings,
    SecretSettings,
    ServerSettings,
    ServiceSettings,
    Settings,
    load_settings,
    parse_webhook_secret,
)
from tests.config.samples import key, write


def why(model, **values) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        model(**values)
    return [item["msg"] for item in caught.value.errors() if item["type"] != "default_factory_not_called"]


def test_settings_have_the_documented_defaults():
    settings = Settings()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.server.trusted_proxies == ()
    assert settings.database.url == "sqlite:///otp-gateway.db"
    assert (settings.log.format, settings.log.level) == ("auto", "info")
    service = ServiceSettings(channels=("sms",))
    assert (service.name, service.locale, service.countries, service.number_types) == ("Example", "en", ("*",), ())
    assert service.code.model_dump() == {
        "length": 6,
        "alphabet": "digits",
        "ttl": 300,
        "max_checks": 5,
        "resend": "same",
        "custom": False,
        "allow_short": False,
        "allow_guessable": False,
        "classes": (),
    }
    assert service.limits.model_dump() == {
        "mode": "enforce",
        "cooldown": 30,
        "sends_per_10m": 5,
        "sends_per_hour": 10,
        "sends_per_day": 20,
        "guesses_per_hour": 20,
        "guesses_per_day": 30,
        "context_per_hour": 10,
        "prefix_per_hour": 20,
        "ip_per_hour": 20,
        "lockout": None,
        "spend_per_day": 0,
        "requests_per_second": 0,
        "queue_depth": 100_000,
    }
    assert service.purposes == {}


def test_settings_made_without_a_file_say_so():
    settings = Settings()
    assert (settings.file, settings.folder, dict(settings.given)) == (None, Path.cwd(), {})


def test_settings_cannot_be_changed():
    with pytest.raises(ValidationError):
        Settings().server.port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("127.0.0.1", 8080, "http://127.0.0.1:8080"),
        ("::1", 9, "http://[::1]:9"),
        ("10.0.0.7", 80, "http://10.0.0.7:80"),
    ],
)
def test_public_url_follows_host_and_port(host, port, url):
    assert ServerSettings(host=host, port=port).public_url == url


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "0.0", "::ffff:0.0.0.0", "0:0:0:0:0:0:0:0"])
def test_there_is_no_public_url_where_host_is_every_address_and_nobody_said_one(host):
    server = ServerSettings(host=host)
    # It may be open to the world, so nothing is allowed that is for this machine alone.
    assert (server.public_url, server.loopback) == (None, False)
    assert ServerSettings(host=host, public_url="https://otp.example.org").public_url == "https://otp.example.org"


def test_public_url_loses_the_slash_at_its_end_and_keeps_its_path():
    assert ServerSettings(public_url="https://example.org/otp/").public_url == "https://example.org/otp"


@pytest.mark.parametrize(
    "url",
    [
        "example.org",
        "ftp://example.org",
        "https://",
        "https://user@example.org",
        "https://example.org/?a=1",
        "https://example.org/#a",
        "https://example.org:port",
        "https://exa mple.org",
        "https://[::1",
        "https://example.org\n",
        "http://0.0.0.0:8080",
        "http://[::]:8080",
        "http://0:8080",
    ],
)
def test_a_public_url_nobody_could_call_is_refused(url):
    assert len(why(ServerSettings, public_url=url)) == 1


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:8080", True),
        ("http://localhost:8080", True),
        ("http://otp.localhost", True),
        ("http://10.0.0.1", False),
        ("https://localhost.example.org", False),
        ("https://notlocalhost", False),
    ],
)
def test_loopback_is_a_url_that_reaches_this_machine_only(url, loopback):
    assert ServerSettings(public_url=url).loopback is loopback


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_outside_tcp_is_refused(port):
    assert len(why(ServerSettings, port=port)) == 1


def test_a_sqlite_url_is_a_path_from_the_folder_or_an_absolute_one():
    assert DatabaseSettings().path == Path.cwd() / "otp-gateway.db"
    assert DatabaseSettings(url="sqlite:////var/lib/otp.db").path == Path("/var/lib/otp.db")
    assert DatabaseSettings().engine == "sqlite"


def test_a_postgresql_url_has_no_path():
    database = DatabaseSettings(url="postgresql://u:s3cr3t-pw@db.example.org/otp?sslmode=require")
    assert (database.engine, database.path) == ("postgresql", None)
    assert database.masked_url == "postgresql://u:••••@db.example.org/otp?sslmode=require"
    assert "s3cr3t-pw" not in repr(database)


@pytest.mark.parametrize(
    "url", ["mysql://a/b", "postgres://a/b", "postgresql+asyncpg://a/b", "otp.db", "sqlite://a", ""]
)
def test_another_database_is_refused_with_the_ones_that_work(url):
    assert why(DatabaseSettings, url=url) == [
        "Value error, must start with sqlite:/// or postgresql://; no other database works"
    ]


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:///:memory:", "sqlite:///data/"])
def test_a_database_in_memory_is_refused(url):
    assert why(DatabaseSettings, url=url) == ["Value error, must name a file, like sqlite:///otp-gateway.db"]


@pytest.mark.parametrize("url", ["sqlite:///a.db?mode=ro", "sqlite:///a#b", "sqlite:///a\0b"])
def test_a_sqlite_url_has_no_options(url):
    assert why(DatabaseSettings, url=url) == ["Value error, takes a path without ? and #; there are no options"]


@pytest.mark.parametrize("password", ["p@ss/word", "12/word", "p@ss?word", "p@ss#word", "12#word"])
def test_a_password_that_would_be_taken_for_another_part_of_the_url_is_refused(password):
    """Else ``check-config`` shows what stands behind that as the host or the database's name."""
    [told] = why(DatabaseSettings, url=f"postgresql://u:{password}@h/n")
    assert (told.endswith("write them as %40, %2F, %3F and %23"), "word" in told.partition("in a password")[0]) == (
        True,
        False,
    )


@pytest.mark.parametrize("url", ["postgresql://u:pa/ss@h/n", "postgresql://u:p w@h/n", "postgresql://[::1/n"])
def test_a_postgresql_url_that_cannot_be_read_is_refused_without_its_password(url):
    (fault,) = why(DatabaseSettings, url=url)
    assert "pa" not in fault.replace("spaces", "")


def test_an_example_password_in_the_database_url_is_refused():
    assert why(DatabaseSettings, url="postgresql://u:changeme@h/n") == [
        "Value error, its password is an example value; set your own"
    ]


def test_the_ring_keeps_the_order_of_the_keys():
    ring = SecretSettings.model_validate({"keys": [key("k2", 2), key("k1", 1)]}).ring
    assert [item.id for item in ring] == ["k2", "k1"]


def test_a_channel_shows_its_common_keys_and_hides_its_own():
    channel = RawChannel.model_validate({"adapter": "sms", "timeout": 2.0, "auth_token": "s3cr3t-token"})
    assert repr(channel) == "RawChannel(adapter='sms', timeout=2.0, concurrency=10, rate=0.0, price=0.0, prices={})"
    assert dict(channel.options) == {"auth_token": "s3cr3t-token"}


@pytest.mark.parametrize("name", ["sms", "sms_eu", "a1", "a_1"])
def test_names_of_lower_case_words_are_taken(name):
    assert set(Settings.model_validate({"channels": {name: {"adapter": "console"}}}).channels) == {name}


@pytest.mark.parametrize("name", ["SMS", "1a", "a__b", "_a", "a_", "a-b", "sms_file", "", "é", "a\n"])
def test_a_name_no_variable_could_carry_is_refused(name):
    assert len(why(Settings, channels={name: {"adapter": "console"}})) == 1
    assert len(why(Settings, services={name: {"channels": ("console",)}})) == 1


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (CodeSettings, {"ttl": 4}),
        (CodeSettings, {"ttl": 601}),
        (CodeSettings, {"length": 3, "allow_short": True}),
        (CodeSettings, {"length": 11}),
        (CodeSettings, {"length": 5}),
        (CodeSettings, {"max_checks": 0}),
        (CodeSettings, {"max_checks": 11}),
        (CodeSettings, {"resend": "never"}),
        (CodeSettings, {"alphabet": "runes"}),
        (CodeSettings, {"alphabet": "runes", "classes": ("lower",), "length": 12}),
        (CodeSettings, {"alphabet": "lower", "length": 33}),
        (CodeSettings, {"alphabet": "lower", "length": 4}),
        (CodeSettings, {"alphabet": "letters", "length": 9, "classes": ("digits",)}),
        (CodeSettings, {"alphabet": "letters", "length": 8, "classes": ("lower",)}),
        (CodeSettings, {"alphabet": "letters", "length": 9, "classes": ("vowels",)}),
        (CodeSettings, {"alphabet": "letters", "classes": ("lower",)}),
        (LimitSettings, {"cooldown": -1}),
        (LimitSettings, {"cooldown": 86_401}),
        (ServiceSettings, {"channels": ()}),
        (ServiceSettings, {"channels": ("a", "a")}),
        (ServiceSettings, {"channels": ("a",), "countries": ()}),
        (ServiceSettings, {"channels": ("a",), "countries": ("de",)}),
        (ServiceSettings, {"channels": ("a",), "locale": "de_AT"}),
        (ServiceSettings, {"channels": ("a",), "number_types": ("mobile",)}),
        (ServiceSettings, {"channels": ("a",), "name": ""}),
        (ServerSettings, {"host": ""}),
    ],
)
def test_a_value_out_of_bounds_is_refused(model, values):
    assert len(why(model, **values)) == 1


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (CodeSettings, {"ttl": 5}),
        (CodeSettings, {"ttl": 600}),
        (CodeSettings, {"length": 4, "allow_short": True}),
        (CodeSettings, {"length": 10}),
        (CodeSettings, {"alphabet": "symbols", "length": 32}),
        (CodeSettings, {"alphabet": "letters", "length": 4}),
        (CodeSettings, {"alphabet": "lower", "length": 4, "allow_short": True}),
        (CodeSettings, {"alphabet": "letters", "length": 9, "classes": ("lower", "upper")}),
        (CodeSettings, {"max_checks": 1}),
        (CodeSettings, {"max_checks": 10}),
        (LimitSettings, {"cooldown": 0}),
        (ServiceSettings, {"channels": ("a",), "countries": ("DE", "AT"), "locale": "zh-Hant-TW"}),
    ],
)
def test_a_value_at_its_bound_is_taken(model, values):
    assert {name: getattr(model(**values), name) for name in values} == values


def test_a_template_folder_stays_as_it_is_where_no_file_was_read():
    assert ServiceSettings(channels=("a",), templates=Path("mine")).templates == Path("mine")


def test_the_sandbox_is_off_and_this_machines():
    sandbox = Settings().sandbox
    assert (sandbox.enabled, sandbox.host, sandbox.port, sandbox.allow_remote) == (False, "127.0.0.1", 8090, False)


def test_a_sandbox_for_others_must_be_meant():
    [message] = why(SandboxSettings, host="0.0.0.0")
    assert "host" in message
    assert "allow_remote" in message
    assert SandboxSettings(host="0.0.0.0", allow_remote=True).host == "0.0.0.0"
    assert SandboxSettings(host="localhost").host == "localhost"


def test_a_sandbox_serves_no_public_gateway():
    public = ServerSettings(public_url="https://otp.example.org")
    [message] = why(Settings, server=public, sandbox=SandboxSettings(enabled=True))
    assert "public_url" in message
    assert Settings(sandbox=SandboxSettings(enabled=True)).sandbox.enabled
    assert not Settings(server=public, sandbox=SandboxSettings()).sandbox.enabled


def test_a_sandboxs_four_ports_are_ports():
    assert SandboxSettings(port=65532).port == 65532
    assert len(why(SandboxSettings, port=65533)) == 1


def test_one_webhook_secret_may_stand_without_a_list(tmp_path):
    one = "whsec_" + base64.b64encode(bytes(24)).decode()
    two = "whsec_" + base64.b64encode(bytes(64)).decode()
    read = {
        text: [
            secret.get_secret_value()
            for secret in load_settings(write(tmp_path), {"OTP_GATEWAY_SERVICES__DEFAULT__WEBHOOK_SECRET": text})
            .services["default"]
            .webhook_secret
        ]
        for text in (one, f'["{one}", "{two}"]')
    }
    assert list(read.values()) == [[one], [one, two]]


@pytest.mark.parametrize("size", [0, 23, 65])
def test_a_webhook_secret_of_another_size_is_refused_without_repeating_it(size):
    text = "whsec_" + base64.b64encode(bytes(range(size))).decode()
    with pytest.raises(ValueError, match="24 to 64 random bytes") as error:
        parse_webhook_secret(text)
    assert text not in str(error.value) or size == 0


@given(st.binary(max_size=70), st.sampled_from(["whsec_", "whsec", ""]))
def test_a_webhook_secret_is_read_whole_or_refused(raw, prefix):
    text = prefix + base64.b64encode(raw).decode()
    if prefix == "whsec_" and 24 <= len(raw) <= 64:
        assert parse_webhook_secret(text) == raw
    else:
        with pytest.raises(ValueError, match="random bytes"):
            parse_webhook_secret(text)
