from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.masking import mask_url, secret_fault, url_password


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://u:p@h/n", "postgresql://u:••••@h/n"),
        ("postgresql://u:p@p@h/n", "postgresql://u:••••@h/n"),
        ("postgresql://:p@h/n", "postgresql://:••••@h/n"),
        ("postgresql://u@h/n", "postgresql://u@h/n"),
        ("postgresql://h/n?user=u&password=p&x=1", "postgresql://h/n?user=u&password=••••&x=1"),
        ("postgresql://h/n?p%61ssword=p", "postgresql://h/n?p%61ssword=••••"),
        ("postgresql://h/n?sslpassword=p", "postgresql://h/n?sslpassword=••••"),
        ("https://[::1]:8080/a:b@c", "https://[::1]:8080/a:b@c"),
        ("a:b@c?password=d", "a:b@c?password=d"),
        ("codes@example.org", "codes@example.org"),
    ],
)
def test_the_password_of_a_url_is_masked(url, masked):
    assert mask_url(url) == masked


@given(password=st.text(min_size=8).map(lambda text: quote(text, safe="!$&'()*+,;=:@")))
def test_no_password_of_a_url_is_left(password):
    for url in (f"postgresql://u:{password}@h/n", f"postgresql://h/n?password={quote(password, safe='')}"):
        assert quote(password, safe="") not in mask_url(url)
        assert f":{password}@" not in mask_url(url)
        assert url_password(url) is not None


def test_a_url_without_a_password_has_none():
    assert url_password("postgresql://u@h/n?user=x") is None


@pytest.mark.parametrize(
    "text",
    [
        "changeme",
        "Change-Me",
        "change_this!",
        "your-token",
        "YOUR_AUTH_TOKEN",
        "<token>",
        "${TOKEN}",
        "{token}",
        "xxxx",
        "****",
        "••••",
        "...",
        "secret",
        "password",
        "replace-me",
        "TODO",
        " changeme\n",
    ],
)
def test_an_example_is_no_secret(text):
    assert secret_fault(text) == "is an example value; set your own"


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_nothing_is_no_secret(text):
    assert secret_fault(text) == "is empty"


@pytest.mark.parametrize(
    "text", ["hunter2", "mysecret1", "yourself", "a<b>c", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"]
)
def test_anything_else_may_be_a_secret(text):
    assert secret_fault(text) is None
