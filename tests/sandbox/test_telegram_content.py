from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.telegram_content import (
    ApiError,
    bot_commands,
    edited_keyboard,
    flat,
    keyboard,
    message_content,
    nested,
    read_parameters,
    reply_keyboard,
    scope,
    secret_token,
    strings,
    truth,
    whole,
)

FORM = "application/x-www-form-urlencoded; charset=utf-8"


def refusal(call, *arguments) -> str:
    with pytest.raises(ApiError) as refused:
        call(*arguments)
    assert refused.value.status == 400
    return refused.value.description.removeprefix("Bad Request: ")


def test_parameters_come_from_query_form_and_json():
    assert read_parameters("", "a=1&b=", b"") == {"a": "1", "b": ""}
    assert read_parameters(FORM, "a=1", b"b=%C3%BC") == {"a": "1", "b": "ü"}
    assert read_parameters("application/json", "a=1", b'{"a": 2, "c": [3]}') == {"a": 2, "c": [3]}


@pytest.mark.parametrize(
    ("kind", "body", "word"),
    [
        ("application/json", b"[]", "can't parse JSON object"),
        ("application/json", b"{", "can't parse JSON object"),
        ("application/json", b"[" * 100_000, "can't parse JSON object"),
        ("application/json", b'{"text": "\\ud800"}', "strings must be encoded in UTF-8"),
        ("multipart/form-data; boundary=x", b"--x", "unsupported content type"),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(kind, body, word):
    assert refusal(read_parameters, kind, "", body).startswith(word)


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_a_form_is_read_as_it_was_written(values):
    assert read_parameters(FORM, "", urlencode(values).encode()) == values


@given(
    st.binary(max_size=200) | st.dictionaries(st.text(), st.integers()).map(lambda value: json.dumps(value).encode())
)
def test_any_json_body_is_read_or_refused(body):
    try:
        parameters = read_parameters("application/json", "", body)
    except ApiError:
        return
    assert parameters == (json.loads(body) if body else {})


def test_nested_parameters_are_json_in_forms_and_plain_in_json():
    assert nested({"commands": "[1]"}, "commands") == [1]
    assert nested({"commands": [1]}, "commands") == [1]
    assert nested({"commands": ""}, "commands") is None
    assert refusal(nested, {"reply_markup": "{"}, "reply_markup") == "can't parse reply markup JSON object"
    assert flat({"a": "x", "b": {"c": 1}}) == {"a": "x", "b": '{"c": 1}'}


def test_single_values_are_read_leniently():
    assert [whole({"n": value}, "n", 5) for value in ("3", 4, "x")] == [3, 4, 5]
    assert [truth({"t": value}, "t") for value in ("true", True, "1", "no", "")] == [True, True, True, False, False]
    assert strings({}, "allowed_updates") is None
    assert strings({"allowed_updates": '["message"]'}, "allowed_updates") == ["message"]
    assert refusal(strings, {"allowed_updates": "[1]"}, "allowed_updates").startswith("can't parse allowed updates")


def test_white_space_around_a_text_goes_and_the_entities_move_along():
    content = message_content({"text": " \n<b> 12 </b>\n", "parse_mode": "HTML"})
    assert content == {"text": "12", "entities": [{"type": "bold", "offset": 0, "length": 2}]}


def test_entities_outside_the_trimmed_text_are_dropped():
    content = message_content({"text": "x<b> </b>", "parse_mode": "html"})
    assert content == {"text": "x"}


def test_given_entities_are_kept():
    entities = [{"type": "bold", "offset": 0, "length": 1}]
    assert message_content({"text": "x", "entities": json.dumps(entities)}) == {"text": "x", "entities": entities}


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, "message text is empty"),
        ({"text": " \n"}, "message text is empty"),
        ({"text": "😀" * 2049}, "message is too long"),
        ({"text": "<b>" * 30_000, "parse_mode": "HTML"}, "message is too long"),
        ({"text": "x", "parse_mode": "MarkdownV2"}, "unsupported parse_mode"),
        ({"text": "<p>", "parse_mode": "HTML"}, "can't parse entities: Unsupported start tag"),
        ({"text": "x", "entities": '{"offset": 1}'}, "can't parse entities: expected an Array"),
        ({"text": "x", "entities": '[{"offset": "1"}]'}, "can't parse entities: expected an Array"),
    ],
)
def test_texts_telegram_refuses(parameters, word):
    assert refusal(message_content, parameters).startswith(word)


def markup(*buttons: object) -> dict[str, object]:
    return {"reply_markup": {"inline_keyboard": [list(buttons)]}}


def test_a_keyboard_is_kept_as_it_is_given():
    given_markup = markup({"text": "Copy", "copy_text": {"text": "123456"}}, {"text": "No", "callback_data": "no"})
    assert keyboard(given_markup) == given_markup


