"""A service's tables of config.toml: its brand, its route, its codes and limits, and where it is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, ValidationInfo, field_validator, model_validator

from channels.numbering import COUNTRIES
from gateway.config.given import Source
from gateway.config.table import PurposeName, Table, split_url
from gateway.config.webhook_secret import parse_webhook_secret
from gateway.verification.codes import (
    ALPHABETS,
    DIGITS,
    LONGEST,
    SHORTEST,
    AlphabetName,
    ClassName,
    check_classes,
    check_length,
)

_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_COUNTRY = re.compile(r"\*|[A-Z]{2}")
#: What is written for a country elsewhere, and its code: a service that serves UK alone would send to nobody.
_MEANT = {"UK": "GB", "EL": "GR"}


class CodeSettings(Table):
    """``[services.<name>.code]``: what a code is like and how long it lives."""

    #: Whether codes may be fewer than those of six digits.
    allow_short: bool = False
    #: Whether guessing a code may be likelier than ``guessing.LIKELIEST``.
    allow_guessable: bool = False
    #: What codes are made of.
    alphabet: AlphabetName = DIGITS
    #: Classes that every code has a character of; with any the code is a temporary password.
    classes: tuple[ClassName, ...] = ()
    #: Characters of a code: 4 to 10 digits, of other alphabets up to 32; as many codes as six digits give (NIST SP
    #: 800-63B-4, 3.1.3.2) unless ``allow_short``; 9 at least with ``classes``.
    length: int = Field(default=6, ge=SHORTEST, le=LONGEST, validate_default=True)
    #: Seconds a code lives, from its making; 600 at most (NIST SP 800-63B-4, 3.1.3.2).
    ttl: int = Field(default=300, ge=5, le=600)
    #: Wrong checks one verification stands.
    max_checks: int = Field(default=5, ge=1, le=10)
    #: Whether a resend carries the same code or a new one.
    resend: Literal["same", "new"] = "same"
    #: Whether a caller may bring its own codes.
    custom: bool = False

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[ClassName, ...], info: ValidationInfo) -> tuple[ClassName, ...]:
        if "alphabet" in info.data:
            check_classes(info.data["alphabet"], classes)
        return classes

    @field_validator("length")
    @classmethod
    def _check_length(cls, length: int, info: ValidationInfo) -> int:
        if not {"alphabet", "classes", "allow_short"} <= info.data.keys():
            # One of these has a fault of its own, and what a length may be depends on it.
            return length
        alphabet = info.data["alphabet"]
        check_length(length, alphabet, info.data["classes"])
        shortest = ALPHABETS[alphabet].shortest
        if length < shortest and not info.data["allow_short"]:
            raise ValueError(
                f"must be {shortest} or more; set allow_short = true to allow shorter codes, which are easy to guess"
            )
        return length


class LockoutSettings(Table):
    """``[services.<name>.limits] lockout``: so many wrong codes in a row, and nothing is sent for so long."""

    #: Wrong codes in a row.
    after: int = Field(ge=1, le=100)
    #: Seconds; it opens again by itself.
    for_: int = Field(alias="for", ge=1, le=86_400)


class PurposeLimits(Table):
    """``[services.<name>.purposes.<purpose>.limits]``: how much is too much for one purpose; 0 switches a limit off."""

    #: Whether too much is refused, or only told of in the log.
    mode: Literal["enforce", "observe"] = "enforce"
    #: Seconds between two sends to one recipient; twice, three and four times as many after further sends.
    cooldown: int = Field(default=30, ge=0, le=86_400)
    #: Sends to one recipient in ten minutes, an hour and a day, by all services together.
    sends_per_10m: int = Field(default=5, ge=0, le=1_000_000)
    sends_per_hour: int = Field(default=10, ge=0, le=1_000_000)
    sends_per_day: int = Field(default=20, ge=0, le=1_000_000)
    #: Wrong codes for one recipient and purpose in an hour and a day; a verification reserves its checks.
    guesses_per_hour: int = Field(default=20, ge=0, le=1_000_000)
    guesses_per_day: int = Field(default=30, ge=0, le=1_000_000)
    #: Wrong codes in an hour from a device or IP address that was approved for the recipient in the last 30 days.
    context_per_hour: int = Field(default=10, ge=0, le=1_000_000)
    #: Sends in an hour to a block of 10,000 neighbouring numbers that no approval followed.
    prefix_per_hour: int = Field(default=20, ge=0, le=1_000_000)
    #: Verifications in an hour that one IP address (IPv6: one /64) asks for.
    ip_per_hour: int = Field(default=20, ge=0, le=1_000_000)
    #: When somebody is locked out for a while, if ever.
    lockout: LockoutSettings | None = None


class LimitSettings(PurposeLimits):
    """``[services.<name>.limits]``: how much is too much, and what a service as a whole may do."""

    #: What the service's sends may cost in a day, in the currency of the channels' prices.
    spend_per_day: float = Field(default=0, ge=0, allow_inf_nan=False)
    #: Verifications the service may start in a second.
    requests_per_second: float = Field(default=0, ge=0, allow_inf_nan=False)
    #: Messages of the service that may wait to be sent.
    queue_depth: int = Field(default=100_000, ge=0)


class PurposeSettings(Table):
    """``[services.<name>.purposes.<purpose>]``: the policy for one purpose; what it does not say is its service's."""

    #: The route: channels in the order they are tried.
    channels: tuple[str, ...] = Field(min_length=1)
    #: The language of messages where a request names none (BCP 47).
    locale: str = "en"
    #: Countries phones may be in (ISO 3166-1 alpha-2), ``*`` for every one.
    countries: tuple[str, ...] = Field(default=("*",), min_length=1)
    #: Sorts of numbers served although they are refused by default.
    number_types: tuple[Literal["satellite", "premium_rate", "shared_cost", "pager", "personal_number"], ...] = ()
    #: Seconds a channel of the route has to report the delivery before the next one takes over, by the channel's name.
    confirm_within: dict[str, Annotated[float, Field(gt=0, le=300)]] = Field(default_factory=dict)
    code: CodeSettings = CodeSettings()
    limits: PurposeLimits = PurposeLimits()

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
        for country in countries:
            if country not in COUNTRIES and country != "*":
                meant = f"; did you mean {_MEANT[country]}?" if country in _MEANT else ""
                raise ValueError(f"{country} is no country's code (ISO 3166-1){meant}")
        return countries


