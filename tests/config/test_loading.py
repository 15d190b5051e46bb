from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings, diagnose, load_settings
from gateway.errors import ConfigError
from tests.config.samples import MINIMAL, all_faults, faults, key, load, write

E = "OTP_GATEWAY_"


def test_the_minimal_file_is_enough(tmp_path):
    settings = load(tmp_path)
    assert settings.services["default"].channels == ("console",)
    assert (settings.folder, settings.file) == (tmp_path, tmp_path / "config.toml")


def test_relative_paths_start_at_the_config_files_folder(tmp_path):
    settings = load(tmp_path, MINIMAL + 'templates = "mine"\n')
    assert settings.services["default"].templates == tmp_path / "mine"
    assert settings.database.path == tmp_path / "otp-gateway.db"


def test_the_environment_goes_before_the_file(tmp_path):
    settings = load(
        tmp_path,
        MINIMAL + "[server]\nport = 1\n",
        {
            f"{E}SERVER__PORT": "2",
            "otp_gateway_server__host": "::1",
            f"{E}SERVER__TRUSTED_PROXIES": '["10.0.0.0/8", "::1/128"]',
            f"{E}SERVICES__DEFAULT__CODE__CUSTOM": "true",
            f"{E}SERVICES__DEFAULT__TEMPLATES": "mine",
            f"{E}CHANNELS__CONSOLE__TIMEOUT": "2.5",
            f"{E}SECRETS__KEYS": f'["{key()}"]',
            "PATH": "/bin",
        },
    )
    assert (settings.server.port, settings.server.host, settings.server.public_url) == (2, "::1", "http://[::1]:2")
    assert settings.server.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert settings.services["default"].code.custom is True
    assert settings.services["default"].templates == tmp_path / "mine"
    assert settings.channels["console"].timeout == 2.5
    assert [item.id for item in settings.secrets.ring] == ["k1"]


def test_a_whole_table_can_come_as_json_and_its_keys_go_before_it(tmp_path):
    settings = load(
        tmp_path,
        MINIMAL + "[server]\nport = 1\n",
        {f"{E}SERVER": '{"port": 2, "host": "::1"}', f"{E}SERVER__PORT": "3", f"{E}LOG": "{}"},
    )
    assert (settings.server.port, settings.server.host) == (3, "::1")


def test_a_channel_and_a_service_can_come_by_the_environment_alone(tmp_path):
    settings = load(
        tmp_path,
        "",
        {
            f"{E}CHANNELS__SMS_EU__ADAPTER": "console",
            f"{E}SERVICES__DEFAULT__CHANNELS": '["sms_eu"]',
            f"{E}SERVICES__SHOP__NAME": "Shop",
        },
    )
    assert settings.channels["sms_eu"].adapter == "console"
    assert settings.services["shop"].channels == ("sms_eu",)


def test_a_service_inherits_every_key_it_does_not_set(tmp_path):
    settings = load(
        tmp_path,
        """
        [channels.console]
        adapter = "console"
        [services.shop.code]
        ttl = 60
        [services.empty]
        [services.default]
        channels = ["console"]
        countries = ["DE"]
        code = { ttl = 120, length = 8 }
        [services.default.limits]
        cooldown = 7
        """,
    )
    shop, empty = settings.services["shop"], settings.services["empty"]
    assert (shop.code.ttl, shop.code.length, shop.limits.cooldown, shop.countries) == (60, 8, 7, ("DE",))
    assert empty == settings.services["default"]


