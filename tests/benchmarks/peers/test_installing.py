from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks.parts import SkippedError
from benchmarks.peers import installing
from benchmarks.peers.installing import node_environment, python_environment

FOLDER = Path(installing.__file__).parent
REFUSES = "#!/bin/sh\necho 'npm error code E404' >&2\necho 'npm error 404 at https://a.host/secret' >&2\nexit 1\n"
INSTALLS = '#!/bin/sh\necho "$@" "$OTP_GATEWAY_SECRETS__KEYS" "$npm_config_nodedir" >> asked\n'


@pytest.fixture
def system(tmp_path: Path, monkeypatch):
    """Programs named node and npm, found before all others; what they do is written by the test."""
    programs = tmp_path / "system" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.delenv("npm_config_nodedir", raising=False)

    def write(**texts: str) -> Path:
        for name, text in texts.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o700)
        return programs.parent

    return write


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "package-lock.json").write_text("{}")
    (folder / "server.mjs").write_text("first")
    return folder


def test_packages_are_installed_once_without_our_secrets_and_the_program_is_always_the_newest(
    system, source, tmp_path, monkeypatch
):
    monkeypatch.setenv("OTP_GATEWAY_SECRETS__KEYS", "secret")
    system(node="#!/bin/sh\necho v20\n", npm=INSTALLS)
    home = tmp_path / "home"
    assert node_environment(source, home).name == "node"
    (source / "server.mjs").write_text("second")
    node_environment(source, home)
    assert (home / "server.mjs").read_text() == "second"
    assert (home / "asked").read_text().split() == ["ci", "--no-audit", "--no-fund"]


def test_another_lock_file_is_installed_anew(system, source, tmp_path):
    system(node="#!/bin/sh\necho v20\n", npm=INSTALLS)
    home = tmp_path / "home"
    node_environment(source, home)
    (home / "old").write_text("of the first")
    (source / "package-lock.json").write_text("{ }")
    node_environment(source, home)
    assert (home / "old").exists() is False


def test_headers_beside_node_are_built_with_and_not_downloaded(system, source, tmp_path):
    where = system(node="#!/bin/sh\necho v20\n", npm=INSTALLS)
    (where / "include" / "node").mkdir(parents=True)
    (where / "include" / "node" / "node.h").touch()
    node_environment(source, tmp_path / "home")
    assert (tmp_path / "home" / "asked").read_text().split()[-1] == str(where)


def test_without_node_it_is_left_out(source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkippedError, match="node and npm are needed"):
        node_environment(source, tmp_path / "home")


@pytest.mark.parametrize(
    ("npm", "why"), [(REFUSES, "npm ci --no-audit ended with E404"), ("#!/bin/sh\nexit 3\n", "ended with 3")]
)
def test_what_cannot_be_installed_is_left_out_with_the_reason_and_no_host(system, source, tmp_path, npm, why):
    system(node="#!/bin/sh\necho v20\n", npm=npm)
    with pytest.raises(SkippedError, match=why) as error:
        node_environment(source, tmp_path / "home")
    assert "host" not in str(error.value)


def test_a_program_that_cannot_be_run_is_a_reason_too(system, source, tmp_path):
    system(node="#!/no/such/interpreter\n", npm=INSTALLS)
    with pytest.raises(SkippedError, match="FileNotFoundError"):
        node_environment(source, tmp_path / "home")


def test_where_nothing_can_be_written_nothing_is_installed(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("nothing==1\n")
    with pytest.raises(SkippedError, match=r"it cannot be installed: python\S* -m venv: "):
        python_environment(requirements, requirements / "home")


def test_an_environment_that_is_whole_is_used_as_it_is(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("nothing==1\n")
    home = tmp_path / "home"
    home.mkdir()
    wanted = installing.fingerprint(requirements.read_bytes(), sys.version.encode())
    (home / "installed").write_text(wanted)
    assert python_environment(requirements, home) == home / "bin" / "python"
    assert [path.name for path in home.iterdir()] == ["installed"]


def test_every_package_is_known_by_its_hash_and_no_file_says_where_it_comes_from():
    lock = json.loads((FOLDER / "better-auth" / "package-lock.json").read_text())
    packages = [package for place, package in lock["packages"].items() if place]
    assert [package for package in packages if "integrity" not in package or "resolved" in package] == []
    requirements = (FOLDER / "privacyidea" / "requirements.txt").read_text()
    pinned = re.findall(r"^\S.*", requirements, re.MULTILINE)
    assert [line for line in pinned if "==" not in line or not line.endswith("\\")] == []
    assert "://" not in requirements
    assert (
        dict(lock["packages"][""]["dependencies"])
        == json.loads((FOLDER / "better-auth" / "package.json").read_text())["dependencies"]
    )
