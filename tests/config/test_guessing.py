"""How likely a code is guessed: the worst case of every combination of limits, and what is refused at start."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import CodeSettings, LimitSettings, ServiceSettings, Settings
from gateway.config.guessing import LIKELIEST, WorstCase, worst_cases
from gateway.config.services import LockoutSettings
from tests.config.samples import MINIMAL, faults, load

#: No limit on wrong codes.
OFF = {"guesses_per_hour": 0, "guesses_per_day": 0, "context_per_hour": 0}
UNLIMITED = "[services.default.limits]\n" + "".join(f"{key} = 0\n" for key in OFF)
REFUSED = "more than 1 in 1,000 is refused: make codes longer or limits lower, or set allow_guessable = true"


def case(*, code: dict[str, Any] | None = None, **limits: Any) -> WorstCase:
    service = ServiceSettings(
        channels=("console",), code=CodeSettings(**code or {}), limits=LimitSettings(**{**OFF, **limits})
    )
    return worst_cases(Settings(services={"default": service}))[0]


LOCKOUT = LockoutSettings.model_validate({"after": 3, "for": 600})


@pytest.mark.parametrize(
    ("limits", "tries", "because"),
    [
        ({"guesses_per_day": 30, "context_per_hour": 10}, 270, "30 guesses_per_day + 24 x 10 context_per_hour"),
        (
            {"guesses_per_day": 30, "guesses_per_hour": 1, "context_per_hour": 10},
            264,
            "24 x 1 guesses_per_hour + 24 x 10 context_per_hour",
        ),
        (
            {"guesses_per_day": 30, "guesses_per_hour": 20, "context_per_hour": 10},
            270,
            "30 guesses_per_day + 24 x 10 context_per_hour",
        ),
        ({"lockout": LOCKOUT, "context_per_hour": 1}, 456, "144 x 3 of lockout + 24 x 1 context_per_hour"),
        ({"lockout": LOCKOUT, "guesses_per_day": 9, "context_per_hour": 1}, 33, None),
    ],
)
def test_the_least_of_the_limits_says_how_many_tries_a_day_there_are(limits, tries, because):
    found = case(**limits)
    assert found.tries == tries
    assert because is None or found.because == because


@pytest.mark.parametrize(
    ("limits", "because"),
    [
        ({}, "guesses_per_hour and guesses_per_day are off"),
        ({"context_per_hour": 10}, "guesses_per_hour and guesses_per_day are off"),
        (
            {"guesses_per_day": 30},
            "context_per_hour is off, and with it the limit for devices that are trusted",
        ),
        (
            {"mode": "observe", "guesses_per_day": 1, "context_per_hour": 1},
            'with mode = "observe" nothing is refused',
        ),
    ],
)
def test_where_no_limit_holds_a_code_is_guessed(limits, because):
    found = case(**limits)
    assert (found.tries, found.chance, found.odds, found.because) == (None, 1.0, "certain", because)


def test_the_defaults_are_safe_and_shown_as_they_are():
    found = worst_cases(Settings(services={"default": ServiceSettings(channels=("console",))}))[0]
    assert (found.service, found.purpose, found.made_of, found.codes) == ("default", None, "6 digits", 10**6)
    assert (found.tries, found.chance, found.odds) == (270, 2.7e-4, "1 in 3,704")
    assert found.entropy == pytest.approx(19.93, abs=0.01)


def test_classes_make_fewer_codes_and_are_named():
    found = case(code={"alphabet": "letters", "length": 9, "classes": ("lower", "upper")})
    assert (found.codes, found.made_of) == (52**9 - 2 * 26**9, "9 letters with lower, upper")


def test_services_are_followed_by_their_purposes(tmp_path):
    text = MINIMAL + "[services.shop.purposes.invite.code]\nalphabet = 'unambiguous'\nlength = 8\n[services.shop]\n"
    found = worst_cases(load(tmp_path, text))
    assert [(item.service, item.purpose, item.odds) for item in found] == [
        ("default", None, "1 in 3,704"),
        ("shop", None, "1 in 3,704"),
        ("shop", "invite", "1 in 94,814,815"),
    ]


@given(
    limits=st.fixed_dictionaries({key: st.integers(0, 200) for key in OFF}),
    key=st.sampled_from(sorted(OFF)),
)
def test_no_further_limit_makes_a_code_likelier_to_be_guessed(limits, key):
    def chance(some: dict[str, Any]) -> float:
        return case(**some).chance

    assert 0 < chance(limits) <= chance(limits | {key: 0}) <= 1


# --- At start ---------------------------------------------------------------------------------------------------------


def test_a_code_that_is_guessed_too_easily_is_refused_with_the_arithmetic(tmp_path):
    text = MINIMAL + UNLIMITED + "[services.shop]\nlimits = { guesses_per_day = 1000, context_per_hour = 10 }\n"
    assert faults(tmp_path, text) == [
        (
            "[services.default.code] length: any number of tries a day (guesses_per_hour and guesses_per_day are off) "
            f"guess a recipient's code of 6 digits; {REFUSED}"
        ),
        (
            "[services.shop.code] length: 1,240 tries a day (1,000 guesses_per_day + 24 x 10 context_per_hour) at "
            f"1,000,000 codes (6 digits) guess a recipient's code with a chance of 1 in 806 a day; {REFUSED}"
        ),
    ]


def test_a_variable_that_makes_it_so_is_named(tmp_path):
    environ = {"OTP_GATEWAY_SERVICES__DEFAULT__CODE__LENGTH": "6"}
    fault = faults(tmp_path, MINIMAL + UNLIMITED, environ)[0]
    assert fault.startswith("OTP_GATEWAY_SERVICES__DEFAULT__CODE__LENGTH: any number of tries a day")


@pytest.mark.parametrize(
    "text",
    [
        UNLIMITED + "[services.default.code]\nallow_guessable = true\n",
        UNLIMITED + "[services.default]\ncode = { allow_guessable = true }\n[services.default.purposes.login]\n",
        UNLIMITED.replace("= 0", "= 40"),
        UNLIMITED.replace("= 0", "= 400") + "[services.default.code]\nlength = 8\n",
        "[services.default.code]\nallow_short = true\nlength = 4\n",
    ],
)
def test_what_is_told_or_unlikely_enough_is_taken(tmp_path, text):
    first, _, rest = text.partition("[services.default]\n")
    assert load(tmp_path, MINIMAL + rest + first)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[services.default.limits]\nmode = 'observe'\n", 'with mode = "observe" nothing is refused'),
        (
            UNLIMITED + "[services.default.code]\nallow_short = true\nlength = 4\n",
            "guesses_per_hour and guesses_per_day are off",
        ),
    ],
)
def test_neither_short_codes_nor_watching_alone_allow_any_number_of_tries(tmp_path, text, why):
    found = faults(tmp_path, MINIMAL + text)
    assert len(found) == 1
    assert f"any number of tries a day ({why})" in found[0]


def test_what_a_table_inherits_is_judged_where_it_stands(tmp_path):
    text = MINIMAL + UNLIMITED + "[services.shop]\n[services.bank.purposes.login]\nlocale = 'de'\n"
    assert [fault.partition(":")[0] for fault in faults(tmp_path, text)] == ["[services.default.code] length"]
    text = MINIMAL + "[services.default.purposes.login]\nlimits = { mode = 'observe' }\n[services.shop]\n"
    told = [fault.partition(":")[0] for fault in faults(tmp_path, text)]
    assert told == ["[services.default.purposes.login.code] length"]


def test_a_purpose_is_judged_by_its_own(tmp_path):
    text = MINIMAL + "[services.shop.purposes.login.limits]\nmode = 'observe'\n"
    found = faults(tmp_path, text)
    assert [fault.partition(":")[0] for fault in found] == ["[services.shop.purposes.login.code] length"]


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        ("guesses_per_hour = 4", "guesses_per_hour = 4, so no verification could start"),
        ("guesses_per_day = 4", "guesses_per_day = 4, so no verification could start"),
        ("context_per_hour = 4", "context_per_hour = 4, so nobody could start one from a device that is trusted"),
        ("lockout = { after = 3, for = 600 }", "lockout.after = 3, so no verification would have them all"),
    ],
)
def test_more_checks_than_a_limit_allows_cannot_work(tmp_path, limit, told):
    text = f"{MINIMAL}[services.default.limits]\n{limit}\n"
    assert faults(tmp_path, text) == [
        f"[services.default.code] max_checks: 5 are more than {told}; lower it, or raise the limit"
    ]
    assert load(tmp_path, f"{text}[services.default.code]\nmax_checks = 3\n")


def test_without_a_default_service_the_others_are_judged_all_the_same(tmp_path):
    text = "[channels.console]\nadapter = 'console'\n[services.shop]\nchannels = ['console']\nlimits = { mode = 'observe' }\n"
    assert faults(tmp_path, text)[0].startswith("[services.default]: is missing")


def test_the_bar_is_one_in_a_thousand():
    assert LIKELIEST == 1e-3
