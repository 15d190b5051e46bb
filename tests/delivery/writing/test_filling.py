"""Filling a code in instead of rendering it: the same text, and only where nothing looks at the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.delivery.writing.filling import fillable
from gateway.delivery.writing.template_language import Sandbox
from gateway.delivery.writing.templating import Templates, code_values

SHIPPED = Path(__file__).parents[3] / "templates"
NAME = "sms/verification/body.txt"
TEMPLATES = Templates([SHIPPED])


def trees(**others):
    texts = {f"{name}.txt": text for name, text in others.items()}
    return {name: Sandbox().parse(text, name) for name, text in texts.items()}


@pytest.mark.parametrize(
    "text",
    [
        "Your code is {{ code }}.",
        "{{ code }} and {{ code }}",
        "no code at all",
        "{% if minutes > 1 %}{{ code }}{% else %}{{ code }}!{% endif %}",
        "{{ brand|upper }}: {{ code }}",
        "{% for name in params %}{{ name }}{% endfor %}{{ code }}",
        "{% set greeting = 'Hi' %}{{ greeting }} {{ code }}",
        "{% block a %}{{ code }}{% endblock %}{{ self.a() }}",
        "{% include 'plain.txt' %}",
    ],
)
def test_a_code_that_stands_as_it_is_is_filled_in(text):
    assert fillable("it.txt", trees(it=text, plain="{{ code }}"))


@pytest.mark.parametrize(
    "text",
    [
        "{{ code|upper }}",
        "{{ code[0] }}",
        "{{ code + '' }}",
        "{{ code|length }}",
        "{{ code if minutes else '' }}",
        "{% if code %}yes{% endif %}",
        "{% if minutes %}{% elif code == '1' %}yes{% endif %}",
        "{% for digit in code %}{{ digit }}{% endfor %}",
        "{% for name in params %}{{ code }}{% endfor %}",
        "{% set shown = code %}{{ shown }}",
        "{% set shown %}{{ code }}{% endset %}{{ shown|upper }}",
        "{% filter upper %}{{ code }}{% endfilter %}",
        "{% filter upper %}{% include 'plain.txt' %}{% endfilter %}",
        "{% filter upper %}{% block a %}{% endblock %}{% endfilter %}",
        "{% block a %}{{ code }}{% endblock %}{{ self.a()|upper }}",
        "{% macro m(x) %}{{ x|upper }}{% endmacro %}{{ m(code) }}",
        "{% macro m() %}{{ code }}{% endmacro %}{{ m()|upper }}",
        "{% macro m() %}{{ caller()|upper }}{% endmacro %}{% call m() %}{{ code }}{% endcall %}",
        "{% with shown = code %}{{ shown|upper }}{% endwith %}",
        "{% include 'reads.txt' %}",
        "{% extends 'reads.txt' %}{% block a %}{% endblock %}",
        "{% import 'reads.txt' as other with context %}{{ other }}",
        "{{ code }} for {{ seconds }} s",
    ],
)
def test_a_code_that_anything_is_done_to_is_rendered_each_time(text):
    assert not fillable("it.txt", trees(it=text, plain="{{ code }}", reads="{{ code|upper }}"))


def test_templates_that_include_each_other_in_a_circle_are_looked_at_once():
    assert fillable("it.txt", trees(it="{% include 'plain.txt' %}", plain="{% include 'it.txt' %}{{ code }}"))


def rendered(templates, values, file):
    return templates.render(
        channel=file.channel,
        adapter=file.channel,
        purpose=file.template,
        locale=file.locale,
        parts=(file.part,),
        values=values,
    )


def values(code, remaining, params=None):
    return code_values(
        code=code, brand="R&D <Ltd>", remaining=remaining, purpose="login", locale="en", params=params or {}
    )


@given(code=st.text("0123456789ABCxyz-&<>'\"%", min_size=1, max_size=12), remaining=st.floats(0, 700))
def test_every_shipped_part_is_the_same_filled_in_as_rendered(code, remaining):
    # A parameter that no shipped template reads has them rendered.
    filled, plain = values(code, remaining), values(code, remaining, {"unread": "x"})
    for file in TEMPLATES.files:
        if file.channel != "conversation":
            assert rendered(TEMPLATES, filled, file) == rendered(TEMPLATES, plain, file)


def test_what_a_code_is_bound_to_is_never_left_over_for_another(tmp_path):
    (tmp_path / "sms/verification").mkdir(parents=True)
    (tmp_path / NAME).write_text("{{ code }} {{ bind.amount | default('-') }}")
    templates = Templates([tmp_path])
    [file] = templates.files
    bound = [values("111111", 300) | {"bind": bind} for bind in ({}, {"amount": "1"}, {"amount": "2"}, {})]
    assert [rendered(templates, item, file)["body.txt"] for item in bound] == [
        "111111 -",
        "111111 1",
        "111111 2",
        "111111 -",
    ]


def test_parts_filled_in_keep_nothing_of_an_earlier_code(tmp_path):
    (tmp_path / "sms/verification").mkdir(parents=True)
    (tmp_path / NAME).write_text("{{ brand }}: {{ code }}")
    templates = Templates([tmp_path])
    [file] = templates.files
    texts = [rendered(templates, values(code, 300), file)["body.txt"] for code in ("111111", "222222", "111111")]
    assert texts == ["R&D <Ltd>: 111111", "R&D <Ltd>: 222222", "R&D <Ltd>: 111111"]
