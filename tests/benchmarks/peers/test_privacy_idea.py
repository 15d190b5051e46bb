from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import QUICK
from benchmarks.children import ChildError
from benchmarks.figures import Verdict, again
from benchmarks.parts import SkippedError, Stage
from benchmarks.peers import privacy_idea
from benchmarks.peers.installing import fingerprint
from benchmarks.peers.ours import GATEWAY
from benchmarks.peers.privacy_idea import PART, PEER, PrivacyIdea
from benchmarks.served import Prepared
from tests.benchmarks.peers.stand_in import CODE

FOLDER = Path(privacy_idea.__file__).with_name("privacyidea")
STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def environment(tmp_path: Path):
    """The programs of an environment: a stand-in for the server, and a ``pi-manage`` that does what it is told to."""

    def write(manage: str) -> Path:
        programs = tmp_path / "bin"
        programs.mkdir()
        for name, text in {"python": f'exec "{sys.executable}" "{STAND_IN}"', "pi-manage": manage}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o700)
        return programs / "python"

    return write


def test_tokens_are_challenged_beforehand_and_checks_and_sends_run_on_a_copy(environment, tmp_path):
    python = environment('echo "$1 $2" >> "$(dirname "$PRIVACYIDEA_CONFIGFILE")/asked"')
    prepared = PrivacyIdea(tmp_path, python, "password", warm_up=0.0, seconds=20.0, tokens=4).prepared()
    assert dict(prepared.challenges) == {f"PIEM{number:08}": (f"PIEM{number:08}", CODE) for number in range(4)}
    sample = prepared.measured()
    assert min(sample["send"], sample["check"]) > 0
    assert (tmp_path / "privacyidea" / "asked").read_text().splitlines() == [
        "setup create_enckey",
        "setup create_audit_keys",
        "setup create_tables",
        "admin add",
    ]
    assert [path.name for path in tmp_path.glob("privacyidea-*")] == []
    # Its files are found wherever it is copied to.
    copy = (tmp_path / "privacyidea").rename(tmp_path / "elsewhere")
    config = runpy.run_path(str(copy / "pi.cfg"))
    assert (config["SQLALCHEMY_DATABASE_URI"], config["PI_ENCFILE"]) == (
        f"sqlite:///{copy}/privacyidea.sqlite",
        f"{copy}/enckey",
    )
    assert len({config["SECRET_KEY"], config["PI_PEPPER"], ""}) == 3


def test_a_set_up_that_fails_is_told_without_the_password(environment, tmp_path):
    python = environment('[ "$1" = setup ]')
    with pytest.raises(ChildError) as error:
        PrivacyIdea(tmp_path, python, "the-password").prepared()
    assert str(error.value) == "pi-manage admin add ended with 1"
    assert "the-password" not in repr(PrivacyIdea(tmp_path, python, "the-password"))


def test_what_cannot_be_set_up_is_left_out(environment, tmp_path, monkeypatch):
    home = tmp_path / "environments" / "privacyidea"
    home.mkdir(parents=True)
    environment("exit 3").parent.rename(home / "bin")
    wanted = fingerprint((FOLDER / "requirements.txt").read_bytes(), sys.version.encode())
    (home / "installed").write_text(wanted)
    monkeypatch.setattr(privacy_idea, "ENVIRONMENTS", home.parent)
    with pytest.raises(SkippedError, match="it cannot be started: pi-manage setup create_enckey ended with 3"):
        PART.arms(Stage(tmp_path, QUICK, Prepared(tmp_path, {}, "key"), None, None))


def test_gunicorn_has_a_worker_a_core_and_says_its_port(monkeypatch, capsys):
    monkeypatch.setenv("PRIVACYIDEA_CONFIGFILE", "/there/pi.cfg")
    settings = runpy.run_path(str(FOLDER / "gunicorn_settings.py"))

    class Socket:
        sock = type("Sock", (), {"getsockname": staticmethod(lambda: ("127.0.0.1", 4711))})

    settings["when_ready"](type("Server", (), {"LISTENERS": [Socket]}))
    assert capsys.readouterr().out == "4711\n"
    assert settings["wsgi_app"].endswith("config_file='/there/pi.cfg', silent=True)")
    assert settings["workers"] > 0


def test_our_rate_over_its_rate_is_held_to_the_targets():
    samples = {
        PEER: [{"send": 10.0, "check": 5.0}],
        GATEWAY: [{"send": 1600.0, "check": 1600.0}],
        again(PEER): [{"send": 10.0, "check": 5.0}],
    }
    sections = PART.sections(samples, QUICK)
    assert [row.reached for section in sections for row in section.rows if row.target] == [
        Verdict.AIM,
        Verdict.REACHED,
    ]


def test_the_versions_that_are_told_are_those_that_are_installed():
    pins = dict(re.findall(r"^(\S+)==(\S+)", (FOLDER / "requirements.txt").read_text(), re.MULTILINE))
    nothing = {name: [{"send": 1.0, "check": 1.0}] for name in (PEER, GATEWAY, again(PEER))}
    text = PART.sections(nothing, QUICK)[0].text
    assert [name for name in (PEER, "gunicorn") if f"{name} {pins[name.lower()]}" not in text] == []
