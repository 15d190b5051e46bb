"""Where a URL leads, and how a server is reached whose name has several addresses, some of them dead."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Any

import pytest

from channels.http_errors import ConnectError, WrongServerError
from channels.reaching import Origin, Road, Target, target
from channels.wire import client_tls

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example", Target(Origin("api.example", 443, True), "api.example", "/")),
        ("HTTP://API.Example:80/A?b=%20#c", Target(Origin("api.example", 80, False), "api.example", "/A?b=%20")),
        ("http://api.example.:8080/", Target(Origin("api.example", 8080, False), "api.example:8080", "/")),
        ("http://[::1]:81/x", Target(Origin("::1", 81, False), "[::1]:81", "/x")),
        ("https://[fe80::1%eth0]/", Target(Origin("fe80::1%eth0", 443, True), "[fe80::1]", "/")),
        (
            "https://bücher.example/ü",
            Target(Origin("xn--bcher-kva.example", 443, True), "xn--bcher-kva.example", "/%C3%BC"),
        ),
        ("https://a_b.example/x:y/@z", Target(Origin("a_b.example", 443, True), "a_b.example", "/x:y/@z")),
    ],
)
def test_a_url_leads_to_a_server_and_a_path_there(url: str, expected: Target) -> None:
    assert target(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example",
        "ftp://api.example",
        "http:///secret",
        "http://secret@api.example",
        "http://:secret@api.example",
        "http://api.example:0",
        "http://api.example:99999",
        "http://api.example:secret",
        "http://[::1/secret",
        "http://api..example/secret",
        f"http://{'a' * 64}.example/secret",
        "http://api.example/secret\r\nX: y",
        "http://api.exa\tmple/",
        " http://api.example",
        "http://api.example/secret x",
        "http://api.example/\x00",
        "http://fa\u00df.example/",
        "http://a,b.example/",
        "http://a\\b.example/",
    ],
)
def test_what_names_no_server_or_a_user_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(WrongServerError) as caught:
        target(url)
    assert (str(caught.value), caught.value.__context__) == ("InvalidURL", None)


def test_a_target_does_not_show_its_path() -> None:
    assert "secret" not in repr(target("https://api.example/secret"))


class Names:
    """The system's look-up and its connections: addresses answer, refuse or say nothing, as they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, found: Sequence[tuple[int, str]]) -> None:
        self.found = found
        self.answers: dict[str, Any] = {}
        self.asked = 0
        self.tried: list[str] = []
        self.open: list[socket.socket] = []
        self.look_up = asyncio.Event()
        self.look_up.set()
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self._getaddrinfo)
        monkeypatch.setattr(loop, "sock_connect", self._sock_connect)

    async def _getaddrinfo(self, _: str, port: int, **__: object) -> list[Any]:
        self.asked += 1
        await self.look_up.wait()
        return [(family, socket.SOCK_STREAM, 6, "", (place, port)) for family, place in self.found]

    async def _sock_connect(self, made: socket.socket, place: tuple[str, int]) -> None:
        self.tried.append(place[0])
        self.open.append(made)
        answer = self.answers.get(place[0])
        if isinstance(answer, Exception):
            raise answer
        if answer == "nothing":
            await asyncio.Event().wait()


ORIGIN = Origin("api.example", 80, tls=False)


def refused() -> OSError:
    return ConnectionRefusedError(errno.ECONNREFUSED, "secret")


async def reached(names: Names, stagger: float = 60.0) -> str:
    """Return the address that was reached; every other socket is closed."""
    road = Road(client_tls(), stagger=stagger)
    connection = await road._first(await road._addresses(ORIGIN))
    place = names.tried[names.open.index(connection)]
    connection.close()
    assert [made.fileno() for made in names.open] == [-1] * len(names.open)
    return place


async def test_families_take_turns_and_a_refusal_is_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, [(V6, "::1"), (V6, "::2"), (V4, "1"), (V4, "2")])
    names.answers = {"::1": refused(), "1": refused()}
    assert await reached(names) == "::2"
    assert names.tried == ["::1", "1", "::2"]


async def test_an_address_that_says_nothing_is_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, [(V6, "::1"), (V4, "1")])
    names.answers = {"::1": "nothing"}
    assert await reached(names, stagger=0.001) == "1"


@pytest.mark.parametrize("found", [[], [(V4, "1"), (V6, "::1")]], ids=["none", "dead"])
async def test_a_name_without_an_address_that_answers_is_a_connect_error(
    monkeypatch: pytest.MonkeyPatch, found: Sequence[tuple[int, str]]
) -> None:
    names = Names(monkeypatch, found)
    names.answers = {"1": refused(), "::1": refused()}
    with pytest.raises(ConnectError) as caught:
        await Road(client_tls()).connected(ORIGIN, asyncio.Protocol)
    assert not isinstance(caught.value, WrongServerError)
    assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert all(made.fileno() == -1 for made in names.open)


async def test_giving_up_closes_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, [(V4, "1")])
    names.answers = {"1": "nothing"}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Road(client_tls()).connected(ORIGIN, asyncio.Protocol)
    assert [made.fileno() for made in names.open] == [-1]


async def test_a_fault_of_ours_is_not_taken_for_a_dead_address(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, [(V4, "1"), (V4, "2")])
    names.answers = {"1": RuntimeError("ours")}
    with pytest.raises(RuntimeError, match="ours"):
        await Road(client_tls()).connected(ORIGIN, asyncio.Protocol)


async def test_one_name_is_looked_up_once_at_a_time_and_outlives_who_gave_up(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, [(V4, "1")])
    names.look_up.clear()
    road = Road(client_tls())
    first, second = (asyncio.create_task(road._addresses(ORIGIN)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    names.look_up.set()
    assert [address[4][0] for address in await second] == ["1"]
    assert names.asked == 1
    await road._addresses(ORIGIN)
    assert names.asked == 2
