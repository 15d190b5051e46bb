"""The configured channels, and the templates of what goes out by them: the only place that loads adapters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from channels.base import Channel, Normalize
from channels.chat import Conversing, Revising
from channels.kinds import KINDS
from gateway.config import ServiceSettings, Settings, check_channels, shipped
from gateway.config.given import section
from gateway.delivery.writing.rendering import ReplyTexts
from gateway.delivery.writing.templating import FALLBACK, Templates
from gateway.errors import ConfigError, TemplateError
from gateway.verification.addressee import Addressee, named, read
from gateway.verification.references import own_kinds

_PUBLIC_URL: Final = "[server] public_url"


def open_channels(settings: Settings, *, idle: bool = False) -> dict[str, Channel]:
    """Build every configured channel, not yet opened. Raises ``ConfigError``.

    ``idle``: for whoever opens none of them; what lacks secrets is built all the same.
    """
    base = settings.server.public_url
    channels = {
        name: adapter(name, options, callback_url=None if base is None else f"{base}/callbacks/{name}")
        for name, (adapter, options) in check_channels(settings, idle=idle).items()
    }
    if faults := [*_unheard(channels), *_unreported(settings, channels)]:
        raise ConfigError(faults, read_from=settings.read_from)
    return channels


def _unheard(channels: Mapping[str, Channel]) -> list[str]:
    """Return the faults of channels that people are heard by at a URL that nobody knows: none of them could be linked."""
    return [
        f"{section(('channels', name))}: what people write comes to {_PUBLIC_URL}, which is not set; set it"
        for name, channel in channels.items()
        if channel.hears_callbacks and channel.callback_url is None
    ]


def _unreported(settings: Settings, channels: Mapping[str, Channel]) -> list[str]:
    """Return the faults of waits for what never comes: each delivery would be followed by a second one."""
    return [
        f"{section(path)} confirm_within: {name} does not report deliveries with these settings; take it out"
        for path, policy in settings.policies()
        for name in policy.confirm_within
        if not channels[name].reports
    ]


def load_templates(settings: Settings, channels: Mapping[str, Channel]) -> dict[str, Templates]:
    """Compile the templates of every service. Raises ``ConfigError`` with every fault of every file."""
    loaded: dict[str, Templates] = {}
    faults: list[str] = []
    for name, service in settings.services.items():
        own = [service.templates] if service.templates else []
        if service.templates and not service.templates.is_dir():
            path = ("services", name, "templates")
            faults.append(
                f"{settings.place(path)}: there is no folder {service.templates}; make it, or correct the key"
            )
            continue
        try:
            loaded[name] = _templates((*own, shipped("templates")), loaded.values())
        except TemplateError as error:
            faults += str(error).splitlines()
            continue
        faults += _missing_parts(name, service, channels, loaded[name])
    if faults:
        # Those of what several services share are told once.
        raise ConfigError(list(dict.fromkeys(faults)), read_from=settings.read_from)
    return loaded


def _missing_parts(
    name: str, service: ServiceSettings, channels: Mapping[str, Channel], templates: Templates
) -> Iterator[str]:
    """Yield what the routes of a service need and its templates do not have."""
    routes = [service.channels, *(policy.channels for policy in service.purposes.values())]
    for route in dict.fromkeys(itertools.chain(*routes)):
        if (channel := channels.get(route)) is None:
            continue
        try:
            templates.require(route, channel.settings.adapter, FALLBACK, channel.parts)
        except TemplateError as error:
            yield f"{section(('services', name))}: {error}"


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
    channels = open_channels(settings, idle=True)
    kinds = kinds_of(channels)
    return read(kinds, named(kinds, text), own_kinds(channels))


def kinds_of(channels: Mapping[str, Channel]) -> dict[str, Normalize]:
    """Return every kind of address there is. An adapter's own reading of one goes before the shared one."""
    # Its settings may take more addresses.
    own = ((kind, check) for channel in channels.values() for kind, check in channel.kinds.items())
    return {**KINDS, **{kind: check for kind, check in own if check is not KINDS.get(kind)}}


def linking(channels: Mapping[str, Channel]) -> Channel | None:
    """Return the channel whose bot hands out links, the first configured; ``None`` where there is no bot."""
    return next((channel for channel in channels.values() if channel.needs_subscriber), None)


def conversing(channels: Mapping[str, Channel]) -> dict[str, Conversing]:
    """Return the channels with a bot that people write to."""
    return {name: channel for name, channel in channels.items() if isinstance(channel, Conversing)}


def revising(channels: Mapping[str, Channel]) -> dict[str, Revising]:
    """Return the channels that can change what they sent."""
    return {name: channel for name, channel in channels.items() if isinstance(channel, Revising)}