@pytest.mark.parametrize(
    "value", [None, '{"remove_keyboard": true}', '{"inline_keyboard": []}', '{"inline_keyboard": [[]]}']
)
def test_a_message_without_buttons_shows_no_keyboard(value):
    assert keyboard({"reply_markup": value}) == {}


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"reply_markup": "[1]"}, "can't parse reply keyboard markup"),
        ({"reply_markup": '{"inline_keyboard": 1}'}, "can't parse reply keyboard markup"),
        ({"reply_markup": '{"inline_keyboard": [1]}'}, "can't parse reply keyboard markup"),
        (markup("x"), 'can\'t parse inline keyboard button: Field "text"'),
        (markup({"callback_data": "x"}), 'can\'t parse inline keyboard button: Field "text"'),
        (markup({"text": "x"}), "can't parse inline keyboard button: Text buttons are unallowed"),
        (markup({"text": "x", "callback_data": ""}), "BUTTON_DATA_INVALID"),
        (markup({"text": "x", "callback_data": "ü" * 33}), "BUTTON_DATA_INVALID"),
        (markup({"text": "x", "copy_text": "y"}), "BUTTON_COPY_TEXT_INVALID"),
        (markup({"text": "x", "copy_text": {"text": "y" * 257}}), "BUTTON_COPY_TEXT_INVALID"),
    ],
)
def test_keyboards_telegram_refuses(parameters, word):
    assert refusal(keyboard, parameters).startswith(word)


@pytest.mark.parametrize(
    ("commands", "word"),
    [
        ("{}", "can't parse BotCommand"),
        ("[1]", "can't parse BotCommand"),
        ('[{"command": "Start", "description": "x"}]', "BOT_COMMAND_INVALID"),
        ('[{"command": "start", "description": ""}]', "BOT_COMMAND_DESCRIPTION_INVALID"),
    ],
)
def test_commands_telegram_refuses(commands, word):
    assert refusal(bot_commands, {"commands": commands}).startswith(word)


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (None, None),
        ("", None),
        ([], None),
        ({"inline_keyboard": []}, None),
        ({"force_reply": True}, None),
        ({"remove_keyboard": True, "selective": False}, {"remove_keyboard": True}),
        ({"keyboard": [["Yes"]]}, {"keyboard": [[{"text": "Yes"}]]}),
        (
            {"keyboard": [[{"text": "Share", "request_contact": True}]], "one_time_keyboard": True},
            {"keyboard": [[{"text": "Share", "request_contact": True}]], "one_time_keyboard": True},
        ),
    ],
)
def test_a_reply_keyboard_is_read(markup, expected):
    assert reply_keyboard({"reply_markup": markup}, private=True) == expected
    assert reply_keyboard({"reply_markup": json.dumps(markup)}, private=True) == expected


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([], "can't parse reply keyboard markup"),
        ("x", "can't parse reply keyboard markup"),
        (["x"], "can't parse reply keyboard markup"),
        ([[]], "can't parse reply keyboard markup"),
        ([[7]], "can't parse keyboard button"),
        ([[{"request_contact": True}]], "can't parse keyboard button"),
    ],
)
def test_a_broken_reply_keyboard_is_refused(rows, word):
    with pytest.raises(ApiError) as refused:
        reply_keyboard({"reply_markup": {"keyboard": rows}}, private=True)
    assert word in refused.value.description


def test_a_phone_is_asked_for_in_private_only():
    with pytest.raises(ApiError, match="400") as refused:
        reply_keyboard({"reply_markup": {"keyboard": [[{"text": "x", "request_contact": True}]]}}, private=False)
    assert "private chats only" in refused.value.description


def test_a_message_is_edited_with_an_inline_keyboard_or_none():
    inline = {"inline_keyboard": [[{"text": "x", "callback_data": "y"}]]}
    assert edited_keyboard({"reply_markup": inline}) == {"reply_markup": inline}
    assert edited_keyboard({"reply_markup": {}}) == {}
    assert refusal(edited_keyboard, {"reply_markup": {"remove_keyboard": True}}) == "inline keyboard expected"


def test_a_webhooks_secret_is_of_the_allowed_characters():
    assert secret_token({}) == ""
    assert secret_token({"secret_token": "aZ0_-"}) == "aZ0_-"
    for wrong in ("a b", "ü", "x" * 257):
        assert refusal(secret_token, {"secret_token": wrong}) == "secret token contains unallowed characters"


def test_the_scope_of_commands_is_one_of_telegrams():
    assert scope({}) == "default"
    assert scope({"scope": '{"type": "all_private_chats"}'}) == "all_private_chats"
    for wrong in ({"type": "everybody"}, {}, [1]):
        assert "unsupported type" in refusal(scope, {"scope": wrong})


def test_a_menu_has_a_hundred_commands_at_most():
    command = {"command": "x", "description": "y"}
    assert len(bot_commands({"commands": [command] * 100})) == 100
    assert refusal(bot_commands, {"commands": [command] * 101}) == "BOT_COMMANDS_TOO_MUCH"
