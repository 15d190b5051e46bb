"""Many verifications in chunks: each is written in one transaction, and names nobody twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeVar

T = TypeVar("T")

#: Verifications of one chunk at most: other writes of the node wait while it is written. That is some 40 ms.
CHUNK: Final = 100
#: The same where answers are kept with it: then each is written by itself, on PostgreSQL some 4 ms.
KEYED: Final = 20


def chunks(items: Iterable[T], addresses: Callable[[T], Collection[str]], size: int = CHUNK) -> Iterator[list[T]]:
    """Yield ``items`` in order, up to ``size`` at once; ``addresses`` returns whom an item names, as it was written.

    An item that names somebody whom its chunk has named already begins the next one. Everything of a chunk is prepared
    before any of it is written, and who is invited to the bot twice in one chunk would hold a link that ended with the
    second invitation; with the first one written, the cooldown refuses the second before that.
    """
    chunk: list[T] = []
    named: set[str] = set()
    for item in items:
        found = addresses(item)
        if chunk and (len(chunk) >= size or not named.isdisjoint(found)):
            yield chunk
            chunk, named = [], set()
        chunk.append(item)
        named.update(found)
    if chunk:
        yield chunk
