"""Lint: what it finds, where, and that the shipped templates give it nothing to find."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.base import Channel, Envelope, Inspection, Receipt, load
from channels.chat import HandleInbound
from gateway.delivery.writing.linting import LONGEST_BRAND, LONGEST_CODE, LONGEST_PARAM, Finding, Severity, lint
from gateway.delivery.writing.reply_parts import CONVERSATION, REPLIES
from gateway.delivery.writing.templating import Templates
from gateway.verification.codes import LONGEST, example
from tests.channels.contract import SHIPPED_CHANNELS

SHIPPED = Path(__file__).parents[3] / "templates"
SEEN: list[str] = []


class Short(Channel):
    """A channel of one part that holds 60 characters."""

    parts = ("body.txt",)

    async def deliver(self, envelope: Envelope) -> Receipt:
        raise NotImplementedError

    @classmethod
    def inspect(cls, parts):
        length = len(parts["body.txt"])
        SEEN.append(parts["body.txt"])
        return Inspection(f"{length}", ("longer than 60 characters",) if length > 60 else ())


class Mail(Channel):
    """A channel of three parts."""

    parts = ("subject.txt", "body.txt", "body.html")

    async def deliver(self, envelope: Envelope) -> Receipt:
        raise NotImplementedError


class Bot(Short):
    """A channel that hears people."""

    async def listen(self, handle: HandleInbound) -> None:
        raise NotImplementedError


CHANNELS = {"short": ("short", Short), "mail_eu": ("mail", Mail)}
MAIL = {
    "mail/verification/subject.txt": "Your code",
    "mail/verification/body.txt": "{{ code }}",
    "mail/verification/body.html": "<b>{{ code }}</b>",
}
SOUND = MAIL | {"short/verification/body.txt": "{{ code }}"}


@pytest.fixture
def found(tmp_path):
    """Return a function that lints ``SOUND`` with ``files`` over it (``None`` takes one away)."""

    def run(files, channels=CHANNELS, **options):
        for name, text in (SOUND | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_text(text, encoding="utf-8")
        findings = lint(Templates([tmp_path]), channels, **options)
        return [
            (finding.file.removeprefix(f"{tmp_path}/"), finding.line, finding.severity, finding.text)
            for finding in findings
        ]

    return run


def test_sound_templates_give_nothing_to_find(found):
    assert found({}) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"short/verification/body.txt": "hello"},
            [
                (
                    "short/verification/body.txt",
                    None,
                    "the code is missing, or not in one piece to be copied and filled in",
                )
            ],
        ),
        (
            {"short/verification/body.txt": "{{ code[:3] }} {{ code[3:] }}"},
            [
                (
                    "short/verification/body.txt",
                    None,
                    "the code is missing, or not in one piece to be copied and filled in",
                )
            ],
        ),
        (
            {"mail/verification/body.html": "<b>hello</b>"},
            [
                (
                    "mail/verification/body.html",
                    None,
                    "the code is missing, or not in one piece to be copied and filled in",
                )
            ],
        ),
        (
            {"mail/verification/subject.txt": "{{ code }}"},
            [
                (
                    "mail/verification/subject.txt",
                    None,
                    "the code is in the subject, which shows on locked screens and in logs of mail servers",
                )
            ],
        ),
        (
            {"mail/verification/subject.txt": "one\ntwo"},
            [("mail/verification/subject.txt", None, "a subject is one line")],
        ),
        ({"mail/verification/subject.txt": ""}, [("mail/verification/subject.txt", None, "empty")]),
        (
            {"short/verification/body.txt": "{{ code }}\n{{ minuets }}"},
            [("short/verification/body.txt", 2, "unknown variable minuets; did you mean minutes?")],
        ),
        (
            {"short/verification/body.txt": "{{ code }}{% if minutes == 7 %}\n{{ xyz }}{% endif %}"},
            [("short/verification/body.txt", 2, "unknown variable xyz")],
        ),
        (
            {"short/verification/body.txt": "{{ code }}\n{{ params.name }}"},
            [
                (
                    "short/verification/body.txt",
                    2,
                    "a value is not defined here (guard what a caller gives: params.name is defined)",
                )
            ],
        ),
        (
            {"short/verification/body.txt": "{{ code }}{% if minutes == 0 %}{{ code - 1 }}{% endif %}"},
            [("short/verification/body.txt", 1, "TypeError while rendering")],
        ),
        (
            {"short/verification/body.txt": "{{ code }}" + "x" * 51},
            [("short/verification/body.txt", None, "longer than 60 characters")],
        ),
        (
            {
                "short/verification/body.txt": "{{ code }} {{ brand }}{% if params.name is defined %} {{ params['name'] }}{% endif %}"
            },
            [("short/verification/body.txt", None, "longer than 60 characters")],
        ),
        (
            {"short/verification/boddy.txt": "{{ code }}"},
            [("short/verification/boddy.txt", None, "short has no part boddy.txt; did you mean body.txt?")],
        ),
        (
            {"short/verification/README.md": "x"},
            [("short/verification/README.md", None, "not named <part>[.<locale>].txt or .html, so it is never used")],
        ),
        (
            {"mail/login/subject.txt": "Sign in"},
            [
                ("mail/login/body.html", None, "missing, so the whole template is never used"),
                ("mail/login/body.txt", None, "missing, so the whole template is never used"),
            ],
        ),
        (
            {"mail/verification/subject.fr.txt": "Votre code", "short/verification/body.fr.txt": "{{ code }}"},
            [("mail/verification", None, "fr has no body.txt, body.html, so it is never used")],
        ),
    ],
)
def test_a_fault_is_found_at_its_place(found, files, expected):
    assert found(files) == [(file, line, Severity.ERROR, text) for file, line, text in expected]


def test_a_locale_that_other_templates_have_is_missed(found):
    assert found({"short/verification/body.de-AT.txt": "{{ code }}"}) == [
        ("mail/verification", None, Severity.WARNING, "missing locale: other templates have de-AT")
    ]


def test_a_language_serves_its_regions_and_plain_files_serve_english(found):
    german = {
        f"{name[:-4]}.de.txt" if name.endswith("txt") else f"{name[:-5]}.de.html": text for name, text in MAIL.items()
    }
    both = {f"short/verification/body.{tag}.txt": "{{ code }}" for tag in ("de", "de-AT", "en-GB")}
    assert found(german | both) == []


def test_every_locale_is_rendered(found):
    files = {f"short/verification/body.{tag}.txt": "{{ code }}" for tag in ("de", "de-AT")}
    german = {"mail/verification/subject.de.txt": "Code", "mail/verification/body.de.txt": "{{ code }}"}
    html = {"mail/verification/body.de.html": "<b>Code</b>"}
    assert [item[0] for item in found(files | german | html)] == ["mail/verification/body.de.html"]


def test_a_folder_that_nothing_knows_is_told_with_the_nearest_name(found, tmp_path):
    assert found({"shirt/verification/body.txt": "{{ code }}", "quite_else/a/body.txt": ""}) == [
        ("quite_else", None, Severity.WARNING, "no channel or adapter has this name"),
        ("shirt", None, Severity.WARNING, "no channel or adapter has this name; did you mean short?"),
    ]


def test_a_channel_without_templates_is_an_error(found):
    assert found({}, CHANNELS | {"pager": ("pager", Short)}) == [
        ("pager/verification", None, Severity.ERROR, "channel pager: no template has all of body.txt without a locale")
    ]


def test_a_channels_own_folder_is_measured_with_its_adapters_parts(found):
    assert found({"mail_eu/verification/body.txt": "hello"}) == [
        ("mail_eu/verification/body.html", None, Severity.ERROR, "missing, so the whole template is never used"),
        ("mail_eu/verification/subject.txt", None, Severity.ERROR, "missing, so the whole template is never used"),
    ]


def test_the_longest_values_are_the_ones_promised(found):
    SEEN.clear()
    found({"short/verification/body.txt": "{{ code }} {{ brand }} {{ minutes }} {{ params.name | default('-') }}"})
    assert set(SEEN) == {
        f"{LONGEST_CODE} {LONGEST_BRAND} {minutes} {name}" for minutes in (10, 1, 0) for name in ("-", LONGEST_PARAM)
    }
    assert (len(LONGEST_CODE), len(LONGEST_BRAND), len(LONGEST_PARAM)) == (10, 30, 30)


def test_what_a_code_is_bound_to_is_measured_like_a_parameter(found):
    text = "{{ code }} {{ params.name | default('-') }} {{ bind.payee | default('-') }}"
    assert found({"short/verification/body.txt": text}) == [
        ("short/verification/body.txt", None, Severity.ERROR, "longer than 60 characters")
    ]


def test_the_brand_to_measure_with_can_be_given(found):
    assert found({"short/verification/body.txt": "{{ code }} {{ brand }}"}, brand="B" * 50) == [
        ("short/verification/body.txt", None, Severity.ERROR, "longer than 60 characters")
    ]


def test_replies_are_asked_for_where_a_channel_hears_people(found):
    findings = found({}, {"short": ("short", Short), "mail": ("mail", Mail), "bot": ("short", Bot)})
    assert {file for file, *_ in findings} == {f"conversation/{template}" for template in REPLIES}


def test_replies_have_their_own_values_and_need_no_code(found):
    assert found(
        {
            "conversation/linked/reply.html": "{{ brand }} {{ account }}",
            "conversation/start/reply.html": "Hello {{ brand }}",
            "conversation/start/replay.html": "Hello",
            "conversation/halp/reply.html": "Hello",
        }
    ) == [
        ("conversation/halp", None, Severity.WARNING, "the bot never answers with this; did you mean help?"),
        (
            "conversation/start/replay.html",
            None,
            Severity.ERROR,
            "conversation has no part replay.html; did you mean reply.html?",
        ),
        ("conversation/start/reply.html", 1, Severity.ERROR, "unknown variable brand"),
    ]


def test_a_code_is_found_as_people_are_shown_it(found):
    files = {"short/verification/body.txt": "{{ code }}", "short/login/body.txt": "{{ code | lower }}"}
    assert found(files, code="CFGH-2345") == [
        (
            "short/login/body.txt",
            None,
            Severity.ERROR,
            "the code is missing, or not in one piece to be copied and filled in",
        )
    ]


@pytest.mark.parametrize(
    ("code", "brand"),
    [
        (LONGEST_CODE, LONGEST_BRAND),
        (example(LONGEST, "unambiguous"), "x" * 21),
        (example(LONGEST, "symbols"), "x" * 28),
    ],
)
def test_the_shipped_templates_have_no_faults(code, brand):
    templates = Templates([SHIPPED])
    adapters = {file.channel for file in templates.files} - {CONVERSATION}
    found = lint(templates, {name: (name, load(name)) for name in adapters}, code=code, brand=brand)
    ours = [SHIPPED / name for name in (*SHIPPED_CHANNELS, CONVERSATION)]
    assert [item for item in found if any(Path(item.file).is_relative_to(folder) for folder in ours)] == []
    assert [item for item in found if item.severity is Severity.ERROR] == []


def test_a_set_without_a_language_that_others_have_is_a_warning(found):
    files = {name.replace(".", ".de."): text for name, text in MAIL.items()}
    assert found(files) == [
        ("short/verification", None, Severity.WARNING, "missing locale: other templates have de"),
    ]


def test_a_finding_is_a_value():
    assert Finding("a", 1, Severity.ERROR, "x") == Finding("a", 1, Severity.ERROR, "x")
