"""The template language: what it refuses, at start or while rendering."""

from __future__ import annotations

import pytest

from gateway.delivery.writing.template_language import MAX_OUTPUT
from gateway.delivery.writing.templating import BrokenTemplatesError, Templates
from gateway.errors import TemplateError


@pytest.fixture
def render(tmp_path):
    """Return a function that writes one template, renders it with ``values`` and returns its text."""
    folder = tmp_path / "sms" / "verification"
    folder.mkdir(parents=True)

    def run(source, part="body.txt", **values):
        (folder / part).write_text(source, encoding="utf-8")
        made = Templates([tmp_path])
        rendered = made.render(channel="sms", adapter="sms", purpose="login", locale="en", parts=(part,), values=values)
        return rendered[part]

    return run


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ code[:3] }} {{ code[3:] }}", "492 039"),
        ("{{ minutes * 60 }}", "300"),
        ("{{ minutes % 2 }}", "1"),
        ("{{ 'a' + code }}", "a492039"),
        ("{{ params.name | default('there') }}", "there"),
        ("{{ 'yes' if params.name is defined else 'no' }}", "no"),
        ("{{ params.items }}", "three"),
        ("{{ params['items'] }}", "three"),
        ("{% for digit in code %}{{ digit }}{{ '' if loop.last else '-' }}{% endfor %}", "4-9-2-0-3-9"),
        ("{% macro twice(text) %}{{ text }}{{ text }}{% endmacro %}{{ twice(code) }}", "492039492039"),
        ("{% set shown %}<{{ code }}>{% endset %}{{ shown }}", "<492039>"),
        ("{{ code | upper | length }}", "6"),
    ],
)
def test_what_a_text_needs_is_there(render, source, expected):
    assert render(source, code="492039", minutes=5, params={"items": "three"}) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ code.__class__ }}",
        "{{ code['__class__'] }}",
        "{{ params.__init__.__globals__ }}",
        "{{ params['pop'] }}",
        "{{ code.format('x') }}",
        "{{ '{0.__class__}'.format(code) }}",
        "{{ code.upper() }}",
        "{{ code.upper }}",
        "{{ self.__init__ }}",
        "{{ loop }}",
        "{% for x in code %}{{ loop.cycle('a') }}{% endfor %}",
        "{{ range(1000000000) }}",
        "{{ lipsum() }}",
        "{{ cycler('a') }}",
        "{{ namespace() }}",
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 1000000000 }}",
        "{{ 1000000000 * 'a' }}",
        "{{ [0] * 1000000000 }}",
        "{{ 9 ** 99999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 1000000001 * 2 }}",
        "{{ [1] + [2] }}",
        "{% set m %}{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}{% endset %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% set a = 'x' * 2 %}",
        "{{ 1 / 0 }}",
        "{{ nothing }}",
        "{{ params.nothing }}",
    ],
)
def test_an_escape_or_a_bomb_is_refused_while_rendering(render, source):
    with pytest.raises(TemplateError, match=r"body\.txt:1: "):
        render(source, code="492039", params={"name": "Ann"})


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in text %}{% for b in text %}{{ text }}{% endfor %}{% endfor %}",
        "{% set a %}{% for x in text %}{{ text }}{{ text }}{% endfor %}{% endset %}{{ a }}",
        "{% macro f() %}{% for x in text %}{{ text }}{{ text }}{% endfor %}{% endmacro %}{{ f() }}",
        "{% set a = text + text %}{% set a = a + a + a + a + a %}{% set a = a + a + a %}{{ a }}",
        "{{ text }}" * 30,
    ],
)
@pytest.mark.parametrize("part", ["body.txt", "body.html"])
def test_the_output_is_bounded_wherever_it_grows(render, source, part):
    with pytest.raises(TemplateError, match=f"more than {MAX_OUTPUT} characters"):
        render(source, part, text="x" * 4000)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("ok\n{{ code", "unexpected end of template"),
        ("ok\n{% if code %}", "Unexpected end of template"),
        ("ok\n{% trans %}", "unknown tag"),
        ("ok\n{{ code | safe }}", "No filter named 'safe'"),
        ("ok\n{{ code | center(1000000000) }}", "No filter named 'center'"),
        ("ok\n{{ 'a' | attr('b') }}", "No filter named 'attr'"),
        ("ok\n{% autoescape false %}{{ code }}{% endautoescape %}", "escaping cannot be switched"),
        ("ok\n{{ code ~ code }}", "'~' is not allowed"),
        ("ok\n{% include code %}", "named by a plain string"),
        ("ok\n{% include ['a.txt', 'b.txt'] %}", "named by a plain string"),
        ("ok\n{% include '../../../etc/passwd' %}", "no template"),
        ("ok\n{% include '/etc/passwd' %}", "no template"),
        ("ok\n{% include 'gone.txt' ignore missing %}", "no template 'gone.txt'"),
        ("ok\n{% extends 'gone.txt' %}", "no template 'gone.txt'"),
        ("ok\n{% import 'gone.txt' as x %}", "no template 'gone.txt'"),
        ("ok\n{% from 'gone.txt' import x %}", "no template 'gone.txt'"),
    ],
)
def test_what_the_language_leaves_out_is_refused_at_start_with_its_line(render, source, text):
    with pytest.raises(BrokenTemplatesError) as caught:
        render(source, code="1")
    assert [fault.line for fault in caught.value.faults] == [2]
    assert text in caught.value.faults[0].text


