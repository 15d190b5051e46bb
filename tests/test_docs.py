"""The documents hold what exists: names, routes, links, commands, examples and the tests they point at."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import typer

from channels.base import Reason
from channels.email import EmailSettings
from channels.sms import SmsSettings
from channels.telegram import TelegramSettings
from channels.twilio_codes import CODES
from gateway.api import examples, openapi, shapes
from gateway.cli import app
from gateway.config import CodeSettings, load_settings, schema
from gateway.config.settings import Settings
from gateway.delivery.lifecycle import (
    MESSAGE_MOVES,
    VERIFICATION_MOVES,
    AttemptOutcome,
    MessageStatus,
    SubscriberStatus,
    VerificationStatus,
)
from gateway.delivery.writing.reply_parts import REPLIES
from gateway.delivery.writing.template_language import FILTERS
from gateway.delivery.writing.templating import CODE_VALUES
from gateway.events.event import Event, EventName
from gateway.events.line import line_of
from gateway.sandbox import Sandbox
from gateway.sandbox.feed import Feed
from gateway.sandbox.scenes import Scenes
from gateway.verification.authenticators.view import AuthenticatorStatus
from gateway.verification.codes import ALPHABETS, CLASSES
from tests.sandbox.recorder import ABOUT, Recorder

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

#: The first word of every kind of diagram that mermaid draws and these pages use.
DIAGRAMS = {"flowchart", "sequenceDiagram", "stateDiagram-v2", "xychart-beta"}
#: A folder of somebody's own machine.
SOMEBODYS = re.compile(r"(?<![\w.$}:/])/(?:home|root|tmp|work|Users)/\w")

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[([^\]\n]+)\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_COMMAND = re.compile(
    r"(?:^|(?<=[\s(]))(?:[\w./~-]*/)?otp-gateway(?= )((?:'[^']*'|\"[^\"]*\"|[^|;&)\n#'\"])*)", re.MULTILINE
)
_MAKE = re.compile(r"(?:^|&& *)make ([a-z-]+)", re.MULTILINE)


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: page.read_text("utf-8") for name, page in zip(NAMES, PAGES, strict=True)}


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for found, body in _FENCE.findall(text) if found == language]


def prose(text: str) -> str:
    """Return a page without its fenced blocks and code spans, where brackets and # mean something else."""
    return re.sub(r"`[^`\n]*`", lambda span: "x" * len(span[0]), _FENCE.sub("", text))


