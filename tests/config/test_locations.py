from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import CONFIG_VARIABLE, shipped
from gateway.config.locations import Location, find_config, read_toml
from gateway.errors import ConfigError
from tests.config.samples import ROOT, write


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working directory, empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def wheel(tmp_path):
    """The package as a wheel installs it."""
    folder = tmp_path / "site-packages" / "gateway"
    (folder / "shipped" / "templates").mkdir(parents=True)
    write(folder / "shipped")
    return folder


def test_a_checkout_has_its_files_at_its_root():
    assert (shipped("config.toml"), shipped("templates")) == (ROOT / "config.toml", ROOT / "templates")


def test_a_wheel_has_its_files_inside(wheel):
    assert shipped("templates", package=wheel) == wheel / "shipped" / "templates"


def test_the_file_that_is_named_comes_first(here, tmp_path):
    write(here)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    named, by_variable = write(tmp_path / "a"), write(tmp_path / "b")
    environ = {CONFIG_VARIABLE: str(by_variable)}
    assert find_config(named, environ) == Location(named, named.parent)
    assert find_config(None, environ) == Location(by_variable, by_variable.parent)
    assert find_config(None, {CONFIG_VARIABLE: ""}) == Location(here / "config.toml", here)


def test_a_relative_name_starts_at_the_working_directory(here):
    write(here)
    assert find_config(Path("config.toml"), {}) == Location(here / "config.toml", here)


def test_without_a_file_the_shipped_one_is_read(here):
    assert find_config(None, {}) == Location(ROOT / "config.toml", here, chosen=False)


def test_paths_in_the_file_inside_a_wheel_start_at_the_working_directory(here, wheel):
    assert find_config(None, {}, package=wheel) == Location(wheel / "shipped" / "config.toml", here, chosen=False)


def test_a_named_file_that_is_not_there_is_refused(here):
    for path, environ, by in (
        (Path("no.toml"), {}, "--config"),
        (None, {CONFIG_VARIABLE: "no.toml"}, "OTP_GATEWAY_CONFIG"),
    ):
        with pytest.raises(ConfigError) as caught:
            find_config(path, environ)
        assert caught.value.faults == (f"{by}: no.toml cannot be read: No such file or directory",)


def test_a_byte_order_mark_is_read_over(tmp_path):
    file = tmp_path / "config.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\n")
    assert read_toml(file) == {"a": 1}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a = 1\nb = \n", "is not valid TOML: Invalid value (at line 2, column 5)"),
        (b"[sandbox]\n[a]\n[sandbox]\n", "is not valid TOML: [sandbox] stands there twice (at line 3, column 9)"),
        (b"[a.b]\n[a.b]\n", "is not valid TOML: [a.b] stands there twice (at line 2, column 5)"),
        (b"a = '\xff'\n", "is not UTF-8"),
        (b"a = " + b"9" * 5_000, "is not valid TOML: "),
        (b"a = " + b"[" * 100_000, "is not valid TOML: "),
    ],
)
def test_what_is_not_toml_is_refused(tmp_path, content, fault):
    file = tmp_path / "config.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    assert str(caught.value).startswith(f"{file}: {fault}")


def test_a_folder_is_no_config_file(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read_toml(tmp_path)
    assert caught.value.faults == (f"{tmp_path}: cannot be read: Is a directory",)
