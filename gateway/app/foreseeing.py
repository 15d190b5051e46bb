"""What a request for a code would come to: checked by its service's policy and rendered, nothing written and nothing sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from channels.base import Address, Channel, Normalize
from gateway.config import ServiceSettings
from gateway.delivery import routing
from gateway.delivery.person import Reach, Resolve
from gateway.delivery.writing.locales import DEFAULT
from gateway.delivery.writing.templating import Templates, code_values
from gateway.errors import InvalidRequest
from gateway.value import Value
from gateway.verification import codes
from gateway.verification.request import Asked, CodePolicy, addresses, code_policy, route_of

#: What stands for each character of a code: as wide as any.
_ANY: Final = "0"


class Foreseen(Value, frozen=True):
    """The first message of a request, as it would be."""

    hidden: ClassVar[frozenset[str]] = frozenset({"canonical"})

    channel: str
    #: Masked address.
    recipient: str
    #: The form that limits know the address by: spellings of one mailbox or number share it.
    canonical: str
    #: ISO 3166-1 alpha-2; ``None`` where the address is in no country.
    country: str | None
    #: Parts that the provider cuts it into.
    segments: int
    #: What the channel's settings say that a message there costs, in the operator's currency.
    price: float
    #: Whether it waits until the person has opened the bot.
    waits: bool


class Foresight:
    """Looks at requests. ``templates`` are those of each service; ``resolve`` tells how a bot reaches somebody."""

    def __init__(
        self,
        services: Mapping[str, ServiceSettings],
        channels: Mapping[str, Channel],
        kinds: Mapping[str, Normalize],
        templates: Mapping[str, Templates],
        resolve: Resolve,
        *,
        sandbox: bool,
    ) -> None:
        self._services = services
        self._channels = channels
        self._kinds = kinds
        self._templates = templates
        self._resolve = resolve
        self._sandbox = sandbox
        bots = (channel for channel in channels.values() if channel.needs_subscriber)
        self._chat_kinds = {kind for channel in bots for kind in channel.kinds}

    async def look(self, service: str, asked: Asked) -> Foreseen:
        """Return what a request of a service would come to, limits and locks of people aside.

        Raises ``InvalidRequest``, ``RecipientRefused``, or ``TemplateError`` where the text lacks one of its parameters.
        """
        settings = self._services[service].for_purpose(asked.purpose)
        policy = code_policy(asked, settings)
        to = addresses(asked, settings, self._kinds, sandbox=self._sandbox)
        step = await self._first(service, asked, settings, to)
        address, channel = to[step.kind], self._channels[step.channel]
        segments = self._segments(service, asked, policy, channel, step.locale or asked.locale or settings.locale)
        return Foreseen(
            channel=step.channel,
            recipient=step.recipient,
            canonical=f"{address.kind}:{address.canonical}",
            country=address.country,
            segments=segments,
            price=channel.settings.price_in(address.country),
            waits=step.address is None,
        )

    async def _first(
        self, service: str, asked: Asked, settings: ServiceSettings, to: Mapping[str, Address]
    ) -> routing.Step:
        """Return the step that the route begins with: one to somebody who is reached, if there is one."""
        route = route_of(asked, settings, self._channels)
        reaches: dict[str, Reach] = {
            kind: await self._resolve(service, address) for kind, address in to.items() if kind in self._chat_kinds
        }
        steps = routing.plan(route, self._channels, to, reaches)
        if not steps:
            raise InvalidRequest.field("/to", f"no address for any channel of the route ({', '.join(route)})")
        return next((step for step in steps if step.address is not None), steps[0])

    def _segments(self, service: str, asked: Asked, policy: CodePolicy, channel: Channel, locale: str) -> int:
        values = code_values(
            code=policy.value or codes.shown(_ANY * policy.length, policy.alphabet),
            brand=self._services[service].name,
            remaining=policy.ttl,
            purpose=asked.purpose,
            locale=locale,
            params=asked.params,
            bind=asked.bind,
        )
        parts = self._templates[service].render(
            channel=channel.name,
            adapter=channel.settings.adapter,
            purpose=asked.purpose,
            locale=locale,
            otherwise=self._services[service].locale if channel.listens else DEFAULT,
            parts=channel.parts,
            values=values,
        )
        return channel.inspect(parts).segments
