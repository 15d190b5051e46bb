"""How a sandbox server is told to misbehave, once, a few times or until further notice.

A message that meets a fault is not put into the inbox, even where a real provider might have accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class Planned:
    """The fault one request meets."""

    fault: Fault = Fault.NONE
    #: Seconds the client is asked to wait, for ``Fault.LIMIT``.
    retry_after: int = 1


@dataclass(slots=True)
class _Plan:
    planned: Planned
    left: int | None


class Faults:
    """The faults one server is set to, for every recipient or for single ones.

    A recipient's own setting outranks the default; ``Fault.NONE`` for a recipient keeps it out of the default.
    """

    def __init__(self) -> None:
        self._plans: dict[str | None, _Plan] = {}

    def set(
        self, fault: Fault, *, times: int | None = None, retry_after: int = 1, recipient: str | None = None
    ) -> None:
        """Let the next ``times`` requests (``None``: all) meet ``fault``, to ``recipient`` or to anyone.

        ``retry_after`` is in seconds. For Telegram ``recipient`` is a chat's number or a method's name, and
        without one every method is meant, ``getUpdates`` too. Raises ``ValueError`` where ``times`` is below 1.
        """
        if times is not None and times < 1:
            raise ValueError("A fault happens at least once.")
        self._plans[recipient] = _Plan(Planned(fault, retry_after), times)

    def clear(self) -> None:
        """Behave again."""
        self._plans.clear()

    def take(self, *recipients: str, only: Fault | None = None) -> Planned:
        """Return what this request meets and count it; the first of ``recipients`` with a setting decides.

        With ``only`` any other fault is left for a later step of the same request.
        """
        for key in (*recipients, None):
            plan = self._plans.get(key)
            if plan is not None:
                return self._count(key, plan) if only in {None, plan.planned.fault} else Planned()
        return Planned()

    def _count(self, key: str | None, plan: _Plan) -> Planned:
        if plan.left is not None:
            plan.left -= 1
            if not plan.left:
                del self._plans[key]
        return plan.planned