class ServiceSettings(PurposeSettings):
    """``[services.<name>]``: one application that triggers codes."""

    #: The brand people read in a message.
    name: str = Field(default="Example", min_length=1, max_length=100)
    #: A folder of templates that go before the shipped ones, absolute or relative to the config file's folder.
    templates: Path | None = None
    #: Where the service hears of its verifications and messages; without it, it does not.
    webhook_url: str | None = None
    #: What webhooks are signed with, ``whsec_<base64 of 24 to 64 bytes>``: while a secret is replaced, both sign.
    webhook_secret: tuple[SecretStr, ...] = ()
    limits: LimitSettings = LimitSettings()
    #: What differs by purpose, by the purposes' names.
    purposes: dict[PurposeName, PurposeSettings] = Field(default_factory=dict)
    _by_purpose: dict[str, ServiceSettings] = PrivateAttr(default_factory=dict)

    def for_purpose(self, purpose: str) -> ServiceSettings:
        """Return the settings that hold for a purpose: its own where it has any, else the service's.

        Codes are asked for by the thousand, so those of each purpose are put together once.
        """
        own = self.purposes.get(purpose)
        if own is None:
            return self
        if purpose not in self._by_purpose:
            policy = {name: getattr(own, name) for name in PurposeSettings.model_fields}
            limits = {name: getattr(own.limits, name) for name in PurposeLimits.model_fields}
            policy["limits"] = self.limits.model_copy(update=limits)
            self._by_purpose[purpose] = self.model_copy(update=policy)
        return self._by_purpose[purpose]

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
