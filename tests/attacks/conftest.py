"""What attackers are given: the gateways that the tests of the limits, the API and the bot make, on both engines."""

from __future__ import annotations

from tests.api.conftest import world
from tests.conversation.conftest import make_talk, texts
from tests.verification.limits.conftest import make_world

__all__ = ["make_talk", "make_world", "texts", "world"]
