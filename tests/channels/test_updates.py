"""What becomes of Telegram's updates, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telegram import Update

from channels.chat import Contact, Inbound
from channels.updates import inbound, parse_command, read, readable
from tests.channels.bot_server import BOT, CHAT, GROUP, PERSON, PRIVATE, membership, message, pressed

CHANNEL = {"id": -200, "type": "channel", "title": "News"}
STICKER = {
    "file_id": "f",
    "file_unique_id": "u",
    "type": "regular",
    "width": 1,
    "height": 1,
    "is_animated": False,
    "is_video": False,
}
RIGHTS = dict.fromkeys(
    (
        "can_be_edited",
        "is_anonymous",
        "can_manage_chat",
        "can_delete_messages",
        "can_manage_video_chats",
        "can_restrict_members",
        "can_promote_members",
        "can_change_info",
        "can_invite_users",
        "can_post_stories",
        "can_edit_stories",
        "can_delete_stories",
    ),
    False,
)


def told(**update: object) -> Inbound | None:
    """Return what a webhook's request with this update is read as."""
    return read(json.dumps({"update_id": 1, **update}).encode())


def an_inbound(**changes: Any) -> Inbound:
    usual: dict[str, Any] = {
        "update_id": 1,
        "chat": str(CHAT),
        "command": None,
        "text": "hello",
        "display_name": "Ann Smith",
        "language": "de",
        "private": True,
    }
    return Inbound(**{**usual, **changes})


