"""The settings: one frozen model per table of config.toml, with every default and bound.

::

    Settings
    ├── server     ├── database   ├── secrets   ├── log
    ├── sandbox
    ├── channels   name → RawChannel (its adapter reads the rest)
    ├── services   name → ServiceSettings ── code, limits, confirm_within, purposes
    └── webhooks   ├── metrics    ├── retention
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PrivateAttr,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from channels.base import ChannelSettings, is_loopback
from gateway.config.given import Given, KeyPath, Source, label
from gateway.config.keyring import SealingKey, parse_ring
from gateway.config.masking import mask_url, secret_fault, url_password
from gateway.config.services import ServiceSettings
from gateway.config.table import Name, Table, is_every_address, split_url
from gateway.config.whereabouts import of_server

_SQLITE = "sqlite:///"
_POSTGRESQL = "postgresql://"
_UNNAMED = "otp-gateway"


class ServerSettings(Table):
    """``[server]``: where the gateway listens and how the world reaches it."""

    #: The address to listen on.
    host: str = Field(default="127.0.0.1", min_length=1)
    #: The TCP port; 0 takes any free one.
    port: int = Field(default=8080, ge=0, le=65535)
    #: The URL callers, providers and people use, without a slash at its end; ``None`` where nobody said it and ``host`` is
    #: no address to call.
    public_url: str | None = Field(default_factory=lambda data: _public_url(data["host"], data["port"]))
    #: Networks (CIDR) of the reverse proxies whose ``X-Forwarded-*`` headers are believed.
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = split_url(url)
        if is_every_address(parts.hostname or ""):
            raise ValueError("must have a host that others can call; this one is every address of this machine")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http:// or https:// URL with a host")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must have no user, password, query or fragment")
        return url.rstrip("/")

    @property
    def loopback(self) -> bool:
        """Whether ``public_url`` reaches this machine only; not where it is unknown, for then everybody may reach it."""
        return self.public_url is not None and is_loopback(urlsplit(self.public_url).hostname or "")

    @property
    def issuer(self) -> str:
        """Whom proofs are from: ``public_url``; where that is unknown a name, for an address to listen on is everybody's."""
        return self.public_url or _UNNAMED


def _public_url(host: str, port: int) -> str | None:
    return None if is_every_address(host) else own_url(host, port)


def own_url(host: str, port: int) -> str:
    """Return the URL of a host and port; an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class DatabaseSettings(Table):
    """``[database]``: the one place everything is kept."""

    #: ``sqlite:///file`` (relative to the config file's folder; four slashes: absolute) or
    #: ``postgresql://user@host/name``. May hold a password where it came by the environment: print ``masked_url``.
    url: str = Field(default=f"{_SQLITE}otp-gateway.db", repr=False)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def model_post_init(self, context: Any, /) -> None:
        """Take over the folder relative paths start from."""
        if isinstance(context, Source):
            self._folder = context.folder

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if url.startswith(_SQLITE):
            return _checked_sqlite(url)
        if not url.startswith(_POSTGRESQL):
            raise ValueError(f"must start with {_SQLITE} or {_POSTGRESQL}; no other database works")
        parts = split_url(url)
        if "@" in parts.path + parts.query + parts.fragment:
            # What stands behind such a character is shown as the host's or the database's name.
            raise ValueError("has an @ behind its first / ? or #: in a password write them as %40, %2F, %3F and %23")
        password = url_password(url)
        if password is not None and (fault := secret_fault(password)):
            raise ValueError(f"its password {fault}")
        return url

    @property
    def engine(self) -> Literal["sqlite", "postgresql"]:
        """The database that keeps everything."""
        return "sqlite" if self.url.startswith(_SQLITE) else "postgresql"

    @property
    def path(self) -> Path | None:
        """The SQLite file, absolute; ``None`` for PostgreSQL."""
        return self._folder / self.url.removeprefix(_SQLITE) if self.engine == "sqlite" else None

    @property
    def whereabouts(self) -> str:
        """Where it is, in words, without a user or a password."""
        return of_server(self.url) if self.path is None else f"the SQLite file {self.path}"

    @property
    def masked_url(self) -> str:
        """The URL as it may be shown."""
        return mask_url(self.url)


def _checked_sqlite(url: str) -> str:
    name = url.removeprefix(_SQLITE)
    if not name or name.endswith("/") or name.startswith(":memory:"):
        # A database in memory loses with the process what it acknowledged.
        raise ValueError(f"must name a file, like {_SQLITE}otp-gateway.db")
    if not name.isprintable() or set(name) & set("?#"):
        raise ValueError("takes a path without ? and #; there are no options")
    return url


class SecretSettings(Table):
    """``[secrets]``: what seals addresses, codes and stored answers."""

    #: ``id:<base64 of 32 bytes>``: the first seals, every one opens.
    keys: tuple[SecretStr, ...] = ()

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        parse_ring([key.get_secret_value() for key in keys])
        return keys

    @property
    def ring(self) -> tuple[SealingKey, ...]:
        """The keys, read; empty where none is configured."""
        return parse_ring([key.get_secret_value() for key in self.keys])


class RawChannel(ChannelSettings):
    """``[channels.<name>]``: the keys every channel has, checked, and the adapter's own, as they were written."""

    model_config = ConfigDict(extra="allow")

    @property
    def options(self) -> Mapping[str, object]:
        """The adapter's own keys, tables nested; ``check_channels`` reads them. They hold secrets."""
        return self.model_extra or {}

    def __repr_args__(self) -> Any:
        return [(name, getattr(self, name)) for name in RawChannel.model_fields]


