"""The settings: one frozen model per table of config.toml, with every default and bound.

::

    Settings
    ├── server     ├── database   ├── secrets   ├── log
    ├── sandbox
    ├── channels   name → RawChannel (its adapter reads the rest)
    └── services   name → ServiceSettings ── code, limits
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
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
from gateway.config.given import Given, KeyPath, Source
from gateway.config.keyring import SealingKey, parse_ring
from gateway.config.masking import mask_url, secret_fault, url_password

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_COUNTRY = re.compile(r"\*|[A-Z]{2}")
_SQLITE = "sqlite:///"
_POSTGRESQL = "postgresql://"


def _checked_name(name: str) -> str:
    # Names become parts of environment variables, where "__" parts keys and "_FILE" ends the name of a file.
    if not _NAME.fullmatch(name) or name.endswith("_file"):
        raise ValueError(
            "a name is lower-case letters, digits and single underscores, starts with a letter and does not end in _file"
        )
    return name


#: The name of a channel or a service.
Name = Annotated[str, AfterValidator(_checked_name)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Table):
    """``[server]``: where the gateway listens and how the world reaches it."""

    #: The address to listen on.
    host: str = Field(default="127.0.0.1", min_length=1)
    #: The TCP port; 0 takes any free one.
    port: int = Field(default=8080, ge=0, le=65535)
    #: The URL callers, providers and people use, without a slash at its end.
    public_url: str = Field(default_factory=lambda data: _own_url(data["host"], data["port"]))
    #: Networks (CIDR) of the reverse proxies whose ``X-Forwarded-*`` headers are believed.
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()

    @field_validator("public_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = _split_url(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http:// or https:// URL with a host")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("must have no user, password, query or fragment")
        return url.rstrip("/")

    @property
    def loopback(self) -> bool:
        """Whether ``public_url`` reaches this machine only."""
        return is_loopback(urlsplit(self.public_url).hostname or "")


def _own_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _split_url(url: str) -> Any:
    """Split a URL. Raises ``ValueError`` without the URL in its text: it may hold a password."""
    if not url.isprintable() or " " in url:
        raise ValueError("must have no spaces and no control characters")
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for the error a bad port raises: what follows a stray "/" or "#" in a password
    except ValueError:
        raise ValueError("is not a valid URL") from None
    return parts


class DatabaseSettings(_Table):
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
        _split_url(url)
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


class SecretSettings(_Table):
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


class CodeSettings(_Table):
    """``[services.<name>.code]``: what a code is like and how long it lives."""

    #: Whether codes of 4 and 5 digits may be configured.
    allow_short: bool = False
    #: Characters of a code; 6 at least (NIST SP 800-63B-4, 3.1.3.2) unless ``allow_short``.
    length: int = Field(default=6, ge=4, le=10)
    #: The characters codes are made of.
    alphabet: str = "digits"
    #: Seconds a code lives, from its making; 600 at most (NIST SP 800-63B-4, 3.1.3.2).
    ttl: int = Field(default=300, ge=5, le=600)
    #: Wrong checks one verification stands.
    max_checks: int = Field(default=5, ge=1, le=10)
    #: Whether a resend carries the same code or a new one.
    resend: Literal["same", "new"] = "same"
    #: Whether a caller may bring its own codes.
    custom: bool = False

    @field_validator("length")
    @classmethod
    def _check_length(cls, length: int, info: ValidationInfo) -> int:
        if length < 6 and not info.data.get("allow_short", True):
            raise ValueError(
                "must be 6 or more; set allow_short = true to allow shorter codes, which are easy to guess"
            )
        return length

    @field_validator("alphabet")
    @classmethod
    def _check_alphabet(cls, alphabet: str) -> str:
        if alphabet != "digits":
            raise ValueError('must be "digits"; no other alphabet is available yet')
        return alphabet


class LimitSettings(_Table):
    """``[services.<name>.limits]``: how much is too much; 0 switches a limit off."""

    #: Seconds between two sends to one recipient.
    cooldown: int = Field(default=30, ge=0, le=86_400)


class ServiceSettings(_Table):
    """``[services.<name>]``: one application that triggers codes."""

    #: The brand people read in a message.
    name: str = Field(default="Example", min_length=1, max_length=100)
    #: The route: channels in the order they are tried.
    channels: tuple[str, ...] = Field(min_length=1)
    #: A folder of templates that go before the shipped ones, absolute or relative to the config file's folder.
    templates: Path | None = None
    #: The language of messages where a request names none (BCP 47).
    locale: str = "en"
    #: Countries phones may be in (ISO 3166-1 alpha-2), ``*`` for every one.
    countries: tuple[str, ...] = Field(default=("*",), min_length=1)
    #: Sorts of numbers served although they are refused by default.
    number_types: tuple[Literal["satellite", "premium_rate", "shared_cost", "pager", "personal_number"], ...] = ()
    code: CodeSettings = CodeSettings()
    limits: LimitSettings = LimitSettings()

    @field_validator("channels")
    @classmethod
    def _check_route(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(channels)) < len(channels):
            raise ValueError("must name a channel once only")
        return channels

    @field_validator("locale")
    @classmethod
    def _check_locale(cls, locale: str) -> str:
        if not _LOCALE.fullmatch(locale):
            raise ValueError('must be a language tag, like "de" or "de-AT"')
        return locale

    @field_validator("countries")
    @classmethod
    def _check_countries(cls, countries: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_COUNTRY.fullmatch(country) for country in countries):
            raise ValueError('must be two-letter country codes, like "DE", or "*"')
        return countries

    @field_validator("templates")
    @classmethod
    def _resolve_templates(cls, templates: Path | None, info: ValidationInfo) -> Path | None:
        if templates is None or not isinstance(info.context, Source):
            return templates
        return info.context.folder / templates


class LogSettings(_Table):
    """``[log]``: what is written to standard output."""

    #: ``auto`` is console on a terminal, else json.
    format: Literal["auto", "json", "console"] = "auto"
    #: The least that is written.
    level: Literal["debug", "info", "warning", "error"] = "info"


class SandboxSettings(_Table):
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


class Settings(_Table):
    """Everything an operator can set. Made by ``load_settings``."""

    server: ServerSettings = Field(default_factory=ServerSettings)
    database: DatabaseSettings = Field(default_factory=DatabaseSettings)
    secrets: SecretSettings = SecretSettings()
    channels: dict[Name, RawChannel] = Field(default_factory=dict)
    services: dict[Name, ServiceSettings] = Field(default_factory=dict)
    log: LogSettings = LogSettings()
    sandbox: SandboxSettings = SandboxSettings()
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

    @property
    def folder(self) -> Path:
        """The base of relative paths: the config file's folder."""
        return self._source.folder if self._source else Path.cwd()

    @property
    def file(self) -> Path | None:
        """The config file that was read."""
        return self._source.file if self._source else None

    @property
    def given(self) -> Mapping[KeyPath, Given]:
        """What was written, by the path it takes effect at; the rest are defaults. It holds secrets."""
        return self._source.given if self._source else {}
