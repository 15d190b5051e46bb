"""Taking codes on in a process of its own: written once, left in the database, and looked at without writing."""

from __future__ import annotations

import base64
import json

import pytest

from gateway.app import opened_store
from gateway.app.taking import Accepted, Taking, taking
from gateway.config import Settings, load_settings
from gateway.errors import Cooldown, InvalidRequest, Problem, RateLimited, RecipientRefused, TemplateError
from gateway.storage.answers import Source
from gateway.storage.leases import Leases
from gateway.storage.rings import Rings
from gateway.verification.request import Asked
from tests.conftest import aside, empty

CONFIG = """
[channels.sms]
adapter = "sms"
account_sid = "AC0123456789abcdef0123456789abcdef"
from = "+15005550006"
price = 0.07
prices = {AT = 0.09}
[channels.letter]
adapter = "console"
[services.default]
channels = ["sms", "letter"]
countries = ["DE", "AT"]
templates = "own"
[services.default.purposes.hurried]
channels = ["letter"]
[services.default.limits]
requests_per_second = 1000
[webhooks]
allow_private = true
"""
PHONE = "+4915112345678"


@pytest.fixture
def settings(engine_name, request, tmp_path) -> Settings:
    (tmp_path / "own" / "sms" / "greeting").mkdir(parents=True)
    (tmp_path / "own" / "sms" / "greeting" / "body.txt").write_text("{{ params.text }} {{ code }}", "utf-8")
    path = tmp_path / "config.toml"
    path.write_text(CONFIG, "utf-8")
    environ = {"OTP_GATEWAY_CHANNELS__SMS__AUTH_TOKEN": "0123456789abcdef0123456789abcdef"}
    if engine_name == "postgresql":
        url = request.getfixturevalue("migrated_postgresql")
        aside(empty(url))
        keys = json.dumps([f"k1:{base64.b64encode(bytes(range(32))).decode()}"])
        environ |= {"OTP_GATEWAY_DATABASE__URL": url, "OTP_GATEWAY_SECRETS__KEYS": keys}
    return load_settings(path, environ)


@pytest.fixture
async def takes(settings):
    async with taking(settings) as opened:
        yield opened


def asked(address: str = "a@x.org", **more) -> Asked:
    kind = "email" if "@" in address else "phone"
    return Asked(to={kind: address}, **more)


def row(line: int, **more) -> tuple[Source, Asked]:
    return Source("SEND", "r1", str(line)), asked(f"p{line}@x.org", **more)


async def statuses(takes: Taking) -> list[tuple[str, str, float]]:
    sql = "SELECT service, status, due_at - created_at AS wait FROM message ORDER BY id"
    return [(item["service"], item["status"], item["wait"]) for item in await takes._store.database.fetch(sql)]


async def test_a_row_is_taken_on_once_and_known_again(takes):
    rows = [row(line) for line in range(5)]
    first = await takes.all_of("default", rows)
    assert [(item.status, item.channel, item.to) for item in first] == [
        ("queued", "letter", {"email": "p•••@x•••.org"})
    ] * 5
    # It is due at once, in nobody's hands.
    assert await statuses(takes) == [("default", "queued", 0.0)] * 5
    assert first == await takes.all_of("default", rows)
    assert len(await statuses(takes)) == 5


async def test_what_is_refused_is_refused_alone_and_may_be_asked_for_again(takes):
    rows = [row(1), (Source("SEND", "r1", "2"), asked("+33612345678")), row(3, channels=["pigeon"]), row(4)]
    found = await takes.all_of("default", rows)
    assert [Accepted, RecipientRefused, InvalidRequest, Accepted] == [type(item) for item in found]
    again = await takes.all_of("default", [(Source("SEND", "r1", "5"), rows[0][1]), rows[3]])
    assert [Cooldown, Accepted] == [type(item) for item in again]
    assert again[1] == found[3]


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_one_is_taken_on_seen_and_counted_and_whether_a_node_runs_is_known(takes):
    view = await takes.one("default", asked())
    assert view.id == (await takes.look("default", view.id)).id
    with pytest.raises(Problem):
        await takes.one("default", asked())
    assert sum(item.queued for item in await takes.standing()) == 1
    assert not await takes.node_runs()
    store = takes._store
    await Leases(store.database, "node").take("house", store.clock.now(), 20.0)
    assert await takes.node_runs()
    assert takes.masked(Asked(to={"phone": PHONE, "email": "nobody", "fax": "1"})) == "+49••••••••678"


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_look_tells_channel_country_segments_and_price_and_writes_nothing(takes):
    look = takes.foresight.look
    german = await look("default", asked(PHONE))
    assert (german.channel, german.country, german.segments, german.price, german.waits) == (
        "sms",
        "DE",
        1,
        0.07,
        False,
    )
    assert (await look("default", asked("+436641234567"))).price == 0.09
    letter = await look("default", asked("Ann+shop@X.org", purpose="hurried"))
    assert (letter.channel, letter.country, letter.price, letter.canonical) == ("letter", None, 0.0, "email:ann@x.org")
    assert PHONE not in repr(german)
    assert await statuses(takes) == []

    async def segments(text: str) -> int:
        request = asked(PHONE, purpose="greeting", params={"text": text})
        return int((await takes.foresight.look("default", request)).segments)

    assert [await segments("x" * 153), await segments("x" * 154), await segments("ж" * 70)] == [1, 2, 2]


@pytest.mark.parametrize("engine_name", ["sqlite"])
async def test_a_look_refuses_what_a_request_would_be_refused_for(takes):
    for request, fault in (
        (asked(PHONE, purpose="greeting"), TemplateError),
        (asked("+33612345678"), RecipientRefused),
        (asked("+49"), InvalidRequest),
        (asked(channels=["pigeon"]), InvalidRequest),
        (asked(channels=["sms"]), InvalidRequest),
        (asked(ttl=601), InvalidRequest),
    ):
        with pytest.raises(fault):
            await takes.foresight.look("default", request)


async def test_who_exchanges_the_sealing_keys_sees_whoever_takes_codes_on(settings):
    """What is sealed by a key that was dropped meanwhile can be opened by nobody."""
    async with opened_store(settings) as store:
        rings = Rings(store.database)
        async with taking(settings):
            assert [ring.ids for ring in await rings.live(store.clock.now())] == [("k1",)]
        assert await rings.live(store.clock.now()) == []


async def test_what_one_list_is_about_to_spend_is_spent_for_the_next(settings):
    """Nothing of it is accepted yet, and each began with the whole allowance."""
    limits = settings.services["default"].limits.model_copy(update={"spend_per_day": 0.1})
    service = settings.services["default"].model_copy(update={"limits": limits})
    settings = settings.model_copy(update={"services": {"default": service}})
    async with taking(settings) as first:
        assert (await first.one("default", asked(PHONE))).id
    async with taking(settings) as second:
        with pytest.raises(RateLimited) as caught:
            await second.one("default", asked("+4915112345679"))
    assert caught.value.extra["limit"] == "spend_per_day"