def test_a_purpose_inherits_from_its_service_and_that_from_the_default(tmp_path):
    settings = load(
        tmp_path,
        """
        [channels.console]
        adapter = "console"
        [services.default]
        channels = ["console"]
        locale = "de"
        [services.default.code]
        length = 7
        ttl = 200
        [services.default.purposes.payment.code]
        ttl = 100
        [services.shop]
        countries = ["DE"]
        [services.shop.code]
        max_checks = 3
        ttl = 150
        [services.shop.limits]
        lockout = { after = 3, for = 600 }
        queue_depth = 9
        [services.shop.purposes.login]
        [services.shop.purposes.payment.code]
        resend = "new"
        """,
        {f"{E}SERVICES__SHOP__PURPOSES__LOGIN__LIMITS__COOLDOWN": "9"},
    )
    shop = settings.services["shop"]
    login, payment = shop.for_purpose("login"), shop.for_purpose("payment")
    assert (login.code, login.countries, login.locale) == (shop.code, ("DE",), "de")
    assert (login.limits.cooldown, shop.limits.cooldown, login.limits.queue_depth) == (9, 30, 9)
    assert login.limits.lockout is not None
    assert (login.limits.lockout.after, login.limits.lockout.for_) == (3, 600)
    # What the default says of a purpose goes before what the service says of all.
    assert (payment.code.ttl, payment.code.length, payment.code.max_checks, payment.code.resend) == (100, 7, 3, "new")
    assert (shop.code.ttl, shop.for_purpose("anything")) == (150, shop)
    assert settings.services["default"].for_purpose("payment").code.max_checks == 5
    assert list(settings.services["default"].purposes) == ["payment"]


def test_a_purpose_can_come_by_the_environment_alone(tmp_path):
    settings = load(tmp_path, MINIMAL, {f"{E}SERVICES__SHOP": '{"purposes": {"sign-in": {"code": {"ttl": 60}}}}'})
    assert settings.services["shop"].for_purpose("sign-in").code.ttl == 60


def test_a_fault_that_a_purpose_inherits_is_named_once(tmp_path):
    text = MINIMAL + "[services.default.code]\nttl = 1\n[services.default.purposes.login]\n[services.shop]\n"
    assert faults(tmp_path, text) == ["[services.default.code] ttl: must be 5 or more"]


def test_a_fault_that_only_the_purpose_has_names_the_purpose(tmp_path):
    text = (
        MINIMAL
        + "code = { length = 4, allow_short = true }\n[services.default.purposes.pay.code]\nallow_short = false\n"
    )
    assert faults(tmp_path, text) == [
        (
            "[services.default.code] length: must be 6 or more; set allow_short = true to allow shorter codes, "
            "which are easy to guess (as [services.default.purposes.pay] inherits it)"
        )
    ]


def test_a_fault_that_is_inherited_is_named_once(tmp_path):
    text = MINIMAL + "[services.default.code]\nttl = 1\n[services.shop]\n[services.bank]\n"
    assert faults(tmp_path, text) == ["[services.default.code] ttl: must be 5 or more"]


