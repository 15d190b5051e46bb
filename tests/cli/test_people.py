"""Lists of people: what a row asks for, and every line that cannot be used."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.people import Fault, People, Row
from gateway.errors import ConfigError
from gateway.verification.request import Asked

KINDS = ("phone", "email", "telegram")


def read(text: str | bytes, **defaults: Any) -> list[Any]:
    raw = text.encode() if isinstance(text, str) else text
    return list(People(raw, KINDS, defaults))


def refused(text: str | bytes) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as told:
        read(text)
    return told.value.faults


def test_a_column_named_to_holds_plain_addresses():
    assert [
        (2, Asked(to={"phone": "+4915112345678"})),
        (3, Asked(to={"email": "ann@example.org"})),
    ] == [(row.line, row.asked) for row in read("to\n+4915112345678\nann@example.org\n")]


def test_columns_are_fields_kinds_and_parameters():
    [row] = read("Phone;EMAIL;locale;purpose;channels;Name\n+4915112345678;ann@example.org;de;login;sms email;Ann\n")
    assert row.asked == Asked(
        to={"phone": "+4915112345678", "email": "ann@example.org"},
        channels=["sms", "email"],
        purpose="login",
        locale="de",
        params={"Name": "Ann"},
    )
    assert row.addresses == {"+4915112345678", "ann@example.org"}


def test_an_empty_cell_is_none_and_the_options_count_where_a_row_says_nothing():
    rows = read("to,purpose,name\na@x.org,,\nb@x.org,signup,Bob\n", purpose="login", ttl=60, params={"name": "you"})
    assert [(row.asked.purpose, row.asked.params, row.asked.ttl) for row in rows] == [
        ("login", {"name": "you"}, 60),
        ("signup", {"name": "Bob"}, 60),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\n", "\ufeff\n"])
def test_delimiters_line_ends_and_a_byte_order_mark_are_found_out(delimiter, end, start):
    text = start + end.join([f"to{delimiter}name", f'"a@x.org"{delimiter}"Ann ""A"""', ""])
    [row] = read(text)
    assert row.asked == Asked(to={"email": "a@x.org"}, params={"name": 'Ann "A"'})


def test_a_line_is_numbered_by_where_its_row_begins():
    found = read('to,name\n\n"a@x.org","Ann\nof\nthree lines"\n,\nb@x.org,Bob\n')
    assert [row.line for row in found] == [3, 7]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("a@x.org", "1 cell, where the first line names 3 columns"),
        ("a@x.org,,x,y", "4 cells, where the first line names 3 columns"),
        (",,x", "/to: at least one address"),
        (
            "a@x.org,+4915112345678,x",
            "an address in the column to and another in a column of its kind; leave one empty",
        ),
        ('"a"b,,x', "a cell's quotes do not close as they should"),
        (f"a@x.org,,{'x' * 201}", "/params/name: a text of at most 200 characters"),
    ],
)
def test_a_line_that_cannot_be_used_is_named_and_the_others_can(row, text):
    assert [Fault(2, text), 3] == [
        item if isinstance(item, Fault) else item.line for item in read(f"to,phone,name\n{row}\nb@x.org,,y\n")
    ]


def test_a_quote_that_never_closes_is_named_by_the_line_it_opens_in():
    found = read('to\na@x.org\n"b@x.org\nc@x.org\n')
    assert [item.line for item in found] == [2, 3]
    assert found[1] == Fault(3, "a cell's quotes do not close as they should")


def test_faults_name_no_address():
    [fault] = read("to,purpose\nann@example.org,NO GOOD\n")
    assert fault.text.startswith("/purpose: ")
    assert "ann@" not in repr(read("to\nann@example.org\n"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 1: the file is empty"),
        ("\n \n", "line 1: the file is empty"),
        ("name,age\nAnn,3\n", "line 1: there is no column of addresses; name one to, email, phone, telegram"),
        ("to,,name\n", "line 1: column 2 has no name"),
        ("to,TO\n", "line 1: two columns are named 'to'"),
        ('"to\n', "line 1: a cell's quotes do not close as they should"),
        (b"to\nann\xff@example.org\n", "line 2: not UTF-8; save the file as UTF-8"),
        ("to\na@x.org".encode("utf-16"), "line 1: not UTF-8; save the file as UTF-8"),
        (b"to\na@\0x.org\n", "line 2: a NUL character; save the file as UTF-8"),
    ],
)
def test_a_file_that_is_no_list_is_refused_by_line(text, fault):
    assert (fault,) == refused(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20), min_size=1, max_size=5))
def test_what_a_spreadsheet_writes_is_read_as_it_was(cells):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["to", *(f"p{place}" for place in range(len(cells)))])
    writer.writerow(["a@x.org", *cells])
    [row] = read(codecs.BOM_UTF8 + text.getvalue().encode())
    assert row.asked.params == {f"p{place}": cell.strip() for place, cell in enumerate(cells) if cell.strip()}


@given(st.binary(max_size=60))
def test_no_file_makes_it_fail(raw):
    with contextlib.suppress(ConfigError):
        lines = [item.line for item in People(raw, KINDS, {})]
        assert lines == sorted(set(lines))


@given(st.text(st.sampled_from('to,;"\n\r ab@.x'), max_size=40))
def test_every_line_is_a_row_or_a_fault(text):
    for item in read("to,name\n" + text):
        assert isinstance(item, Row | Fault)
        assert item.line >= 2
