"""The channels of the settings, read by their adapters: the one part of the configuration that loads them."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from channels import base
from channels.base import Channel, ChannelSettings, UnknownAdapterError
from gateway.config.given import Findings, Given, KeyPath, flatten, label, nest, to_json
from gateway.config.masking import MASK, secret_fault
from gateway.config.schema import Sort, Spot, holds_secret, keys_of, known_paths, locate, read_text
from gateway.config.settings import RawChannel, Settings
from gateway.config.wording import describe, secret_in_file, suggest, unknown_key, unknown_variable
from gateway.errors import ConfigError

#: A channel's adapter and its settings, by the channel's name.
Ready = dict[str, tuple[type[Channel], ChannelSettings]]

#: Secrets shorter than this are not searched for in an adapter's own sentences: they would match any word.
_MIN_SCRUBBED = 4
#: In place of a secret, where none is used. Shaped as a bot's token, for some adapters look at that.
_STAND_IN = "1:in_place_of_a_secret_that_is_not_used"


def check_channels(settings: Settings, *, idle: bool = False) -> Ready:
    """Load every channel's adapter and have it read its keys. Raises ``ConfigError`` with every fault.

    ``idle``: for channels by which nothing goes out. What lacks secrets then has stand-ins that open nothing: the service's
    are seldom in the environment of the person who unlocks somebody.

    Also refused: an adapter for loopback only where ``public_url`` is not, a route over a channel that is not
    configured, a wait for one's reports, and an example value in place of a secret.
    """
    findings = Findings(dict(settings.given))
    check_routes({path: policy.channels for path, policy in settings.policies()}, settings.channels, findings)
    check_confirmed({path: policy.confirm_within for path, policy in settings.policies()}, settings.channels, findings)
    ready = examine(settings.channels, findings, loopback=settings.server.loopback, idle=idle)
    if findings.faults:
        raise ConfigError(findings.faults, read_from=settings.read_from)
    return ready


def check_routes(routes: Mapping[KeyPath, Collection[str]], channels: Collection[str], findings: Findings) -> None:
    """Name every channel that a route wants and nobody configured. ``routes`` are those of services and purposes."""
    for table, route in routes.items():
        path = (*table, "channels")
        entry = findings.given.get(path)
        for name in route:
            if name not in channels:
                findings.refuse(
                    path,
                    f"{entry.label if entry else label(path)}: there is no channel {json.dumps(name)}; "
                    f"configure [channels.{name}] or take it off the route{suggest(name, channels)}",
                )


def check_confirmed(waits: Mapping[KeyPath, Collection[str]], channels: Collection[str], findings: Findings) -> None:
    """Name every channel whose reports ``confirm_within`` waits for and nobody configured, by the tables it stands in."""
    for table, names in waits.items():
        for name in names:
            if name not in channels:
                path = (*table, "confirm_within", name)
                entry = findings.given.get(path)
                findings.refuse(
                    path,
                    f"{entry.label if entry else label(path)}: there is no such channel; configure [channels.{name}] or "
                    f"take it out{suggest(name, channels)}",
                )


def whole_channels(settings: Settings) -> frozenset[str]:
    """Return the channels that have all they need, their secrets too."""
    return frozenset(examine(settings.channels, Findings(dict(settings.given)), loopback=settings.server.loopback))


def examine(channels: Mapping[str, RawChannel], findings: Findings, *, loopback: bool, idle: bool = False) -> Ready:
    """Return the channels whose adapters could read their keys; name the faults of the others."""
    ready: Ready = {}
    for name, raw in channels.items():
        adapter = _load(name, raw, findings)
        if adapter is None:
            continue
        if adapter.loopback_only and not loopback:
            _refuse_adapter(
                name, "works only where [server] public_url is this machine's; configure another channel", findings
            )
        settings = _Reading(name, raw, adapter.Settings, findings, idle).read()
        if settings is not None:
            ready[name] = (adapter, settings)
    return ready


def adapter_names() -> list[str]:
    """Return the modules beside the port; not every one is an adapter."""
    return [module.name for module in pkgutil.iter_modules([str(Path(base.__file__).parent)])]


def _load(name: str, raw: RawChannel, findings: Findings) -> type[Channel] | None:
    try:
        return base.load(raw.adapter)
    except UnknownAdapterError:
        _refuse_adapter(name, f"there is no adapter {json.dumps(raw.adapter)}{_nearest_adapter(raw.adapter)}", findings)
    except ImportError as error:
        # The text of an ImportError names a module: the library the adapter needs.
        _refuse_adapter(name, f"cannot be loaded: {error}", findings)
    return None


def _refuse_adapter(name: str, fault: str, findings: Findings) -> None:
    path = ("channels", name, "adapter")
    entry = findings.given.get(path)
    findings.refuse(path, f"{entry.label if entry else label(path)}: {fault}")


def _nearest_adapter(adapter: str) -> str:
    return suggest(adapter, (name for name in adapter_names() if _is_adapter(name)))


def _is_adapter(name: str) -> bool:
    try:
        base.load(name)
    except (UnknownAdapterError, ImportError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Reading:
    """One channel's options on their way into its adapter's settings."""

    name: str
    raw: RawChannel
    model: type[ChannelSettings]
    findings: Findings
    #: Whether secrets that nobody gave have stand-ins.
    idle: bool

    @property
    def _path(self) -> KeyPath:
        return ("channels", self.name)

    def read(self) -> ChannelSettings | None:
        """Return the settings, or ``None`` where they do not suffice; every fault is noted."""
        options: dict[KeyPath, object] = {}
        for key, value in flatten(self.raw.options):
            path = (*self._path, *key)
            try:
                options[key] = self._value(key, value, self.findings.given.get(path))
            except ValueError as fault:
                self.findings.refuse(path, str(fault))
        common = {key: getattr(self.raw, key) for key in RawChannel.model_fields if key in self.raw.model_fields_set}
        values = {**common, **nest(options)}
        return self._validate(self._with_stand_ins(values) if self.idle else values)

    def _with_stand_ins(self, values: dict[str, object]) -> dict[str, object]:
        """Return the values with as few stand-ins as make them whole; as they are where secrets are not what is missing."""
        missing = [
            key for key, field in keys_of(self.model).items() if key not in values and holds_secret(field.annotation)
        ]
        for number in range(len(missing) + 1):
            for names in combinations(missing, number):
                filled = {**values, **dict.fromkeys(names, _STAND_IN)}
                with suppress(ValidationError):
                    self.model.model_validate_json(to_json(filled), strict=True)
                    return filled
        return values

    def _value(self, key: KeyPath, value: object, entry: Given | None) -> object:
        """Return an option as JSON would hold it. Raises ``ValueError`` with the fault."""
        path, spot = (*self._path, *key), locate(key, self.model)
        if spot.sort is Sort.UNKNOWN:
            raise ValueError(self._unknown(path, spot, entry, value))
        if spot.secret and entry and entry.variable is None:
            raise ValueError(secret_in_file(path))
        if spot.secret and isinstance(value, str) and (fault := secret_fault(value)):
            raise ValueError(f"{entry.label if entry else label(path)}: {fault}")
        return read_text(spot.annotation, value) if entry and entry.text and isinstance(value, str) else value

    def _unknown(self, path: KeyPath, spot: Spot, entry: Given | None, value: object) -> str:
        if entry and entry.variable and not entry.inside:
            return unknown_variable(entry.variable, [(*self._path, *key) for key in known_paths({}, self.model)])
        return unknown_key(path, spot, value, above=self._path)

    def _validate(self, values: dict[str, object]) -> ChannelSettings | None:
        try:
            return self.model.model_validate_json(to_json(values), strict=True)
        except ValidationError as error:
            for path, fault in describe(error, self.findings.given, self.model, self._path):
                if path not in self.findings.refused:
                    self.findings.refuse(path, self._scrub(fault))
        return None

    def _scrub(self, fault: str) -> str:
        """Mask the channel's secrets in a sentence an adapter's own validator may have written."""
        for key, value in flatten(self.raw.options):
            if locate(key, self.model).secret and isinstance(value, str) and len(value) >= _MIN_SCRUBBED:
                fault = fault.replace(value, MASK)
        return fault