def wordless(**content: object) -> dict[str, object]:
    return {name: value for name, value in message(**content).items() if name != "text"}


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"message": message()}, an_inbound()),
        ({"message": message("/start abc-1")}, an_inbound(command="start", text="abc-1")),
        ({"message": message("/START@codes_bot  abc ")}, an_inbound(command="start", text="abc")),
        ({"message": message("/help")}, an_inbound(command="help", text="")),
        ({"message": message("")}, an_inbound(text="")),
        ({"message": wordless(sticker=STICKER)}, an_inbound(text="")),
        ({"message": wordless(sticker=STICKER, caption="/start abc")}, an_inbound(text="")),
        ({"message": message(chat=GROUP)}, an_inbound(chat="-100", private=False)),
        (
            {"message": {key: value for key, value in message(chat=GROUP).items() if key != "from"}},
            an_inbound(chat="-100", private=False, display_name="", language=None),
        ),
        ({"callback_query": pressed()}, an_inbound(text="yes", press="q1", message_id="5")),
        (
            # A message too old for the bot to change.
            {"callback_query": pressed(message={"chat": PRIVATE, "message_id": 5, "date": 0})},
            an_inbound(text="yes", press="q1", message_id="5"),
        ),
        (
            {"callback_query": pressed(message=message(chat=GROUP))},
            an_inbound(chat="-100", private=False, text="yes", press="q1", message_id="5"),
        ),
        ({"my_chat_member": membership("kicked")}, an_inbound(text="", blocked=True)),
        ({"my_chat_member": membership("left")}, an_inbound(text="", blocked=True)),
        ({"my_chat_member": membership("member")}, an_inbound(text="", blocked=False)),
        (
            {"my_chat_member": membership("member", GROUP)},
            an_inbound(chat="-100", private=False, text="", joined=True),
        ),
        (
            {"my_chat_member": membership("administrator", CHANNEL, **RIGHTS)},
            an_inbound(chat="-200", private=False, text="", joined=True),
        ),
    ],
)
def test_what_people_do_becomes_an_inbound(update: dict[str, object], expected: Inbound) -> None:
    assert told(**update) == expected


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"edited_message": message()},
        {"channel_post": message(chat=CHANNEL)},
        {"brand_new_kind": {"a": 1}},
        {"my_chat_member": membership("left", GROUP)},
        {"my_chat_member": membership("kicked", GROUP)},
        {"message": wordless(chat=GROUP, new_chat_members=[BOT])},
        {"message": wordless(pinned_message=message())},
        {"message": wordless(chat=GROUP, new_chat_title="Them")},
        {"callback_query": pressed(None, game_short_name="chess")},
        {"callback_query": {"id": "q", "from": PERSON, "chat_instance": "1", "data": "x", "inline_message_id": "i"}},
    ],
)
def test_where_nobody_said_anything_to_the_bot_there_is_nothing_to_do(
    update: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    assert told(**update) is None
    assert caplog.text == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"update_id": 1, "message": 7}',
        b'{"update_id": 1, "message": {"chat": "nonsense"}}',
        json.dumps({"update_id": 1, "message": message(7)}).encode(),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_what_cannot_be_read_is_logged_and_nothing_to_do(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert read(body) is None
    assert "an update cannot be read and is skipped: " in caplog.text
    assert "nonsense" not in caplog.text


# --- Shared numbers -----------------------------------------------------------------------------------------------

OWN = {"phone_number": "4915112345678", "first_name": "Ann", "user_id": CHAT}
FORWARDED = {"type": "hidden_user", "date": 1_700_000_000, "sender_user_name": "Bob"}


def test_a_persons_own_number_is_their_own() -> None:
    assert told(message=wordless(contact=OWN)) == an_inbound(text="", contact=Contact("4915112345678", own=True))


@pytest.mark.parametrize(
    "content",
    [
        {"contact": {**OWN, "user_id": CHAT + 1}},
        {"contact": {"phone_number": "4915112345678", "first_name": "Ann"}},
        {"contact": OWN, "forward_origin": FORWARDED},
        {"contact": OWN, "via_bot": BOT},
        {"contact": OWN, "chat": GROUP},
        {"contact": OWN, "from": {**PERSON, "id": CHAT + 1}},
        {"contact": OWN, "from": None},
    ],
    ids=["another's", "nobody's", "forwarded", "by a bot", "in a group", "sent by another", "sent by nobody"],
)
def test_no_other_shared_number_is_the_senders_own(content: dict[str, object]) -> None:
    said = told(message=wordless(**content))
    assert said is not None
    assert said.contact == Contact("4915112345678", own=False)


def test_a_shared_number_is_not_shown() -> None:
    assert "4915112345678" not in repr(told(message=wordless(contact=OWN)))


# --- Polls --------------------------------------------------------------------------------------------------------


def test_a_readable_update_stays_as_it_is() -> None:
    assert readable({"update_id": 3, "message": message()}) == {"update_id": 3, "message": message()}


@pytest.mark.parametrize("kind", [{"message": 7}, {"message": {"chat": "nonsense"}}, {"callback_query": "q"}])
def test_an_unreadable_update_keeps_its_number(kind: dict[str, object]) -> None:
    assert readable({"update_id": "3", **kind}) == {"update_id": 3}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
PLACES = st.sampled_from(
    ("message", "callback_query", "my_chat_member", "chat", "from", "contact", "text", "data", "id")
)


@given(JSON)
def test_no_body_raises(body: object) -> None:
    read(json.dumps(body).encode())


@given(
    st.sampled_from(({"message": message()}, {"callback_query": pressed()}, {"my_chat_member": membership("member")})),
    st.dictionaries(PLACES, JSON, max_size=3),
)
def test_no_update_with_odd_fields_raises(update: dict[str, dict[str, object]], odd: dict[str, object]) -> None:
    [(kind, content)] = update.items()
    got = {"update_id": 1, kind: {**content, **odd}}
    read(json.dumps(got).encode())
    inbound(Update.de_json(readable(got)))


# --- Commands -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "command", "rest"),
    [
        ("/start", "start", ""),
        ("/start abc", "start", "abc"),
        ("/start@codes_bot abc", "start", "abc"),
        ("/Link", "link", ""),
        ("/start\nabc\ndef", "start", "abc\ndef"),
        ("hello /start", None, "hello /start"),
        ("/", None, "/"),
        ("/ start", None, "/ start"),
        ("/start-now", None, "/start-now"),
        ("", None, ""),
    ],
)
def test_a_command_is_a_slash_and_a_word_at_the_beginning(text: str, command: str | None, rest: str) -> None:
    assert parse_command(text) == (command, rest)


@given(st.text())
def test_every_text_is_a_command_or_itself(text: str) -> None:
    command, rest = parse_command(text)
    assert (command is None and rest == text) or (command is not None and text.lower().startswith(f"/{command}"))


@given(
    st.from_regex(r"[a-z0-9_]{1,32}", fullmatch=True),
    st.sampled_from(["", "@codes_bot"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_a_command_and_its_payload_come_back(command: str, bot_name: str, payload: str) -> None:
    assert parse_command(f"/{command}{bot_name} {payload}") == (command, payload)
