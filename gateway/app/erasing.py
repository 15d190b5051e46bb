"""What erases a recipient, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from channels.base import Channel
from gateway.app.channels import kinds_of
from gateway.app.store import Store
from gateway.config import Settings
from gateway.conversation.erasing import Forgetting
from gateway.conversation.replies import Replies
from gateway.housekeeping import Checkpoint
from gateway.storage.answers import Answers
from gateway.verification.checking import Checking
from gateway.verification.erasing import Erasing
from gateway.verification.references import own_kinds


def built_erasing(
    settings: Settings,
    store: Store,
    channels: Mapping[str, Channel],
    *,
    answers: Answers,
    checking: Checking,
    node: str,
) -> Erasing:
    """Put together what erases recipients; ``node`` is this process's name among the nodes."""
    kinds = kinds_of(channels)
    forgetting = Forgetting(
        database=store.database,
        sealer=store.sealer,
        hasher=store.hasher,
        replies=Replies(store.database, store.sealer, store.clock, node),
    )
    return Erasing(
        database=store.database,
        sealer=store.sealer,
        hasher=store.hasher,
        clock=store.clock,
        answers=answers,
        kinds=kinds,
        own_kinds=own_kinds(channels),
        services=settings.services,
        cancel=checking.cancel,
        expire_overdue=checking.expire_overdue,
        known=forgetting.known,
        forget=forgetting.forget,
        empty_log=_emptying(settings),
    )


def _emptying(settings: Settings) -> Callable[[], Awaitable[bool]]:
    if settings.database.path is not None:
        return Checkpoint(settings.database.path).clear
    return _nothing


async def _nothing() -> bool:
    """Do nothing: a server's files are its own affair, which VACUUM is for."""
    return True
