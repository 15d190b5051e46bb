"""What became of one call of ``Channel.deliver``, put into the words of the queue."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, Receipt, TransientError
from gateway.delivery.dispatching.breaker import Verdict
from gateway.delivery.lifecycle import AttemptOutcome
from gateway.delivery.telling import Failure
from gateway.errors import TemplateError
from gateway.value import Value

_log = logging.getLogger(__name__)


class Accepted(Value, frozen=True):
    """The provider took the message."""

    receipt: Receipt
    milliseconds: float


class Failed(Value, frozen=True):
    """It did not, or nobody knows."""

    failure: Failure
    #: Seconds the provider asked us to wait.
    retry_after: float | None = None
    #: Whether that wait is meant for the whole channel.
    whole_channel: bool = False
    #: What it says of the channel.
    verdict: Verdict = Verdict.SILENT
    #: Whether the provider was asked at all: a message that could not be written asks nobody.
    asked: bool = True


#: What a failure that another try may mend says of the channel; what is not named here is about the recipient, and
#: shows that the provider answers.
_SAYS: Mapping[Reason, Verdict] = {
    Reason.UNAVAILABLE: Verdict.FAILED,
    Reason.TIMEOUT: Verdict.FAILED,
    Reason.UNKNOWN: Verdict.FAILED,
    Reason.RATE_LIMITED: Verdict.SILENT,
    Reason.EXPIRED: Verdict.SILENT,
    Reason.MISCONFIGURED: Verdict.SILENT,
}


def failed(error: Exception, milliseconds: float, *, called: bool = True, asked: bool = True) -> Failed:
    """Return what an exception that ended a delivery means. What is a fault of ours is logged, without values.

    ``called`` is whether the channel was given its time; else it says nothing of the channel. ``asked`` is whether it was
    called at all.
    """
    retry_after, whole_channel = None, False
    match error:
        case TransientError():
            kind, reason = AttemptOutcome.TRANSIENT, error.reason
            retry_after, whole_channel = error.retry_after, error.whole_channel
        case AmbiguousError():
            kind, reason = AttemptOutcome.UNKNOWN, error.reason
        case PermanentError():
            kind, reason = AttemptOutcome.PERMANENT, error.reason
        case TimeoutError():
            kind, reason = AttemptOutcome.UNKNOWN, Reason.TIMEOUT
        case TemplateError():
            # Every message of this template would fail; another channel's template may be whole.
            kind, reason = AttemptOutcome.PERMANENT, Reason.MISCONFIGURED
            _log.error("a template is broken: %s", error)
        case _:
            kind, reason = AttemptOutcome.TRANSIENT, Reason.UNKNOWN
            _log.error("an adapter failed: %s", where(error))
    code = error.provider_code if isinstance(error, DeliveryError) else None
    verdict = _verdict(kind, reason) if called and not isinstance(error, TemplateError) else Verdict.SILENT
    return Failed(Failure(kind, reason, code, milliseconds), retry_after, whole_channel, verdict, asked)


def _verdict(kind: AttemptOutcome, reason: Reason) -> Verdict:
    if kind is not AttemptOutcome.PERMANENT:
        return _SAYS.get(reason, Verdict.WORKED)
    return Verdict.REFUSED if reason is Reason.MISCONFIGURED else Verdict.WORKED


def where(error: BaseException) -> str:
    """Say what went wrong where, without the error's text: it may hold a value."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{type(error).__name__} at " + " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