def test_files_include_and_extend_others_of_the_folder(render, tmp_path):
    (tmp_path / "_frame.txt").write_text("[{% block inner %}{% endblock %}]{% include 'sms/_end.txt' %}")
    (tmp_path / "sms" / "_end.txt").write_text(" {{ code }}")
    (tmp_path / "sms" / "verification" / "_words.txt").write_text("{% macro hello() %}hello{% endmacro %}")
    source = (
        "{% extends '_frame.txt' %}{% block inner %}{{ super() }}"
        "{% from 'sms/verification/_words.txt' import hello %}{{ hello() }}{% endblock %}"
    )
    assert render(source, code="492039") == "[hello] 492039"


def test_a_macro_is_reached_through_its_module(render, tmp_path):
    (tmp_path / "_words.txt").write_text("{% macro hello() %}hello{% endmacro %}")
    assert render("{% import '_words.txt' as words %}{{ words.hello() }}") == "hello"


def test_a_fault_in_an_included_file_names_that_file(render, tmp_path):
    (tmp_path / "_end.txt").write_text("\n\n{{ nothing }}")
    with pytest.raises(TemplateError, match=r"_end\.txt:3: "):
        render("{% include '_end.txt' %}")


def test_files_that_include_each_other_without_end_are_an_error_not_a_crash(render, tmp_path):
    (tmp_path / "_a.txt").write_text("{% include '_b.txt' %}")
    (tmp_path / "_b.txt").write_text("{% include '_a.txt' %}")
    with pytest.raises(TemplateError, match="without end"):
        render("{% include '_a.txt' %}")


def test_html_cannot_include_text_whose_values_would_not_be_escaped(render, tmp_path):
    (tmp_path / "_end.txt").write_text("{{ name }}")
    with pytest.raises(BrokenTemplatesError, match="cannot include"):
        render("{% include '_end.txt' %}", "body.html", name="<b>")


def test_html_is_escaped_and_text_is_not(render):
    assert render("{{ name }}", "body.html", name="<b>&") == "&lt;b&gt;&amp;"
    assert render("{{ '' + name }}", "body.html", name="<b>&") == "&lt;b&gt;&amp;"
    assert render("{% set a %}{{ name }}{% endset %}{{ a + name }}", "body.html", name="<") == "&lt;&lt;"
    assert render("{{ name }}", "body.txt", name="<b>&") == "<b>&"
