"""What became of one call of ``Channel.deliver``, put into the words of the queue."""

from __future__ import annotations

import logging
import traceback

from channels.base import AmbiguousError, DeliveryError, PermanentError, Reason, Receipt, TransientError
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


def failed(error: Exception, milliseconds: float) -> Failed:
    """Return what an exception that ended a delivery means. What is a fault of ours is logged, without values."""
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
    return Failed(Failure(kind, reason, code, milliseconds), retry_after, whole_channel)


def where(error: Exception) -> str:
    """Say what went wrong where, without the error's text: it may hold a value."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return f"{type(error).__name__} at " + " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
