"""What goes on in the chats with the bots, beside the sending of codes."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from channels.base import Channel, Normalize
from channels.chat import Menu
from gateway.app.channels import conversing, revising
from gateway.app.store import Store, several_nodes
from gateway.config import Settings
from gateway.conversation import commands
from gateway.conversation.blocking import Blocking
from gateway.conversation.inbox import Inbox
from gateway.conversation.listening import listen
from gateway.conversation.replies import Replies
from gateway.conversation.replying import Replying
from gateway.conversation.turn import Tools
from gateway.delivery.dispatching.dispatcher import Dispatcher
from gateway.delivery.dispatching.pacing import Pacer
from gateway.delivery.dispatching.revising import Reviser
from gateway.delivery.queue import Queue
from gateway.delivery.revisions import Revisions
from gateway.delivery.writing.rendering import ReplyTexts, ended_renderer
from gateway.storage.leases import Leases
from gateway.verification.reporting import Reporting
from gateway.verification.reverse import Reverse
from gateway.verification.verifications import Verifications


@dataclass(frozen=True, slots=True)
class Spine:
    """What the bots work with: built before them."""

    queue: Queue
    dispatcher: Dispatcher
    paces: Mapping[str, Pacer]
    verifications: Verifications
    reverse: Reverse
    blocking: Blocking
    kinds: Mapping[str, Normalize]
    texts: ReplyTexts
    node: str


@dataclass(frozen=True, slots=True)
class Bots:
    """Hearing, answering, and putting right what was sent."""

    channels: Mapping[str, Channel]
    store: Store
    inbox: Inbox
    leases: Leases
    menu: Menu
    replies: Replies
    replying: Replying
    reviser: Reviser

    def duties(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield what goes on for as long as the gateway runs."""
        for name in revising(self.channels):
            yield self.reviser.run(name)
        for name in conversing(self.channels):
            yield self.replying.run(name)
        for name, channel in self.channels.items():
            if channel.listens or channel.hears_callbacks:
                hear = partial(self.inbox.handle, name)
                yield listen(channel, hear, self.leases, self.store.clock, menu=self.menu)


def built_bots(settings: Settings, store: Store, channels: Mapping[str, Channel], spine: Spine) -> Bots:
    """Put the bots together."""
    replies = Replies(store.database, store.sealer, store.clock, spine.node)
    replying = Replying(
        replies,
        conversing(channels),
        store.clock,
        spine.blocking.blocked,
        paces=spine.paces,
        urgent=spine.dispatcher.urgent,
    )
    inbox = Inbox(
        database=store.database,
        clock=store.clock,
        hasher=store.hasher,
        tools=_tools(settings, store, spine),
        blocking=spine.blocking,
        replies=replies,
        replying=replying,
        announce=spine.dispatcher.announce,
    )
    return Bots(
        channels=channels,
        store=store,
        inbox=inbox,
        leases=Leases(store.database, spine.node),
        menu=commands.menu(spine.texts),
        replies=replies,
        replying=replying,
        reviser=_reviser(settings, store, channels, spine),
    )


def _tools(settings: Settings, store: Store, spine: Spine) -> Tools:
    reverse = spine.reverse
    return Tools(
        sealer=store.sealer,
        hasher=store.hasher,
        brands={name: service.name for name, service in settings.services.items()},
        locales={name: service.locale for name, service in settings.services.items()},
        texts=spine.texts,
        phone=spine.kinds["phone"],
        on_link=spine.verifications.on_link,
        open_question=reverse.open,
        opened_questions=reverse.opened,
        answer_question=reverse.answer,
        decline_question=reverse.decline,
        report=Reporting(store.sealer, spine.queue).report,
    )


def _reviser(settings: Settings, store: Store, channels: Mapping[str, Channel], spine: Spine) -> Reviser:
    revisions = Revisions(store.database, store.sealer, store.clock, several_nodes=several_nodes(settings))
    ended = ended_renderer(settings.services, spine.texts)
    return Reviser(revisions, revising(channels), ended, spine.dispatcher.busy, store.clock, paces=spine.paces)
