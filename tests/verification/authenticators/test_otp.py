"""Codes are those of RFC 4226 and RFC 6238, and each is taken once."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.verification.authenticators.otp import (
    ALGORITHMS,
    DRIFT,
    LOOK_AHEAD,
    MAX_TYPED,
    RESYNC,
    Device,
    Kind,
    MalformedCodeError,
    Match,
    code_at,
    match,
    read,
    step_at,
)

#: The secrets of RFC 6238, appendix B (its reference implementation): as long as the hash's output.
SECRETS = {name: (b"1234567890" * 7)[:size] for name, size in (("SHA1", 20), ("SHA256", 32), ("SHA512", 64))}
#: RFC 4226, appendix D: the codes of counters 0 to 9.
APPENDIX_D = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
#: RFC 6238, appendix B: seconds since the Unix epoch, and the code by each algorithm.
APPENDIX_B = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


def hotp(digits: int = 6) -> Device:
    return Device(Kind.HOTP, SECRETS["SHA1"], "SHA1", digits, None)


def totp(algorithm: str = "SHA1", digits: int = 8, period: int = 30) -> Device:
    return Device(Kind.TOTP, SECRETS[algorithm], algorithm, digits, period)


@pytest.mark.parametrize("counter", range(10))
def test_hotp_is_that_of_rfc_4226_appendix_d(counter):
    assert APPENDIX_D[counter] == code_at(hotp(), counter)


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_totp_is_that_of_rfc_6238_appendix_b(algorithm, place):
    at, *codes = APPENDIX_B[place]
    assert codes[list(ALGORITHMS).index(algorithm)] == code_at(totp(algorithm), step_at(at, 30))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_totp_is_that_of_oathtool(algorithm):
    program = shutil.which("oathtool")
    if program is None:
        pytest.skip("oathtool is not installed")
    at, period, digits = 1_777_891_200, 60, 7
    words = [f"--totp={algorithm.lower()}", f"--digits={digits}", f"--time-step-size={period}s", f"--now=@{at}"]
    done = subprocess.run([program, *words, SECRETS[algorithm].hex()], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == code_at(totp(algorithm, digits, period), step_at(at, period))


def test_hotp_is_that_of_oathtool():
    program = shutil.which("oathtool")
    if program is None:
        pytest.skip("oathtool is not installed")
    words = ["--hotp", "--digits=8", "--counter=4294967297", "--window=4", SECRETS["SHA1"].hex()]
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [code_at(hotp(8), 2**32 + 1 + place) for place in range(5)]


@given(st.integers(0, 2**36), st.sampled_from([30, 60]))
def test_a_step_lasts_its_period(step, period):
    assert [step, step, step + 1] == [step_at(step * period + more, period) for more in (0, period - 0.001, period)]


@pytest.mark.parametrize(("steps", "expected"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)], ids=str)
def test_a_clock_may_drift_by_one_step(steps, expected):
    now = 1_777_891_200.0
    step = step_at(now, 30) + steps
    found = match(totp(), code_at(totp(), step), lowest=0, ahead=None, now=now)
    assert found == (Match(used=step) if expected else Match())


def test_a_step_below_the_lowest_is_wrong():
    now = 1_777_891_200.0
    step = step_at(now, 30)
    assert Match() == match(totp(), code_at(totp(), step), lowest=step + 1, ahead=None, now=now)


def test_of_two_steps_with_one_code_the_later_is_used(monkeypatch):
    """Else the same code would be right once more."""
    now = 1_777_891_200.0
    step = step_at(now, 30)
    monkeypatch.setattr("gateway.verification.authenticators.otp.code_at", lambda *_: "123456")
    assert Match(used=step + DRIFT) == match(totp(), "123456", lowest=0, ahead=None, now=now)


@pytest.mark.parametrize("skipped", range(LOOK_AHEAD + 1))
def test_a_device_may_be_ten_presses_ahead(skipped):
    assert Match(used=5 + skipped) == match(hotp(), code_at(hotp(), 5 + skipped), lowest=5, ahead=None, now=0.0)


def test_a_used_counter_is_wrong():
    assert Match() == match(hotp(), code_at(hotp(), 4), lowest=5, ahead=None, now=0.0)


@pytest.mark.parametrize("skipped", [LOOK_AHEAD + 1, RESYNC])
def test_a_device_further_ahead_is_right_with_its_second_code(skipped):
    first = match(hotp(), code_at(hotp(), skipped), lowest=0, ahead=None, now=0.0)
    assert Match(ahead=skipped + 1) == first
    second = match(hotp(), code_at(hotp(), skipped + 1), lowest=0, ahead=first.ahead, now=0.0)
    assert Match(used=skipped + 1) == second


def test_the_second_code_has_to_be_the_next_one():
    assert Match(ahead=53) == match(hotp(), code_at(hotp(), 52), lowest=0, ahead=51, now=0.0)


def test_the_same_code_from_far_ahead_is_not_two():
    assert Match(ahead=51) == match(hotp(), code_at(hotp(), 50), lowest=0, ahead=51, now=0.0)


def test_too_far_ahead_is_wrong():
    assert Match() == match(hotp(), code_at(hotp(), RESYNC + 1), lowest=0, ahead=None, now=0.0)


@given(st.lists(st.integers(0, 160), max_size=40))
def test_no_counter_is_taken_twice_nor_one_below_it(counters):
    lowest, ahead, taken = 0, None, []
    for counter in counters:
        found = match(hotp(8), code_at(hotp(8), counter), lowest=lowest, ahead=ahead, now=0.0)
        ahead = found.ahead
        if found.used is not None:
            taken.append(found.used)
            lowest = found.used + 1
    assert taken == sorted(set(taken))


@given(st.lists(st.tuples(st.integers(-90, 90), st.integers(-3, 3)), max_size=40))
def test_no_step_is_taken_twice_even_when_time_goes_back(moves):
    now, lowest, taken = 1_777_891_200.0, 0, []
    for seconds, steps in moves:
        now += seconds
        given_step = step_at(now, 30) + steps
        found = match(totp(), code_at(totp(), given_step), lowest=lowest, ahead=None, now=now)
        if found.used is not None:
            assert (given_step, True) == (found.used, abs(steps) <= DRIFT)
            taken.append(found.used)
            lowest = found.used + 1
    assert taken == sorted(set(taken))


@given(st.binary(min_size=20, max_size=20), st.sampled_from(list(ALGORITHMS)), st.integers(6, 8), st.integers(0, 2**62))
def test_every_code_has_its_digits_and_is_read_back(secret, algorithm, digits, counter):
    code = code_at(Device(Kind.HOTP, secret, algorithm, digits, None), counter)
    assert (digits, True) == (len(code), code.isdecimal())
    assert code == read(f" {code[:3]} - {code[3:]} ")


@pytest.mark.parametrize("typed", ["", " - ", "12345\n", "١٢٣٤٥٦", "12.345", "12345O", "1" * (MAX_TYPED + 1)])
def test_what_is_no_code_is_malformed(typed):
    with pytest.raises(MalformedCodeError) as caught:
        read(typed)
    assert typed.strip(" -") == "" or typed not in str(caught.value)


@pytest.mark.parametrize(("typed", "expected"), [("cfgh-2345", "CFGH2345"), (" C F G H2345", "CFGH2345")])
def test_letters_are_folded_where_a_code_has_any(typed, expected):
    assert expected == read(typed, "CFGH2345")


@pytest.mark.parametrize("typed", ["\N{LATIN SMALL LIGATURE FI}GH2345", "\N{LATIN SMALL LETTER LONG S}", "CFGA"])
def test_signs_that_only_look_alike_are_not(typed):
    with pytest.raises(MalformedCodeError):
        read(typed, "CFGHIS2345")


def test_a_device_shows_no_secret():
    assert "12345" not in repr(hotp())
