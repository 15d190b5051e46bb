"""What a fresh message has ahead of it, and how long that takes: what accepting is decided by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.clock import Clock
from gateway.delivery.dispatching.lane import Lane
from gateway.delivery.dispatching.pacing import REFRESH
from gateway.delivery.retry import CHANNEL_SHARE

#: How many times as long as it has lasted a standstill may go on, as far as is to be feared: of a channel that has sent
#: until then, nobody knows whether it pauses or has become slow. With half a minute's patience codes are refused after
#: three seconds, and those of a pause of one are not: their callers would be told to stay away for a minute.
FEARED: Final = 10.0


class Outlook:
    """What a fresh message may expect of each channel, by its lane."""

    def __init__(self, lanes: Mapping[str, Lane], clock: Clock) -> None:
        self._lanes = lanes
        self._clock = clock

    def usable(self, channel: str) -> bool:
        """Whether a message with another channel to go to would be sent by this one, and not passed on at once."""
        lane = self._lanes[channel]
        return not lane.breaker.refuses(self._clock.monotonic()) and lane.pacer.paused_for <= CHANNEL_SHARE

    def wait(self, channel: str, service: str) -> float:
        """Return the seconds after which a fresh message of the service may start; 0 while nothing waits."""
        lane = self._lanes[channel]
        return 0.0 if lane.idle else expected_wait(lane, service, self._clock.monotonic())

    def rest(self, channel: str) -> float:
        """Return the seconds for which a channel is known to send nothing: its provider has said so."""
        return self._lanes[channel].pacer.paused_for


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
    lane.throughput.watch(now)
    rate = min(lane.throughput.rate(now), share)
    if rate <= 0:
        return float("inf")
    here = min(ahead, lane.waiting)
    # As many starts of this node as all of that takes.
    starts = here + (ahead - here) / lane.senders
    if lasted := lane.throughput.stands_still(now):
        return wait + min(starts / rate, FEARED * lasted + starts / min(lane.throughput.measured, share))
    return wait + starts / rate
