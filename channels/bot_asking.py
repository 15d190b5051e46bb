"""What Telegram says of a bot and of how its updates arrive, asked for ``otp-gateway doctor``. Nothing is sent or set.

https://core.telegram.org/bots/api#getme and #getwebhookinfo
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from channels.findings import Finding, fault, ok, warning
from channels.http import HttpClient, HttpError
from channels.http_asking import Heard, Now, ask, clocks, unheard

#: Updates that may wait while everything is well: somebody writes while the gateway is restarted.
PENDING_USUAL: Final = 100
#: Seconds for which Telegram's last failure to reach the webhook is told of.
RECENTLY: Final = 3600.0
#: Where webhooks are sent from by https alone; a Bot API server of one's own may do otherwise.
_TELEGRAMS: Final = "https://api.telegram.org"

_BOT, _UPDATES = "bot", "updates"


@dataclass(frozen=True, slots=True)
class Expected:
    """What the settings say of a bot."""

    base_url: str
    token: str = field(repr=False)
    updates: Literal["polling", "webhook", "off"]
    #: Where updates are to be sent, if they are.
    callback_url: str


async def examine(http: HttpClient, expected: Expected, now: Now) -> list[Finding]:
    """Return what Telegram says of the bot and its updates."""
    url = f"{expected.base_url}/bot{expected.token}"
    answers: list[Heard] = []
    try:
        answers.append(await ask(http, f"{url}/getMe", headers=None, now=now))
        bot = _of_bot(answers[0])
        if answers[0].status != 200:
            return [bot, *clocks(answers, "Telegram")]
        answers.append(await ask(http, f"{url}/getWebhookInfo", headers=None, now=now))
    except HttpError as error:
        return [*([bot] if answers else []), unheard(_UPDATES if answers else _BOT, error)]
    return [bot, *_of_updates(answers[1], expected, now()), *clocks(answers, "Telegram")]


def _of_bot(heard: Heard) -> Finding:
    if heard.limited:
        return warning(_BOT, "Telegram asks for fewer requests; ask again later")
    if heard.down:
        return fault(_BOT, f"Telegram has a fault of its own (HTTP {heard.status}); ask again later")
    if heard.status in {401, 404} and heard.body.get("ok") is False:
        return fault(_BOT, "the token is refused; get the bot's token from @BotFather and set it")
    found = heard.body.get("result")
    if heard.status != 200 or not isinstance(found, dict) or found.get("is_bot") is not True:
        return fault(_BOT, "the answer is none of Telegram's; base_url leads elsewhere")
    if not found.get("username"):
        return fault(_BOT, "it has no name, so nobody can open it; give it one with @BotFather")
    return ok(_BOT, "the token works, and people can open the bot by its links")


def _of_updates(heard: Heard, expected: Expected, now: float) -> list[Finding]:
    info = heard.body.get("result")
    if heard.status != 200 or not isinstance(info, dict) or not isinstance(info.get("url"), str):
        return [warning(_UPDATES, f"Telegram does not say how they arrive (HTTP {heard.status}); ask again later")]
    arriving = {"off": _while_off, "polling": _while_polling, "webhook": _while_hooked}[expected.updates](
        info, expected
    )
    found = [item for item in (_failing(info, now), _waiting(info)) if item is not None]
    return [arriving, *found]


def _while_off(_: Mapping[str, Any], __: Expected) -> Finding:
    return warning(_UPDATES, 'updates = "off": the bot hears nobody, so nobody can link a chat by this gateway')


def _while_polling(info: Mapping[str, Any], _: Expected) -> Finding:
    if info["url"]:
        told = "another program has set a webhook for this bot; serve removes it at its start, so let only one have the bot"
        return warning(_UPDATES, told)
    return ok(_UPDATES, "they wait to be asked for, and serve asks")


def _while_hooked(info: Mapping[str, Any], expected: Expected) -> Finding:
    if expected.base_url == _TELEGRAMS and not expected.callback_url.startswith("https://"):
        return fault(_UPDATES, "Telegram sends updates by https only; set [server] public_url to an https:// URL")
    if not info["url"]:
        return warning(_UPDATES, "no webhook is set; serve sets it at its start, so look at its log if it runs")
    if info["url"] != expected.callback_url:
        told = "the webhook leads elsewhere; serve sets it at its start, so let only one program have the bot"
        return warning(_UPDATES, told)
    return ok(_UPDATES, "the webhook leads to this gateway's public_url")


def _failing(info: Mapping[str, Any], now: float) -> Finding | None:
    """Return what there is to say of Telegram's last failure. Not its text: it may name a host."""
    date = info.get("last_error_date")
    if not info["url"] or not isinstance(date, int) or now - date > RECENTLY:
        return None
    told = (
        f"Telegram could not deliver one to the webhook {max(now - date, 0):.0f} s ago; check public_url, proxy and TLS"
    )
    return warning(_UPDATES, told)


def _waiting(info: Mapping[str, Any]) -> Finding | None:
    pending = info.get("pending_update_count")
    if not isinstance(pending, int) or pending <= PENDING_USUAL:
        return None
    return warning(
        _UPDATES, f"{pending} of them wait at Telegram, so nobody fetches them; start serve or look at its log"
    )
