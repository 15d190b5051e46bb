"""The first start on a backup that was restored: what it has pending is ended before anything is sent or answered."""

from __future__ import annotations

import logging

from gateway.api.parts import Parts

_log = logging.getLogger(__name__)


async def end_restored(parts: Parts) -> None:
    """End every code and every link that a restored backup has open: one used since would work again.

    Raises ``StorageError``; then begin anew.
    """
    codes, links = await parts.checking.expire_restored(), await parts.subscribers.end_restored()
    _log.warning("after a restore %d pending codes and %d links were ended", codes, links)
