"""What waits in memory for one channel, by service: taken in rounds, so that none waits for another's flood."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from gateway.delivery.message import Message


class Rounds:
    """One queue a service. Each round takes the oldest message of every service that has one."""

    def __init__(self) -> None:
        #: How many messages there are.
        self.total = 0
        #: Kept once made: there are no more of them than services.
        self._queues: dict[str, deque[Message]] = {}
        #: Services that have messages, the next one's turn first.
        self._order: deque[str] = deque()

    def put(self, message: Message) -> None:
        """Add a message behind those of its service."""
        queue = self._queue(message.service)
        queue.append(message)
        self.total += 1

    def put_first(self, message: Message) -> None:
        """Add a message that is the next to be taken: it has waited for its own time."""
        service = message.service
        queue = self._queue(service)
        queue.appendleft(message)
        self.total += 1
        if self._order[0] != service:
            self._order.remove(service)
            self._order.appendleft(service)

    def take(self) -> Message:
        """Return the next message. Raises ``IndexError`` where there is none."""
        service = self._order.popleft()
        queue = self._queues[service]
        message = queue.popleft()
        self.total -= 1
        if queue:
            self._order.append(service)
        return message

    def drain(self) -> list[Message]:
        """Return every message, and keep none."""
        left = [message for queue in self._queues.values() for message in queue]
        self._queues.clear()
        self._order.clear()
        self.total = 0
        return left

    def count(self, service: str) -> int:
        """Return how many messages of a service there are."""
        queue = self._queues.get(service)
        return len(queue) if queue else 0

    def counts(self) -> Iterator[tuple[str, int]]:
        """Yield the services that have messages, and how many each."""
        return ((service, len(self._queues[service])) for service in self._order)

    def _queue(self, service: str) -> deque[Message]:
        """Return the queue of a service that is about to get a message."""
        queue = self._queues.get(service)
        if queue is None:
            queue = self._queues[service] = deque()
        if not queue:
            self._order.append(service)
        return queue