def test_a_fault_that_only_the_heir_has_names_the_heir(tmp_path):
    text = MINIMAL + "code = { length = 4, allow_short = true }\n[services.shop.code]\nallow_short = false\n"
    assert faults(tmp_path, text) == [
        (
            "[services.default.code] length: must be 6 or more; set allow_short = true to allow shorter codes, "
            "which are easy to guess (as [services.shop] inherits it)"
        )
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[server]\nprot = 1", "[server] prot: unknown key; did you mean port?"),
        ("[server]\nzzz = 1", "[server] zzz: unknown key"),
        (
            "[services.default.purposes.login.limits]\nspend_per_day = 8",
            (
                "[services.default.purposes.login.limits] spend_per_day: is the same for every purpose; "
                "set it in [services.default.limits]"
            ),
        ),
        (
            "[services.default.purposes.login]\nname = 'Shop'",
            "[services.default.purposes.login] name: is the same for every purpose; set it in [services.default]",
        ),
        (
            "[services.default.purposes.login.code]\nlenght = 8",
            "[services.default.purposes.login.code] lenght: unknown key; did you mean length?",
        ),
        ("[servre]\nport = 1\nhost = 'a'", "[servre]: unknown section; did you mean server?"),
        ("[foo]", "[foo]: unknown section"),
        ("[services.default.cod]\nttl = 5", "[services.default.cod]: unknown section; did you mean code?"),
        ("[server.port]\nx = 1", "[server.port] x: unknown key"),
        ("[server]\nport = '80'", "[server] port: must be a whole number"),
        ("[server]\nport = true", "[server] port: must be a whole number"),
        ("[server]\nport = 1.5", "[server] port: must be a whole number"),
        ("[server]\nhost = 1", "[server] host: must be text in quotes"),
        ("[server]\ntrusted_proxies = '::1'", "[server] trusted_proxies: must be a list"),
        (
            "[server]\ntrusted_proxies = ['::1', 'x']",
            '[server] trusted_proxies, item 2: must be a network, like "10.0.0.0/8"',
        ),
        ("[server]\npublic_url = 'x'", "[server] public_url: must be an http:// or https:// URL with a host"),
        ("[services.default.code]\ncustom = 1", "[services.default.code] custom: must be true or false"),
        ("[services.default.code]\nresend = 'x'", "[services.default.code] resend: must be 'same' or 'new'"),
        (
            "[services.default.code]\nalphabet = 'runes'",
            (
                "[services.default.code] alphabet: must be 'digits', 'letters', 'lower', 'upper', 'alphanumeric', "
                "'symbols' or 'unambiguous'"
            ),
        ),
        (
            "[channels.console2]\nadapter = 'console'\ntimeout = 0",
            "[channels.console2] timeout: must be more than 0",
        ),
        ("[channels.console2]\nadapter = 'console'\nrate = '1'", "[channels.console2] rate: must be a number"),
        (
            "[channels.console2]\nadapter = 'console'\nrate = inf",
            "[channels.console2] rate: must be a number that is not infinite",
        ),
        (
            "countries = ['UK']",
            "[services.default] countries: UK is no country's code (ISO 3166-1); did you mean GB?",
        ),
        (
            "countries = ['DE', 'XX']",
            "[services.default] countries: XX is no country's code (ISO 3166-1)",
        ),
        ("[channels.consol]", "[channels.consol] adapter: is missing; did you mean console?"),
        (
            "[channels.X]\nadapter = 'console'",
            (
                "[channels.X]: a name is lower-case letters, digits and single underscores, starts with a letter and "
                "does not end in _file"
            ),
        ),
        ("[log]\nlevel = 'loud'", "[log] level: must be 'debug', 'info', 'warning' or 'error'"),
        (
            "[metrics]\ntoken = 'abc'",
            (
                "[metrics] token: secrets have no place in the file; set OTP_GATEWAY_METRICS__TOKEN or "
                "OTP_GATEWAY_METRICS__TOKEN_FILE instead"
            ),
        ),
        ("[webhooks]\nallow_privat = true", "[webhooks] allow_privat: unknown key; did you mean allow_private?"),
        ("[retention]\nwebhooks = 3", "[retention] webhooks: must be 4 or more"),
        (
            "[services.default.confirm_within]\nconsle = 5",
            (
                "[services.default.confirm_within] consle: there is no such channel; configure [channels.consle] or take it "
                "out; did you mean console?"
            ),
        ),
        (
            "[services.default.confirm_within]\nconsole = 0",
            "[services.default.confirm_within] console: must be more than 0",
        ),
        (
            "[services.shop]\nwebhook_url = 'https://shop.example.com/otp'",
            (
                "[services.shop]: webhook_url needs a webhook_secret, for receivers must know who calls; secrets come by the "
                "environment: OTP_GATEWAY_SERVICES__SHOP__WEBHOOK_SECRET (or …_FILE)"
            ),
        ),
        (
            "[services.shop]\nwebhook_url = 'ftp://x'",
            "[services.shop] webhook_url: must be an https:// URL with a host",
        ),
        (
            "[services.shop]\nwebhook_url = 'https://u:p@x'",
            "[services.shop] webhook_url: must have no user, password or fragment; webhooks are signed instead",
        ),
        (
            "[services.default.limits.lockout]\nafter = 10\nfor = 60\nfro = 60",
            "[services.default.limits.lockout] fro: unknown key; did you mean for?",
        ),
        (
            "[services.shop.purposes.login.code]\nlenght = 8",
            "[services.shop.purposes.login.code] lenght: unknown key; did you mean length?",
        ),
        (
            "[services.shop.purposes.login]\nlocal = 'de'",
            "[services.shop.purposes.login] local: unknown key; did you mean locale?",
        ),
        (
            "[services.shop.purposes.login.limits]\nqueue_depth = 8",
            "[services.shop.purposes.login.limits] queue_depth: is the same for every purpose; set it in [services.shop.limits]",
        ),
        ("[services.shop]\npurposes = 1", "[services.shop.purposes]: must be a table"),
        (
            "[services.shop.purposes.login]\nchannels = ['consle']",
            (
                '[services.shop.purposes.login] channels: there is no channel "consle"; configure [channels.consle] or take '
                "it off the route; did you mean console?"
            ),
        ),
        (
            "[services.shop.purposes.login]\ncountries = ['de']",
            '[services.shop.purposes.login] countries: must be two-letter country codes, like "DE", or "*"',
        ),
        (
            "[services.shop.purposes.Login]\nlocale = 'de'",
            (
                "[services.shop.purposes.Login]: a purpose is 1 to 64 lower-case letters, digits, dashes and underscores, a "
                "letter first, no two underscores in a row, and does not end in _file"
            ),
        ),
        (
            "[services.shop.purposes.login.confirm_within]\nconsle = 5",
            (
                "[services.shop.purposes.login.confirm_within] consle: there is no such channel; configure [channels.consle] "
                "or take it out; did you mean console?"
            ),
        ),
        (
            "[services.shop.purposes.password.code]\nalphabet = 'letters'\nclasses = ['digits']\nlength = 12",
            "[services.shop.purposes.password.code] classes: the alphabet letters has nothing of digits",
        ),
        (
            "[services.shop.purposes.password.code]\nalphabet = 'letters'\nclasses = ['lower', 'upper']",
            (
                "[services.shop.purposes.password.code] length: must be 9 or more: with classes a code is a temporary "
                "password, and a shorter one is weak"
            ),
        ),
        (
            "[services.default.code]\nalphabet = 'lower'\nlength = 4",
            (
                "[services.default.code] length: must be 5 or more; set allow_short = true to allow shorter codes, which "
                "are easy to guess"
            ),
        ),
        (
            "[services.default.code]\nlength = 11",
            "[services.default.code] length: must be 10 or less with the alphabet digits",
        ),
        (
            "[services.default.limits]\nguesses_per_day = 4\n",
            (
                "[services.default.code] max_checks: 5 are more than guesses_per_day = 4, so no verification could start; "
                "lower it, or raise the limit"
            ),
        ),
        (
            "[services.shop]\nwebhook_secret = 'abc'",
            (
                "[services.shop] webhook_secret: secrets have no place in the file; set "
                "OTP_GATEWAY_SERVICES__SHOP__WEBHOOK_SECRET or OTP_GATEWAY_SERVICES__SHOP__WEBHOOK_SECRET_FILE instead"
            ),
        ),
        (
            "[services.shop]\nchannels = ['consle']",
            (
                '[services.shop] channels: there is no channel "consle"; configure [channels.consle] or take it off the '
                "route; did you mean console?"
            ),
        ),
        ("[services.shop]\nchannels = [1]", "[services.shop] channels, item 1: must be text in quotes"),
        ("[services.shop]\nchannels = 'console'", "[services.shop] channels: must be a list"),
        (
            "[secrets]\nkeys = ['k1:abc']",
            (
                "[secrets] keys: secrets have no place in the file; set OTP_GATEWAY_SECRETS__KEYS or "
                "OTP_GATEWAY_SECRETS__KEYS_FILE instead"
            ),
        ),
        (
            "[database]\nurl = 'postgresql://u:pw@h/n'",
            (
                "[database] url: holds a password, and secrets have no place in the file; set OTP_GATEWAY_DATABASE__URL or "
                "OTP_GATEWAY_DATABASE__URL_FILE instead"
            ),
        ),
        ("[database]\nurl = 'postgresql://[::1/n'", "[database] url: is not a valid URL"),
        ("[database]\nurl = 1", "[database] url: must be text in quotes"),
    ],
)
def test_a_fault_of_the_file_is_named_by_its_key(tmp_path, line, fault):
    assert faults(tmp_path, f"{MINIMAL}{line}\n") == [fault]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("server = 5\n", "[server]: must be a table"),
        ("port = 5\n", "port: unknown key"),
    ],
)
def test_a_fault_above_the_tables_is_named(tmp_path, text, fault):
    assert faults(tmp_path, text + MINIMAL) == [fault]


