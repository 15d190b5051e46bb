"""Going over a list: what it would come to, and which lines cannot be used."""

from __future__ import annotations

from gateway.app.foreseeing import Foreseen
from gateway.cli.people import People
from gateway.cli.trial import tried
from gateway.errors import RecipientRefused, TemplateError

LIST = b"""to,name
+4915112345678,Ann
+4915112345679,Bob
a@x.org,
+491511234567A,
+4915112345678,Ann again
refused@x.org,
broken@x.org,
"""


class Looking:
    """A policy in memory: phones cost, some addresses are refused."""

    async def look(self, service, asked):
        [(kind, address)] = asked.to.items()
        if address.startswith("refused"):
            raise RecipientRefused("this service does not send to that country")
        if address.startswith("broken"):
            raise TemplateError("body.txt:3: there is no params.name")
        if not address[-1].isalnum() or address.endswith("A"):
            raise RecipientRefused("not a number")
        if kind == "phone":
            return Foreseen("sms", "+49•••", address, "DE", 2, 0.08, waits=False)
        return Foreseen("email", "a•••", address, None, 1, 0.0, waits=True)


async def gone_over(stop_after: int = 100):
    moved: list[int] = []
    trial = await tried(
        People(LIST, ("phone", "email"), {}),
        Looking(),
        "shop",
        moved=moved.append,
        stopped=lambda: len(moved) >= stop_after,
    )
    return trial, len(moved)


async def test_messages_segments_and_prices_are_summed_by_channel_and_country():
    trial, moved = await gone_over()
    assert (trial.rows, moved) == (7, 7)
    assert trial.table() == [
        ("channel", "country", "messages", "segments", "price"),
        ("email", "-", "1", "1", "0.00"),
        ("sms", "DE", "3", "6", "0.24"),
    ]
    assert trial.shown() == {
        "rows": 7,
        "faulty": [
            {"line": 5, "error": "not a number"},
            {"line": 7, "error": "this service does not send to that country"},
            {"line": 8, "error": "body.txt:3: there is no params.name"},
        ],
        "repeated": 1,
        "waiting": 1,
        "price": 0.24,
        "messages": [
            {"channel": "email", "country": None, "messages": 1, "segments": 1, "price": 0.0},
            {"channel": "sms", "country": "DE", "messages": 3, "segments": 6, "price": 0.24},
        ],
    }


async def test_it_ends_early_where_it_is_stopped():
    trial, _ = await gone_over(stop_after=0)
    assert trial.rows == 0
