"""What attackers are given: the gateways that the tests of the limits and of the API make, on both engines."""

from __future__ import annotations

from tests.api.conftest import world
from tests.verification.limits.conftest import make_world

__all__ = ["make_world", "world"]