def test_a_file_without_a_service_or_a_route_is_refused(tmp_path):
    assert faults(tmp_path, "") == ['[services.default]: is missing; give it a route: channels = ["…"]']
    assert faults(tmp_path, "[services.defualt]\n[services.shop]\n")[0] == (
        '[services.default]: is missing; give it a route: channels = ["…"]; or is [services.defualt] meant to be it?'
    )
    assert faults(tmp_path, "[services.default]\n") == ["[services.default] channels: is missing"]
    assert "[services]: must be a table" in faults(tmp_path, "services = 1\nchannels = 1\n")


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("SERVER__PROT", "1", "unknown variable; did you mean OTP_GATEWAY_SERVER__PORT?"),
        ("SERVER_PORT", "1", "unknown variable; did you mean OTP_GATEWAY_SERVER__PORT?"),
        ("CONFG", "1", "unknown variable; did you mean OTP_GATEWAY_CONFIG?"),
        ("ZZZZZZZZZZZZZ", "1", "unknown variable"),
        ("", "1", "unknown variable; did you mean OTP_GATEWAY_CONFIG?"),
        ("SERVER____PORT", "1", "unknown variable; did you mean OTP_GATEWAY_SERVER__PORT?"),
        ("SERVER__PROT_FILE", "/x", "unknown variable; did you mean OTP_GATEWAY_SERVER__PORT_FILE?"),
        (
            "SERVICES__SHOP__CODE__TLL",
            "1",
            "unknown variable; did you mean OTP_GATEWAY_SERVICES__SHOP__CODE__TTL?",
        ),
        ("CHANNELS____HOST", "1", "unknown variable"),
        ("SERVER__PORT", "http", "must be a whole number"),
        ("SERVER__PORT", "", "must be a whole number"),
        ("SERVER__PORT", "70000", "must be 65535 or less"),
        ("SERVER__HOST", "a\udc80", "is not UTF-8"),
        ("SERVICES__DEFAULT__CHANNELS", "console", 'must be a list in JSON, like ["a", "b"]'),
        ("SERVICES__DEFAULT__COUNTRIES", '["\\ud800"]', 'must be a list in JSON, like ["a", "b"]'),
        ("SERVICES__DEFAULT__CODE__CUSTOM", "maybe", "must be true or false"),
        ("CHANNELS__CONSOLE__RATE", "fast", "must be a number"),
        ("SERVER", "x", 'must be a table in JSON, like {"key": "value"}'),
        ("SERVER", "[" * 100_000, 'must be a table in JSON, like {"key": "value"}'),
        ("SERVICES__SHOP__LIMITS__QUEUE_DEPTH", "many", "must be a whole number"),
        (
            "SERVICES__SHOP__PURPOSES__LOGIN__CODE__TLL",
            "1",
            "unknown variable; did you mean OTP_GATEWAY_SERVICES__SHOP__PURPOSES__LOGIN__CODE__TTL?",
        ),
        (
            "SERVICES__SHOP__PURPOSES__LOGIN__CODE__MAX_CHECKS",
            "11",
            "must be 10 or less",
        ),
        (
            "SERVICES__SHOP__WEBHOOK_SECRET",
            "whsec_c2hvcnQ=",
            (
                "must be whsec_ and the base64 of 24 to 64 random bytes (`openssl rand -base64 32` makes what goes behind "
                "whsec_)"
            ),
        ),
        ("SECRETS__KEYS", '["k1:AAAA"]', "key 1 must hold 32 bytes after the colon, it holds 3"),
        ("SERVER__HOST_FILE", "/nowhere/at/all", "the file it names cannot be read: No such file or directory"),
        ("DATABASE__URL", "postgresql://u:changeme@h/n", "its password is an example value; set your own"),
    ],
)
def test_a_fault_of_the_environment_is_named_by_its_variable(tmp_path, variable, value, fault):
    assert faults(tmp_path, MINIMAL, {E + variable: value}) == [f"{E}{variable}: {fault}"]


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        ("SERVER", '{"prot": 1}', "OTP_GATEWAY_SERVER, [server] prot: unknown key; did you mean port?"),
        ("SERVER", '{"port": "1"}', "OTP_GATEWAY_SERVER, [server] port: must be a whole number"),
        ("SERVICES__SHOP", '{"limits": 3}', "OTP_GATEWAY_SERVICES__SHOP, [services.shop] limits: must be a table"),
        (
            "SERVICES",
            '{"shop": {"limits": {"lockout": 1}}}',
            "OTP_GATEWAY_SERVICES, [services.shop.limits] lockout: must be a table",
        ),
    ],
)
def test_a_fault_inside_a_table_of_the_environment_names_both(tmp_path, variable, value, fault):
    assert faults(tmp_path, MINIMAL, {E + variable: value}) == [fault]


