"""Templates: reading, overlaying, choosing and rendering; and the ones that are shipped."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.base import UnknownAdapterError, load
from gateway.config.adapters import adapter_names
from gateway.delivery.writing.legible import one_line
from gateway.delivery.writing.reply_parts import CONVERSATION, REPLIES
from gateway.delivery.writing.template_language import MAX_SOURCE
from gateway.delivery.writing.templating import (
    CODE_VALUES,
    BrokenTemplatesError,
    Templates,
    code_values,
)
from gateway.errors import TemplateError
from tests.channels.contract import SHIPPED_CHANNELS

SHIPPED = Path(__file__).parents[3] / "templates"
EMAIL = ("subject.txt", "body.txt", "body.html")
CODE = "4920391857"
BRAND = "Northern Lights Savings & Loan"


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def made(folder, files):
    return Templates([write(folder, files)])


def render(templates, channel="sms", adapter="sms", purpose="login", locale="en", parts=("body.txt",), values=None):
    return templates.render(
        channel=channel, adapter=adapter, purpose=purpose, locale=locale, parts=parts, values=values or {}
    )


def sample(**changed):
    given_: dict[str, Any] = {
        "code": CODE,
        "brand": BRAND,
        "remaining": 300.0,
        "purpose": "login",
        "locale": "en",
        "params": {},
    }
    return code_values(**(given_ | changed))


# --- which template ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "purpose", "expected"),
    [
        ("sms", "login", "adapter login"),
        ("sms", "other", "adapter verification"),
        ("sms_eu", "login", "own verification"),
        ("sms_eu", "pay", "own pay"),
        ("sms_us", "login", "adapter login"),
        ("sms_us", "pay", "adapter verification"),
        ("sms", "../sms_eu/pay", "adapter verification"),
    ],
)
def test_the_channels_own_folder_goes_first_and_the_purposes_own_template(tmp_path, channel, purpose, expected):
    templates = made(
        tmp_path,
        {
            "sms/verification/body.txt": "adapter verification",
            "sms/login/body.txt": "adapter login",
            "sms_eu/verification/body.txt": "own verification",
            "sms_eu/pay/body.txt": "own pay",
        },
    )
    assert render(templates, channel, purpose=purpose) == {"body.txt": expected}


def test_a_set_without_all_needed_parts_is_passed_over(tmp_path):
    templates = made(
        tmp_path,
        {
            "email/verification/subject.txt": "s",
            "email/verification/body.txt": "b",
            "email/login/subject.txt": "login",
            "email/half/subject.de.txt": "half",
            "email/half/body.de.txt": "half",
        },
    )
    parts = ("subject.txt", "body.txt")
    assert render(templates, "email", "email", "login", parts=parts) == {"subject.txt": "s", "body.txt": "b"}
    assert render(templates, "email", "email", "half", "de", parts=parts) == {"subject.txt": "s", "body.txt": "b"}
    assert render(templates, "email", "email", "login", parts=("subject.txt",)) == {"subject.txt": "login"}


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("de-AT", "Servus"),
        ("de_at", "Servus"),
        ("de-CH", "Hallo"),
        ("de", "Hallo"),
        ("fr", "Hello"),
        ("en-GB", "Hello"),
        ("", "Hello"),
        ("nonsense", "Hello"),
    ],
)
def test_the_most_specific_locale_wins(tmp_path, locale, expected):
    files = {"body.txt": "Hello", "body.de.txt": "Hallo", "body.de_AT.txt": "Servus"}
    templates = made(tmp_path, {f"sms/verification/{name}": text for name, text in files.items()})
    assert render(templates, locale=locale) == {"body.txt": expected}


def test_all_parts_of_a_message_are_in_one_locale(tmp_path):
    files = {
        "subject.txt": "en",
        "body.txt": "en",
        "subject.de.txt": "de",
        "body.de.txt": "de",
        "subject.de-AT.txt": "at",
        "subject.fr.txt": "fr",
    }
    templates = made(tmp_path, {f"email/verification/{name}": text for name, text in files.items()})
    parts = ("subject.txt", "body.txt")
    assert set(render(templates, "email", "email", locale="de-AT", parts=parts).values()) == {"de"}
    assert set(render(templates, "email", "email", locale="fr", parts=parts).values()) == {"en"}
    assert render(templates, "email", "email", locale="de-AT", parts=("subject.txt",)) == {"subject.txt": "at"}


def test_an_own_folder_overlays_the_default_one_file_by_file(tmp_path):
    own = write(tmp_path / "own", {"sms/verification/body.txt": "own", "email/_frame.txt": "own frame"})
    default = write(
        tmp_path / "default",
        {
            "sms/verification/body.txt": "default",
            "sms/verification/body.de.txt": "Vorgabe",
            "email/_frame.txt": "default frame",
            "email/verification/body.txt": "{% include 'email/_frame.txt' %}",
        },
    )
    templates = Templates([own, default])
    assert render(templates) == {"body.txt": "own"}
    assert render(templates, locale="de") == {"body.txt": "Vorgabe"}
    assert render(templates, "email", "email") == {"body.txt": "own frame"}
    assert [(file.name, file.folder.name) for file in templates.files] == [
        ("email/verification/body.txt", "default"),
        ("sms/verification/body.txt", "own"),
        ("sms/verification/body.de.txt", "default"),
    ]


def test_another_spelling_of_a_locale_overlays_too(tmp_path):
    own = write(tmp_path / "own", {"sms/verification/body.de_at.txt": "own"})
    default = write(tmp_path / "default", {f"sms/verification/body{tag}.txt": tag for tag in ("", ".de-AT")})
    assert render(Templates([own, default]), locale="de-AT") == {"body.txt": "own"}


def test_a_start_is_refused_without_the_needed_parts(tmp_path):
    templates = made(tmp_path, {"email/verification/subject.txt": "s", "email/verification/body.de.txt": "b"})
    templates.require("email", "email", "verification", ("subject.txt",))
    with pytest.raises(TemplateError, match=r"channel email: no template has all of subject\.txt, body\.txt"):
        templates.require("email", "email", "verification", ["subject.txt", "body.txt"])
    with pytest.raises(TemplateError, match="channel pager"):
        render(templates, "pager", "pager")


@given(locale=st.text(), purpose=st.text(), channel=st.text())
def test_no_locale_purpose_or_channel_name_makes_the_choice_fail(locale, purpose, channel):
    parts = render(ALL, channel, "sms", purpose, locale, values=sample())
    assert CODE in parts["body.txt"]


# --- reading ----------------------------------------------------------------------------------------------------------


def faults_of(folder):
    with pytest.raises(BrokenTemplatesError) as caught:
        Templates([folder])
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def test_all_faults_are_told_at_once_with_file_and_line(tmp_path):
    write(
        tmp_path,
        {
            "sms/verification/body.txt": "one\n{{ code",
            "sms/verification/body.de.txt": b"eins\nzwei \xff",
            "sms/login/body.txt": "x" * (MAX_SOURCE + 1),
            "sms/deep/er/body.txt": "",
        },
    )
    assert faults_of(tmp_path) == [
        "sms/deep/er: folders go no deeper than <channel>/<template>",
        "sms/login/body.txt: larger than 65536 bytes",
        "sms/verification/body.de.txt:2: not UTF-8",
        "sms/verification/body.txt:2: unexpected end of template, expected 'end of print statement'.",
    ]


def test_the_error_text_is_all_faults_one_a_line(tmp_path):
    write(tmp_path, {"sms/a/body.txt": "{{", "sms/b/body.txt": "{{"})
    with pytest.raises(TemplateError) as caught:
        Templates([tmp_path])
    assert len(str(caught.value).splitlines()) == 2


def test_two_spellings_of_one_locale_in_one_folder_are_refused(tmp_path):
    write(tmp_path, {"sms/verification/body.de-AT.txt": "", "sms/verification/body.de_AT.txt": ""})
    assert faults_of(tmp_path) == ["sms/verification/body.de_AT.txt: the same part and locale as body.de-AT.txt"]


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BrokenTemplatesError, match="gone: cannot be read: No such file"):
        Templates([tmp_path / "gone"])


def test_links_are_followed_inside_the_folder_only(tmp_path):
    folder = write(tmp_path / "in", {"sms/verification/body.txt": "hello", "..data/body.txt": "mounted"})
    write(tmp_path / "out", {"secret.txt": "secret", "verification/body.txt": "secret"})
    (folder / "sms_eu").symlink_to("sms")
    (folder / "sms/verification/body.de.txt").symlink_to("../../..data/body.txt")
    templates = Templates([folder])
    assert render(templates, "sms_eu", locale="de") == {"body.txt": "mounted"}

    (folder / "sms_eu").unlink()
    (folder / "sms/verification/body.fr.txt").symlink_to(tmp_path / "out/secret.txt")
    (folder / "pager").symlink_to(tmp_path / "out")
    (folder / "round").symlink_to("round")
    (folder / "lost").symlink_to("nowhere")
    os.mkfifo(folder / "sms/verification/pipe.txt")
    assert faults_of(folder) == [
        "lost: a link that leads nowhere",
        "pager: a link that leads out of the templates' folder",
        "round: a link that leads nowhere",
        "sms/verification/body.fr.txt: a link that leads out of the templates' folder",
        "sms/verification/pipe.txt: not a regular file",
    ]


def test_a_link_in_a_circle_ends(tmp_path):
    folder = write(tmp_path, {"sms/verification/body.txt": "hello"})
    (folder / "sms/again").symlink_to("..")
    assert faults_of(folder) == ["sms/again/sms: folders go no deeper than <channel>/<template>"]


def test_the_folder_itself_may_be_a_link(tmp_path):
    write(tmp_path / "v1", {"sms/verification/body.txt": "hello"})
    (tmp_path / "current").symlink_to("v1")
    assert render(Templates([tmp_path / "current"])) == {"body.txt": "hello"}


def test_a_byte_order_mark_and_foreign_line_ends_do_not_reach_the_text(tmp_path):
    templates = made(tmp_path, {"sms/verification/body.txt": b"\xef\xbb\xbfone\r\ntwo\r\n\r\n"})
    assert render(templates) == {"body.txt": "one\ntwo"}


def test_what_is_no_part_is_kept_apart(tmp_path):
    templates = made(
        tmp_path,
        {
            "README.md": b"\xff",
            "sms/_frame.txt": "",
            "sms/verification/_words.txt": "",
            "sms/verification/.body.txt.swp": b"\xff",
            "sms/verification/body.txt": "",
            "sms/verification/body.deutsch.txt": "",
            "sms/verification/Body.txt": "",
            "sms/verification/picture.png": b"\xff",
        },
    )
    assert [file.name for file in templates.files] == ["sms/verification/body.txt"]
    assert sorted(path.name for path in templates.strangers) == ["Body.txt", "body.deutsch.txt", "picture.png"]


# --- rendering --------------------------------------------------------------------------------------------------------


def test_an_error_names_file_and_line_and_no_value(tmp_path):
    templates = made(tmp_path, {"sms/verification/body.txt": "hello\n{{ params[code] }}"})
    with pytest.raises(TemplateError) as caught:
        render(templates, values=sample())
    path = tmp_path / "sms/verification/body.txt"
    assert str(caught.value).startswith(f"{path}:2: a value is not defined here")
    assert CODE not in str(caught.value)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_any_error_of_an_expression_is_a_template_error(tmp_path):
    templates = made(tmp_path, {"sms/verification/body.txt": "{{ code - 1 }}"})
    with pytest.raises(TemplateError, match=r"body\.txt:1: TypeError while rendering$"):
        render(templates, values=sample())


def test_a_line_is_told_for_blocks_of_a_frame_too(tmp_path):
    templates = made(
        tmp_path,
        {
            "sms/_frame.txt": "\n{% block inner %}{% endblock %}",
            "sms/verification/body.txt": "{% extends 'sms/_frame.txt' %}\n\n{% block inner %}\n{{ gone }}{% endblock %}",
        },
    )
    with pytest.raises(TemplateError, match=r"body\.txt:4: "):
        render(templates)


@pytest.mark.parametrize(
    ("remaining", "minutes", "seconds"),
    [
        (600, 10, 600),
        (299.98, 5, 299),
        (295, 5, 295),
        (294.9, 4, 294),
        (60, 1, 60),
        (55, 1, 55),
        (54.9, 0, 54),
        (-3, 0, 0),
    ],
)
def test_the_time_left_is_rounded_down_but_for_a_grace(remaining, minutes, seconds):
    made_ = sample(remaining=remaining)
    assert (made_["minutes"], made_["seconds"]) == (minutes, seconds)


def test_the_values_are_those_that_are_named():
    assert sample().keys() == CODE_VALUES


def test_a_caller_cannot_start_a_line_or_turn_the_text_around():
    params = sample(params={"name": "Ann\n@evil.example #123456\u202e"})["params"]
    assert params == {"name": "Ann @evil.example #123456"}
    bind = sample(bind={"payee": "Books\n@evil.example #123456"})["bind"]
    assert bind == {"payee": "Books @evil.example #123456"}


# --- the shipped templates --------------------------------------------------------------------------------------------

ALL = Templates([SHIPPED])
FOLDERS = {file.channel for file in ALL.files} - {CONVERSATION}
SETS = sorted({(file.channel, file.template) for file in ALL.files if file.channel != CONVERSATION})
#: The sets of the shipped channels; another one's may put the code where it likes.
OURS = [found for found in SETS if found[0] in SHIPPED_CHANNELS]


class Text(HTMLParser):
    """Collects the text and the tags of HTML, and insists that tags are closed in order."""

    VOID = frozenset({"meta", "br", "img", "link", "hr"})

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.attributes, self.open = "", [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(text):
    parser = Text()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def is_adapter(name):
    try:
        load(name)
    except UnknownAdapterError:
        return False
    return True


def test_every_channel_of_the_product_has_templates_and_every_folder_a_channel():
    assert {name for name in adapter_names() if is_adapter(name)} == FOLDERS
    assert set(SHIPPED_CHANNELS) <= FOLDERS


@pytest.mark.parametrize(("channel", "template"), SETS)
def test_every_set_has_every_part_and_is_rendered_with_the_code(channel, template):
    parts = load(channel).parts
    own = {file.part for file in ALL.files if (file.channel, file.template, file.locale) == (channel, template, "")}
    assert own == set(parts)
    rendered = render(ALL, channel, channel, template, "en", parts, values=sample())
    assert any(CODE in text for text in rendered.values())


@pytest.mark.parametrize(("channel", "template"), OURS)
@pytest.mark.parametrize("locale", ["en", "de"])
def test_a_shipped_set_holds_the_code_in_every_body_and_nowhere_else(channel, template, locale):
    parts = load(channel).parts
    rendered = render(ALL, channel, channel, template, locale, parts, values=sample())
    assert {part: CODE in text for part, text in rendered.items()} == {part: part.startswith("body.") for part in parts}


def test_english_and_german_are_complete():
    """A set that speaks a language speaks it in every part; all of the shipped channels' and the bot's speak German."""
    spoken: dict[tuple[str, str], dict[str, set[str]]] = {}
    for file in ALL.files:
        spoken.setdefault((file.channel, file.template), {}).setdefault(file.locale, set()).add(file.part)
    halves = [
        (name, locale) for name, locales in spoken.items() for locale in locales if locales[locale] != locales[""]
    ]
    assert halves == []
    shipped = [set(locales) for name, locales in spoken.items() if name[0] in {*SHIPPED_CHANNELS, CONVERSATION}]
    assert shipped == [{"", "de"}] * len(shipped)


@pytest.mark.parametrize("channel", SHIPPED_CHANNELS)
@pytest.mark.parametrize(
    ("locale", "remaining", "expected", "wrong"),
    [
        ("en", 300, "valid for 5 minutes.", "1 minute"),
        ("en", 60, "valid for 1 minute.", "minutes"),
        ("en", 30, "valid for less than a minute.", "minutes"),
        ("de", 300, "gilt noch 5 Minuten.", "1 Minute"),
        ("de", 60, "gilt noch 1 Minute.", "Minuten"),
        ("de", 30, "gilt noch weniger als 1 Minute.", "Minuten"),
    ],
)
def test_the_time_left_reads_right(channel, locale, remaining, expected, wrong):
    parts = [part for part in load(channel).parts if part.startswith("body.")]
    texts = render(ALL, channel, channel, "other", locale, parts, values=sample(remaining=remaining))
    for text in texts.values():
        assert expected in text
        assert wrong not in text


@pytest.mark.parametrize("locale", ["en", "de"])
@pytest.mark.parametrize("remaining", [600, 60, 30])
def test_an_sms_is_one_segment_at_its_longest_and_opens_with_brand_and_code(locale, remaining):
    text = render(ALL, locale=locale, values=sample(remaining=remaining))["body.txt"]
    inspection = load("sms").inspect({"body.txt": text})
    assert inspection.faults == ()
    assert len(text) <= 160
    assert text.startswith(BRAND)
    assert text.index(CODE) < 60
    assert "1 segment" in inspection.summary


@pytest.mark.parametrize("template", ["verification", "login"])
@pytest.mark.parametrize("locale", ["en", "de"])
def test_a_mail_is_small_whole_and_loads_nothing(template, locale):
    parts = render(ALL, "email", "email", template, locale, EMAIL, values=sample())
    mail = parsed(parts["body.html"])
    assert len(parts["body.html"].encode()) < 10_000
    assert parts["body.html"].startswith("<!DOCTYPE html>")
    assert ("html", "lang", locale) in mail.attributes
    assert {value for tag, name, value in mail.attributes if (tag, name) == ("table", "role")} == {"presentation"}
    assert mail.tags.count("table") == len([1 for tag, name, _ in mail.attributes if (tag, name) == ("table", "role")])
    assert not {"img", "link", "script", "a", "iframe", "form"} & set(mail.tags)
    assert not {name for _, name, _ in mail.attributes} & {"src", "href", "background"}
    assert "url(" not in parts["body.html"]
    assert "@import" not in parts["body.html"]
    assert "//" not in parts["body.html"].replace("<!--", "")
    assert mail.tags.count("h1") == 1
    assert "\n" not in parts["subject.txt"]
    assert BRAND in parts["subject.txt"]


def test_the_line_an_inbox_shows_does_not_hold_the_code():
    body = render(ALL, "email", "email", "login", "en", ("body.html",), values=sample())["body.html"]
    shown = parsed(body[body.index("<body") : body.index("</div>")].split(">", 1)[1] + "</div>").text.strip()
    assert shown.startswith("It is valid for 5 minutes.")
    assert CODE not in shown
    assert len(shown) > 200


@pytest.mark.parametrize(("channel", "template"), OURS)
@given(brand=st.text(min_size=1), name=st.text(), locale=st.sampled_from(["en", "de"]))
def test_no_value_of_a_caller_becomes_markup(channel, template, brand, name, locale):
    parts = [part for part in load(channel).parts if part.endswith(".html")]
    plain = render(ALL, channel, channel, template, locale, parts, values=sample(brand="Example"))
    rendered = render(ALL, channel, channel, template, locale, parts, values=sample(brand=brand, params={"name": name}))
    for part in parts:
        before, after = parsed(plain[part]), parsed(rendered[part])
        assert (after.tags, after.attributes) == (before.tags, before.attributes)
        assert one_line(brand) in after.text


@pytest.fixture(scope="module")
def greeting(tmp_path_factory):
    """Compile one small HTML template."""
    return made(tmp_path_factory.mktemp("one"), {"sms/verification/body.html": "<b>{{ params.name }}</b>"})


@given(text=st.text())
def test_html_shows_what_a_caller_wrote(greeting, text):
    rendered = parsed(render(greeting, parts=("body.html",), values={"params": {"name": text}})["body.html"])
    assert (rendered.text, rendered.tags) == (text, ["b"])


# --- what the bot answers ---------------------------------------------------------------------------------------------


def test_there_is_a_template_for_every_reply_and_a_reply_for_every_template():
    assert {file.template for file in ALL.files if file.channel == CONVERSATION} == set(REPLIES)


@pytest.mark.parametrize("template", REPLIES)
@pytest.mark.parametrize("locale", ["en", "de"])
def test_every_reply_is_short_and_uses_telegrams_tags_only(template, locale):
    reply = REPLIES[template]
    given_ = dict.fromkeys(reply.values, "<i>&")
    parts = render(ALL, CONVERSATION, CONVERSATION, template, locale, reply.parts, given_)
    assert all(0 < len(text) <= 40 for part, text in parts.items() if part != "reply.html")
    if "reply.html" not in reply.parts:
        return
    answer = parsed(parts["reply.html"])
    assert set(answer.tags) <= {"b", "i", "code", "pre", "a"}
    assert ("<i>&" in answer.text) == bool(reply.values)
    assert 0 < len(answer.text) <= 4096


def test_a_telegram_message_uses_telegrams_tags_only():
    for locale in ("en", "de"):
        parts = render(ALL, "telegram", "telegram", "login", locale, ("body.html", "copy.txt"), values=sample())
        assert parsed(parts["body.html"]).tags == ["b", "code", "i"]
        assert f"<code>{CODE}</code>" in parts["body.html"]
        assert len(parts["copy.txt"]) <= 20
