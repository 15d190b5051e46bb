"""What a fresh message has ahead of it, and how long that takes: what accepting is decided by."""

from __future__ import annotations

from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.dispatching.pacing import REFRESH


def expected_wait(lane: Lane, service: str, now: float) -> float:
    """Return the seconds after which a fresh message of the service may start, ``now`` in monotonic seconds.

    Ahead of it are those of its own service, and of every other as many as take their turn before: each is sent one
    in a round. Those in the database are sent by every node that has a hand free for the channel.
    """
    wait = max(lane.pacer.paused_for, lane.breaker.wait(now))
    counts = lane.counts()
    ahead = own = counts.get(service, 0)
    if not own or len(counts) > 1:
        ahead += sum(min(number, own + 1) for name, number in counts.items() if name != service)
    if not ahead:
        return wait
    share = lane.pacer.share
    if not share:
        # It has just come, or was not told for a while: the others make room when they renew, then it takes its part.
        wait, share = wait + 2 * REFRESH, lane.pacer.rate / (lane.senders + 1)
    rate = min(lane.throughput.rate(now), share)
    if rate <= 0:
        return float("inf")
    here = min(ahead, lane.waiting)
    return wait + here / rate + (ahead - here) / (rate * lane.senders)