def test_a_variable_and_its_file_cannot_both_be_set(tmp_path):
    environ = {f"{E}SERVER__PORT": "1", f"{E}SERVER__PORT_FILE": "/x"}
    assert faults(tmp_path, MINIMAL, environ) == [
        "OTP_GATEWAY_SERVER__PORT and OTP_GATEWAY_SERVER__PORT_FILE: both are set; keep one"
    ]


def test_a_variable_given_in_two_spellings_is_refused(tmp_path):
    environ = {f"{E}SERVER__PORT": "1", f"{E}server__port": "1"}
    assert faults(tmp_path, MINIMAL, environ) == [
        "OTP_GATEWAY_SERVER__PORT and OTP_GATEWAY_server__port: both are set; keep one"
    ]


def test_a_secret_in_the_file_is_refused_although_the_environment_replaces_it(tmp_path):
    text = MINIMAL + "[secrets]\nkeys = ['k1:abc']\n[database]\nurl = 'postgresql://u:pw@h/n'\n"
    environ = {f"{E}SECRETS__KEYS": f'["{key()}"]', f"{E}DATABASE__URL": "postgresql://u@h/n"}
    assert [fault.split(":")[0] for fault in faults(tmp_path, text, environ)] == ["[secrets] keys", "[database] url"]


