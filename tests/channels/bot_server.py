"""A Bot API that answers what it is told to, and the objects it speaks of."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from typing import Any, Self

from aiohttp import web

CHAT = 4711
TOKEN = "123456:sandbox-token_7f3a"

PERSON = {"id": CHAT, "is_bot": False, "first_name": "Ann", "last_name": "Smith", "language_code": "de"}
PRIVATE = {"id": CHAT, "type": "private", "first_name": "Ann"}
GROUP = {"id": -100, "type": "group", "title": "Us"}
BOT = {"id": 1, "is_bot": True, "first_name": "Codes", "username": "codes_bot"}
SENT = {"message_id": 77, "date": 1_700_000_000, "chat": PRIVATE}


def ok(result: object) -> web.Response:
    return web.json_response({"ok": True, "result": result})


def no(status: int, description: str = "No", **parameters: object) -> web.Response:
    body = {"ok": False, "error_code": status, "description": description}
    return web.json_response(body | ({"parameters": parameters} if parameters else {}), status=status)


def page(status: int) -> web.Response:
    return web.Response(status=status, text="<html>proxy</html>")


def copied(answer: web.Response) -> web.Response:
    """A response object can be sent once only, and parametrized ones are shared."""
    return web.Response(status=answer.status, body=answer.body, headers={"Content-Type": answer.content_type})


def message(text: object = "hello", **changes: object) -> dict[str, object]:
    return {"message_id": 5, "date": 1_700_000_000, "chat": PRIVATE, "from": PERSON, "text": text, **changes}


def pressed(data: str | None = "yes", **changes: object) -> dict[str, object]:
    query = {"id": "q1", "from": PERSON, "chat_instance": "1", "message": message(), **changes}
    return query if data is None else query | {"data": data}


def membership(status: str, chat: dict[str, object] | None = None, **details: object) -> dict[str, object]:
    details |= {"until_date": 0} if status == "kicked" else {}
    return {
        "chat": chat or PRIVATE,
        "from": PERSON,
        "date": 1_700_000_000,
        "old_chat_member": {"user": BOT, "status": "member"},
        "new_chat_member": {"user": BOT, "status": status, **details},
    }


class BotApi:
    """Answers each method with what is queued for it, then with its default; ``getUpdates`` waits for updates."""

    def __init__(self) -> None:
        self.queued: dict[str, deque[web.Response]] = defaultdict(deque)
        self.calls: dict[str, asyncio.Queue[dict[str, str]]] = defaultdict(asyncio.Queue)
        self.seen: list[str] = []
        self.updates: list[dict[str, Any]] = []
        self.polled = asyncio.Event()
        #: Methods that are read and not answered before the server closes.
        self.stalled: set[str] = set()
        self._more = asyncio.Event()
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/bot{token}/{method}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._more.set()
        await self._runner.cleanup()

    def answer(self, method: str, *answers: web.Response) -> None:
        self.queued[method].extend(answers)

    def tell(self, **update: object) -> None:
        """Add an update, numbered in order from 1."""
        self.updates.append({"update_id": len(self.updates) + 1, **update})
        self._more.set()

    async def called(self, method: str) -> dict[str, str]:
        """Return the form of the next call of ``method``."""
        async with asyncio.timeout(10):
            return await self.calls[method].get()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        assert request.match_info["token"] == TOKEN
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.seen.append(method)
        self.calls[method].put_nowait(form)
        if method in self.stalled:
            await self._closing.wait()
        if self.queued[method]:
            return self.queued[method].popleft()
        if method == "getUpdates":
            return ok(await self._wait(int(form.get("offset", 0))))
        return ok({"sendMessage": SENT, "editMessageText": SENT, "getMe": BOT}.get(method, True))

    async def _wait(self, offset: int) -> list[dict[str, Any]]:
        while (
            not (waiting := [update for update in self.updates if update["update_id"] >= offset])
            and not self._closing.is_set()
        ):
            self._more.clear()
            self.polled.set()
            await self._more.wait()
        return waiting
