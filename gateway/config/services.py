"""A service's tables of config.toml: its brand, its route, its codes and limits, and where it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from gateway.config.given import Source
from gateway.config.table import Table, split_url
from gateway.config.webhook_secret import parse_webhook_secret

_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_COUNTRY = re.compile(r"\*|[A-Z]{2}")


class CodeSettings(Table):
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


class LimitSettings(Table):
    """``[services.<name>.limits]``: how much is too much; 0 switches a limit off."""

    #: Seconds between two sends to one recipient.
    cooldown: int = Field(default=30, ge=0, le=86_400)


class ServiceSettings(Table):
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
    #: Seconds a channel of the route has to report the delivery before the next one takes over, by the channel's name.
    confirm_within: dict[str, Annotated[float, Field(gt=0, le=300)]] = Field(default_factory=dict)
    #: Where the service hears of its verifications and messages; without it, it does not.
    webhook_url: str | None = None
    #: What webhooks are signed with, ``whsec_<base64 of 24 to 64 bytes>``: while a secret is replaced, both sign.
    webhook_secret: tuple[SecretStr, ...] = ()
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

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, url: str | None) -> str | None:
        parts = None if url is None else split_url(url)
        if parts is not None and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise ValueError("must be an https:// URL with a host")
        if parts is not None and ("@" in parts.netloc or parts.fragment):
            raise ValueError("must have no user, password or fragment; webhooks are signed instead")
        return url

    @field_validator("webhook_secret", mode="before")
    @classmethod
    def _one_secret(cls, secret: object) -> object:
        # Strict as the settings are read, they take no list from here.
        return (secret,) if isinstance(secret, str) else tuple(secret) if isinstance(secret, list) else secret

    @field_validator("webhook_secret")
    @classmethod
    def _check_webhook_secret(cls, secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in secrets:
            parse_webhook_secret(secret.get_secret_value())
        return secrets

    @model_validator(mode="after")
    def _check_webhooks(self) -> Self:
        if self.webhook_url is not None and not self.webhook_secret:
            raise ValueError("webhook_url needs a webhook_secret, for receivers must know who calls")
        return self

    @field_validator("templates")
    @classmethod
    def _resolve_templates(cls, templates: Path | None, info: ValidationInfo) -> Path | None:
        if templates is None or not isinstance(info.context, Source):
            return templates
        return info.context.folder / templates
