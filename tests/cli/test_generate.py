"""``otp-gateway generate``: codes alone on standard output, entropy on the other, and nothing weak."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.generate import generate
from gateway.verification.codes import ALPHABETS, CLASSES, plain

app = typer.Typer()
app.command("generate")(generate)


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_without_options_it_makes_one_code_of_six_digits():
    result = run()
    assert result.exit_code == 0
    assert len(result.stdout.strip()) == 6
    assert result.stdout.strip().isdigit()
    assert result.stderr == "19.9 bits of entropy each: 6 characters of digits\n"


@pytest.mark.parametrize("name", ALPHABETS)
def test_thousands_of_each_alphabet_come_one_a_line(name):
    result = run("--alphabet", name, "--length", "8", "--count", "2000")
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (0, 2000)
    assert {len(plain(line)) for line in lines} == {8}
    assert set("".join(map(plain, lines))) == set(ALPHABETS[name].characters)


@pytest.mark.parametrize(
    ("arguments", "made_of", "length"),
    [
        (["--alphabet", "unambiguous"], "unambiguous", 8),
        (["--classes", "lower,upper,digits"], "alphanumeric", 12),
        (["--classes", "lower, symbols"], "symbols", 12),
        (["--classes", "upper", "--alphabet", "letters", "--length", "9"], "letters", 9),
    ],
)
def test_what_is_not_given_follows_from_the_rest(arguments, made_of, length):
    result = run(*arguments, "--json", "--count", "3")
    document = json.loads(result.stdout)
    assert (document["alphabet"], document["length"], len(document["codes"])) == (made_of, length, 3)
    assert f"{document['entropy']:.1f} bits of entropy each" in result.stderr
    for code in document["codes"]:
        assert all(set(CLASSES[name]) & set(code) for name in document["classes"])


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--alphabet", "runes"], f"--alphabet: there is no runes; choose {', '.join(ALPHABETS)}"),
        (["--classes", "vowels"], "--classes: there is no vowels; choose of lower, upper, digits, symbols"),
        (["--classes", "digits", "--alphabet", "letters"], "--classes: the alphabet letters has nothing of digits"),
        (["--length", "11"], "--length: must be 10 or less with the alphabet digits"),
        (
            ["--classes", "lower,upper", "--length", "8"],
            (
                "--length: weak password: must be 9 or more: with classes a code is a temporary password, and a shorter "
                "one is weak"
            ),
        ),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_option_and_prints_no_code(arguments, fault):
    result = run(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {fault}\n")


@pytest.mark.parametrize("arguments", [["--length", "3"], ["--length", "33"], ["--count", "0"], ["--count", "1000001"]])
def test_what_is_out_of_bounds_is_refused(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
