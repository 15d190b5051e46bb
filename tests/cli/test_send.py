"""``otp-gateway send``: to one person and to a list, what it prints, writes and exits with."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import sys

import pytest
from typer.testing import CliRunner

from gateway.app.foreseeing import Foreseen, Foresight
from gateway.cli import app
from gateway.cli import bulk as bulk_module
from gateway.cli.send import Order, Stopping, _addresses, _of_options, _print_trial
from gateway.cli.trial import Trial
from gateway.errors import ConfigError, FieldError, InvalidRequest

CONFIG = """
[channels.console]
adapter = "console"
price = 0.5
[services.default]
name = "Example"
channels = ["console"]
countries = ["DE"]
"""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """A folder with a config file, an empty SQLite file and its keys: to make them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("migrated")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    assert CliRunner().invoke(app, ["migrate", "--config", str(folder / "config.toml")]).exit_code == 0
    return folder


@pytest.fixture
def config(migrated, tmp_path):
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    return tmp_path / "config.toml"


@pytest.fixture
def send(config):
    """Return a function that sends over a config of one service and an empty SQLite file."""
    return lambda *words: CliRunner().invoke(app, ["send", *words, "--config", str(config)])


@pytest.fixture
def people(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("to,name\na@example.org,Ann\n+4915112345678,Bob\nc@example.org,\n", encoding="utf-8")
    return path


def results(people) -> list[dict[str, str]]:
    with people.with_suffix(".results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def rows(config, sql: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(config.with_name("otp-gateway.db")) as connection:
        return connection.execute(sql).fetchall()


def test_one_prints_the_id_alone(send, config):
    result = send("--to", "ann@example.org", "--purpose", "login", "--ttl", "60", "--param", "name=Ann")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [(result.stdout.strip(), "default", "login", "queued")] == rows(
        config,
        "SELECT v.id, v.service, v.purpose, m.status FROM verification v JOIN message m ON m.verification_id = v.id",
    )


def test_one_as_json_is_the_verification(send):
    result = send("--to", "phone=+4915112345678", "--to", "email=a@x.org", "--locale", "de", "--json")
    found = json.loads(result.stdout)
    assert (found["service"], found["locale"], list(found["to"])) == ("default", "de", ["phone", "email"])
    assert "+4915112345678" not in result.output


def test_one_is_followed_until_its_time_is_over_and_refused_while_its_cooldown_runs(send):
    result = send("--to", "ann@example.org", "--wait", "0.01")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == ["console queued", "not sent within 0.01 s; it goes on without being watched"]
    again = send("--to", "ann@example.org")
    assert (again.exit_code, again.stdout, again.stderr.startswith("error: cooldown: ")) == (1, "", True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give one of --to and --from"),
        (("--to", "a@x.org", "--from", "people.csv"), "give one of --to and --from"),
        (("--to", "a@x.org", "--dry-run"), "--dry-run, --skip-faulty, --results and --rate are for --from"),
        (("--from", "people.csv", "--wait", "3"), "--wait is for --to"),
        (("--to", "nobody"), "--to: a phone number starts with + and its country code"),
        (("--to", "a@x.org", "--ttl", "5000"), "--ttl: a whole number, 600 or less"),
        (("--to", "a@x.org", "--channel", "fax"), "--channel: no such channel; configured are console"),
        (("--to", "a@x.org", "--param", f"a={'x' * 201}"), "--param a: a text of at most 200 characters"),
        (("--to", "a@x.org", "--param", "name"), "--param takes name=value"),
        (("--to", "a@x.org", "--service", "desk"), "no service 'desk'; configured are default"),
        (("--from", "none.csv"), "none.csv: No such file or directory"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_exit_code_2(send, words, told):
    result = send(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_fault_is_told_by_the_option_it_came_by():
    wrong = [
        FieldError("/ttl", "1"),
        FieldError("/params/a", "2"),
        FieldError("/params", "3"),
        FieldError("/code", "4"),
    ]
    assert _of_options(InvalidRequest("x", errors=wrong)) == ["--ttl: 1", "--param a: 2", "--param: 3", "/code: 4"]
    assert _of_options(InvalidRequest("no bot")) == ["no bot"]


def test_several_addresses_are_named_by_their_kinds():
    kinds = ("phone", "email")
    assert _addresses(["a=b@x.org"], kinds) == "a=b@x.org"
    assert _addresses(["email=a=b@x.org"], kinds) == {"email": "a=b@x.org"}
    for wrong in (["a@x.org", "b@x.org"], ["email=a@x.org", "email=b@x.org"], ["email=a@x.org", "fax=1"]):
        with pytest.raises(ConfigError):
            _addresses(wrong, kinds)


def test_a_list_is_sent_once_and_its_results_are_written(send, people, config):
    """Also without its results, as after a kill between the commit and the file: the database knows."""
    result, path = send("--from", str(people)), people.with_suffix(".results.csv")
    assert (0, f"3 rows: 3 queued; results in {path}\n") == (result.exit_code, result.stdout)
    assert [line for line in result.stderr.splitlines() if "3 of 3" in line] == ["checking: 3 of 3", "sending: 3 of 3"]
    found = results(people)
    assert [(line["line"], line["to"]) for line in found] == [
        ("2", "a•••@e•••.org"),
        ("3", "+49••••••••678"),
        ("4", "c•••@e•••.org"),
    ]
    assert [(line["id"],) for line in found] == rows(config, "SELECT id FROM verification ORDER BY id")
    again = send("--from", str(people), "--json")
    assert (again.exit_code, json.loads(again.stdout)["queued"]) == (0, 3)
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    assert send("--from", str(people)).exit_code == 0
    assert (found, [(3,)]) == (results(people), rows(config, "SELECT count(*) FROM verification"))
    refused = send("--from", str(people), "--purpose", "login")
    assert (refused.exit_code, "another list, or of other options" in refused.stderr) == (2, True)


def test_a_faulty_line_is_named_and_nothing_is_sent(send, people, config):
    people.write_text("to\na@example.org\nnobody\n+15005550006\n", encoding="utf-8")
    result = send("--from", str(people))
    assert result.exit_code == 2
    told = [line for line in result.stderr.splitlines() if not line.startswith("checking")]
    assert told[0].startswith(f"error: {people}:3: /to")
    assert told[1:] == [
        f"error: {people}:4: this service does not send to that country",
        "error: 2 of 3 lines cannot be used, and nothing was sent; mend them, or leave them out with --skip-faulty",
    ]
    assert rows(config, "SELECT count(*) FROM verification") == [(0,)]


def test_a_columns_name_does_not_tell_the_terminal_what_to_do(send, people):
    people.write_text(f"to,\x1b[2Jx\na@example.org,{'y' * 201}\n", encoding="utf-8")
    told = send("--from", str(people)).stderr
    assert f"{people}:2: /params/\\x1b[2Jx: " in told
    assert "\x1b" not in told


def test_faulty_lines_can_be_left_out(send, people):
    people.write_text("to\na@example.org\nnobody\n", encoding="utf-8")
    result = send("--from", str(people), "--skip-faulty", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["rows"], found["queued"], found["faulty"]) == (1, 2, 1, 1)
    assert [(line["line"], line["status"]) for line in results(people)] == [("3", "faulty"), ("2", "queued")]


def test_a_dry_run_sums_up_and_sends_nothing(send, people, config):
    people.write_text("to\na@example.org\nA@example.org\n+4915112345678\n", encoding="utf-8")
    result = send("--from", str(people), "--dry-run")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()[:3]] == [
        ["channel", "country", "messages", "segments", "price"],
        ["console", "-", "2", "2", "1.00"],
        ["console", "DE", "1", "1", "0.50"],
    ]
    assert result.stdout.splitlines()[3:] == [
        "3 rows, 3 can be used; price 1.50; nothing was sent",
        "1 row names somebody who was named before: the cooldown defers them",
    ]
    assert rows(config, "SELECT count(*) FROM verification") == [(0,)]
    assert not people.with_suffix(".results.csv").exists()


def test_a_dry_run_of_a_faulty_list_is_exit_code_2_and_json_names_the_lines(send, people):
    people.write_text("to\na@example.org\nnobody\n", encoding="utf-8")
    result = send("--from", str(people), "--dry-run", "--json")
    assert (result.exit_code, [fault["line"] for fault in json.loads(result.stdout)["faulty"]]) == (2, [3])


def test_a_dry_run_that_leaves_faulty_lines_out_exits_as_the_sending_would(send, people):
    people.write_text("to\na@example.org\nnobody\n", encoding="utf-8")
    assert [send("--from", str(people), "--skip-faulty", *more).exit_code for more in (("--dry-run",), ())] == [1, 1]


def test_a_dry_run_on_a_terminal_is_a_table(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    trial = Trial()
    trial.add(Foreseen("sms", "+49•••", "phone:1", "DE", 2, 0.08, waits=True))
    _print_trial(trial, Order("default", {}, as_json=False))
    told = capsys.readouterr().out
    assert "\x1b[" in told
    assert "1 row waits until the person has opened the bot" in told


def test_a_file_that_is_no_list_is_named_with_its_line(send, people):
    people.write_text("name\nAnn\n", encoding="utf-8")
    result = send("--from", str(people))
    assert (result.exit_code, result.stderr.startswith(f"error: {people}: line 1: there is no column")) == (2, True)


def test_ctrl_c_stops_after_the_chunk_under_way_and_the_same_command_goes_on(send, people, config, monkeypatch):
    people.write_text("to\n" + "".join(f"p{number}@example.org\n" for number in range(250)), encoding="utf-8")
    moments = iter(range(10_000))

    def pressed(standing):
        if next(moments) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return True

    monkeypatch.setattr(bulk_module, "LOOK", 0.0)
    monkeypatch.setattr(bulk_module, "_has_room", pressed)
    stopped = send("--from", str(people))
    assert (stopped.exit_code, stopped.stderr.splitlines()[-1]) == (1, "stopped; the same command goes on from there")
    assert len(results(people)) in {100, 200}
    assert send("--from", str(people)).exit_code == 0
    assert (len(results(people)), rows(config, "SELECT count(DISTINCT id) FROM verification")) == (250, [(250,)])


def test_ctrl_c_while_the_list_is_checked_sends_nothing(send, people, config, monkeypatch):
    people.write_text("to\n" + "".join(f"p{number}@example.org\n" for number in range(250)), encoding="utf-8")
    looked = iter(range(10_000))
    original = Foresight.look

    async def pressed(self, service, asked):
        if next(looked) == 60:
            os.kill(os.getpid(), signal.SIGINT)
        return await original(self, service, asked)

    monkeypatch.setattr(Foresight, "look", pressed)
    result = send("--from", str(people))
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "stopped; nothing was sent")
    assert rows(config, "SELECT count(*) FROM verification") == [(0,)]


def test_a_second_signal_ends_the_process(monkeypatch):
    ended: list[int] = []
    monkeypatch.setattr(sys.modules[Stopping.__module__], "end_by", ended.append)
    stopping = Stopping()
    stopping.stop(signal.SIGINT)
    assert (stopping.stopped, ended) == (True, [])
    stopping.stop(signal.SIGINT)
    assert ended == [signal.SIGINT]
