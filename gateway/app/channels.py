"""The configured channels, and the templates of what goes out by them: the only place that loads adapters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from channels.base import Channel, Normalize
from channels.chat import Conversing, Revising
from channels.kinds import KINDS
from gateway.config import Settings, check_channels, shipped
from gateway.config.given import section
from gateway.delivery.writing.rendering import ReplyTexts
from gateway.delivery.writing.templating import FALLBACK, Templates
from gateway.errors import ConfigError, TemplateError
from gateway.verification.addressee import Addressee, named, read
from gateway.verification.references import own_kinds


def open_channels(settings: Settings) -> dict[str, Channel]:
    """Build every configured channel, not yet opened. Raises ``ConfigError``."""
    base = settings.server.public_url
    channels = {
        name: adapter(name, options, callback_url=f"{base}/callbacks/{name}")
        for name, (adapter, options) in check_channels(settings).items()
    }
    _check_reports(settings, channels)
    return channels


def _check_reports(settings: Settings, channels: Mapping[str, Channel]) -> None:
    """Refuse to wait for what never comes: each delivery would be followed by a second one."""
    faults = [
        f"{section(path)} confirm_within: {name} does not report deliveries with these settings; take it out"
        for path, policy in settings.policies()
        for name in policy.confirm_within
        if not channels[name].reports
    ]
    if faults:
        raise ConfigError(faults)


def load_templates(settings: Settings, channels: Mapping[str, Channel]) -> dict[str, Templates]:
    """Compile the templates of every service. Raises ``ConfigError``: they are as much a part of the configuration."""
    loaded: dict[str, Templates] = {}
    try:
        for name, service in settings.services.items():
            own = [service.templates] if service.templates else []
            if service.templates and not service.templates.is_dir():
                raise ConfigError([f"services.{name}.templates: there is no folder {service.templates}"])
            loaded[name] = _templates((*own, shipped("templates")), loaded.values())
            routes = [service.channels, *(policy.channels for policy in service.purposes.values())]
            for route in dict.fromkeys(itertools.chain(*routes)):
                channel = channels[route]
                loaded[name].require(route, channel.settings.adapter, FALLBACK, channel.parts)
    except TemplateError as error:
        raise ConfigError(str(error).splitlines()) from None
    return loaded


def load_replies(loaded: Iterable[Templates] = ()) -> ReplyTexts:
    """Compile what the bot answers, unless it is among what is ``loaded``. Raises ``TemplateError``."""
    return ReplyTexts(_templates((shipped("templates"),), loaded))


def _templates(folders: tuple[Path, ...], loaded: Iterable[Templates]) -> Templates:
    same = next((templates for templates in loaded if templates.folders == folders), None)
    return Templates(folders) if same is None else same.again()


def read_addressee(settings: Settings, text: str) -> Addressee:
    """Return who is meant by what a person typed, an address as every kind that takes it or ``kind=address``.

    Raises ``NobodyError``, and ``ConfigError``: the channels are loaded, for they may have kinds of their own.
    """
    channels = open_channels(settings)
    kinds = kinds_of(channels)
    return read(kinds, named(kinds, text), own_kinds(channels))


def kinds_of(channels: Mapping[str, Channel]) -> dict[str, Normalize]:
    """Return every kind of address there is. An adapter's own reading of one goes before the shared one."""
    # Its settings may take more addresses.
    own = ((kind, check) for channel in channels.values() for kind, check in channel.kinds.items())
    return {**KINDS, **{kind: check for kind, check in own if check is not KINDS.get(kind)}}


def conversing(channels: Mapping[str, Channel]) -> dict[str, Conversing]:
    """Return the channels with a bot that people write to."""
    return {name: channel for name, channel in channels.items() if isinstance(channel, Conversing)}


def revising(channels: Mapping[str, Channel]) -> dict[str, Revising]:
    """Return the channels that can change what they sent."""
    return {name: channel for name, channel in channels.items() if isinstance(channel, Revising)}
