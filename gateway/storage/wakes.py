"""Wakes: who waits for something to become due is told, so that nobody need ask the database every few milliseconds.

A wake is a hint and never the truth: it may come twice, late or, where a connection broke, not at all. Whoever is
woken looks at the database, and looks there from time to time unasked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Wakes:
    """Who is called when a topic is woken. Topics nobody waits for are ignored."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[], None]]] = {}

    def subscribe(self, topic: str, callback: Callable[[], None]) -> None:
        """Have ``callback`` called, on the event loop, whenever the topic is woken. It must be quick."""
        self._callbacks.setdefault(topic, []).append(callback)

    def wake(self, topic: str) -> None:
        """Call whoever waits for the topic. What a callback raises is logged, by its type, and stops no other."""
        for callback in self._callbacks.get(topic, ()):
            try:
                callback()
            except Exception as error:  # noqa: BLE001 - what is committed stays acknowledged, whoever is told of it
                _log.error("waking %s failed: %s", topic, type(error).__name__)

    def wake_all(self) -> None:
        """Wake every topic somebody waits for: what was told meanwhile may have been missed."""
        for topic in self._callbacks:
            self.wake(topic)
