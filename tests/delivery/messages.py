"""A message as the dispatcher holds it, for tests that need no database."""

from __future__ import annotations

from typing import Any

from gateway.delivery.message import Message


def message(name: str = "msg_1", service: str = "shop", **fields: Any) -> Message:
    values: dict[str, Any] = {
        "id": name,
        "verification_id": "ver_1",
        "service": service,
        "channel": "pigeon",
        "step": 0,
        "steps": 1,
        "purpose": "login",
        "locale": "en",
        "generation": 1,
        "attempts": 0,
        "skipped": 0,
        "created_at": 0.0,
        "expires_at": 300.0,
        "started_at": None,
        "ttl": 300.0,
        "recipient": "•••",
        "address": "+4915112345678",
        "code": "123456",
        "params": {"name": "Ann"},
    }
    return Message(**{**values, **fields})
