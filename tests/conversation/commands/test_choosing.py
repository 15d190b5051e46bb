"""Buttons for services, and services by name."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from channels.chat import Button
from gateway.conversation.commands import PRESSES
from gateway.conversation.commands.choosing import DATA_BYTES, MAX_BUTTONS, rows
from gateway.storage.ids import new_id

SERVICE = st.from_regex(re.compile(r"[a-z][a-z0-9]{0,15}(_[a-z0-9]{1,15}){0,2}"), fullmatch=True).filter(
    lambda name: len(name) <= 48
)


@given(SERVICE, st.sampled_from(["mute", "unmute"]))
def test_every_service_with_a_name_of_up_to_48_characters_has_a_button(service, verb):
    [[button]] = rows([Button("Shop", f"{verb}:{service}")])
    assert len(button.data.encode()) <= DATA_BYTES


@given(st.text(), st.text())
def test_no_button_sends_back_more_than_providers_take(label, data):
    assert all(len(button.data.encode()) <= DATA_BYTES for row in rows([Button(label, data)]) for button in row)


def test_every_button_that_names_a_row_fits():
    for verb in PRESSES:
        for prefix in ("ver", "sub"):
            assert len(f"{verb}:{new_id(prefix, 1e12)}".encode()) <= DATA_BYTES


def test_a_message_holds_so_many_buttons_and_no_more():
    assert len(rows(Button("Shop", f"mute:shop{number}") for number in range(200))) == MAX_BUTTONS