class LogSettings(Table):
    """``[log]``: what is written to standard output."""

    #: ``auto`` is console on a terminal, else json.
    format: Literal["auto", "json", "console"] = "auto"
    #: The least that is written.
    level: Literal["debug", "info", "warning", "error"] = "info"


class SandboxSettings(Table):
    """``[sandbox]``: local servers in place of the providers', and the page on which their letters are read."""

    #: Whether ``serve`` starts it; ``demo`` always does.
    enabled: bool = False
    #: The address its servers listen on: this machine's, unless ``allow_remote``.
    host: str = Field(default="127.0.0.1", min_length=1)
    #: The page's TCP port; the next three are the mail server's, Twilio's and the Bot API's. 0 takes free ones.
    port: int = Field(default=8090, ge=0, le=65532)
    #: Whether others may reach it: whoever does reads every code.
    allow_remote: bool = False

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        if not self.allow_remote and not is_loopback(self.host):
            raise ValueError(
                f"host = {json.dumps(self.host)} is not this machine's, and whoever reaches the sandbox reads every "
                "code; set allow_remote = true if that is meant"
            )
        return self


class WebhookSettings(Table):
    """``[webhooks]``: how applications are told."""

    #: Whether a receiver may be on a private network or on this machine, and by http.
    allow_private: bool = False


class MetricsSettings(Table):
    """``[metrics]``: who may read ``/metrics``."""

    #: The bearer token they show; without one it is open to everybody who reaches the gateway.
    token: SecretStr | None = None

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and (fault := secret_fault(token.get_secret_value())):
            raise ValueError(fault)
        return token


class RetentionSettings(Table):
    """``[retention]``: how long what is over is kept, in days."""

    #: Verifications with their messages, attempts and events.
    verifications: int = Field(default=30, ge=1, le=3650)
    #: What applications were told, for ``webhooks replay``.
    webhooks: int = Field(default=30, ge=4, le=3650)


class Settings(Table):
    """Everything an operator can set. Made by ``load_settings``."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    secrets: SecretSettings = SecretSettings()
    channels: dict[Name, RawChannel] = Field(default_factory=dict)
    services: dict[Name, ServiceSettings] = Field(default_factory=dict)
    log: LogSettings = LogSettings()
    sandbox: SandboxSettings = SandboxSettings()
    webhooks: WebhookSettings = WebhookSettings()
    metrics: MetricsSettings = MetricsSettings()
    retention: RetentionSettings = RetentionSettings()
    _source: Source | None = PrivateAttr(default=None)

    @field_validator("sandbox")
    @classmethod
    def _check_sandbox(cls, sandbox: SandboxSettings, info: ValidationInfo) -> SandboxSettings:
        server = info.data.get("server")
        if sandbox.enabled and isinstance(server, ServerSettings) and not server.loopback:
            raise ValueError("enabled = true works only where [server] public_url is this machine's")
        return sandbox

    def model_post_init(self, context: Any, /) -> None:
        """Keep where the values came from."""
        self._source = context if isinstance(context, Source) else None

    def policies(self) -> Iterator[tuple[KeyPath, ServiceSettings]]:
        """Yield each service and each of its purposes with the settings that hold there, by the path of its table."""
        for name, service in self.services.items():
            yield ("services", name), service
            for purpose in service.purposes:
                yield ("services", name, "purposes", purpose), service.for_purpose(purpose)

    @property
    def folder(self) -> Path:
        """The base of relative paths: the config file's folder."""
        return self._source.folder if self._source else Path.cwd()

    @property
    def file(self) -> Path | None:
        """The config file that was read."""
        return self._source.file if self._source else None

    @property
    def read_from(self) -> str:
        """Name the file in words, for who is told of a fault in it; empty where there is none."""
        return self._source.told if self._source else ""

    @property
    def chosen(self) -> bool:
        """Whether somebody chose the file, or said by a variable which database is meant."""
        by_variable = any(path[:1] == ("database",) and entry.variable for path, entry in self.given.items())
        return self._source is None or self._source.chosen or by_variable

    @property
    def given(self) -> Mapping[KeyPath, Given]:
        """What was written, by the path it takes effect at; the rest are defaults. It holds secrets."""
        return self._source.given if self._source else {}

    def place(self, path: KeyPath) -> str:
        """Name the place a key was written at, ``[services.shop] templates`` or the variable that sets it."""
        entry = self.given.get(path)
        return entry.label if entry else label(path)
