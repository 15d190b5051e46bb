"""What an operator can set: config.toml, the environment over it, and the keys that seal.

``load_settings`` reads, ``check_channels`` has every adapter read its part, ``ensure_secrets`` returns the key
ring. All three raise ``ConfigError`` with every fault named by the place it was written at; no fault and no
``repr`` holds a secret.

In reading order: ``settings`` (every key, default and bound), ``loading`` (file, environment, inheritance),
``environment``, ``adapters``, ``secrets``, ``overview`` (what ``check-config`` shows).
"""

from __future__ import annotations

from gateway.config.adapters import Ready, check_channels
from gateway.config.environment import CONFIG_VARIABLE, variable_name
from gateway.config.keyring import SealingKey, new_key, parse_key
from gateway.config.loading import diagnose, load_settings
from gateway.config.locations import shipped
from gateway.config.secrets import ensure_secrets, secrets_file
from gateway.config.settings import (
    CodeSettings,
    DatabaseSettings,
    LimitSettings,
    LogSettings,
    RawChannel,
    SandboxSettings,
    SecretSettings,
    ServerSettings,
    ServiceSettings,
    Settings,
)

__all__ = [
    "CONFIG_VARIABLE",
    "CodeSettings",
    "DatabaseSettings",
    "LimitSettings",
    "LogSettings",
    "RawChannel",
    "Ready",
    "SandboxSettings",
    "SealingKey",
    "SecretSettings",
    "ServerSettings",
    "ServiceSettings",
    "Settings",
    "check_channels",
    "diagnose",
    "ensure_secrets",
    "load_settings",
    "new_key",
    "parse_key",
    "secrets_file",
    "shipped",
    "variable_name",
]