def test_every_fault_is_told_at_once(tmp_path):
    text = MINIMAL + "[server]\nprot = 1\nport = 'x'\n[log]\nlevel = 'loud'\n"
    named = [fault.split(":")[0] for fault in faults(tmp_path, text, {f"{E}NOPE": "1", f"{E}DATABASE__URL": "x"})]
    assert sorted(named) == [
        "OTP_GATEWAY_DATABASE__URL",
        "OTP_GATEWAY_NOPE",
        "[log] level",
        "[server] port",
        "[server] prot",
    ]


def test_diagnose_tells_the_faults_of_settings_and_adapters_together(tmp_path):
    text = MINIMAL + "[log]\nlevel = 'loud'\n[channels.mail]\nadapter = 'emial'\n[channels.bad]\nadapter = 1\n"
    assert all_faults(tmp_path, text) == [
        "[channels.bad] adapter: must be text in quotes",
        "[log] level: must be 'debug', 'info', 'warning' or 'error'",
        '[channels.mail] adapter: there is no adapter "emial"; did you mean email?',
    ]


def test_diagnose_does_not_judge_loopback_while_the_server_section_is_at_fault(tmp_path):
    text = MINIMAL + "[server]\npublic_url = 'x'\n"
    assert all_faults(tmp_path, text) == ["[server] public_url: must be an http:// or https:// URL with a host"]


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        ("[log]\nlevel = 'loud'\n", ["info"]),
        ("[channels.mail]\nadapter = 'emial'\n", ["info"]),
        ("[services.shop]\nchannels = 5\n", ["info"]),
        # What would be looked at in its place is another database than the one that is meant.
        ("[database]\nurl = 'mysql://x'\n", []),
        ("[services.shop]\nwebhook_url = 'https://shop.example.com'\n", []),
    ],
)
def test_diagnose_looks_beyond_a_fault_as_far_as_the_rest_stands_alone(tmp_path, fault, asked):
    seen = []

    def beyond(settings: Settings) -> list[str]:
        seen.append(settings.log.level)
        return ["another"]

    with pytest.raises(ConfigError) as caught:
        diagnose(write(tmp_path, MINIMAL + fault), {}, beyond=beyond)
    assert seen == asked
    assert caught.value.faults.count("another") == len(asked)