def slug(heading: str) -> str:
    """Return the anchor a heading gets: lower case, spaces as dashes, other signs dropped."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", ""))
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def missing(words: object, text: str) -> set[str]:
    """Return the words that ``text`` does not show as code."""
    shown = set(re.findall(r"`([^`\n]+)`", _FENCE.sub("", text)))
    return {str(word) for word in words} - shown  # type: ignore[attr-defined]


# --- Every page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_to_a_file_and_its_heading(texts, name):
    broken = []
    for _, target in _LINK.findall(_FENCE.sub("", texts[name])):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        page = (ROOT / name).parent / path if path else ROOT / name
        if not page.exists() or (
            anchor and anchor not in map(slug, _HEADING.findall(_FENCE.sub("", page.read_text())))
        ):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("name", NAMES)
def test_every_test_a_page_points_at_exists(texts, name):
    linked = [(path, test) for test, path in _LINK.findall(texts[name].replace("`", "")) if test.startswith("test_")]
    for path, test in linked:
        file = (ROOT / name).parent / path
        assert re.search(rf"^\s*(?:async )?def {test}\(", file.read_text(), re.MULTILINE), f"{path}: {test}"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_a_page_names_exists(texts, name):
    named = re.findall(r"`((?:gateway|tests|benchmarks|\.ci)/[\w./-]*\w)`", texts[name])
    written = recipe(texts[name])
    assert [path for path in named if path not in written and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_diagram_is_of_a_known_kind(texts, name):
    assert {block.split()[0] for block in blocks(texts[name], "mermaid")} <= DIAGRAMS


@pytest.mark.parametrize("name", NAMES)
def test_every_json_and_toml_block_can_be_read(texts, name):
    for block in blocks(texts[name], "json"):
        json.loads(block)
    for block in blocks(texts[name], "toml"):
        tomllib.loads(block)


@pytest.mark.parametrize("name", NAMES)
def test_no_page_names_a_folder_of_somebodys_machine(texts, name):
    assert SOMEBODYS.findall(texts[name]) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_fence_is_closed_and_says_its_language(texts, name):
    fences = re.findall(r"^```(\w*)", texts[name], re.MULTILINE)
    assert len(fences) % 2 == 0
    assert "" not in fences[::2]


# --- Commands -----------------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words behind every ``otp-gateway`` in shell blocks."""
    for block in blocks(text, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (shlex.split(found) for found in _COMMAND.findall(line.partition(" #")[0]))


def below(command: Any) -> dict[str, Any]:
    """Return a group's commands; none for a verb."""
    return getattr(command, "commands", {})


def unknown_words(words: list[str]) -> list[str]:
    """Return the verbs and options of a command line that the program does not know."""
    here: Any = typer.main.get_command(app)
    while words and words[0] in below(here):
        here, words = below(here)[words[0]], words[1:]
    options = {option for parameter in here.params for option in parameter.opts} | {"--help"}
    wrong = [word for word in words if word.startswith("-") and word.partition("=")[0] not in options]
    if below(here) and "--help" not in words:
        wrong += words[:1] or ["(no verb)"]
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_has_a_verb_and_options_that_exist(texts, name):
    assert [words for words in commands(texts[name]) if unknown_words(words)] == []


def test_a_command_that_does_not_exist_would_be_noticed():
    assert unknown_words(["serve", "--port", "9000"]) == []
    assert unknown_words(["serve", "--nonsense"]) == ["--nonsense"]
    assert unknown_words(["nonsense"]) == ["nonsense"]


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_shown_exists(texts, name):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {target for block in blocks(texts[name], "sh") for target in _MAKE.findall(block)}
    assert shown - targets == set()


def test_the_readme_opens_with_one_sentence_and_shows_both_commands(texts):
    readme = texts["README.md"]
    first = readme.split("\n\n")[1]
    assert re.fullmatch(r"[^.]+(?:\.\w[^.]*)*\.", first.replace("\n", " "))
    shown = {target for block in blocks(readme, "sh") for target in _MAKE.findall(block)}
    assert {"demo", "test"} <= shown


def verbs(command: Any, words: str = "otp-gateway") -> Iterator[str]:
    """Yield every verb as it is typed."""
    for name, inner in below(command).items():
        yield from verbs(inner, f"{words} {name}")
    if not below(command):
        yield words


def test_every_verb_is_described(texts):
    assert missing(verbs(typer.main.get_command(app)), texts["docs/operations.md"]) == set()


# --- The API ------------------------------------------------------------------------------------------------------


def test_every_route_is_described(texts):
    paths = openapi.document("http://127.0.0.1:8080")["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    headings = _HEADING.findall(texts["docs/api.md"])
    assert {route for route in routes if not any(f"`{route}`" in heading for heading in headings)} == set()


def test_every_problem_code_is_listed_with_its_status(texts):
    rows = {(problem.code, problem.status) for problem in examples.PROBLEMS.values()}
    listed = re.findall(r"^\| `([a-z_]+)` \| ([\d, ]+) \|", texts["docs/api.md"], re.MULTILINE)
    shown = {(code, int(status)) for code, numbers in listed for status in numbers.split(", ")}
    assert shown == rows


def test_every_status_outcome_and_reason_is_listed(texts):
    words = [*VerificationStatus, *MessageStatus, *AttemptOutcome, *SubscriberStatus, *AuthenticatorStatus, *Reason]
    assert missing(words, texts["docs/api.md"]) == set()


def test_every_field_is_described(texts):
    inner = (shapes.CodeWish, shapes.ClientTold, shapes.AttemptShape, shapes.EventShape, shapes.PublicKeyShape)
    described = (*openapi._SCHEMAS, *inner)
    fields = {field for shape in described for field in shape.__struct_fields__}
    assert missing(fields, texts["docs/api.md"]) == set()


def test_every_example_body_is_taken_or_given(texts):
    """Each JSON example of the page has the fields of one of the shapes, no more."""
    known = [frozenset(shape.__struct_fields__) for shape in openapi._SCHEMAS]
    for block in blocks(texts["docs/api.md"], "json"):
        fields = set(json.loads(block))
        assert any(fields <= shape for shape in known), block


def test_every_request_example_is_accepted(texts):
    found = [json.loads(block) for block in blocks(texts["docs/api.md"], "json")]
    creates = [body for body in found if "to" in body and "id" not in body]
    assert [msgspec.convert(body, shapes.CreateVerification).purpose for body in creates] == ["login"]


# --- The sandbox --------------------------------------------------------------------------------------------------


def test_every_act_of_a_person_is_described_and_every_one_shown_is_taken(texts):
    page = texts["docs/operations.md"]
    known = {name: kind for name, (kind, _) in Scenes(Sandbox(), Feed(), Recorder(), ABOUT)._acts.items()}
    rows = dict(re.findall(r"^\| `([a-z]+)` \| (`(?:person|server)`.*?) \|", page, re.MULTILINE))
    assert rows.keys() == known.keys() - {"sign-in", "check", "resend", "cancel", "look", "subscribe"}
    for name, fields in rows.items():
        # The page alone hands over what a link carries.
        assert missing(set(known[name].__struct_fields__) - {"payload"}, fields) == set()
    shown = re.findall(r"/act/([a-z]+) .*?-d '(.*?)'", page, re.DOTALL)
    assert [name for name, _ in shown] == ["start", "press", "contact"]
    for name, body in shown:
        assert msgspec.structs.asdict(msgspec.json.decode(body, type=known[name]))["person"] == 77001


# --- Events, logs, settings, templates, channels -------------------------------------------------------------------


def test_every_event_is_listed_with_its_meaning(texts):
    rows = set(re.findall(r"^\| `([a-z_.]+)` \| \w+", texts["docs/operations.md"], re.MULTILINE))
    assert set(map(str, EventName)) - rows == set()
    assert missing(EventName, texts["docs/api.md"]) == set()


def test_every_field_of_a_log_line_is_listed(texts):
    whole = Event("evt", 0.0, EventName.MESSAGE_SENT, "shop", "ver", "msg", "sms", 1, "sent", "unknown", "0", "a", 1.0)
    assert missing([*line_of(whole), "logger", "exception", "frames", "related"], texts["docs/operations.md"]) == set()


def test_every_key_of_a_code_and_every_alphabet_is_described(texts):
    assert missing({*schema.keys_of(CodeSettings), *ALPHABETS, *CLASSES}, texts["docs/policies.md"]) == set()


def test_every_policy_shown_is_taken(texts, tmp_path):
    """Each TOML example of the page starts a gateway, beside a shop whose channels are configured."""
    base = """
        [services.default]
        channels = ["console"]
        [channels.console]
        adapter = "console"
        [channels.sms]
        adapter = "console"
        [channels.email]
        adapter = "console"
        [channels.telegram]
        adapter = "console"
        """
    for block in blocks(texts["docs/policies.md"], "toml"):
        file = tmp_path / "config.toml"
        file.write_text(base + block, "utf-8")
        assert list(load_settings(file, {}).services["shop"].purposes)


def test_every_limit_shown_is_taken(texts, tmp_path):
    """Each TOML example of the page starts a gateway that sends by SMS."""
    sms = '[channels.sms]\nadapter = "sms"\n'
    account = 'account_sid = "AC00000000000000000000000000000000"\nfrom = "+15005550006"\n'
    for block in blocks(texts["docs/limits.md"], "toml"):
        whole = (block if sms in block else sms + block).replace(sms, sms + account)
        file = tmp_path / "config.toml"
        file.write_text(f'[services.default]\nchannels = ["sms"]\n{whole}', "utf-8")
        assert "shop" in load_settings(file, {"OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN": "t" * 32}).services


def test_every_key_of_a_channel_is_described(texts):
    keys = {key for kind in (SmsSettings, EmailSettings, TelegramSettings) for key in schema.keys_of(kind)}
    assert missing(keys - {"adapter"}, texts["docs/channels.md"]) == set()


def test_every_section_of_the_settings_is_described(texts):
    sections = {"[channels.…]" if name == "channels" else "[services.…]" if name == "services" else f"[{name}]"
                for name in Settings.model_fields}  # fmt: skip
    assert missing(sections, texts["docs/operations.md"]) == set()


def test_every_twilio_code_is_listed_as_it_is_classified(texts):
    listed = re.findall(r"^\| ((?:\d{5}(?:, )?)+) \| (\w+) \| `(\w+)` \|", texts["docs/channels.md"], re.MULTILINE)
    shown = {code: f"{kind}:{reason}" for codes, kind, reason in listed for code in codes.split(", ")}
    assert shown == dict(CODES)


def test_what_a_template_may_use_is_listed(texts):
    assert missing({*CODE_VALUES, *FILTERS, *REPLIES}, texts["docs/templates.md"]) == set()


def test_every_option_of_a_preview_is_named(texts):
    preview = below(below(typer.main.get_command(app))["templates"])["preview"]
    options = {option.opts[0] for option in preview.params if option.param_type_name == "option"}
    assert {option for option in options - {"--config", "--help"} if option not in texts["docs/templates.md"]} == set()


def test_every_resend_policy_is_named(texts):
    assert missing(get_args(CodeSettings.model_fields["resend"].annotation), texts["docs/api.md"]) == set()


def test_the_drawn_moves_are_those_of_the_code(texts):
    drawn = [
        set(re.findall(r"^ +(\w+) --> (\w+)", block, re.MULTILINE))
        for block in blocks(texts["docs/architecture.md"], "mermaid")
        if block.startswith("stateDiagram-v2")
    ]
    # Late reports of a delivery are told below the drawing: they come from nearly everywhere.
    late = {(source, "delivered") for source in ("queued", "failed", "expired", "canceled")}
    moves = [
        {(str(source), str(status)) for status, sources in table.items() for source in sources}
        for table in (MESSAGE_MOVES, VERIFICATION_MOVES)
    ]
    assert drawn == [moves[0] - late, moves[1]]


# --- The recipe ---------------------------------------------------------------------------------------------------


def recipe(text: str) -> dict[str, str]:
    """Return the files of "a channel from nothing" by their path, which stands in the line above each block."""
    found = re.findall(r"^`([\w./]+)`:?\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return dict(found)


def test_the_channel_written_from_nothing_is_three_files_that_parse(texts):
    files = recipe(texts["docs/channels.md"])
    assert set(files) == {"channels/push.py", "templates/push/verification/body.txt", "tests/channels/test_push.py"}
    for name, content in files.items():
        if name.endswith(".py"):
            ast.parse(content)


def test_the_channel_written_from_nothing_passes_the_contract(texts, tmp_path):
    for folder in ("channels", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "gateway"):
        (tmp_path / name).symlink_to(ROOT / name)
    contract = tmp_path / "tests" / "channels" / "contract.py"
    contract.parent.mkdir(parents=True)
    # A copy: it looks for templates beside itself.
    shutil.copy(ROOT / "tests" / "channels" / "contract.py", contract)
    for name, content in recipe(texts["docs/channels.md"]).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/channels/test_push.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
