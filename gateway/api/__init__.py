"""HTTP: shapes in and out, keys, problems. It decides nothing.

In reading order: ``app`` (every route), ``resource`` (one path), ``authentication`` and ``keys``, ``body`` and
``strict_json`` (bytes to values), ``intake`` (values to what the core is asked), ``verifications``, ``subscribers``,
``callbacks``, ``telling`` (views to answers), ``shapes`` (the JSON of both), ``problems``, ``idempotency``,
``openapi`` and ``docs``, ``slow_clients`` and ``shortcut`` (what our own server adds to ASGI).
"""

from __future__ import annotations

from gateway.api.app import create_api
from gateway.api.parts import Health, Parts

__all__ = ["Health", "Parts", "create_api"]
