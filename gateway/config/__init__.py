"""What an operator can set: config.toml, the environment over it, and the keys that seal.

``load_settings`` reads, ``check_channels`` has every adapter read its part, ``ensure_secrets`` returns the key
ring. All three raise ``ConfigError`` with every fault named by the place it was written at; no fault and no
``repr`` holds a secret.

In reading order: ``settings`` and ``services`` (every key, default and bound), ``loading`` (file, environment, inheritance),
``environment``, ``adapters``, ``secrets``, ``overview`` (what ``check-config`` shows).
"""

from __future__ import annotations

from gateway.config.adapters import Ready, check_channels, whole_channels
from gateway.config.database_file import check_database, check_folder
from gateway.config.environment import CONFIG_VARIABLE, variable_name
from gateway.config.keyring import SealingKey, key_text, new_key, newest, next_id, parse_key
from gateway.config.loading import diagnose, load_settings
from gateway.config.locations import shipped
from gateway.config.secrets import ensure_secrets, find_secrets, rewrite_secrets, secrets_file
from gateway.config.services import CodeSettings, LimitSettings, ServiceSettings
from gateway.config.settings import (
    DatabaseSettings,
    LogSettings,
    MetricsSettings,
    RawChannel,
    RetentionSettings,
    SandboxSettings,
    SecretSettings,
    ServerSettings,
    Settings,
    WebhookSettings,
)
from gateway.config.webhook_secret import parse_webhook_secret

__all__ = [
    "CONFIG_VARIABLE",
    "CodeSettings",
    "DatabaseSettings",
    "LimitSettings",
    "LogSettings",
    "MetricsSettings",
    "RawChannel",
    "Ready",
    "RetentionSettings",
    "SandboxSettings",
    "SealingKey",
    "SecretSettings",
    "ServerSettings",
    "ServiceSettings",
    "Settings",
    "WebhookSettings",
    "check_channels",
    "check_database",
    "check_folder",
    "diagnose",
    "ensure_secrets",
    "find_secrets",
    "key_text",
    "load_settings",
    "new_key",
    "newest",
    "next_id",
    "parse_key",
    "parse_webhook_secret",
    "rewrite_secrets",
    "secrets_file",
    "shipped",
    "variable_name",
    "whole_channels",
]
