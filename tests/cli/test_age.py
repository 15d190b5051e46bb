"""Ages as people write them."""

from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.age import seconds_of


@pytest.mark.parametrize(
    ("age", "seconds"), [("0s", 0.0), ("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), ("7d", 604800.0)]
)
def test_a_number_and_a_unit_are_an_age(age, seconds):
    assert seconds_of(age, "--since") == seconds


@pytest.mark.parametrize("age", ["", "1", "h", "1w", "-1h", "1.5h", "1h30m", "٣h", "1h\n"])
def test_anything_else_is_misuse_that_names_the_option(age):
    with pytest.raises(typer.BadParameter) as caught:
        seconds_of(age, "--since")
    assert caught.value.param_hint == "--since"


@given(st.text(max_size=8) | st.text(st.sampled_from("0123456789smhd"), max_size=8))
def test_every_text_is_an_age_or_misuse(text):
    try:
        seconds = seconds_of(text, "--since")
    except typer.BadParameter:
        return
    assert seconds == int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[text[-1]]
