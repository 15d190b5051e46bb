"""What the settings name, loaded: channels, receivers and templates. Whatever is at fault with them is told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from channels.base import Channel
from gateway.app.channels import load_templates, open_channels
from gateway.config import Settings, check_folder, find_secrets
from gateway.delivery.writing.templating import Templates
from gateway.errors import ConfigError
from gateway.webhooks.endpoints import Endpoint, endpoints_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a gateway is made of beside its database."""

    #: Not yet opened.
    channels: Mapping[str, Channel]
    #: By service.
    endpoints: Mapping[str, Endpoint]
    #: By service.
    templates: Mapping[str, Templates]


def load(settings: Settings, *, idle: bool = False) -> Loaded:
    """Return all of it. Raises ``ConfigError`` with every fault.

    ``idle``: for whoever opens no channel; what lacks secrets is built all the same.
    """
    faults: list[str] = []
    loaded = _load(settings, faults, idle=idle)
    if faults:
        raise ConfigError(faults, read_from=settings.read_from)
    return loaded


def faults_of(settings: Settings) -> list[str]:
    """Return every fault that would stop a start, beside those of reading the settings. Makes nothing."""
    faults: list[str] = []
    _load(settings, faults)
    _tried(lambda: check_folder(settings), faults)
    _tried(lambda: find_secrets(settings), faults)
    return faults


def _load(settings: Settings, faults: list[str], *, idle: bool = False) -> Loaded:
    channels = _tried(lambda: open_channels(settings, idle=idle), faults) or {}
    return Loaded(
        channels,
        _tried(lambda: endpoints_of(settings), faults) or {},
        # Without the channels it is not known which parts they need; folders and files are looked at all the same.
        _tried(lambda: load_templates(settings, channels), faults) or {},
    )


def _tried(make: Callable[[], T], faults: list[str]) -> T | None:
    try:
        return make()
    except ConfigError as error:
        faults += error.faults
    return None
