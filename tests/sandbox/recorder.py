"""An application that only notes what the page asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.sandbox.scenes import About, Answered

ABOUT = About("http://127.0.0.1:8080", "Shop", ("telegram", "sms"))


class Recorder:
    """Answers everything with ``answer``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []
        self.answer = Answered(201, {"id": "ver_1", "link": "https://t.me/sandbox_bot?start=abc"})

    async def post(self, path: str, body: Mapping[str, Any]) -> Answered:
        self.asked.append((path, body))
        return self.answer

    async def get(self, path: str) -> Answered:
        self.asked.append((path, None))
        return self.answer
