"""How a sandbox server is told to misbehave, once, a few times or until further notice.

A message that meets a fault is not put into the inbox, even where a real provider might have accepted it; one that
is only slow is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

#: Seconds a slow answer takes, unless told otherwise.
SLOW_SECONDS = 3.0


class Fault(StrEnum):
    """What goes wrong. The same fault is spoken in each protocol's own words."""

    #: Nothing.
    NONE = "none"
    #: The recipient is refused for good: SMTP 550 5.1.1, Twilio 21211, Telegram 403.
    REFUSE = "refuse"
    #: A passing fault of the provider: SMTP 451 4.3.0, Twilio 503, Telegram 502.
    DEFER = "defer"
    #: Too many requests: SMTP 450 4.2.1, Twilio 429 (20429) with Retry-After, Telegram 429 with retry_after.
    LIMIT = "limit"
    #: The whole request is read and never answered; it ends when the client goes. SMTP: after the final dot.
    STALL = "stall"
    #: The whole request is read, then the connection is dropped without an answer. SMTP: after the final dot.
    RESET = "reset"
    #: The answer is not of this protocol: an HTML page with status 200; over SMTP a line without a code.
    GARBLE = "garble"
    #: The credentials are refused: SMTP 535 at AUTH and 530 at MAIL, Twilio 401 (20003), Telegram 401.
    UNAUTHORIZED = "unauthorized"
    #: All is well, but only after ``Planned.delay`` seconds. SMTP: after the final dot.
    SLOW = "slow"
    #: Accepted, and later reported as not delivered: Twilio's ``undelivered`` with 30003, a mail's DSN with 5.1.1. Where
    #: nothing is reported later, as with chats and with mail whose sender asked for no report, it is as ``NONE``.
    LOSE = "lose"


@dataclass(frozen=True, slots=True)
class Planned:
    """The fault one request meets."""

    fault: Fault = Fault.NONE
    #: Seconds the client is asked to wait, for ``Fault.LIMIT``.
    retry_after: int = 1
    #: Seconds the answer takes, for ``Fault.SLOW``.
    delay: float = SLOW_SECONDS


def _nothing(_: str) -> Planned | None:
    return None


@dataclass(slots=True)
class _Plan:
    planned: Planned
    left: int | None


class Faults:
    """The faults one server is set to, for every recipient or for single ones.

    A recipient's own setting outranks what its address says, and both outrank the default; ``Fault.NONE`` for a
    recipient keeps it out of the default.
    """

    def __init__(self) -> None:
        #: What a recipient meets because of how its address is written; ``None`` where that says nothing.
        self.by_address: Callable[[str], Planned | None] = _nothing
        self._plans: dict[str | None, _Plan] = {}

    def set(
        self,
        fault: Fault,
        *,
        times: int | None = None,
        retry_after: int = 1,
        delay: float = SLOW_SECONDS,
        recipient: str | None = None,
    ) -> None:
        """Let the next ``times`` requests (``None``: all) meet ``fault``, to ``recipient`` or to anyone.

        ``retry_after`` and ``delay`` are in seconds. For Telegram ``recipient`` is a chat's number or a method's name, and
        without one every method is meant, ``getUpdates`` too. Raises ``ValueError`` where ``times`` is below 1.
        """
        if times is not None and times < 1:
            raise ValueError("A fault happens at least once.")
        self._plans[recipient] = _Plan(Planned(fault, retry_after, delay), times)

    def clear(self) -> None:
        """Behave again."""
        self._plans.clear()

    def take(self, *recipients: str, only: Fault | None = None, by_address: bool = True) -> Planned:
        """Return what this request meets and count it; the first of ``recipients`` with a setting decides.

        With ``only`` any other fault is left for a later step of the same request. Without ``by_address`` nothing is
        read from how an address is written.
        """
        for recipient in recipients:
            plan = self._plans.get(recipient)
            if plan is not None:
                return self._count(recipient, plan) if only in {None, plan.planned.fault} else Planned()
        for recipient in recipients if by_address else ():
            planned = self.by_address(recipient)
            if planned is not None:
                return planned if only in {None, planned.fault} else Planned()
        plan = self._plans.get(None)
        if plan is None or only not in {None, plan.planned.fault}:
            return Planned()
        return self._count(None, plan)

    def _count(self, key: str | None, plan: _Plan) -> Planned:
        if plan.left is not None:
            plan.left -= 1
            if not plan.left:
                del self._plans[key]
        return plan.planned