def test_diagnose_returns_settings_and_channels_where_there_is_no_fault(tmp_path):
    settings, ready = diagnose(write(tmp_path), {})
    assert (list(settings.channels), list(ready)) == (["console"], ["console"])


def test_a_file_named_by_the_environment_is_read(tmp_path, monkeypatch):
    file = write(tmp_path)
    monkeypatch.setenv("OTP_GATEWAY_CONFIG", str(file))
    assert load_settings().file == file
    assert diagnose()[0].file == file


@given(
    secret=st.text(st.characters(categories=("L", "N")), min_size=12, max_size=40),
    variable=st.sampled_from(
        [
            "SECRETS__KEYS",
            "DATABASE__URL",
            "CHANNELS__MAIL__PASSWORD",
            "CHANNELS__MAIL__PORT",
            "CHANNELS__MAIL",
            "CHANNELS__BOT__TOKEN",
            "SERVER__PORT",
            "SERVICES__DEFAULT__CODE__TTL",
            "METRICS__TOKEN",
            "SERVER",
            "UNKNOWN",
        ]
    ),
    shape=st.sampled_from(["{}", '["{}"]', '["k1:{}"]', '{{"password": "{}"}}', "postgresql://u:{}@h:x/n", "1{}"]),
)
def test_no_value_of_the_environment_is_ever_in_a_fault(tmp_path_factory, secret, variable, shape):
    text = MINIMAL + "[channels.mail]\nadapter = 'email'\n[channels.bot]\nadapter = 'telegram'\n"
    file = write(tmp_path_factory.mktemp("config"), text)
    with pytest.raises(ConfigError) as caught:
        diagnose(file, {E + variable: shape.format(secret)})
    assert secret not in str(caught.value)
    assert caught.value.__context__ is None or secret not in repr(caught.value.__context__)


@given(secret=st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=12, max_size=40))
def test_no_secret_in_the_file_is_ever_in_a_fault(tmp_path_factory, secret):
    text = (
        f"{MINIMAL}[secrets]\nkeys = ['k1:{secret}']\n[database]\nurl = 'postgresql://u:{secret}@h/n'\n"
        f"[channels.mail]\nadapter = 'email'\npassword = '{secret}'\n"
    )
    file: Path = write(tmp_path_factory.mktemp("config"), text)
    with pytest.raises(ConfigError) as caught:
        diagnose(file, {})
    assert secret not in str(caught.value)
